/* SPDX-License-Identifier: Apache-2.0 */
/* Log reader. See log_reader.h. */
#include "ctl/log_reader.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const char *name;
    int fd;
    char *buffer;    /* AQ_LOG_LINE_MAX bytes */
    size_t from, to; /* what is read and not yet parsed */
    uint64_t line_number;
    int is_over;     /* the file's end was read */
    int is_skipping; /* within a line that is too long */
    int has_line;
    aq_log_line_t line;
} source_t;

struct aq_log_reader_t {
    apr_pool_t *p;
    aq_log_format_t *format;
    source_t *sources;
    int count;
    source_t *current; /* whose line was handed out; NULL: none */
    aq_log_reader_report_t report;
};

static void malformed(aq_log_reader_t *reader, const source_t *source, const char *reason)
{
    reader->report.malformed++;
    if (reader->report.examples->nelts < AQ_LOG_MALFORMED_SHOWN) {
        APR_ARRAY_PUSH(reader->report.examples, aq_log_malformed_t) =
            (aq_log_malformed_t){.file = source->name, .line = source->line_number, .reason = reason};
    }
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

static apr_status_t buffer_fill(aq_log_reader_t *reader, source_t *source, const char **error)
{
    ssize_t got;

    memmove(source->buffer, source->buffer + source->from, source->to - source->from);
    source->to -= source->from;
    source->from = 0;
    do {
        got = read(source->fd, source->buffer + source->to, AQ_LOG_LINE_MAX - source->to);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        apr_status_t rv = errno;
        *error = apr_psprintf(reader->p, "%s: %s", source->name, strerror(errno));
        return rv;
    }
    source->is_over = got == 0;
    source->to += (size_t)got;
    reader->report.bytes += (uint64_t)got;
    return APR_SUCCESS;
}

/* The next line without its newline; APR_EOF at the end. `*line` is NULL for the rest of one that is too long. */
static apr_status_t text_next(aq_log_reader_t *reader, source_t *source, const char **line, size_t *size,
                              const char **error)
{
    size_t searched = 0;

    for (;;) {
        char *at = source->buffer + source->from;
        size_t held = source->to - source->from;
        const char *newline = memchr(at + searched, '\n', held - searched);
        if (newline || (source->is_over && held > 0) || held == AQ_LOG_LINE_MAX) {
            *size = newline ? (size_t)(newline - at) : held;
            *line = source->is_skipping ? NULL : at;
            source->from += *size + (newline != NULL);
            if (!newline && !source->is_over && !source->is_skipping) {
                source->is_skipping = 1;
                return APR_SUCCESS;
            }
            source->is_skipping = source->is_skipping && !newline;
            return APR_SUCCESS;
        }
        if (source->is_over) {
            return APR_EOF;
        }
        searched = held;
        apr_status_t rv = buffer_fill(reader, source, error);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

/* Sets source->line to the next one that is of the format, and has_line to whether there is one. */
static apr_status_t source_advance(aq_log_reader_t *reader, source_t *source, const char **error)
{
    const char *text;
    size_t size;
    apr_status_t rv;

    source->has_line = 0;
    while ((rv = text_next(reader, source, &text, &size, error)) == APR_SUCCESS) {
        if (!text) {
            continue;
        }
        source->line_number++;
        size -= size > 0 && text[size - 1] == '\r';
        if (size == 0) {
            continue;
        }
        reader->report.lines++;
        const char *reason = source->is_skipping ? "it is longer than 256 kB"
                                                 : aq_log_line_parse(reader->format, text, size, &source->line);
        if (!reason) {
            source->has_line = 1;
            return APR_SUCCESS;
        }
        malformed(reader, source, reason);
    }
    return rv == APR_EOF ? APR_SUCCESS : rv;
}

apr_status_t aq_log_reader_next(aq_log_reader_t *reader, const aq_log_line_t **line, const char **error)
{
    source_t *oldest = NULL;

    *line = NULL;
    *error = NULL;
    if (reader->current) {
        apr_status_t rv = source_advance(reader, reader->current, error);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    for (int i = 0; i < reader->count; i++) {
        source_t *source = &reader->sources[i];
        if (source->has_line && (!oldest || source->line.time_ms < oldest->line.time_ms)) {
            oldest = source;
        }
    }
    reader->current = oldest;
    *line = oldest ? &oldest->line : NULL;
    return oldest ? APR_SUCCESS : APR_EOF;
}

const aq_log_reader_report_t *aq_log_reader_report(const aq_log_reader_t *reader)
{
    return &reader->report;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static apr_status_t sources_close(void *data)
{
    aq_log_reader_t *reader = data;

    for (int i = 0; i < reader->count; i++) {
        if (reader->sources[i].fd > STDERR_FILENO) {
            (void)close(reader->sources[i].fd); /* it was only read */
        }
    }
    return APR_SUCCESS;
}

static apr_status_t source_open(aq_log_reader_t *reader, source_t *source, const char *path, const char **error)
{
    struct stat info;
    int is_stdin = strcmp(path, "-") == 0;

    source->name = is_stdin ? "standard input" : path;
    source->buffer = apr_palloc(reader->p, AQ_LOG_LINE_MAX);
    source->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0 || fstat(source->fd, &info) != 0) {
        apr_status_t rv = errno;
        *error = apr_psprintf(reader->p, "%s: %s", source->name, strerror(errno));
        return rv;
    }
    if (S_ISREG(info.st_mode)) {
        reader->report.size += (uint64_t)info.st_size;
    }
    return source_advance(reader, source, error);
}

apr_status_t aq_log_reader_open(apr_pool_t *p, aq_log_format_t *format, const char *const *paths, int count,
                                aq_log_reader_t **reader, const char **error)
{
    aq_log_reader_t *made = apr_pcalloc(p, sizeof(*made));
    apr_status_t rv = APR_SUCCESS;

    *error = NULL;
    made->p = p;
    made->format = format;
    made->count = count;
    made->sources = apr_pcalloc(p, (apr_size_t)count * sizeof(source_t));
    made->report.examples = apr_array_make(p, AQ_LOG_MALFORMED_SHOWN, sizeof(aq_log_malformed_t));
    for (int i = 0; i < count; i++) {
        made->sources[i].fd = -1;
    }
    apr_pool_cleanup_register(p, made, sources_close, apr_pool_cleanup_null);
    for (int i = 0; rv == APR_SUCCESS && i < count; i++) {
        rv = source_open(made, &made->sources[i], paths[i], error);
    }
    *reader = rv == APR_SUCCESS ? made : NULL;
    return rv;
}
