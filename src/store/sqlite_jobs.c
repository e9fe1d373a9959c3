/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue, for workers: renew, and the ways a job ends. How a job is claimed is in sqlite_claim.c.
 *
 * What a claim changes is guarded by the row's state, what comes later by the token of the claim: a statement that finds
 * no such row changes nothing and answers APR_NOTFOUND.
 */
#include "store/sqlite_private.h"

#include "base/aq_hash.h"

#include <apr_strings.h>

apr_status_t aq_sqlite_renew(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                             apr_array_header_t **held)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    sqlite3_stmt *row;

    *held = apr_array_make(p, 8, sizeof(aq_lease_t));
    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_query(&queue->writer, AQ_SQL_RENEW, &row, "tit", worker, now->boot_ms + lease_ms, now->boot_id);
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(&queue->writer, row)) {
        aq_lease_t *lease = apr_array_push(*held);
        apr_cpystrn(lease->id, (const char *)sqlite3_column_text(row, 0), AQ_BATCH_ID_SIZE);
        lease->token = sqlite3_column_int64(row, 1);
        lease->cancel_asked = sqlite3_column_int(row, 2);
    }
    aq_sqlite_reset(row);
    rv = aq_sqlite_write_end(queue, rv == APR_NOTFOUND ? APR_SUCCESS : rv);
    if (rv != APR_SUCCESS) {
        apr_array_clear(*held);
    }
    return rv;
}

apr_status_t aq_sqlite_cancels(aq_queue_t *q, apr_pool_t *p, const char *worker, apr_array_header_t **asked)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    sqlite3_stmt *row;

    *asked = apr_array_make(p, 0, sizeof(aq_lease_t));
    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = aq_sqlite_query(&queue->reader, AQ_SQL_CANCELS, &row, "t", worker);
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(&queue->reader, row)) {
        aq_lease_t *lease = apr_array_push(*asked);
        apr_cpystrn(lease->id, (const char *)sqlite3_column_text(row, 0), AQ_BATCH_ID_SIZE);
        lease->token = sqlite3_column_int64(row, 1);
        lease->cancel_asked = 1;
    }
    aq_sqlite_reset(row);
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* A statement that names a token changed one row, or the token is no longer the row's. */
static apr_status_t judge_token(apr_status_t rv, int changes)
{
    return rv == APR_SUCCESS && changes == 0 ? APR_NOTFOUND : rv;
}

apr_status_t aq_sqlite_progress(aq_queue_t *q, const char *id, int64_t token, int64_t done, int64_t total,
                                int64_t failed)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    int changes;

    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_PROGRESS, &changes, "tiiii", id, token, done, total, failed);
    return aq_sqlite_write_end(queue, judge_token(rv, changes));
}

static apr_status_t finish_row(aq_sqlite_queue_t *queue, const char *id, int64_t token, const aq_queue_now_t *now,
                               const aq_job_result_t *result)
{
    int changes;

    apr_status_t rv =
        aq_sqlite_run(&queue->writer, AQ_SQL_FINISH, &changes, "titiiittittt", id, token,
                      aq_batch_status_name(result->status), now->wall_ms, AQ_BATCH_RETENTION_MS,
                      (int64_t)result->response_status, result->response_headers, result->response.content_type,
                      result->response.bytes, result->response.sha256, result->error_code, result->error_detail);
    return judge_token(rv, changes);
}

/* Of a job whose cancel was asked for the second statement is the one that finds it. `uncount`: attempts to take back. */
static apr_status_t again_row(aq_sqlite_queue_t *queue, const char *id, int64_t token, const aq_queue_now_t *now,
                              int64_t wait_ms, int64_t uncount, const char *error_code, const char *error_detail)
{
    int64_t next_attempt_at_ms = wait_ms > 0 ? now->wall_ms + wait_ms : 0;
    int changes;

    apr_status_t rv = aq_sqlite_run(&queue->writer, AQ_SQL_AGAIN, &changes, "tiiitt", id, token, next_attempt_at_ms,
                                    uncount, error_code, error_detail);
    if (rv == APR_SUCCESS && changes == 0) {
        rv = aq_sqlite_run(&queue->writer, AQ_SQL_AGAIN_CANCELED, &changes, "tiii", id, token, now->wall_ms,
                           AQ_BATCH_RETENTION_MS);
    }
    return judge_token(rv, changes);
}

/* A change of the row that a token proves to be ours. */
typedef struct {
    const char *id;
    int64_t token;
    const aq_queue_now_t *now;
    const aq_job_result_t *result;
    int64_t wait_ms;
    int64_t uncount;
    const char *error_code, *error_detail;
} job_change_t;

static apr_status_t finish_change(aq_sqlite_queue_t *queue, void *data)
{
    const job_change_t *job = data;

    return finish_row(queue, job->id, job->token, job->now, job->result);
}

static apr_status_t again_change(aq_sqlite_queue_t *queue, void *data)
{
    const job_change_t *job = data;

    return again_row(queue, job->id, job->token, job->now, job->wait_ms, job->uncount, job->error_code,
                     job->error_detail);
}

