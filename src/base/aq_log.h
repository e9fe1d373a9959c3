/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log seam: how the library says what an operator must know.
 *
 * The library does not know where its lines go. httpd's error log, the worker's standard error and the tests each set a
 * sink. Every message has a number of its own (AQ00042), never reused, so that an operator can search for it and a test
 * can expect it; `make lint` proves that no number stands twice. No key, password or body is ever passed to a log call.
 *
 * Number ranges: base 1-99, limit 100-199, identity 200-299, store 300-499, batch 500-599, worker 600-699, ctl 700-799,
 * httpd 1000-1999.
 */
#ifndef AQ_LOG_H
#define AQ_LOG_H

#include <apr_errno.h>

/* Ordered as syslog and httpd order them, so that a sink may map by value. */
typedef enum {
    AQ_LOG_CRIT = 2,
    AQ_LOG_ERROR = 3,
    AQ_LOG_WARNING = 4,
    AQ_LOG_NOTICE = 5,
    AQ_LOG_INFO = 6,
    AQ_LOG_DEBUG = 7
} aq_log_level_t;

/*
 * A sink. `number` is the message's own number; `text` is the formatted message, one line, already without control
 * characters, valid during the call only. `status` is APR_SUCCESS where there is no error code to show. May be called
 * from any thread.
 */
typedef void aq_log_sink_fn(void *sink_data, aq_log_level_t level, unsigned number, apr_status_t status,
                            const char *text);

/*
 * Sets the sink of this process; NULL restores the first one, which writes to standard error. Not thread-safe: call it
 * before threads start. `sink_data` must live as long as the sink is set.
 */
void aq_log_sink_set(aq_log_sink_fn *sink, void *sink_data);

/* The least important level that is passed to the sink (default AQ_LOG_INFO). Same rules as aq_log_sink_set. */
void aq_log_level_set(aq_log_level_t least);

/* Formats and passes one line to the sink. Lines longer than 2 kB are cut. Use AQ_LOG. */
void aq_log_write(aq_log_level_t level, unsigned number, apr_status_t status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* AQ_LOG(AQ_LOG_ERROR, 301, rv, "counter file %s: …", path): a macro only so that the number is easy to find. */
#define AQ_LOG(level, number, status, ...) aq_log_write((level), (number), (status), __VA_ARGS__)

#endif
