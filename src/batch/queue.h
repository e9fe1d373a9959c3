/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue: where batches are kept and jobs are claimed. A struct of functions, with thin wrappers that hide it.
 *
 * Durable: a call that changes something returns after it is on disk. A job belongs to the worker that claimed it while
 * its lease lasts; each claim has a new fencing token, and renew, finish and again work only for the token that the row
 * holds now: a worker that lost its lease changes nothing (APR_NOTFOUND).
 *
 * Leases run by boot time (aq_clock_boot_ms), which nobody can step; a row also names the boot it was leased in, and a
 * lease of another boot is over. Attempts count at the claim, so a job that kills its worker does not loop for ever.
 *
 * A store object may be used from one process that opened it (open after fork), by many threads. Every queue passes
 * tests/contract/test_queue.c.
 */
#ifndef AQ_QUEUE_H
#define AQ_QUEUE_H

#include "batch/outcome.h"

#include <apr_tables.h>

typedef struct {
    aq_time_ms_t wall_ms; /* for what clients see */
    aq_time_ms_t boot_ms; /* for leases */
    const char *boot_id;  /* of the boot that boot_ms counts from (aq_clock_boot_id); NULL: not known */
} aq_queue_now_t;

/* A claim: the job's batch, and the proof that it is ours. */
typedef struct {
    aq_batch_t *batch;
    int64_t token;
} aq_job_t;

/* How a job ended, for finish. */
typedef struct {
    aq_batch_status_t status; /* succeeded, failed or canceled */
    int response_status;
    const char *response_headers; /* JSON object text or NULL */
    aq_batch_body_t response;     /* bytes -1: there is no result file */
    const char *error_code, *error_detail;
} aq_job_result_t;

typedef struct {
    int64_t by_status[AQ_BATCH_STATUS_COUNT];
    aq_time_ms_t oldest_queued_at_ms; /* 0: none */
} aq_queue_counts_t;

/* A lease that was renewed. */
typedef struct {
    char id[AQ_BATCH_ID_SIZE];
    int64_t token;
    int cancel_asked;
} aq_lease_t;

/* A batch that has expired: its row is gone, its files are to be removed. */
typedef struct {
    char id[AQ_BATCH_ID_SIZE];
    int64_t result_token; /* 0: there is no result file */
} aq_expired_t;

typedef struct aq_queue_t aq_queue_t;

typedef struct {
    const char *name; /* "sqlite" */
    apr_status_t (*submit)(aq_queue_t *q, const aq_batch_t *batch, apr_pool_t *ptemp);
    apr_status_t (*find)(aq_queue_t *q, apr_pool_t *p, const char *id, aq_batch_t **batch);
    apr_status_t (*find_key)(aq_queue_t *q, apr_pool_t *p, const char *tenant, const char *idempotency_key,
                             aq_batch_t **batch);
    apr_status_t (*claim)(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                          aq_job_t *job);
    apr_status_t (*renew)(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                          apr_array_header_t **held);
    apr_status_t (*progress)(aq_queue_t *q, const char *id, int64_t token, int64_t done, int64_t total, int64_t failed);
    apr_status_t (*finish)(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                           const aq_job_result_t *result);
    apr_status_t (*again)(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms,
                          const char *error_code, const char *error_detail);
    apr_status_t (*hand_back)(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms);
    apr_status_t (*recover)(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker, unsigned *recovered,
                            unsigned *failed);
    apr_status_t (*counts)(aq_queue_t *q, const char *tenant, aq_queue_counts_t *counts);
    apr_status_t (*expire)(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                           apr_array_header_t **expired);
    void (*close)(aq_queue_t *q);
} aq_queue_ops_t;

struct aq_queue_t {
    const aq_queue_ops_t *ops;
};

/*
 * submit: adds a queued batch; its body is already durable on the spool. APR_EEXIST when the id exists, or the tenant's
 * idempotency key is already that of another batch (see find_key). APR_EBUSY where the write lock was not to be had in
 * time: answer 503. APR_ENOSPC where the disk is full: answer 507. After any failure the body is the caller's to remove.
 */
