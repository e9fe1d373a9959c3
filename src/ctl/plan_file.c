/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan file: the directives. See plan_file.h; conf_lines.c reads the lines.
 *
 * The first APIQuotaFree is followed for all requests. What is said of limits in sections that a log does not tell is
 * noted.
 */
#include "ctl/plan_file.h"

#include "base/aq_words.h"
#include "ctl/section_reader.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <string.h>

typedef struct {
    apr_pool_t *p;
    const aq_hash_secret_t *secret;
    aq_plan_file_t *file;
    aq_plan_t *open_plan; /* whose section is being read */
    aq_section_reader_t *sections;
    const char *free_place, *free_text;
} plan_reader_t;

/* A line's name and words: NULL, or what is wrong with it. */
typedef const char *directive_fn(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words);

static const char *word_at(const apr_array_header_t *words, int index)
{
    return APR_ARRAY_IDX(words, index, const char *);
}

static void note(plan_reader_t *reader, const aq_conf_line_t *line, const char *what, const char *why)
{
    APR_ARRAY_PUSH(reader->file->notes, const char *) = apr_pstrcat(reader->p, line->place, ": ", what, why, NULL);
}

/* As the server's own reading, with its errors. */
static const char *section_limit_add(plan_reader_t *reader, aq_section_t *section, aq_limit_t *limit)
{
    if (limit->window.period == AQ_PERIOD_MONTH && limit->window.anchor == AQ_ANCHOR_TENANT) {
        return "anchor=tenant is for limits of a plan";
    }
    if (!section->limits) {
        section->limits = apr_array_make(reader->p, 2, sizeof(aq_limit_t *));
    }
    for (int i = 0; i < section->limits->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(section->limits, i, const aq_limit_t *)->name, limit->name) == 0) {
            return apr_psprintf(reader->p, "the limit \"%s\" stands twice in one section", limit->name);
        }
    }
    limit->section = section->path;
    aq_limit_identify(limit, reader->secret);
    APR_ARRAY_PUSH(section->limits, aq_limit_t *) = limit;
    return NULL;
}

static const char *section_limit_read(plan_reader_t *reader, const aq_conf_line_t *line, aq_limit_t *limit)
{
    const char *what = apr_psprintf(reader->p, "the limit \"%s\" is left out: ", limit->name), *why;
    aq_section_t *section = aq_section_reader_here(reader->sections, &why);

    if (section && !limit->is_early) {
        return section_limit_add(reader, section, limit);
    }
    if (section) {
        note(reader, line, what, "phase=early counts what a log does not tell");
    } else {
        note(reader, line, what, apr_pstrcat(reader->p, "it stands in ", why, NULL));
    }
    return NULL;
}

static const char *cost_read(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words)
{
    const char *text = words->nelts == 1 ? word_at(words, 0) : "", *why;
    aq_section_t *section = aq_section_reader_here(reader->sections, &why);
    int is_expression = words->nelts > 0 && apr_cstr_casecmpn(word_at(words, 0), "expr=", 5) == 0;
    int64_t cost = 1;

    if (!is_expression && aq_cost_parse(text, &cost) != APR_SUCCESS) {
        return "allowed are a whole number from 1 to 4000000000, or expr=...";
    }
    if (!section) {
        note(reader, line, "APIQuotaCost is left out: it stands in ", why);
        return NULL;
    }
    if (is_expression) {
        note(reader, line, "APIQuotaCost is taken to be 1: ", "a log does not tell the expression");
    }
    section->cost = (uint32_t)cost;
    return NULL;
}

static const char *limit_read(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words)
{
    aq_limit_t *limit = NULL;
    const char *error;

    if (aq_limit_parse(reader->p, (const char *const *)(const void *)words->elts, words->nelts, &limit, &error) !=
        APR_SUCCESS) {
        return error;
    }
    if (!reader->open_plan) {
        return section_limit_read(reader, line, limit);
    }
    aq_limit_identify(limit, reader->secret);
    return aq_plan_limit_add(reader->p, reader->open_plan, limit, &error) == APR_SUCCESS ? NULL : error;
}

static const char *plan_begin(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words)
{
    char *name = words->nelts == 1 ? apr_pstrdup(reader->p, word_at(words, 0)) : NULL;
    size_t size = name ? strlen(name) : 0;
    const char *error;

    (void)line;
    if (reader->open_plan) {
        return "plans do not stand within plans";
    }
    if (size < 2 || name[size - 1] != '>') {
        return "a plan needs exactly one name, as in <APIQuotaPlan basic>";
    }
    name[size - 1] = '\0';
    if (apr_hash_get(reader->file->plans, name, APR_HASH_KEY_STRING)) {
        return apr_psprintf(reader->p, "a plan \"%s\" stands above already", name);
    }
    return aq_plan_create(reader->p, name, &reader->open_plan, &error) == APR_SUCCESS ? NULL : error;
}

static const char *plan_end(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words)
{
    (void)line;
    (void)words;
    if (!reader->open_plan) {
        return "there is no plan to close";
    }
    aq_plan_seal(reader->open_plan);
    apr_hash_set(reader->file->plans, reader->open_plan->name, APR_HASH_KEY_STRING, reader->open_plan);
    reader->open_plan = NULL;
    return NULL;
}

