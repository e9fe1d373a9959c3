/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tally: what the worker counts, in a metrics file beside the queue's (QUEUE.metrics), where httpd's children read it. Besides
 * it leaves a sign of life there. Workers of one queue and machine share the file.
 */
#ifndef AQ_WORKER_TALLY_H
#define AQ_WORKER_TALLY_H

#include "base/aq_metrics.h"
#include "batch/batch.h"

typedef struct {
    aq_metrics_t *metrics;
    unsigned heartbeat, seconds, ended; /* first rows */
} aq_worker_tally_t;

/* Opens the file whose name begins with `worker_files`, or counts in memory where that cannot be (logged). */
void aq_worker_tally_open(aq_worker_tally_t *tally, apr_pool_t *p, const char *worker_files);

/* The worker lives: its thread that renews leases comes by, which nothing holds up for longer than the queue may. */
void aq_worker_tally_beat(const aq_worker_tally_t *tally, aq_time_ms_t boot_ms);

/* A batch is over: how it ended, and when. Thread-safe. */
void aq_worker_tally_end(const aq_worker_tally_t *tally, const aq_batch_t *batch, aq_batch_status_t status,
                         aq_time_ms_t now_ms);

#endif
