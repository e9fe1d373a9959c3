/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of access logs: what %t and its relatives write, read back to UTC milliseconds.
 *
 * httpd writes the moment at which it began to read a request; most forms have whole seconds.
 */
#ifndef AQ_LOG_TIME_H
#define AQ_LOG_TIME_H

#include "base/aq_clock.h"

#include <apr_pools.h>
#include <stddef.h>

typedef enum {
    AQ_LOG_TIME_CLF,     /* 10/Oct/2000:13:55:36 -0700, without its brackets */
    AQ_LOG_TIME_S,       /* since 1970: %{sec}t */
    AQ_LOG_TIME_MS,      /* %{msec}t */
    AQ_LOG_TIME_US,      /* %{usec}t */
    AQ_LOG_TIME_MS_PART, /* of a second, three digits, to be added: %{msec_frac}t */
    AQ_LOG_TIME_US_PART, /* six digits: %{usec_frac}t */
    AQ_LOG_TIME_PATTERN  /* as strftime(3) writes it */
} aq_log_time_form_t;

typedef struct {
    aq_log_time_form_t form;
    const char *pattern; /* AQ_LOG_TIME_PATTERN; without %z or %s the time is taken as UTC */
    /* The last one read: most lines have the time of the line before. */
    char last[32];
    size_t last_size;
    aq_time_ms_t last_ms;
} aq_log_time_t;

/* The reader of `%t` (argument NULL) and `%{argument}t`, in `p`. NULL where strftime could not have written it. */
aq_log_time_t *aq_log_time_create(apr_pool_t *p, const char *argument);

/* Reads `size` bytes wholly; 1, or 0 where they are no such time or lie before 1970. Not thread-safe. */
int aq_log_time_read(aq_log_time_t *time, const char *text, size_t size, aq_time_ms_t *ms);

#endif
