/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue: where batches are kept and jobs are claimed. A struct of functions, with thin wrappers that hide it.
 *
 * Durable: a call that changes something returns after it is on disk (in Redis: as its operator has set it). A job belongs to the worker that claimed it while
 * its lease lasts; each claim has a new fencing token, and renew, finish and again work only for the token that the row
 * holds now: a worker that lost its lease changes nothing (APR_NOTFOUND).
 *
 * Leases run by boot time (aq_clock_boot_ms), which nobody can step; a row also names the boot it was leased in, and a
 * lease of another boot is over. How machines that share a queue judge each other's leases, redis_queue.h tells. Attempts count at the claim, so a job that kills its worker does not loop for ever.
 *
 * A store object may be used from one process that opened it (open after fork), by many threads. Every queue passes
 * tests/contract/test_queue.c.
 */
#ifndef AQ_QUEUE_H
#define AQ_QUEUE_H

#include "base/aq_hash.h"
#include "batch/outcome.h"
#include "batch/webhook.h"

#include <apr_hash.h>
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

/*
 * What is looked at when a batch is added: how much its tenant may have (0: no bound), and whether its body is there. The
 * latter is asked under the lock under which orphans are swept (see look), so a body that is there then stays.
 */
typedef struct {
    int64_t queued_most; /* batches that are queued */
    int64_t bytes_most;  /* of all its bodies and results on the spool, the new one with them */
    apr_status_t (*body_check)(void *data, const aq_batch_t *batch); /* NULL: not asked */
    void *body_data;
} aq_queue_bounds_t;

/*
 * Called by look with the batch as it is, NULL where there is none: then none of that ID is added from here on, or none
 * while the call lasts. It must not call the queue itself.
 */
typedef apr_status_t aq_queue_look_fn(void *data, const aq_batch_t *batch);

/* What one tenant has in the queue now. */
typedef struct {
    int64_t queued;
    int64_t bytes;
} aq_queue_use_t;

/* How many jobs of a location may run at once. */
typedef struct {
    int most;         /* 0: not set */
    int per_endpoint; /* 1: all tenants together; 0: each tenant */
} aq_concurrency_t;

/*
 * Which jobs may be claimed. A tenant has at most `tenant_most` running, wherever, or as many as the location's `most`
 * where that is more; a location has at most its `most`. A job that may not run now delays no other.
 */
typedef struct {
    int tenant_most;       /* 0: no bound */
    apr_hash_t *locations; /* name -> aq_concurrency_t *; NULL: none is bounded */
} aq_queue_limits_t;

/* Which batches a list shows. */
typedef struct {
    const char *tenant; /* NULL: of all tenants */
    int status;         /* an aq_batch_status_t, or -1: any */
    const char *before; /* the ID after which the list goes on; NULL: from the newest */
    int limit;          /* at most so many, above zero */
} aq_queue_query_t;

/* A page of a list. */
typedef struct {
    apr_array_header_t *batches; /* of aq_batch_t *, newest first */
    int64_t total;               /* of all pages */
    int has_more;
} aq_queue_page_t;

/* A lease that was renewed. */
typedef struct {
    char id[AQ_BATCH_ID_SIZE];
    int64_t token;
    int cancel_asked;
} aq_lease_t;

/* What the queue no longer names: these files are to be removed. */
typedef struct {
    char id[AQ_BATCH_ID_SIZE];
    int64_t result_token; /* 0: there is no result file */
    int keeps_body;       /* 1: only the result is gone */
    int64_t bytes;        /* that trim counted for both; else 0 */
} aq_expired_t;

/* A claim on a webhook's message: as aq_job_t. */
typedef struct {
    aq_webhook_t *webhook;
    int64_t token;
} aq_delivery_t;

/* How an attempt to deliver ended, for webhook_finish. */
typedef struct {
    aq_webhook_outcome_t outcome;
    int is_uncounted;  /* 1: the attempt was not made after all */
    int status;        /* of the receiver's answer; 0: none */
    const char *error; /* a word and, behind ": ", perhaps more; NULL: none */
} aq_delivery_result_t;

