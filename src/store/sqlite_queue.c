/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: writes, submitting, finding and counting. What workers ask is in sqlite_claim.c and sqlite_jobs.c, what
 * else is asked of batches in sqlite_batches.c and, for their files, sqlite_files.c, how it is opened in sqlite_open.c, the statements in sqlite_sql.c.
 *
 * Every write is one transaction under the write lock, and is on disk when it returns (WAL, synchronous=FULL).
 */
#include "store/sqlite_private.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>

/* 4 MB of pages: few enough that a reader finds its pages soon, many enough that syncs of the database are rare. */
#define CHECKPOINT_PAGES 1000

static void checkpoint(aq_sqlite_queue_t *queue)
{
    int rc = sqlite3_wal_checkpoint_v2(queue->writer.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    /* Nothing is lost: the WAL holds what the database does not, and the next commit tries again. */
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) {
        AQ_LOG(AQ_LOG_ERROR, 404, aq_sqlite_status(rc), "queue: checkpoint failed: %s",
               sqlite3_errmsg(queue->writer.db));
    }
}

apr_status_t aq_sqlite_write_begin(aq_sqlite_queue_t *queue)
{
    return aq_sqlite_write_begin_within(queue, queue->lock.wait_ms);
}

apr_status_t aq_sqlite_write_begin_within(aq_sqlite_queue_t *queue, int wait_ms)
{
    int left_ms;

    apr_status_t rv = aq_sqlite_lock_take(&queue->lock, wait_ms, &left_ms);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* Only a program that is none of ours can hold SQLite's own lock now. */
    (void)sqlite3_busy_timeout(queue->writer.db, left_ms);
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_BEGIN, NULL, "");
    if (rv != APR_SUCCESS) {
        aq_sqlite_lock_give(&queue->lock);
    }
    return rv;
}

/*
 * A commit is written to the WAL first and synced then. Where the sync failed nobody sees the transaction, and the next one
 * is written over it; but until then a recovery, after a crash, finds it whole in the file and takes it for committed.
 */
static apr_status_t commit(aq_sqlite_queue_t *queue)
{
    apr_status_t rv = aq_sqlite_run(&queue->writer, AQ_SQL_COMMIT, NULL, "");

    return rv == EIO ? APR_INCOMPLETE : rv;
}

apr_status_t aq_sqlite_write_end(aq_sqlite_queue_t *queue, apr_status_t rv)
{
    if (rv == APR_SUCCESS) {
        rv = commit(queue);
    }
    /* Some failures have rolled back already; then there is no transaction left. */
    if (rv != APR_SUCCESS && sqlite3_get_autocommit(queue->writer.db) == 0) {
        (void)aq_sqlite_run(&queue->writer, AQ_SQL_ROLLBACK, NULL, "");
    }
    if (rv == APR_SUCCESS && queue->writer.wal_pages >= CHECKPOINT_PAGES) {
        checkpoint(queue);
    }
    aq_sqlite_lock_give(&queue->lock);
    return rv;
}

/* With the new row counted, under the write lock: so of many that come together none gets past. */
static apr_status_t bounds_check(aq_sqlite_queue_t *queue, const aq_batch_t *batch, const aq_queue_bounds_t *bounds)
{
    aq_queue_use_t use;

    if (bounds == NULL) {
        return APR_SUCCESS;
    }
    apr_status_t rv = aq_sqlite_use_read(&queue->writer, batch->tenant, &use);
    if (rv == APR_SUCCESS && bounds->body_check != NULL &&
        (rv = bounds->body_check(bounds->body_data, batch)) != APR_SUCCESS) {
        return rv;
    }
    if (rv == APR_SUCCESS && bounds->queued_most > 0 && use.queued > bounds->queued_most) {
        return APR_EAGAIN;
    }
    if (rv == APR_SUCCESS && bounds->bytes_most > 0 && use.bytes > bounds->bytes_most) {
        return EDQUOT;
    }
    return rv;
}

static apr_status_t row_add(aq_sqlite_queue_t *queue, const aq_batch_t *batch)
{
    apr_status_t rv = aq_sqlite_run_row(&queue->writer, AQ_SQL_SUBMIT, batch);

    if (rv == APR_SUCCESS && batch->idempotency_key != NULL) {
        rv = aq_sqlite_run(&queue->writer, AQ_SQL_SUBMIT_KEY, NULL, "ttt", batch->tenant, batch->idempotency_key,
                           batch->id);
    }
    return rv;
}

typedef struct {
    const aq_batch_t *batch;
    const aq_queue_bounds_t *bounds;
} submit_t;

/* A repeated request is told of its first batch, also where there is no room for another. */
static apr_status_t submit_change(aq_sqlite_queue_t *queue, void *data)
{
    const submit_t *submit = data;

    apr_status_t rv = row_add(queue, submit->batch);
    return rv == APR_SUCCESS ? bounds_check(queue, submit->batch, submit->bounds) : rv;
}

