/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery, expiry and orphans. Rows are removed before their files: a crash between leaves files that nobody names,
 * and the sweep finds those.
 */
#include "worker/janitor.h"

#include "base/aq_log.h"

#define EXPIRE_AT_ONCE 100
#define ORPHAN_AGE_MS (INT64_C(3600) * 1000)

static apr_status_t recover(aq_worker_t *worker, const char *dead_worker, unsigned *total)
{
    unsigned recovered, failed;
    apr_status_t rv;

    *total = 0;
    do {
        aq_queue_now_t now = aq_worker_now(worker);
        rv = aq_queue_recover(worker->queue, &now, dead_worker, &recovered, &failed);
        *total += recovered + failed;
        if (recovered + failed > 0) {
            AQ_LOG(AQ_LOG_NOTICE, 630, APR_SUCCESS, "jobs of lost workers: %u queued again, %u failed", recovered,
                   failed);
        }
    } while (rv == APR_SUCCESS && recovered + failed > 0);
    return rv;
}

static int take_over(void *data, const char *name)
{
    unsigned total;
    apr_status_t rv = recover(data, name, &total);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 631, rv, "the jobs of worker %s cannot be recovered yet", name);
    }
    return rv == APR_SUCCESS;
}

static apr_status_t fail_overdue(aq_worker_t *worker)
{
    unsigned failed;
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(worker);
        rv = aq_queue_overdue(worker->queue, &now, &failed);
        if (failed > 0) {
            AQ_LOG(AQ_LOG_NOTICE, 642, APR_SUCCESS, "%u batches waited too long and failed", failed);
        }
    } while (rv == APR_SUCCESS && failed > 0);
    return rv;
}

void aq_janitor_recover(aq_worker_t *worker)
{
    apr_pool_t *ptemp;
    unsigned total;

    apr_status_t rv = apr_pool_create(&ptemp, worker->pool);
    if (rv == APR_SUCCESS) {
        rv = aq_presence_scan(&worker->presence, ptemp, take_over, worker);
        apr_pool_destroy(ptemp);
    }
    if (rv == APR_SUCCESS) {
        rv = recover(worker, NULL, &total);
    }
    if (rv == APR_SUCCESS) {
        rv = fail_overdue(worker);
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 632, rv, "jobs of lost workers cannot be looked for");
    }
}

static void expire(aq_worker_t *worker, apr_pool_t *ptemp)
{
    aq_queue_now_t now = aq_worker_now(worker);
    apr_array_header_t *expired;
    apr_status_t rv;

    do {
        apr_pool_clear(ptemp);
        if ((rv = aq_queue_expire(worker->queue, ptemp, &now, EXPIRE_AT_ONCE, &expired)) != APR_SUCCESS) {
            AQ_LOG(AQ_LOG_WARNING, 633, rv, "expired batches cannot be removed");
            return;
        }
        for (int i = 0; i < expired->nelts; i++) {
            const aq_expired_t *gone = &APR_ARRAY_IDX(expired, i, aq_expired_t);
            rv = gone->keeps_body ? APR_SUCCESS : aq_spool_body_remove(worker->spool, ptemp, gone->id);
            if (rv == APR_SUCCESS && gone->result_token != 0) {
                rv = aq_spool_result_remove(worker->spool, ptemp, gone->id, gone->result_token);
            }
            if (rv != APR_SUCCESS) {
                AQ_LOG(AQ_LOG_WARNING, 634, rv, "batch %s: a file of it cannot be removed", gone->id);
            }
        }
    } while (expired->nelts >= EXPIRE_AT_ONCE && !worker->stopping);
}

typedef struct {
    aq_worker_t *worker;
    apr_pool_t *pool;
} known_t;

/* A running job's results are left alone whatever their token: one of them may be about to count. */
static int is_known(void *data, const char *id, int64_t token)
{
    const known_t *known = data;
    aq_batch_t *batch;

    apr_pool_clear(known->pool);
    apr_status_t rv = aq_queue_find(known->worker->queue, known->pool, id, &batch);
    if (rv != APR_SUCCESS) {
        return rv != APR_NOTFOUND;
    }
    return token == 0 || token == batch->result_token || batch->status == AQ_BATCH_RUNNING ||
           batch->status == AQ_BATCH_CANCELING;
}

void aq_janitor_sweep(aq_worker_t *worker, int is_thorough)
{
    unsigned removed = 0;
    apr_pool_t *ptemp;

    apr_status_t rv = apr_pool_create(&ptemp, worker->pool);
    if (rv != APR_SUCCESS) {
        return;
    }
    expire(worker, ptemp);
    rv = aq_spool_sweep(worker->spool, ptemp, aq_clock_now_ms() - ORPHAN_AGE_MS, is_thorough ? is_known : NULL,
                        &(known_t){.worker = worker, .pool = ptemp}, &removed);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 635, rv, "the spool cannot be swept");
    } else if (removed > 0) {
        AQ_LOG(AQ_LOG_NOTICE, 636, APR_SUCCESS, "the spool is swept: %u orphans removed", removed);
    }
    apr_pool_destroy(ptemp);
}