apr_status_t aq_sqlite_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                              const aq_job_result_t *result)
{
    job_change_t job = {.id = id, .token = token, .now = now, .result = result};

    return aq_sqlite_write(aq_sqlite_queue_of(q), finish_change, &job);
}

apr_status_t aq_sqlite_again(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms,
                             const char *error_code, const char *error_detail)
{
    job_change_t job = {.id = id,
                        .token = token,
                        .now = now,
                        .wait_ms = wait_ms,
                        .error_code = error_code,
                        .error_detail = error_detail};

    return aq_sqlite_write(aq_sqlite_queue_of(q), again_change, &job);
}

apr_status_t aq_sqlite_hand_back(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                 int64_t wait_ms)
{
    job_change_t job = {.id = id, .token = token, .now = now, .wait_ms = wait_ms, .uncount = 1};

    return aq_sqlite_write(aq_sqlite_queue_of(q), again_change, &job);
}

/* A job whose lease is over. */
typedef struct {
    char id[AQ_BATCH_ID_SIZE];
    int64_t token;
    int cancel_asked;
    aq_attempt_end_t end;
} lapsed_t;

static apr_status_t read_lapsed(aq_sqlite_link_t *link, const aq_queue_now_t *now, const char *dead_worker,
                                apr_array_header_t *lapsed)
{
    sqlite3_stmt *row;

    apr_status_t rv = aq_sqlite_query(link, AQ_SQL_LAPSED, &row, "tti", dead_worker, now->boot_id, now->boot_ms);
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(link, row)) {
        lapsed_t *job = apr_array_push(lapsed);
        apr_cpystrn(job->id, (const char *)sqlite3_column_text(row, 0), AQ_BATCH_ID_SIZE);
        job->token = sqlite3_column_int64(row, 1);
        job->cancel_asked = sqlite3_column_int(row, 5);
        job->end = (aq_attempt_end_t){.end = AQ_WORKER_LOST,
                                      .attempt = sqlite3_column_int(row, 2),
                                      .max_attempts = sqlite3_column_int(row, 3),
                                      .target_is_idempotent = !sqlite3_column_int(row, 4)};
    }
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t recover_row(aq_sqlite_queue_t *queue, const aq_queue_now_t *now, const lapsed_t *job,
                                unsigned *recovered, unsigned *failed)
{
    static const char detail[] = "the worker that ran it was lost";
    uint32_t random;

    apr_status_t rv = aq_hash_random(&random, sizeof random);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    aq_outcome_t outcome = aq_outcome_decide(&job->end, (double)random / 4294967296.0);
    if (outcome.status == AQ_BATCH_QUEUED || job->cancel_asked) {
        rv = again_row(queue, job->id, job->token, now, outcome.wait_ms, 0, outcome.error_code, detail);
        *recovered += rv == APR_SUCCESS;
        return rv;
    }
    rv = finish_row(queue, job->id, job->token, now,
                    &(aq_job_result_t){.status = outcome.status,
                                       .response = {.bytes = -1},
                                       .error_code = outcome.error_code,
                                       .error_detail = detail});
    *failed += rv == APR_SUCCESS;
    return rv;
}

static apr_status_t jobs_recover(aq_sqlite_queue_t *queue, const aq_queue_now_t *now, const char *dead_worker,
                                 unsigned *recovered, unsigned *failed)
{
    apr_array_header_t *lapsed;
    apr_pool_t *ptemp;

    *recovered = *failed = 0;
    apr_status_t rv = apr_pool_create(&ptemp, NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    lapsed = apr_array_make(ptemp, 8, sizeof(lapsed_t));
    (void)pthread_mutex_lock(&queue->reader_mutex);
    rv = read_lapsed(&queue->reader, now, dead_worker, lapsed);
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    if (rv != APR_SUCCESS || lapsed->nelts == 0 || (rv = aq_sqlite_write_begin(queue)) != APR_SUCCESS) {
        goto cleanup;
    }
    /* Once more under the lock: a lease may have been renewed meanwhile. */
    apr_array_clear(lapsed);
    rv = read_lapsed(&queue->writer, now, dead_worker, lapsed);
    for (int i = 0; rv == APR_SUCCESS && i < lapsed->nelts; i++) {
        rv = recover_row(queue, now, &APR_ARRAY_IDX(lapsed, i, lapsed_t), recovered, failed);
    }
    rv = aq_sqlite_write_end(queue, rv);
    if (rv != APR_SUCCESS) {
        *recovered = *failed = 0;
    }
cleanup:
    apr_pool_destroy(ptemp);
    return rv;
}

apr_status_t aq_sqlite_recover(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker, unsigned *recovered,
                               unsigned *failed)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    apr_status_t rv = jobs_recover(queue, now, dead_worker, recovered, failed);
    return rv == APR_SUCCESS ? aq_sqlite_webhooks_recover(queue, now, dead_worker) : rv;
}
