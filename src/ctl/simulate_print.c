/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of apiquotactl simulate for eyes: three tables, and what is to be known with them. */
#include "ctl/simulate.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

#define SUBJECTS_PRINTED 20

/* "2026-11-22T10:00:05.000Z" as "2026-11-22 10:00:05", or to the minute. */
static const char *time_text(apr_pool_t *p, const json_t *row, const char *member, size_t size)
{
    const char *text = aq_json_string(row, member);
    char *out = text ? apr_pstrmemdup(p, text, size) : NULL;

    if (out && strlen(out) > 10) {
        out[10] = ' ';
    }
    return out;
}

static json_int_t number(const json_t *object, const char *member)
{
    return json_integer_value(json_object_get(object, member));
}

/* A row with its times short, and the worst minute and its number in one. */
static json_t *row_shorten(apr_pool_t *p, json_t *row)
{
    json_t *copy = json_copy(row);
    const char *minute = time_text(p, row, "worst_minute", 16);

    (void)json_object_update_new(copy, json_pack("{s:s?, s:s?, s:s?}", "first", time_text(p, row, "first", 19), "last",
                                                 time_text(p, row, "last", 19), "worst_minute",
                                                 minute ? apr_psprintf(p, "%s: %" APR_INT64_T_FMT, minute,
                                                                       (apr_int64_t)number(row, "worst_minute_refused"))
                                                        : NULL));
    return copy;
}

/* A section's own limit is shown with its path. */
static void limit_row_extend(apr_pool_t *p, json_t *row)
{
    const char *share, *section = aq_json_string(row, "section");
    json_t *wanted;

    json_object_foreach(json_object_get(row, "limit_for"), share, wanted)
    {
        int is_exact = json_is_true(json_object_get(wanted, "is_exact"));
        const char *text =
            json_is_object(wanted)
                ? apr_psprintf(p, "%s%" APR_INT64_T_FMT, is_exact ? "" : "<=", (apr_int64_t)number(wanted, "limit"))
                : "-";
        (void)json_object_set_new(row, share, json_string(text));
    }
    if (section && *section) {
        (void)json_object_set_new(row, "limit", json_sprintf("%s of %s", aq_json_string(row, "limit"), section));
    }
    (void)json_object_set_new(row, "who",
                              json_sprintf("%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
                                           number(row, "subjects_refused"), number(row, "subjects")));
}

/* At most `most` rows of a table of the answer. */
static void rows_print(apr_pool_t *p, const json_t *rows, size_t most, const aq_ctl_column_t *columns)
{
    json_t *shown = json_array(), *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (i < most) {
            json_t *copy = row_shorten(p, row);
            limit_row_extend(p, copy);
            (void)json_array_append_new(shown, copy);
        }
    }
    if (json_array_size(shown) > 0) {
        (void)putchar('\n');
        aq_ctl_table_print(p, shown, columns);
    }
    if (json_array_size(rows) > most) {
        (void)printf("and %zu more (--json has all)\n", json_array_size(rows) - most);
    }
    json_decref(shown);
}

/* A sentence for each number that is not 0. */
static void lines_print(apr_pool_t *p, const json_t *answer)
{
    static const struct {
        const char *member, *text;
    } kinds[] = {
        {"free", "had a status that is free: their charge was given back"},
        {"late", "came more than a minute out of order: they count at the time of the lines before them"},
        {"without_request", "ended without a request"},
        {"unidentified", "belong to nobody whose plan is known"},
        {"malformed", "are not of the log format"},
    };
    const json_t *lines = json_object_get(answer, "lines");
    const char *from = time_text(p, answer, "from", 19), *to = time_text(p, answer, "to", 19);

    (void)printf("%" JSON_INTEGER_FORMAT " lines, %" JSON_INTEGER_FORMAT " replayed", number(lines, "read"),
                 number(lines, "replayed"));
    (void)printf(from ? ": %s to %s UTC\n" : "\n", from, to);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (number(lines, kinds[i].member) > 0) {
            (void)printf("%" JSON_INTEGER_FORMAT " %s\n", number(lines, kinds[i].member), kinds[i].text);
        }
    }
}

static void texts_print(apr_pool_t *p, const char *title, const json_t *texts)
{
    const aq_ctl_column_t columns[] = {{title, "text"}, {.heading = NULL}};
    json_t *rows = json_array();
    const json_t *text;
    size_t i;

    json_array_foreach(texts, i, text)
    {
        (void)json_array_append_new(rows, json_pack("{s:O}", "text", text));
    }
    if (json_array_size(rows) > 0) {
        (void)putchar('\n');
        aq_ctl_table_print(p, rows, columns);
    }
    json_decref(rows);
}

void aq_simulate_print(apr_pool_t *p, const json_t *answer)
{
    static const aq_ctl_column_t of_plans[] = {
        {"PLAN", "plan"},   {"REQUESTS", "requests"}, {"REFUSED", "refused"},           {"SHARE", "share"},
        {"FIRST", "first"}, {"LAST", "last"},         {"WORST MINUTE", "worst_minute"}, {.heading = NULL}};
    static const aq_ctl_column_t of_limits[] = {{"PLAN", "plan"}, {"LIMIT", "limit"},     {"RATE", "rate"},
                                                {"PER", "per"},   {"REFUSED", "refused"}, {"SHARE", "share"},
                                                {"WHO", "who"},   {"PEAK", "peak"},       {"0.1 %", "0.1 %"},
                                                {"1 %", "1 %"},   {"5 %", "5 %"},         {.heading = NULL}};
    static const aq_ctl_column_t of_subjects[] = {{"PLAN", "plan"},         {"LIMIT", "limit"},
                                                  {"PER", "per"},           {"WHO", "subject"},
                                                  {"REQUESTS", "requests"}, {"REFUSED", "refused"},
                                                  {"SHARE", "share"},       {"FIRST", "first"},
                                                  {"LAST", "last"},         {"WORST MINUTE", "worst_minute"},
                                                  {.heading = NULL}};
    static const aq_ctl_column_t of_malformed[] = {
        {"MALFORMED", "file"}, {"LINE", "line"}, {"REASON", "reason"}, {.heading = NULL}};
    const json_t *lines = json_object_get(answer, "lines");

    lines_print(p, answer);
    rows_print(p, json_object_get(answer, "plans"), SIZE_MAX, of_plans);
    rows_print(p, json_object_get(answer, "limits"), SIZE_MAX, of_limits);
    rows_print(p, json_object_get(answer, "subjects"), SUBJECTS_PRINTED, of_subjects);
    rows_print(p, json_object_get(lines, "malformed_examples"), SIZE_MAX, of_malformed);
    texts_print(p, "UNKNOWN USERS", json_object_get(lines, "unknown_users"));
    texts_print(p, "NOTES", json_object_get(answer, "notes"));
}
