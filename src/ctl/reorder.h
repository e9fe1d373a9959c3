/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reorder: puts the lines of a log into the order of their times.
 *
 * httpd writes a line when a request ends and dates it when it began, so a line may stand behind its place by what the
 * request took.
 * Lines are held for AQ_REORDER_HOLD_S seconds of the log's own time, in one row for each second:
 *
 *        … released | 40 41 42 … 97 98 99 | 100 = newest second seen
 *
 * Within a second those of one millisecond keep the log's order; so do all where the log has whole seconds. A line older
 * than what is held is late: it is handed on at once, and where it is older than the newest one released with the time of
 * that one, so that time never runs back. Memory is that of the requests of so many seconds; where they are more than
 * AQ_REORDER_LINES_MAX, all are handed on before their time.
 */
#ifndef AQ_REORDER_H
#define AQ_REORDER_H

#include "base/aq_clock.h"

#include <apr_pools.h>

#define AQ_REORDER_HOLD_S 60
#define AQ_REORDER_LINES_MAX 1000000

/* A line that waits: whom it is charged to, as its owner knows it. */
typedef struct {
    aq_time_ms_t time_ms;
    void *caller, *address;
    int status;
    uint32_t order; /* set by aq_reorder_add */
} aq_pending_t;

typedef apr_status_t aq_reorder_fn(void *data, const aq_pending_t *pending);

typedef struct aq_reorder_t aq_reorder_t;

/* In `p`; its rows are freed with it. Lines are handed to `release`. */
aq_reorder_t *aq_reorder_create(apr_pool_t *p, aq_reorder_fn *release, void *data);

/* Takes a line in, and hands on those whose time has come. The first failure of `release`, or APR_ENOMEM. */
apr_status_t aq_reorder_add(aq_reorder_t *reorder, const aq_pending_t *pending);

/* Hands on all that wait. */
apr_status_t aq_reorder_finish(aq_reorder_t *reorder);

/* How many lines were late. */
uint64_t aq_reorder_late(const aq_reorder_t *reorder);

#endif
