/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of queues share: opening one anew, batches to put into it, and times that the test sets.
 */
#ifndef QUEUE_FIXTURE_H
#define QUEUE_FIXTURE_H

#include "batch/queue.h"
#include "unit/fixture.h"

#define LEASE_MS 30000

/* Where a queue of this test alone is to be, new and empty: a file in the fixture's folder, a Redis of its own, or the
 * program's cluster. */
const char *queue_path_new(void);

/* Opens the queue at `path` for this process; a forked child opens its own. */
aq_queue_t *queue_open(const char *path);

/* The same in a child that may be killed at any moment: it says to stderr what is wrong, and exits with 1. */
aq_queue_t *queue_open_or_exit(const char *path);

/* Runs all tests on each kind of queue; what main returns. */
int queue_fixture_run(const char *name, void (*add)(TCase *tests));

/* The n-th batch of a tenant, queued; texts are static or in the fixture's pool. */
aq_batch_t queue_batch(const char *tenant, int n);

/* Submits the n-th batch of a tenant, and returns its ID. */
const char *queue_submit(aq_queue_t *q, const char *tenant, int n);

/* Submits the n-th batch of a tenant, claims and ends it at `n` ms, and returns its ID: there is no other to be claimed. */
const char *queue_finished(aq_queue_t *q, const char *tenant, int n, const aq_job_result_t *result);

/* Wall and boot time, so many ms after the batches of queue_batch were made. */
aq_queue_now_t queue_at(int64_t ms);

/* Claims, and asserts that there is a job, or that there is none. */
aq_job_t queue_claim(aq_queue_t *q, const char *worker, aq_queue_now_t now);
void queue_claim_none(aq_queue_t *q, aq_queue_now_t now);

aq_batch_t *queue_find(aq_queue_t *q, const char *id);

/* A result of 200 with five bytes. */
extern const aq_job_result_t QUEUE_DONE;

#endif
