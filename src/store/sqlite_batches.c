/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: what clients and operators ask of batches that are there: use, list, cancel, retry, remove; and what time
 * does to them: overdue, expire.
 */
#include "store/sqlite_private.h"

#include <apr_strings.h>

/* Above every ID, whose letters are all below it. */
#define ABOVE_ALL_IDS "~"

apr_status_t aq_sqlite_use_read(aq_sqlite_link_t *link, const char *tenant, aq_queue_use_t *use)
{
    sqlite3_stmt *row;

    *use = (aq_queue_use_t){.queued = 0};
    apr_status_t rv = aq_sqlite_query(link, AQ_SQL_USE, &row, "t", tenant);
    if (rv == APR_SUCCESS) {
        use->queued = sqlite3_column_int64(row, 0);
        use->bytes = sqlite3_column_int64(row, 1);
        aq_sqlite_reset(row);
    }
    return rv;
}

apr_status_t aq_sqlite_use(aq_queue_t *q, const char *tenant, aq_queue_use_t *use)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = aq_sqlite_use_read(&queue->reader, tenant, use);
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv;
}

/* One row more than the page has tells whether there are more. */
static apr_status_t list_begin(aq_sqlite_link_t *link, const aq_queue_query_t *query, sqlite3_stmt **row)
{
    const char *before = query->before != NULL ? query->before : ABOVE_ALL_IDS;
    const char *status = query->status >= 0 ? aq_batch_status_name((aq_batch_status_t)query->status) : NULL;
    int64_t limit = (int64_t)query->limit + 1;

    if (query->tenant != NULL && status != NULL) {
        return aq_sqlite_query(link, AQ_SQL_LIST_STATUS, row, "ittt", limit, before, query->tenant, status);
    }
    if (query->tenant != NULL) {
        return aq_sqlite_query(link, AQ_SQL_LIST, row, "itt", limit, before, query->tenant);
    }
    return status != NULL ? aq_sqlite_query(link, AQ_SQL_LIST_ALL_STATUS, row, "itt", limit, before, status)
                          : aq_sqlite_query(link, AQ_SQL_LIST_ALL, row, "it", limit, before);
}

static int64_t total_of(const aq_queue_counts_t *counts, int status)
{
    int64_t total = 0;

    for (int i = 0; i < AQ_BATCH_STATUS_COUNT; i++) {
        total += status < 0 || status == i ? counts->by_status[i] : 0;
    }
    return total;
}

apr_status_t aq_sqlite_list(aq_queue_t *q, apr_pool_t *p, const aq_queue_query_t *query, aq_queue_page_t *page)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    aq_queue_counts_t counts = {.oldest_queued_at_ms = 0};
    sqlite3_stmt *row;

    *page =
        (aq_queue_page_t){.batches = apr_array_make(p, query->limit < 64 ? query->limit : 64, sizeof(aq_batch_t *))};
    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = list_begin(&queue->reader, query, &row);
    for (; rv == APR_SUCCESS && !page->has_more; rv = aq_sqlite_next(&queue->reader, row)) {
        if (page->batches->nelts == query->limit) {
            page->has_more = 1;
            break;
        }
        APR_ARRAY_PUSH(page->batches, aq_batch_t *) = aq_sqlite_row_read(row, p);
    }
    aq_sqlite_reset(row);
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND) {
        rv = aq_sqlite_totals_read(&queue->reader, query->tenant, &counts);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    page->total = total_of(&counts, query->status);
    return rv;
}

apr_status_t aq_sqlite_read_one(aq_sqlite_queue_t *queue, apr_pool_t *p, const char *id, aq_batch_t **batch)
{
    sqlite3_stmt *row;

    *batch = NULL;
    apr_status_t rv = aq_sqlite_query(&queue->writer, AQ_SQL_FIND, &row, "t", id);
    if (rv == APR_SUCCESS) {
        *batch = aq_sqlite_row_read(row, p);
        aq_sqlite_reset(row);
    }
    return rv;
}

apr_status_t aq_sqlite_cancel(aq_queue_t *q, apr_pool_t *p, const char *id, const aq_queue_now_t *now,
                              aq_batch_t **batch)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    *batch = NULL;
    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_read_one(queue, p, id, batch);
    if (rv == APR_SUCCESS && aq_batch_is_over((*batch)->status)) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS) {
        rv = aq_sqlite_run(&queue->writer, AQ_SQL_CANCEL, NULL, "tii", id, now->wall_ms, AQ_BATCH_RETENTION_MS);
    }
    if (rv == APR_SUCCESS) {
        rv = aq_sqlite_read_one(queue, p, id, batch);
    }
    return aq_sqlite_write_end(queue, rv);
}

/*
 * The beginning of what changes a batch that is over: `*gone` has its files, of which it keeps the body unless that is gone
 * already, `*status` its state. Scratch is its own.
 */
static apr_status_t files_of(aq_sqlite_queue_t *queue, const char *id, aq_expired_t *gone, aq_batch_status_t *status)
{
    apr_pool_t *ptemp;
    aq_batch_t *batch;

    apr_status_t rv = apr_pool_create(&ptemp, NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_read_one(queue, ptemp, id, &batch);
    if (rv == APR_SUCCESS) {
        apr_cpystrn(gone->id, batch->id, AQ_BATCH_ID_SIZE);
        gone->result_token = batch->result_token;
        gone->keeps_body = !batch->body_gone;
        *status = batch->status;
    }
    apr_pool_destroy(ptemp);
    return rv;
}

apr_status_t aq_sqlite_retry(aq_queue_t *q, const char *id, const aq_queue_now_t *now, aq_expired_t *gone)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    aq_batch_status_t status;
    int changes = 0;

    *gone = (aq_expired_t){.keeps_body = 1};
    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = files_of(queue, id, gone, &status);
    if (rv == APR_SUCCESS) {
        rv = aq_sqlite_run(&queue->writer, AQ_SQL_RETRY, &changes, "ti", id, now->wall_ms);
    }
    if (rv == APR_SUCCESS && changes == 0) {
        rv = (status == AQ_BATCH_FAILED || status == AQ_BATCH_CANCELED) && !gone->keeps_body ? APR_ENOENT : APR_EINVAL;
    }
    return aq_sqlite_write_end(queue, rv);
}