static const char *key_file_read(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words)
{
    if (words->nelts != 1) {
        return "it takes one file";
    }
    reader->file->key_file = aq_conf_path(reader->p, line, word_at(words, 0));
    return NULL;
}

static const char *default_plan_read(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words)
{
    const char *known = reader->file->default_plan;

    if (words->nelts != 1) {
        return "it takes one plan";
    }
    if (!known) {
        reader->file->default_plan = word_at(words, 0);
    } else if (strcmp(known, word_at(words, 0)) != 0) {
        APR_ARRAY_PUSH(reader->file->notes, const char *) =
            apr_psprintf(reader->p, "%s: another APIQuotaDefaultPlan stands above; it is \"%s\" that is followed",
                         line->place, known);
    }
    return NULL;
}

static const char *statuses_read(plan_reader_t *reader, const apr_array_header_t *words)
{
    reader->file->free_count = 0;
    if (words->nelts == 1 && apr_cstr_casecmp(word_at(words, 0), "none") == 0) {
        return NULL;
    }
    for (int i = 0; i < words->nelts; i++) {
        char *end;
        apr_int64_t status = apr_strtoi64(word_at(words, i), &end, 10);
        if (*end || status < 200 || status > 599 || i == AQ_PLAN_FILE_FREE_MAX) {
            return "allowed are none alone, or up to eight status codes from 200 to 599";
        }
        reader->file->free_statuses[reader->file->free_count++] = (int)status;
    }
    return words->nelts ? NULL : "it takes none or statuses";
}

static const char *free_read(plan_reader_t *reader, const aq_conf_line_t *line, const apr_array_header_t *words)
{
    const char *text = apr_array_pstrcat(reader->p, words, ' ');

    if (!reader->free_text) {
        reader->free_text = text;
        reader->free_place = line->place;
        return statuses_read(reader, words);
    }
    if (strcmp(text, reader->free_text) != 0) {
        APR_ARRAY_PUSH(reader->file->notes, const char *) =
            apr_psprintf(reader->p, "%s: another APIQuotaFree; for all requests that of %s is followed", line->place,
                         reader->free_place);
    }
    return NULL;
}

static const struct {
    const char *name;
    directive_fn *read;
} directives[] = {
    {"APIQuotaLimit", limit_read},
    {"<APIQuotaPlan", plan_begin},
    {"</APIQuotaPlan>", plan_end},
    {"APIQuotaCost", cost_read},
    {"APIQuotaKeyFile", key_file_read},
    {"APIQuotaFree", free_read},
    {"APIQuotaDefaultPlan", default_plan_read},
};

/* Limits by endpoint of a plan count by sections that have none of their own. */
static void section_see(plan_reader_t *reader, const aq_conf_line_t *line)
{
    const char *why;

    aq_section_reader_see(reader->sections, line);
    if (!reader->open_plan && apr_cstr_casecmpn(line->name, "APIQuota", 8) == 0) {
        (void)aq_section_reader_here(reader->sections, &why);
    }
}

static const char *line_read(void *data, const aq_conf_line_t *line)
{
    plan_reader_t *reader = data;
    apr_array_header_t *words;
    const char *error = NULL;

    section_see(reader, line);
    for (size_t i = 0; i < sizeof(directives) / sizeof(directives[0]); i++) {
        if (apr_cstr_casecmp(directives[i].name, line->name) != 0) {
            continue;
        }
        if (line->unknown_variable) {
            return apr_psprintf(reader->p, "%s: ${%s} is defined neither above nor in the environment", line->name,
                                line->unknown_variable);
        }
        error = aq_words_split(reader->p, line->arguments, &words);
        error = error ? error : directives[i].read(reader, line, words);
        return error ? apr_psprintf(reader->p, "%s: %s", line->name, error) : NULL;
    }
    if (reader->open_plan && line->name[0] != '<') {
        return apr_psprintf(reader->p, "%s is not allowed in a plan; allowed: APIQuotaLimit", line->name);
    }
    return NULL;
}

apr_status_t aq_plan_file_read(apr_pool_t *p, const char *path, const aq_hash_secret_t *secret, aq_plan_file_t **file,
                               const char **error)
{
    plan_reader_t reader = {.p = p, .secret = secret};

    reader.file = apr_pcalloc(p, sizeof(*reader.file));
    reader.sections = aq_section_reader_create(p);
    reader.file->plans = apr_hash_make(p);
    reader.file->notes = apr_array_make(p, 4, sizeof(const char *));
    reader.file->free_statuses[0] = 304;
    reader.file->free_count = 1;
    apr_status_t rv = aq_conf_lines_read(p, path, line_read, &reader, error);
    if (rv == APR_SUCCESS && reader.open_plan) {
        *error =
            apr_psprintf(p, "%s: the plan \"%s\" is not closed with </APIQuotaPlan>", path, reader.open_plan->name);
        rv = APR_EGENERAL;
    }
    reader.file->sections = aq_sections_create(p, aq_section_reader_list(reader.sections));
    *file = rv == APR_SUCCESS ? reader.file : NULL;
    return rv;
}
