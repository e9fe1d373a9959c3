/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: what it prints. What a file, a client or a receiver may have put into a text never works on the terminal:
 * see order_at().
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

/* ---- what must not reach a terminal ------------------------------------------------------------------------------- */

/*
 * The bytes of the character at `at`, and which it is, where a terminal could take it for an order or a reader for other
 * text than it is: control characters, also those of U+0080 to U+009F, line separators, and marks that turn the
 * direction of writing (Unicode TR 36). 0: it is none of them.
 */
static int order_at(const char *at, unsigned *codepoint)
{
    const unsigned char *bytes = (const unsigned char *)at;

    *codepoint = bytes[0];
    if (bytes[0] < 0x20 || bytes[0] == 0x7f) {
        return 1;
    }
    if (bytes[0] == 0xc2 && bytes[1] >= 0x80 && bytes[1] < 0xa0) {
        *codepoint = bytes[1];
        return 2;
    }
    if (bytes[0] == 0xe2 && ((bytes[1] == 0x80 && bytes[2] >= 0xa8 && bytes[2] <= 0xae) ||
                             (bytes[1] == 0x81 && bytes[2] >= 0xa6 && bytes[2] <= 0xa9))) {
        *codepoint = 0x2000U | (bytes[1] & 0x3fU) << 6 | (bytes[2] & 0x3fU);
        return 3;
    }
    return 0;
}

/* Each such character becomes one that takes room; line ends stay where `keeps_lines`. */
static void orders_replace(char *text, int keeps_lines)
{
    char *to = text;
    unsigned codepoint;

    while (*text) {
        const int size = keeps_lines && *text == '\n' ? 0 : order_at(text, &codepoint);
        *to = *text;
        if (size > 0) {
            *to = '?';
        }
        to++;
        text += size > 0 ? size : 1;
    }
    *to = '\0';
}

/* A piece of JSON, which jansson never ends within a character. Of control characters it leaves those beyond ASCII. */
static int json_piece_write(const char *piece, size_t size, void *to)
{
    unsigned codepoint;

    for (const char *end = piece + size; piece < end;) {
        const int order = *piece == '\n' ? 0 : order_at(piece, &codepoint);
        if (order > 0 ? fprintf(to, "\\u%04x", codepoint) < 0 : fputc(*piece, to) == EOF) {
            return -1;
        }
        piece += order > 0 ? order : 1;
    }
    return 0;
}

/* ---- errors ------------------------------------------------------------------------------------------------------- */

aq_ctl_exit_t aq_ctl_fail(aq_ctl_exit_t code, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    orders_replace(text, 0);
    (void)fprintf(stderr, "apiquotactl: %s\n", text);
    return code;
}

aq_ctl_exit_t aq_ctl_fail_with(const char *what, apr_status_t rv)
{
    char reason[128];

    return aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", what, apr_strerror(rv, reason, sizeof(reason)));
}

aq_ctl_exit_t aq_ctl_output_end(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "standard output: %s", strerror(errno));
    }
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_json_print(json_t *answer)
{
    if (!answer) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "no memory");
    }
    int failed = json_dump_callback(answer, json_piece_write, stdout, JSON_INDENT(2));

    (void)putchar('\n');
    json_decref(answer);
    return failed ? aq_ctl_fail(AQ_CTL_REFUSED, "the answer cannot be written as JSON") : aq_ctl_output_end();
}

/* What a table shows of a value. */
static const char *cell_text(apr_pool_t *p, const json_t *value)
{
    const json_type type = value ? json_typeof(value) : JSON_NULL;
    const char *text = "";
    const json_t *item;
    size_t i;

    switch (type) {
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
    orders_replace(clean, 0);
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
        {"refused", RED},  {"delivered", GREEN}, {"pending", YELLOW},   {"dropped", RED},
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
    if (!answer || ctl->is_json) {
        return aq_ctl_json_print(answer);
    }
    aq_ctl_table_print(ctl->p, json_object_get(answer, rows), columns);
    json_decref(answer);
    return aq_ctl_output_end();
}

aq_ctl_exit_t aq_ctl_answer_print(const aq_ctl_t *ctl, json_t *answer, const char *sentence)
{
    if (!answer || ctl->is_json) {
        return aq_ctl_json_print(answer);
    }
    json_decref(answer);
    if (sentence) {
        char *clean = apr_pstrdup(ctl->p, sentence);
        orders_replace(clean, 1);
        (void)printf("%s\n", clean);
    }
    return aq_ctl_output_end();
}