/* Which messages a list shows. */
typedef struct {
    const char *tenant; /* NULL: of all tenants */
    int state;          /* an aq_webhook_state_t, or -1: any */
    int limit;          /* at most so many, above zero */
} aq_webhook_query_t;

/* Where another machine gives what lies on its spool, and what requests for it are signed with (home_signature.h). */
typedef struct {
    const char *url; /* NULL: it gives nothing, or has not been heard of for a minute */
    aq_hash_secret_t secret;
} aq_queue_home_t;

typedef struct aq_queue_t aq_queue_t;

typedef struct {
    const char *name; /* "sqlite" */
    apr_status_t (*submit)(aq_queue_t *q, const aq_batch_t *batch, const aq_queue_bounds_t *bounds, apr_pool_t *ptemp);
    apr_status_t (*find)(aq_queue_t *q, apr_pool_t *p, const char *id, aq_batch_t **batch);
    apr_status_t (*find_key)(aq_queue_t *q, apr_pool_t *p, const char *tenant, const char *idempotency_key,
                             aq_batch_t **batch);
    apr_status_t (*use)(aq_queue_t *q, const char *tenant, aq_queue_use_t *use);
    apr_status_t (*list)(aq_queue_t *q, apr_pool_t *p, const aq_queue_query_t *query, aq_queue_page_t *page);
    apr_status_t (*cancel)(aq_queue_t *q, apr_pool_t *p, const char *id, const aq_queue_now_t *now, aq_batch_t **batch);
    apr_status_t (*retry)(aq_queue_t *q, const char *id, const aq_queue_now_t *now, aq_expired_t *gone);
    apr_status_t (*remove)(aq_queue_t *q, const char *id, aq_expired_t *gone);
    apr_status_t (*claim)(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                          const aq_queue_limits_t *limits, aq_job_t *job);
    apr_status_t (*renew)(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                          apr_array_header_t **held);
    apr_status_t (*cancels)(aq_queue_t *q, apr_pool_t *p, const char *worker, apr_array_header_t **asked);
    apr_status_t (*progress)(aq_queue_t *q, const char *id, int64_t token, int64_t done, int64_t total, int64_t failed);
    apr_status_t (*finish)(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                           const aq_job_result_t *result);
    apr_status_t (*again)(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms,
                          const char *error_code, const char *error_detail);
    apr_status_t (*hand_back)(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms);
    apr_status_t (*recover)(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker, unsigned *recovered,
                            unsigned *failed);
    apr_status_t (*overdue)(aq_queue_t *q, const aq_queue_now_t *now, unsigned *failed);
    apr_status_t (*counts)(aq_queue_t *q, const char *tenant, aq_queue_counts_t *counts);
    apr_status_t (*expire)(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                           apr_array_header_t **expired, int *has_more);
    apr_status_t (*webhook_test)(aq_queue_t *q, const char *id, const char *tenant, const aq_queue_now_t *now);
    apr_status_t (*webhook_find)(aq_queue_t *q, apr_pool_t *p, const char *id, aq_webhook_t **webhook);
    apr_status_t (*webhook_list)(aq_queue_t *q, apr_pool_t *p, const aq_webhook_query_t *query,
                                 apr_array_header_t **webhooks);
    apr_status_t (*webhook_retry)(aq_queue_t *q, const char *id);
    apr_status_t (*webhook_claim)(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                  int lease_ms, int tenant_most, aq_delivery_t *delivery);
    apr_status_t (*webhook_finish)(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                   const aq_delivery_result_t *result);
    apr_status_t (*trim)(aq_queue_t *q, apr_pool_t *p, int64_t bytes, int most, apr_array_header_t **trimmed);
    apr_status_t (*forget)(aq_queue_t *q, const aq_expired_t *gone);
    apr_status_t (*look)(aq_queue_t *q, apr_pool_t *ptemp, const char *id, aq_queue_look_fn *fn, void *data);
    apr_status_t (*home)(aq_queue_t *q, apr_pool_t *p, const char *machine,
                         aq_queue_home_t *home); /* NULL: one machine */
    void (*close)(aq_queue_t *q);
} aq_queue_ops_t;

struct aq_queue_t {
    const aq_queue_ops_t *ops;
};

