/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: what is asked for the files of batches. Whoever removes a file has its name out of the queue first, or
 * finds under the write lock that the queue does not have it.
 */
#include "store/sqlite_private.h"

#include <apr_strings.h>

/* What goes next, in `p`, until it makes up `bytes`. Reads by either connection. */
static apr_status_t trimmable_read(aq_sqlite_link_t *link, int64_t bytes, int most, apr_array_header_t *trimmed)
{
    int64_t found_bytes = 0;
    sqlite3_stmt *row;

    apr_status_t rv = aq_sqlite_query(link, AQ_SQL_TRIMMABLE, &row, "i", (int64_t)most);
    for (; rv == APR_SUCCESS && found_bytes < bytes; rv = aq_sqlite_next(link, row)) {
        aq_expired_t *gone = apr_array_push(trimmed);
        *gone = (aq_expired_t){
            .result_token = sqlite3_column_int64(row, 1), .keeps_body = 0, .bytes = sqlite3_column_int64(row, 3)};
        apr_cpystrn(gone->id, (const char *)sqlite3_column_text(row, 0), AQ_BATCH_ID_SIZE);
        found_bytes += gone->bytes;
    }
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t forget_row(aq_sqlite_queue_t *queue, const aq_expired_t *gone, int *changes)
{
    return aq_sqlite_run(&queue->writer, AQ_SQL_FORGET, changes, "tii", gone->id, (int64_t)!gone->keeps_body,
                         gone->result_token);
}

apr_status_t aq_sqlite_trim(aq_queue_t *q, apr_pool_t *p, int64_t bytes, int most, apr_array_header_t **trimmed)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    *trimmed = apr_array_make(p, 16, sizeof(aq_expired_t));
    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = trimmable_read(&queue->writer, bytes, most, *trimmed);
    for (int i = 0; rv == APR_SUCCESS && i < (*trimmed)->nelts; i++) {
        rv = forget_row(queue, &APR_ARRAY_IDX(*trimmed, i, aq_expired_t), NULL);
    }
    rv = aq_sqlite_write_end(queue, rv);
    if (rv != APR_SUCCESS) {
        apr_array_clear(*trimmed);
    }
    return rv;
}

apr_status_t aq_sqlite_forget(aq_queue_t *q, const aq_expired_t *gone)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    int changes = 0;

    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = forget_row(queue, gone, &changes);
    return aq_sqlite_write_end(queue, rv == APR_SUCCESS && changes == 0 ? APR_NOTFOUND : rv);
}

/* Writers are kept out by the lock alone: nothing is written, so there is no transaction. */
apr_status_t aq_sqlite_look(aq_queue_t *q, apr_pool_t *ptemp, const char *id, aq_queue_look_fn *fn, void *data)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    aq_batch_t *batch;
    int left_ms;

    apr_status_t rv = aq_sqlite_lock_take(&queue->lock, queue->lock.wait_ms, &left_ms);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_read_one(queue, ptemp, id, &batch);
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND) {
        rv = fn(data, batch);
    }
    aq_sqlite_lock_give(&queue->lock);
    return rv;
}