static apr_status_t sqlite_submit(aq_queue_t *q, const aq_batch_t *batch, const aq_queue_bounds_t *bounds,
                                  apr_pool_t *ptemp)
{
    (void)ptemp;
    return aq_sqlite_write(aq_sqlite_queue_of(q), submit_change, &(submit_t){.batch = batch, .bounds = bounds});
}

/* The one batch that a statement with two text parameters finds. */
static apr_status_t find_one(aq_queue_t *q, apr_pool_t *p, aq_sql_t sql, const char *types, const char *first,
                             const char *second, aq_batch_t **batch)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    sqlite3_stmt *row;

    *batch = NULL;
    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = aq_sqlite_query(&queue->reader, sql, &row, types, first, second);
    if (rv == APR_SUCCESS) {
        *batch = aq_sqlite_row_read(row, p);
        aq_sqlite_reset(row);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv;
}

static apr_status_t sqlite_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_batch_t **batch)
{
    return find_one(q, p, AQ_SQL_FIND, "t", id, NULL, batch);
}

static apr_status_t sqlite_find_key(aq_queue_t *q, apr_pool_t *p, const char *tenant, const char *idempotency_key,
                                    aq_batch_t **batch)
{
    return find_one(q, p, AQ_SQL_FIND_KEY, "tt", tenant, idempotency_key, batch);
}

apr_status_t aq_sqlite_totals_read(aq_sqlite_link_t *reader, const char *tenant, aq_queue_counts_t *counts)
{
    aq_batch_status_t status;
    sqlite3_stmt *row;

    apr_status_t rv = tenant != NULL ? aq_sqlite_query(reader, AQ_SQL_COUNTS, &row, "t", tenant)
                                     : aq_sqlite_query(reader, AQ_SQL_COUNTS_ALL, &row, "");
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(reader, row)) {
        if (aq_batch_status_parse((const char *)sqlite3_column_text(row, 0), &status) == APR_SUCCESS) {
            counts->by_status[status] = sqlite3_column_int64(row, 1);
        }
    }
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t read_oldest(aq_sqlite_link_t *reader, const char *tenant, aq_queue_counts_t *counts)
{
    sqlite3_stmt *row;

    apr_status_t rv = tenant != NULL ? aq_sqlite_query(reader, AQ_SQL_OLDEST, &row, "t", tenant)
                                     : aq_sqlite_query(reader, AQ_SQL_OLDEST_ALL, &row, "");
    if (rv == APR_SUCCESS) {
        counts->oldest_queued_at_ms = sqlite3_column_int64(row, 0); /* NULL reads as 0 */
        aq_sqlite_reset(row);
    }
    return rv;
}

static apr_status_t sqlite_counts(aq_queue_t *q, const char *tenant, aq_queue_counts_t *counts)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    *counts = (aq_queue_counts_t){.oldest_queued_at_ms = 0};
    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = aq_sqlite_totals_read(&queue->reader, tenant, counts);
    if (rv == APR_SUCCESS) {
        rv = read_oldest(&queue->reader, tenant, counts);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv;
}

static void sqlite_close(aq_queue_t *q)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    (void)apr_pool_cleanup_run(queue->pool, queue, aq_sqlite_queue_end);
}

const aq_queue_ops_t aq_sqlite_queue_ops = {
    .name = "sqlite",
    .submit = sqlite_submit,
    .find = sqlite_find,
    .find_key = sqlite_find_key,
    .use = aq_sqlite_use,
    .list = aq_sqlite_list,
    .cancel = aq_sqlite_cancel,
    .retry = aq_sqlite_retry,
    .remove = aq_sqlite_remove,
    .claim = aq_sqlite_claim,
    .renew = aq_sqlite_renew,
    .cancels = aq_sqlite_cancels,
    .progress = aq_sqlite_progress,
    .finish = aq_sqlite_finish,
    .again = aq_sqlite_again,
    .hand_back = aq_sqlite_hand_back,
    .recover = aq_sqlite_recover,
    .overdue = aq_sqlite_overdue,
    .counts = sqlite_counts,
    .expire = aq_sqlite_expire,
    .webhook_test = aq_sqlite_webhook_test,
    .webhook_find = aq_sqlite_webhook_find,
    .webhook_list = aq_sqlite_webhook_list,
    .webhook_retry = aq_sqlite_webhook_retry,
    .webhook_claim = aq_sqlite_webhook_claim,
    .webhook_finish = aq_sqlite_webhook_finish,
    .trim = aq_sqlite_trim,
    .forget = aq_sqlite_forget,
    .look = aq_sqlite_look,
    .close = sqlite_close,
};