/*
 * submit: adds a queued batch; its body is already durable on the spool. APR_EEXIST when the id exists, or the tenant's
 * idempotency key is already that of another batch (see find_key). APR_EBUSY where the write lock was not to be had in
 * time: answer 503. APR_ENOSPC where the disk is full: answer 507. With `bounds` (NULL: none) APR_EAGAIN where the tenant
 * has as many batches queued as it may, and EDQUOT where its bodies would take more room than they may: both exact,
 * however many submit at once; and what `body_check` says. After these failures nothing of the batch is there, and its
 * body is the caller's to remove.
 * After APR_INCOMPLETE nobody knows. In SQLite the batch is not there, but a crash may bring it back, as long as nothing else was
 * written since; in Redis it is there or not. Its body stays, for the sweep to remove where it came to nothing.
 */
static inline apr_status_t aq_queue_submit(aq_queue_t *q, const aq_batch_t *batch, const aq_queue_bounds_t *bounds,
                                           apr_pool_t *ptemp)
{
    return q->ops->submit(q, batch, bounds, ptemp);
}

/* find: the batch in `p`, or APR_NOTFOUND and NULL. Reads without the write lock. */
static inline apr_status_t aq_queue_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_batch_t **batch)
{
    return q->ops->find(q, p, id, batch);
}

/*
 * find_key: the batch that this tenant submitted with this idempotency key; as find. APR_NOTFOUND also for the key of a
 * batch that was removed: its key stays taken until the batch would have expired.
 */
static inline apr_status_t aq_queue_find_key(aq_queue_t *q, apr_pool_t *p, const char *tenant,
                                             const char *idempotency_key, aq_batch_t **batch)
{
    return q->ops->find_key(q, p, tenant, idempotency_key, batch);
}

/* use: what the tenant has, for refusing an upload before its body is read. In constant time. */
static inline apr_status_t aq_queue_use(aq_queue_t *q, const char *tenant, aq_queue_use_t *use)
{
    return q->ops->use(q, tenant, use);
}

/*
 * list: a page, in `p`, newest first (by ID, whose first part is its time). A page costs the same however many batches
 * there are, and batches that come and go between two pages move no other from one to the next. What no list shows is not
 * read: `headers` and `response_headers` are NULL.
 */
static inline apr_status_t aq_queue_list(aq_queue_t *q, apr_pool_t *p, const aq_queue_query_t *query,
                                         aq_queue_page_t *page)
{
    return q->ops->list(q, p, query, page);
}

/*
 * cancel: a queued batch is canceled, a running one canceling: its worker is told (see cancels), and whatever else
 * becomes of the job, it is not queued again. Canceling twice is no error. `*batch`, in `p`, is as it is then.
 * APR_NOTFOUND; APR_EINVAL where it is over, nothing is changed.
 */
static inline apr_status_t aq_queue_cancel(aq_queue_t *q, apr_pool_t *p, const char *id, const aq_queue_now_t *now,
                                           aq_batch_t **batch)
{
    return q->ops->cancel(q, p, id, now, batch);
}

/*
 * retry: a batch that failed or was canceled is queued as if it were new, its attempts uncounted, `progress_total` the
 * number of its items. `*gone`: the result that it had. APR_NOTFOUND; APR_EINVAL in any other state; APR_ENOENT where its
 * body is no longer kept.
 */
static inline apr_status_t aq_queue_retry(aq_queue_t *q, const char *id, const aq_queue_now_t *now, aq_expired_t *gone)
{
    return q->ops->retry(q, id, now, gone);
}

/*
 * remove: the row of a batch that is over; `*gone` names its files. Its idempotency key stays taken until the batch would
 * have expired. APR_NOTFOUND; APR_EINVAL where it is not over.
 */
static inline apr_status_t aq_queue_remove(aq_queue_t *q, const char *id, aq_expired_t *gone)
{
    return q->ops->remove(q, id, gone);
}

/*
 * claim: the next job that is due and within `limits` (NULL: none), oldest of the tenant that waited longest for a turn;
 * attempt is counted, status running, a new token (above zero). APR_NOTFOUND when none is due (job->batch is then NULL): told without the write
 * lock, so that it may be asked often. `worker` names the claiming process and no other, ever.
 */