static inline apr_status_t aq_queue_submit(aq_queue_t *q, const aq_batch_t *batch, apr_pool_t *ptemp)
{
    return q->ops->submit(q, batch, ptemp);
}

/* find: the batch in `p`, or APR_NOTFOUND and NULL. Reads without the write lock. */
static inline apr_status_t aq_queue_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_batch_t **batch)
{
    return q->ops->find(q, p, id, batch);
}

/* find_key: the batch that this tenant submitted with this idempotency key; as find. */
static inline apr_status_t aq_queue_find_key(aq_queue_t *q, apr_pool_t *p, const char *tenant,
                                             const char *idempotency_key, aq_batch_t **batch)
{
    return q->ops->find_key(q, p, tenant, idempotency_key, batch);
}

/*
 * claim: the next job that is due, oldest of the tenant that waited longest for a turn; attempt is counted, status
 * running, a new token (above zero). APR_NOTFOUND when none is due (job->batch is then NULL): told without the write
 * lock, so that it may be asked often. `worker` names the claiming process and no other, ever.
 */
static inline apr_status_t aq_queue_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                          int lease_ms, aq_job_t *job)
{
    return q->ops->claim(q, p, worker, now, lease_ms, job);
}

/*
 * renew: one statement for all jobs of `worker`. `*held`, in `p`: an aq_lease_t for each that is still ours. A job that
 * was claimed before the call and is not among them was lost: its transfer is to be stopped at once.
 */
static inline apr_status_t aq_queue_renew(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                          int lease_ms, apr_array_header_t **held)
{
    return q->ops->renew(q, p, worker, now, lease_ms, held);
}

/* progress: for batches that tell how far they are. APR_NOTFOUND when the token is no longer the row's. */
static inline apr_status_t aq_queue_progress(aq_queue_t *q, const char *id, int64_t token, int64_t done, int64_t total,
                                             int64_t failed)
{
    return q->ops->progress(q, id, token, done, total, failed);
}

/*
 * finish: ends the job; it expires after the batch's retention. APR_NOTFOUND when the token is no longer the row's:
 * nothing was changed.
 */
static inline apr_status_t aq_queue_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                           const aq_job_result_t *result)
{
    return q->ops->finish(q, id, token, now, result);
}

/* again: back to queued, due after `wait_ms`; the error stays visible. APR_NOTFOUND as finish. */
static inline apr_status_t aq_queue_again(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                          int64_t wait_ms, const char *error_code, const char *error_detail)
{
    return q->ops->again(q, id, token, now, wait_ms, error_code, error_detail);
}

/*
 * hand_back: a worker that cannot go on gives the job back: the attempt is uncounted, it is due after `wait_ms` (0: at
 * once). APR_NOTFOUND as finish.
 */
static inline apr_status_t aq_queue_hand_back(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                              int64_t wait_ms)
{
    return q->ops->hand_back(q, id, token, now, wait_ms);
}

/*
 * recover: running jobs whose lease is over, and all of `dead_worker` where it is not NULL, end as AQ_WORKER_LOST in
 * outcome.h: queued again, or failed. Reads first: without such jobs it takes no lock.
 */
static inline apr_status_t aq_queue_recover(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker,
                                            unsigned *recovered, unsigned *failed)
{
    return q->ops->recover(q, now, dead_worker, recovered, failed);
}

/* counts: of one tenant, or of all with NULL. In constant time a tenant. */
static inline apr_status_t aq_queue_counts(aq_queue_t *q, const char *tenant, aq_queue_counts_t *counts)
{
    return q->ops->counts(q, tenant, counts);
}

/* expire: removes up to `most` rows that are over and past expires_at; `*expired`, in `p`: an aq_expired_t for each. */
static inline apr_status_t aq_queue_expire(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                                           apr_array_header_t **expired)
{
    return q->ops->expire(q, p, now, most, expired);
}

static inline void aq_queue_close(aq_queue_t *q)
{
    q->ops->close(q);
}

#endif
