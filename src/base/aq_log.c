/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log seam: formats a line, takes the control characters out of it, and passes it to the sink of the process.
 */
#include "base/aq_log.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE_SIZE 2048

static void stderr_sink(void *sink_data, aq_log_level_t level, unsigned number, apr_status_t status, const char *text)
{
    static const char *const names[] = {
        [AQ_LOG_CRIT] = "crit",     [AQ_LOG_ERROR] = "error", [AQ_LOG_WARNING] = "warning",
        [AQ_LOG_NOTICE] = "notice", [AQ_LOG_INFO] = "info",   [AQ_LOG_DEBUG] = "debug"};
    char reason[256] = "";

    (void)sink_data;
    if (status != APR_SUCCESS) {
        (void)apr_strerror(status, reason, sizeof(reason));
    }
    /* A log that cannot be written has nowhere to say so. */
    (void)fprintf(stderr, "[apiquota:%s] AQ%05u: %s%s%s\n", names[level], number, text, reason[0] ? ": " : "", reason);
}

static struct {
    aq_log_sink_fn *sink;
    void *sink_data;
    aq_log_level_t least;
} state = {.sink = stderr_sink, .least = AQ_LOG_INFO};

void aq_log_sink_set(aq_log_sink_fn *sink, void *sink_data)
{
    state.sink = sink ? sink : stderr_sink;
    state.sink_data = sink_data;
}

void aq_log_level_set(aq_log_level_t least)
{
    state.least = least;
}

/* A name from a file or a client must not be able to begin a line of its own, or to steer a terminal. */
static void escape_controls(char out[LINE_SIZE], const char *in)
{
    static const char digits[] = "0123456789abcdef";
    size_t size = 0;

    for (; *in && size + 4 < LINE_SIZE; in++) {
        unsigned char c = (unsigned char)*in;
        if (c >= 0x20 && c != 0x7f) {
            out[size++] = *in;
            continue;
        }
        out[size++] = '\\';
        out[size++] = 'x';
        out[size++] = digits[c >> 4];
        out[size++] = digits[c & 15];
    }
    out[size] = '\0';
}

void aq_log_write(aq_log_level_t level, unsigned number, apr_status_t status, const char *format, ...)
{
    char raw[LINE_SIZE], line[LINE_SIZE];
    va_list arguments;

    if (level > state.least) {
        return;
    }
    va_start(arguments, format);
    int size = vsnprintf(raw, sizeof(raw), format, arguments);
    va_end(arguments);
    if (size < 0) {
        raw[0] = '\0';
    }
    escape_controls(line, raw);
    state.sink(state.sink_data, level, number, status, line);
}