static inline apr_status_t aq_queue_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                          int lease_ms, const aq_queue_limits_t *limits, aq_job_t *job)
{
    return q->ops->claim(q, p, worker, now, lease_ms, limits, job);
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

/*
 * cancels: `*asked`, in `p`, an aq_lease_t for each job of `worker` whose cancel was asked for. Reads without the write
 * lock, so that it may be asked often.
 */
static inline apr_status_t aq_queue_cancels(aq_queue_t *q, apr_pool_t *p, const char *worker,
                                            apr_array_header_t **asked)
{
    return q->ops->cancels(q, p, worker, asked);
}

/*
 * progress: for batches that tell how far they are. A batch of items of which more are done than before counts as at its
 * first attempt again: a worker that is lost after it got on is no sign of a job that kills its workers. APR_NOTFOUND when
 * the token is no longer the row's.
 */
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

/*
 * again: back to queued, due after `wait_ms`; the error stays visible. A job whose cancel was asked for is canceled
 * instead. APR_NOTFOUND as finish.
 */
static inline apr_status_t aq_queue_again(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                          int64_t wait_ms, const char *error_code, const char *error_detail)
{
    return q->ops->again(q, id, token, now, wait_ms, error_code, error_detail);
}

/*
 * hand_back: a worker that cannot go on gives the job back: the attempt is uncounted, it is due after `wait_ms` (0: at
 * once). Canceled instead where that was asked for. APR_NOTFOUND as finish.
 */
static inline apr_status_t aq_queue_hand_back(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                              int64_t wait_ms)
{
    return q->ops->hand_back(q, id, token, now, wait_ms);
}

/*
 * recover: running jobs whose lease is over, and all of `dead_worker` where it is not NULL, end as AQ_WORKER_LOST in
 * outcome.h: queued again, or failed; canceled where that was asked for. A batch of items is queued again also where
 * never_repeat is set: what is known of each item lies on the spool (segment.h). Claims on messages of webhooks end likewise
 * (see webhook_claim), uncounted here. Reads first: without such jobs and claims it takes no lock.
 */
static inline apr_status_t aq_queue_recover(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker,
                                            unsigned *recovered, unsigned *failed)
{
    return q->ops->recover(q, now, dead_worker, recovered, failed);
}

/*
 * overdue: queued batches that are past start_by_ms end as failed, `waited-too-long`; `*failed`: how many, at most 100 a
 * call. Not a batch of items that has started once: it may be handed back to wait. Reads first, as recover.
 */
static inline apr_status_t aq_queue_overdue(aq_queue_t *q, const aq_queue_now_t *now, unsigned *failed)
{
    return q->ops->overdue(q, now, failed);
}

/* counts: of one tenant, or of all with NULL. In constant time a tenant. */
static inline apr_status_t aq_queue_counts(aq_queue_t *q, const char *tenant, aq_queue_counts_t *counts)
{
    return q->ops->counts(q, tenant, counts);
}

/*
 * expire: removes up to `most` rows that are over and past expires_at, forgets up to `most` results that are past
 * result_expires_at_ms, and lets as many messages of webhooks, and idempotency keys, go that are no longer kept. `*expired`, in
 * `p`: an aq_expired_t for each row and result. `*has_more`: 1 where more of any kind may be past its time: call it again.
 */
static inline apr_status_t aq_queue_expire(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                                           apr_array_header_t **expired, int *has_more)
{
    return q->ops->expire(q, p, now, most, expired, has_more);
}

/*
 * Messages to webhooks. Whatever ends a batch that wants one (finish, cancel, again, hand_back, recover, overdue) adds its
 * message, pending and due at once, in the same transaction: where the end is seen, the message is there. It tells of the
 * batch as it was at that end, also when the batch is queued anew, is removed or has expired since. Its ID is
 * AQ_WEBHOOK_ID_PREFIX, the batch's ID behind its "batch_", "_", and the batch's version at that end.
 */

/* webhook_test: adds a message that tells of no batch. APR_EEXIST where the ID exists. */
static inline apr_status_t aq_queue_webhook_test(aq_queue_t *q, const char *id, const char *tenant,
                                                 const aq_queue_now_t *now)
{
    return q->ops->webhook_test(q, id, tenant, now);
}

/* webhook_find: the message in `p`, or APR_NOTFOUND and NULL. */
static inline apr_status_t aq_queue_webhook_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_webhook_t **webhook)
{
    return q->ops->webhook_find(q, p, id, webhook);
}

