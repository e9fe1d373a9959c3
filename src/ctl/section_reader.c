/* SPDX-License-Identifier: Apache-2.0 */
/* Section reader. See section_reader.h. */
#include "ctl/section_reader.h"

#include "base/aq_words.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <string.h>

typedef enum { KIND_OTHER, KIND_HELD, KIND_HOST, KIND_LOCATION } kind_t;

static const struct {
    const char *name;
    kind_t kind;
} kinds[] = {
    {"VirtualHost", KIND_HOST}, {"Location", KIND_LOCATION}, {"IfModule", KIND_HELD},    {"IfDefine", KIND_HELD},
    {"IfVersion", KIND_HELD},   {"IfFile", KIND_HELD},       {"IfDirective", KIND_HELD}, {"IfSection", KIND_HELD},
};

/* A section that is open. */
typedef struct {
    const char *name; /* "Location" */
    const char *place;
    const char *path; /* KIND_LOCATION */
    kind_t kind;
    aq_section_t *section; /* made when first asked for */
} open_t;

/* In the order in which httpd merges them: levels of servers before sections, the main server before the host. */
enum { RANK_SERVER, RANK_HOST, RANK_LOCATION, RANK_HOST_LOCATION, RANK_COUNT };

struct aq_section_reader_t {
    apr_pool_t *p;
    apr_array_header_t *open;              /* of open_t; the first is the main server */
    apr_array_header_t *ranks[RANK_COUNT]; /* of aq_section_t * */
    const char *host_place;                /* of the virtual host that is followed; NULL: none yet */
    int count;
};

aq_section_reader_t *aq_section_reader_create(apr_pool_t *p)
{
    aq_section_reader_t *reader = apr_pcalloc(p, sizeof(*reader));

    reader->p = p;
    reader->open = apr_array_make(p, 8, sizeof(open_t));
    APR_ARRAY_PUSH(reader->open, open_t) = (open_t){.name = "", .path = "", .kind = KIND_HOST};
    for (int i = 0; i < RANK_COUNT; i++) {
        reader->ranks[i] = apr_array_make(p, 4, sizeof(aq_section_t *));
    }
    return reader;
}

/* ---- what is open ----------------------------------------------------------------------------------------------- */

static kind_t kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (apr_cstr_casecmp(kinds[i].name, name) == 0) {
            return kinds[i].kind;
        }
    }
    return KIND_OTHER;
}

/* The path of `<Location "/v1">`; NULL where it is none, as with "~" and an expression. */
static const char *path_of(apr_pool_t *p, const aq_conf_line_t *line)
{
    const char *end = strrchr(line->arguments, '>');
    apr_array_header_t *words;

    if (!end || line->unknown_variable ||
        aq_words_split(p, apr_pstrmemdup(p, line->arguments, (size_t)(end - line->arguments)), &words) ||
        words->nelts != 1) {
        return NULL;
    }
    return APR_ARRAY_IDX(words, 0, const char *);
}

static void section_open(aq_section_reader_t *reader, const aq_conf_line_t *line)
{
    const char *name = apr_pstrmemdup(reader->p, line->name + 1, strcspn(line->name + 1, ">"));
    open_t opened = {.name = name, .place = line->place, .path = "", .kind = kind_of(name)};

    if (opened.kind == KIND_LOCATION) {
        opened.path = path_of(reader->p, line);
        opened.kind = opened.path ? KIND_LOCATION : KIND_OTHER;
    }
    APR_ARRAY_PUSH(reader->open, open_t) = opened;
}

/* What httpd would complain of, a section that was not opened, closes nothing. */
static void section_close(aq_section_reader_t *reader, const aq_conf_line_t *line)
{
    const char *name = apr_pstrmemdup(reader->p, line->name + 2, strcspn(line->name + 2, ">"));

    for (int i = reader->open->nelts - 1; i > 0; i--) {
        if (apr_cstr_casecmp(APR_ARRAY_IDX(reader->open, i, open_t).name, name) == 0) {
            reader->open->nelts = i;
            return;
        }
    }
}

void aq_section_reader_see(aq_section_reader_t *reader, const aq_conf_line_t *line)
{
    if (line->name[0] == '<' && line->name[1] == '/') {
        section_close(reader, line);
    } else if (line->name[0] == '<') {
        section_open(reader, line);
    }
}

/* ---- where a directive stands ----------------------------------------------------------------------------------- */

/* The innermost section and the virtual host around it (NULL: the main server). NULL and `*why` as from outside. */
static open_t *innermost_find(aq_section_reader_t *reader, const open_t **host, const char **why)
{
    open_t *inner = NULL;

    *host = NULL;
    for (int i = 0; i < reader->open->nelts; i++) {
        open_t *open = &APR_ARRAY_IDX(reader->open, i, open_t);
        if (open->kind == KIND_HELD) {
            continue;
        }
        if (open->kind == KIND_OTHER || (inner && inner->kind == KIND_LOCATION)) {
            *why = apr_psprintf(reader->p, "<%s> (%s), of which a log does not tell which requests it is for",
                                open->name, open->place);
            return NULL;
        }
        *host = i > 0 && open->kind == KIND_HOST ? open : *host;
        inner = open;
    }
    return inner;
}

/* 1 where the host is the one that is followed. */
static int host_follow(aq_section_reader_t *reader, const open_t *host)
{
    if (!host) {
        return 1;
    }
    reader->host_place = reader->host_place ? reader->host_place : host->place;
    return strcmp(reader->host_place, host->place) == 0;
}

aq_section_t *aq_section_reader_here(aq_section_reader_t *reader, const char **why)
{
    const open_t *host;
    open_t *inner = innermost_find(reader, &host, why);

    if (!inner || inner->section) {
        return inner ? inner->section : NULL;
    }
    if (!host_follow(reader, host)) {
        *why = apr_psprintf(reader->p, "another virtual host than the one that is followed (%s)", reader->host_place);
        return NULL;
    }
    if (reader->count == AQ_SECTIONS_MAX) {
        *why = apr_psprintf(reader->p, "one section more than the %d that can be followed", AQ_SECTIONS_MAX);
        return NULL;
    }
    reader->count++;
    inner->section = apr_pcalloc(reader->p, sizeof(*inner->section));
    inner->section->path = inner->path;
    int rank = (inner->kind == KIND_LOCATION ? RANK_LOCATION : RANK_SERVER) + (host != NULL);
    APR_ARRAY_PUSH(reader->ranks[rank], aq_section_t *) = inner->section;
    return inner->section;
}

apr_array_header_t *aq_section_reader_list(const aq_section_reader_t *reader)
{
    apr_array_header_t *list = apr_array_make(reader->p, AQ_SECTIONS_MAX, sizeof(aq_section_t *));

    for (int rank = 0; rank < RANK_COUNT; rank++) {
        for (int i = 0; i < reader->ranks[rank]->nelts; i++) {
            aq_section_t *section = APR_ARRAY_IDX(reader->ranks[rank], i, aq_section_t *);
            if (*section->path || section->limits || section->cost > 0) {
                APR_ARRAY_PUSH(list, aq_section_t *) = section;
            }
        }
    }
    return list;
}
