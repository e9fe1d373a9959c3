/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/exec_lines.h"

#include "base/aq_log.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <string.h>

/* One number, and white space before it; -1 for anything else. */
static int64_t number_take(char **at)
{
    char *end;

    *at += strspn(*at, " \t\r");
    errno = 0;
    int64_t number = apr_isdigit(**at) ? apr_strtoi64(*at, &end, 10) : -1;
    if (number < 0 || errno != 0 || (*end != '\0' && strchr(" \t\r", *end) == NULL)) {
        return -1;
    }
    *at = end;
    return number;
}

/* "DONE TOTAL [FAILED]". A line of another form says nothing. */
static void progress_read(aq_exec_lines_t *lines)
{
    char *at = lines->line;
    int64_t done = number_take(&at);
    int64_t total = done >= 0 ? number_take(&at) : -1;
    int64_t failed = 0;

    at += strspn(at, " \t\r");
    if (total >= 0 && *at != '\0') {
        failed = number_take(&at);
        at += strspn(at, " \t\r");
    }
    if (total < 0 || failed < 0 || *at != '\0') {
        return;
    }
    lines->is_new |= done != lines->done || total != lines->total || failed != lines->failed;
    lines->done = done;
    lines->total = total;
    lines->failed = failed;
}

static void line_log(aq_exec_lines_t *lines)
{
    for (char *c = lines->line; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = ' ';
        }
    }
    if (lines->lines <= AQ_EXEC_LOG_LINES_MAX) {
        AQ_LOG(AQ_LOG_NOTICE, 643, APR_SUCCESS, "batch %s: the program says: %s", lines->batch_id,
               lines->lines < AQ_EXEC_LOG_LINES_MAX ? lines->line : "more, which is not logged");
    }
}

static void line_end(aq_exec_lines_t *lines)
{
    lines->line[lines->length] = '\0';
    if (lines->batch_id == NULL) {
        progress_read(lines);
    } else if (lines->length > 0) {
        line_log(lines);
        lines->lines++;
    }
    lines->length = 0;
}

void aq_exec_lines_add(aq_exec_lines_t *lines, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n') {
            line_end(lines);
        } else if (lines->length < sizeof lines->line - 1) {
            lines->line[lines->length++] = data[i];
        }
    }
}