/* webhook_list: `*webhooks`, in `p`, of aq_webhook_t *, the one that was added last first. */
static inline apr_status_t aq_queue_webhook_list(aq_queue_t *q, apr_pool_t *p, const aq_webhook_query_t *query,
                                                 apr_array_header_t **webhooks)
{
    return q->ops->webhook_list(q, p, query, webhooks);
}

/*
 * webhook_retry: a message of any state is pending and due at once, its attempts uncounted. APR_NOTFOUND; APR_EBUSY where
 * it is being sent now.
 */
static inline apr_status_t aq_queue_webhook_retry(aq_queue_t *q, const char *id)
{
    return q->ops->webhook_retry(q, id);
}

/*
 * webhook_claim: the message that is due longest, of the tenant that waited longest for a turn among those of whose
 * messages fewer than `tenant_most` are claimed; its attempt is counted. APR_NOTFOUND when there is none, told without the
 * write lock. `worker`, lease and token as with claim; there is no renewal: the lease outlasts any attempt. One that is
 * over, or of a dead worker, is ended by recover: pending and due at once, or failed where that was the last attempt.
 */
static inline apr_status_t aq_queue_webhook_claim(aq_queue_t *q, apr_pool_t *p, const char *worker,
                                                  const aq_queue_now_t *now, int lease_ms, int tenant_most,
                                                  aq_delivery_t *delivery)
{
    return q->ops->webhook_claim(q, p, worker, now, lease_ms, tenant_most, delivery);
}

/*
 * webhook_finish: ends the claim: the message is delivered, failed or dropped, and then kept for AQ_WEBHOOK_KEPT_MS (expire
 * removes it); or pending, due after wait_ms. APR_NOTFOUND when the token is no longer the row's: nothing was changed.
 */
static inline apr_status_t aq_queue_webhook_finish(aq_queue_t *q, const char *id, int64_t token,
                                                   const aq_queue_now_t *now, const aq_delivery_result_t *result)
{
    return q->ops->webhook_finish(q, id, token, now, result);
}

/*
 * trim: forgets the bodies and results of batches that are over, those that ended first, until they make up `bytes`, at
 * most `most` of them; the batches stay. `*trimmed`, in `p`: an aq_expired_t for each, empty where there is none left.
 */
static inline apr_status_t aq_queue_trim(aq_queue_t *q, apr_pool_t *p, int64_t bytes, int most,
                                         apr_array_header_t **trimmed)
{
    return q->ops->trim(q, p, bytes, most, trimmed);
}

/*
 * forget: the files of a batch that is over are gone: its body unless keeps_body, and the result of result_token unless
 * that is 0 or no longer the batch's. APR_NOTFOUND where there is nothing to forget.
 */
static inline apr_status_t aq_queue_forget(aq_queue_t *q, const aq_expired_t *gone)
{
    return q->ops->forget(q, gone);
}

/*
 * look: calls `fn`, and returns what it returned; so that who removes a file that no batch names is not overtaken by one that
 * would. SQLite holds its write lock meanwhile; Redis holds none, and an ID that was not there stays so. APR_EBUSY as submit.
 */
static inline apr_status_t aq_queue_look(aq_queue_t *q, apr_pool_t *ptemp, const char *id, aq_queue_look_fn *fn,
                                         void *data)
{
    return q->ops->look(q, ptemp, id, fn, data);
}

/* home: what the queue knows of a machine, in `p`. APR_ENOTIMPL where the queue is that of one machine. */
static inline apr_status_t aq_queue_home(aq_queue_t *q, apr_pool_t *p, const char *machine, aq_queue_home_t *home)
{
    return q->ops->home ? q->ops->home(q, p, machine, home) : APR_ENOTIMPL;
}

static inline void aq_queue_close(aq_queue_t *q)
{
    q->ops->close(q);
}

#endif
