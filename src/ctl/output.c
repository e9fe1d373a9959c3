/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: what it prints. Control characters, which a file may hold, never reach a terminal.
 */
#include "ctl/ctl.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLUMNS_MAX 12

static void controls_replace(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

aq_ctl_exit_t aq_ctl_fail(aq_ctl_exit_t code, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    controls_replace(text);
    (void)fprintf(stderr, "apiquotactl: %s\n", text);
    return code;
}

aq_ctl_exit_t aq_ctl_fail_with(const char *what, apr_status_t rv)
{
    char reason[128];

    return aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", what, apr_strerror(rv, reason, sizeof(reason)));
}

/* A full disk or a closed pipe behind standard output is a failure too. */
static aq_ctl_exit_t flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "standard output: %s", strerror(errno));
    }
    return AQ_CTL_DONE;
}

static aq_ctl_exit_t json_print(json_t *answer)
{
    /* jansson escapes control characters; the rest is UTF-8. */
    int failed = json_dumpf(answer, stdout, JSON_INDENT(2));

    (void)putchar('\n');
    json_decref(answer);
    return failed ? aq_ctl_fail(AQ_CTL_REFUSED, "the answer cannot be written as JSON") : flush();
}

/* What a table shows of a value. */
static const char *cell_text(apr_pool_t *p, const json_t *value)
{
    const char *text = "";
    const json_t *item;
    size_t i;

    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING:
        text = json_string_value(value);
        break;
    case JSON_INTEGER:
        /* APR knows no "%lld", which jansson would have it print with. */
        return apr_psprintf(p, "%" APR_INT64_T_FMT, (apr_int64_t)json_integer_value(value));
    case JSON_TRUE:
        return "yes";
    case JSON_FALSE:
        return "no";
    case JSON_ARRAY:
        json_array_foreach(value, i, item)
        {
            text = apr_pstrcat(p, text, i > 0 ? "," : "", cell_text(p, item), NULL);
        }
        break;
    case JSON_REAL: /* a share */
        return apr_psprintf(p, "%.2f %%", json_real_value(value) * 100);
    case JSON_OBJECT:
    case JSON_NULL:
        break;
    }
    char *clean = apr_pstrdup(p, text[0] ? text : "-");
    controls_replace(clean);
    return clean;
}

/* Characters, not bytes: UTF-8's following bytes take no room. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

/* Colour is for people: on a terminal that knows it, and not where NO_COLOR (no-color.org) says that they want none. */
static int is_coloured(void)
{
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(none && none[0]) && terminal && strcmp(terminal, "dumb") != 0;
}

#define BOLD "1"
#define RED "31"
#define GREEN "32"
#define YELLOW "33"

/* The colour of a word that stands for a state; NULL: none. */
static const char *colour_of(const char *text)
{
    static const struct {
        const char *word, *colour;
    } states[] = {
        {"active", GREEN}, {"succeeded", GREEN}, {"good", GREEN},       {"queued", YELLOW}, {"running", YELLOW},
        {"expired", RED},  {"disabled", RED},    {"canceling", YELLOW}, {"canceled", RED},  {"failed", RED},
    };

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(states[i].word, text) == 0) {
            return states[i].colour;
        }
    }
    return NULL;
}

typedef struct {
    int width;
    int is_number; /* numbers stand to the right */
} measure_t;

static void cell_print(const char *text, const measure_t *measure, int is_last, const char *colour)
{
    const int room = measure->width - width_of(text), is_number = measure->is_number;

    (void)printf("%*s", is_number ? room : 0, "");
    if (colour) {
        (void)printf("\033[%sm%s\033[0m", colour, text);
    } else {
        (void)fputs(text, stdout);
    }
    (void)printf("%*s", is_last ? 0 : (is_number ? 0 : room) + 2, is_last ? "\n" : "");
}

/* How wide a column is. One whose values are all numbers, or none, is one of numbers. */
static measure_t measure_of(apr_pool_t *p, const json_t *rows, const aq_ctl_column_t *column)
{
    measure_t measure = {.width = width_of(column->heading)};
    int numbers = 0, others = 0;
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        const json_t *value = json_object_get(row, column->member);
        const int width = width_of(cell_text(p, value));
        measure.width = width > measure.width ? width : measure.width;
        numbers += json_is_number(value);
        others += value && !json_is_number(value) && !json_is_null(value);
    }
    measure.is_number = numbers > 0 && others == 0;
    return measure;
}

void aq_ctl_table_print(apr_pool_t *p, const json_t *rows, const aq_ctl_column_t *columns)
{
    const int with_colour = is_coloured();
    measure_t measures[COLUMNS_MAX];
    int count = 0;
    const json_t *row;
    size_t i;

    for (; count < COLUMNS_MAX && columns[count].heading; count++) {
        measures[count] = measure_of(p, rows, &columns[count]);
    }
    for (int c = 0; c < count; c++) {
        cell_print(columns[c].heading, &measures[c], c == count - 1, with_colour ? BOLD : NULL);
    }
    json_array_foreach(rows, i, row)
    {
        for (int c = 0; c < count; c++) {
            const char *text = cell_text(p, json_object_get(row, columns[c].member));
            cell_print(text, &measures[c], c == count - 1, with_colour ? colour_of(text) : NULL);
        }
    }
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

aq_ctl_exit_t aq_ctl_rows_print(const aq_ctl_t *ctl, json_t *answer, const char *rows, const aq_ctl_column_t *columns)
{
    if (!answer) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "no memory");
    }
    if (ctl->is_json) {
        return json_print(answer);
    }
    aq_ctl_table_print(ctl->p, json_object_get(answer, rows), columns);
    json_decref(answer);
    return flush();
}

aq_ctl_exit_t aq_ctl_answer_print(const aq_ctl_t *ctl, json_t *answer, const char *sentence)
{
    if (!answer) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "no memory");
    }
    if (ctl->is_json) {
        return json_print(answer);
    }
    json_decref(answer);
    if (sentence) {
        (void)printf("%s\n", sentence);
    }
    return flush();
}
