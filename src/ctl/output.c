/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: what it prints. Control characters, which a file may hold, never reach a terminal.
 */
#include "ctl/ctl.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

static void cell_print(const char *text, int width, int is_last)
{
    (void)printf("%s%*s", text, is_last ? 0 : width - width_of(text) + 2, is_last ? "\n" : "");
}

void aq_ctl_table_print(apr_pool_t *p, const json_t *rows, const aq_ctl_column_t *columns)
{
    int widths[COLUMNS_MAX], count = 0;
    const json_t *row;
    size_t i;

    for (; count < COLUMNS_MAX && columns[count].heading; count++) {
        widths[count] = width_of(columns[count].heading);
        json_array_foreach(rows, i, row)
        {
            int width = width_of(cell_text(p, json_object_get(row, columns[count].member)));
            widths[count] = width > widths[count] ? width : widths[count];
        }
    }
    for (int c = 0; c < count; c++) {
        cell_print(columns[c].heading, widths[c], c == count - 1);
    }
    json_array_foreach(rows, i, row)
    {
        for (int c = 0; c < count; c++) {
            cell_print(cell_text(p, json_object_get(row, columns[c].member)), widths[c], c == count - 1);
        }
    }
}

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