apr_status_t aq_sqlite_remove(aq_queue_t *q, const char *id, aq_expired_t *gone)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    aq_batch_status_t status;

    *gone = (aq_expired_t){.result_token = 0};
    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = files_of(queue, id, gone, &status);
    gone->keeps_body = 0;
    if (rv == APR_SUCCESS && !aq_batch_is_over(status)) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS && (rv = aq_sqlite_run(&queue->writer, AQ_SQL_REMOVE_KEY, NULL, "t", id)) == APR_SUCCESS) {
        rv = aq_sqlite_run(&queue->writer, AQ_SQL_REMOVE, NULL, "t", id);
    }
    return aq_sqlite_write_end(queue, rv);
}

/* Whether a statement with the time as its one parameter finds anything, asked without the write lock. */
static apr_status_t has_any(aq_sqlite_queue_t *queue, aq_sql_t sql, int64_t wall_ms)
{
    sqlite3_stmt *row;

    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = aq_sqlite_query(&queue->reader, sql, &row, "i", wall_ms);
    if (rv == APR_SUCCESS) {
        aq_sqlite_reset(row);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv;
}

apr_status_t aq_sqlite_overdue(aq_queue_t *q, const aq_queue_now_t *now, unsigned *failed)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    int changes = 0;

    *failed = 0;
    apr_status_t rv = has_any(queue, AQ_SQL_IS_OVERDUE, now->wall_ms);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    if ((rv = aq_sqlite_write_begin(queue)) != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_OVERDUE, &changes, "ii", now->wall_ms, AQ_BATCH_RETENTION_MS);
    rv = aq_sqlite_write_end(queue, rv);
    *failed = rv == APR_SUCCESS ? (unsigned)changes : 0;
    return rv;
}

/* Adds what a statement that returns IDs and tokens tells to the list. */
static apr_status_t expired_read(aq_sqlite_queue_t *queue, aq_sql_t sql, int64_t wall_ms, int most, int keeps_body,
                                 apr_array_header_t *expired)
{
    sqlite3_stmt *row;

    apr_status_t rv = aq_sqlite_query(&queue->writer, sql, &row, "ii", wall_ms, (int64_t)most);
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(&queue->writer, row)) {
        aq_expired_t *gone = apr_array_push(expired);
        apr_cpystrn(gone->id, (const char *)sqlite3_column_text(row, 0), AQ_BATCH_ID_SIZE);
        gone->result_token = sqlite3_column_int64(row, 1);
        gone->keeps_body = keeps_body;
    }
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* RETURNING tells a row as it is afterwards, without its token: so the results are read first, then forgotten. */
static apr_status_t results_forget(aq_sqlite_queue_t *queue, int64_t wall_ms, int most, apr_array_header_t *expired)
{
    int first = expired->nelts;

    apr_status_t rv = expired_read(queue, AQ_SQL_EXPIRED_RESULTS, wall_ms, most, 1, expired);
    for (int i = first; rv == APR_SUCCESS && i < expired->nelts; i++) {
        rv = aq_sqlite_run(&queue->writer, AQ_SQL_FORGET_RESULT, NULL, "t", APR_ARRAY_IDX(expired, i, aq_expired_t).id);
    }
    return rv;
}

/* Of each kind at most `most`; `*has_more` where there were so many of one. */
static apr_status_t kinds_expire(aq_sqlite_queue_t *queue, int64_t wall_ms, int most, apr_array_header_t *expired,
                                 int *has_more)
{
    static const aq_sql_t plain[] = {AQ_SQL_WEBHOOK_EXPIRE, AQ_SQL_EXPIRE_KEYS};
    apr_status_t rv = expired_read(queue, AQ_SQL_EXPIRE, wall_ms, most, 0, expired);
    const int rows = expired->nelts;

    if (rv == APR_SUCCESS) {
        rv = results_forget(queue, wall_ms, most, expired);
    }
    *has_more = rows >= most || expired->nelts - rows >= most;
    for (size_t i = 0; rv == APR_SUCCESS && i < sizeof plain / sizeof plain[0]; i++) {
        int changes;
        rv = aq_sqlite_run(&queue->writer, plain[i], &changes, "ii", wall_ms, (int64_t)most);
        *has_more |= changes >= most;
    }
    return rv;
}

apr_status_t aq_sqlite_expire(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                              apr_array_header_t **expired, int *has_more)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    *expired = apr_array_make(p, 0, sizeof(aq_expired_t));
    *has_more = 0;
    apr_status_t rv = has_any(queue, AQ_SQL_HAS_EXPIRED, now->wall_ms);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    if ((rv = aq_sqlite_write_begin(queue)) != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_write_end(queue, kinds_expire(queue, now->wall_ms, most, *expired, has_more));
    if (rv != APR_SUCCESS) {
        apr_array_clear(*expired);
        *has_more = 0;
    }
    return rv;
}
