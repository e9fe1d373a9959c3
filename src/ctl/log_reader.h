/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log reader: the lines of one or several access logs, parsed, as one log.
 *
 * Of several files the next line is always the oldest of those at hand, so that rotated files may be given in any order,
 * and those of virtual hosts side by side. Files are read piece by piece; a line longer than the piece, and one that is
 * none of the format, is counted and skipped.
 */
#ifndef AQ_LOG_READER_H
#define AQ_LOG_READER_H

#include "ctl/log_format.h"

#include <apr_tables.h>

#define AQ_LOG_LINE_MAX ((size_t)256 * 1024)
#define AQ_LOG_MALFORMED_SHOWN 5

typedef struct {
    const char *file;
    uint64_t line;
    const char *reason;
} aq_log_malformed_t;

typedef struct {
    uint64_t lines, malformed;    /* read so far; empty lines are not counted */
    apr_array_header_t *examples; /* of aq_log_malformed_t: the first few */
    uint64_t bytes, size;         /* read so far, and of all files; 0: not known, as of a pipe */
} aq_log_reader_report_t;

typedef struct aq_log_reader_t aq_log_reader_t;

/*
 * Opens `count` files ("-": standard input), which are closed with `p`. APR_SUCCESS; or a status and a sentence in `p` at
 * `*error`.
 */
apr_status_t aq_log_reader_open(apr_pool_t *p, aq_log_format_t *format, const char *const *paths, int count,
                                aq_log_reader_t **reader, const char **error);

/*
 * The next line, good until the next call; APR_EOF behind the last one; another status and `*error` where a file cannot
 * be read. Not thread-safe.
 */
apr_status_t aq_log_reader_next(aq_log_reader_t *reader, const aq_log_line_t **line, const char **error);

/* How far it is. Owned by the reader. */
const aq_log_reader_report_t *aq_log_reader_report(const aq_log_reader_t *reader);

#endif
