/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: the messages to webhooks. A trigger makes them when a batch is over (sqlite_layout.c); here they are claimed
 * and ended, like jobs: what comes after the claim is guarded by its token.
 */
#include "store/sqlite_private.h"

#include <apr_strings.h>

/* A write of one statement, given by its changes. */
static apr_status_t write_end(aq_sqlite_queue_t *queue, apr_status_t rv, int changes, apr_status_t unchanged)
{
    return aq_sqlite_write_end(queue, rv == APR_SUCCESS && changes == 0 ? unchanged : rv);
}

apr_status_t aq_sqlite_webhook_test(aq_queue_t *q, const char *id, const char *tenant, const aq_queue_now_t *now)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_WEBHOOK_ADD, NULL, "tti", id, tenant, now->wall_ms);
    return aq_sqlite_write_end(queue, rv);
}

apr_status_t aq_sqlite_webhook_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_webhook_t **webhook)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    sqlite3_stmt *row;

    *webhook = NULL;
    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = aq_sqlite_query(&queue->reader, AQ_SQL_WEBHOOK_FIND, &row, "t", id);
    if (rv == APR_SUCCESS) {
        *webhook = aq_sqlite_webhook_read(row, p);
        aq_sqlite_reset(row);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv;
}

apr_status_t aq_sqlite_webhook_list(aq_queue_t *q, apr_pool_t *p, const aq_webhook_query_t *query,
                                    apr_array_header_t **webhooks)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    const char *state = query->state >= 0 ? aq_webhook_state_name((aq_webhook_state_t)query->state) : NULL;
    sqlite3_stmt *row;

    *webhooks = apr_array_make(p, 16, sizeof(aq_webhook_t *));
    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = query->tenant != NULL ? aq_sqlite_query(&queue->reader, AQ_SQL_WEBHOOK_LIST, &row, "itt",
                                                              (int64_t)query->limit, state, query->tenant)
                                            : aq_sqlite_query(&queue->reader, AQ_SQL_WEBHOOK_LIST_ALL, &row, "it",
                                                              (int64_t)query->limit, state);
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(&queue->reader, row)) {
        APR_ARRAY_PUSH(*webhooks, aq_webhook_t *) = aq_sqlite_webhook_read(row, p);
    }
    aq_sqlite_reset(row);
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* 1 where the writer sees a message of that ID. */
static int exists(aq_sqlite_queue_t *queue, const char *id)
{
    sqlite3_stmt *row;

    if (aq_sqlite_query(&queue->writer, AQ_SQL_WEBHOOK_FIND, &row, "t", id) != APR_SUCCESS) {
        return 0;
    }
    aq_sqlite_reset(row);
    return 1;
}

apr_status_t aq_sqlite_webhook_retry(aq_queue_t *q, const char *id)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    int changes = 0;

    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_WEBHOOK_RETRY, &changes, "t", id);
    return write_end(queue, rv, changes, changes == 0 && exists(queue, id) ? APR_EBUSY : APR_NOTFOUND);
}

/* ---- claims ----------------------------------------------------------------------------------------------------- */

/* The message that is next; the caller resets `*row`. */
static apr_status_t next_find(aq_sqlite_link_t *link, int64_t wall_ms, int tenant_most, sqlite3_stmt **row)
{
    return aq_sqlite_query(link, AQ_SQL_WEBHOOK_NEXT, row, "ii", wall_ms, (int64_t)tenant_most);
}

/* Whether there may be one: cheap where none is due, and without the write lock. */
static apr_status_t is_due(aq_sqlite_queue_t *queue, int64_t wall_ms, int tenant_most)
{
    sqlite3_stmt *row;

    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = next_find(&queue->reader, wall_ms, tenant_most, &row);
    if (rv == APR_NOTFOUND) {
        rv = aq_sqlite_query(&queue->reader, AQ_SQL_WEBHOOK_IS_WAKING, &row, "i", wall_ms);
    }
    if (rv == APR_SUCCESS) {
        aq_sqlite_reset(row);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv;
}

/* The row, read wholly before the transaction ends: a statement that is still running would keep it open. */
static apr_status_t claim_row(aq_sqlite_queue_t *queue, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                              int lease_ms, int64_t seq, aq_delivery_t *delivery)
{
    sqlite3_stmt *row;

    apr_status_t rv = aq_sqlite_query(&queue->writer, AQ_SQL_WEBHOOK_CLAIM, &row, "ititi", seq, worker,
                                      now->boot_ms + lease_ms, now->boot_id, now->wall_ms);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    delivery->webhook = aq_sqlite_webhook_read(row, p);
    delivery->token = sqlite3_column_int64(row, AQ_SQLITE_WEBHOOK_COLUMN_COUNT);
    rv = aq_sqlite_next(&queue->writer, row);
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t claim_next(aq_sqlite_queue_t *queue, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                               int lease_ms, int tenant_most, aq_delivery_t *delivery)
{
    sqlite3_stmt *row;

    apr_status_t rv = next_find(&queue->writer, now->wall_ms, tenant_most, &row);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    int64_t seq = sqlite3_column_int64(row, 0);
    aq_sqlite_reset(row);
    rv = claim_row(queue, p, worker, now, lease_ms, seq, delivery);
    return rv == APR_SUCCESS
               ? aq_sqlite_run(&queue->writer, AQ_SQL_WEBHOOK_TURN_TAKEN, NULL, "t", delivery->webhook->tenant)
               : rv;
}

/* Messages that were woken but may not be sent yet stay awake: that there is nothing to claim then takes nothing back. */
apr_status_t aq_sqlite_webhook_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                     int lease_ms, int tenant_most, aq_delivery_t *delivery)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    aq_delivery_t claimed = {.webhook = NULL};
    apr_status_t rv, found = APR_SUCCESS;
    int woken = 0;

    *delivery = claimed;
    if ((rv = is_due(queue, now->wall_ms, tenant_most)) != APR_SUCCESS ||
        (rv = aq_sqlite_write_begin(queue)) != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_WEBHOOK_WAKE, &woken, "i", now->wall_ms);
    if (rv == APR_SUCCESS) {
        rv = found = claim_next(queue, p, worker, now, lease_ms, tenant_most, &claimed);
    }
    rv = aq_sqlite_write_end(queue, rv == APR_NOTFOUND && woken > 0 ? APR_SUCCESS : rv);
    if (rv == APR_SUCCESS && found == APR_SUCCESS) {
        *delivery = claimed;
    }
    return rv == APR_SUCCESS ? found : rv;
}

apr_status_t aq_sqlite_webhook_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                      const aq_delivery_result_t *result)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    aq_webhook_state_t state = result->outcome.state;
    int is_pending = state == AQ_WEBHOOK_PENDING;
    int changes = 0;

    apr_status_t rv = aq_sqlite_write_begin(queue);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_WEBHOOK_FINISH, &changes, "titiiiiit", id, token,
                       aq_webhook_state_name(state), (int64_t)(result->is_uncounted != 0),
                       is_pending && result->outcome.wait_ms > 0 ? now->wall_ms + result->outcome.wait_ms : 0,
                       state == AQ_WEBHOOK_DELIVERED ? now->wall_ms : 0,
                       is_pending ? 0 : now->wall_ms + AQ_WEBHOOK_KEPT_MS, (int64_t)result->status, result->error);
    return write_end(queue, rv, changes, APR_NOTFOUND);
}

apr_status_t aq_sqlite_webhooks_recover(aq_sqlite_queue_t *queue, const aq_queue_now_t *now, const char *dead_worker)
{
    sqlite3_stmt *row;

    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv =
        aq_sqlite_query(&queue->reader, AQ_SQL_WEBHOOK_IS_LAPSED, &row, "tti", dead_worker, now->boot_id, now->boot_ms);
    if (rv == APR_SUCCESS) {
        aq_sqlite_reset(row);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    if ((rv = aq_sqlite_write_begin(queue)) != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_run(&queue->writer, AQ_SQL_WEBHOOK_RECOVER, NULL, "ttiii", dead_worker, now->boot_id, now->boot_ms,
                       (int64_t)AQ_WEBHOOK_ATTEMPTS_MAX, now->wall_ms + AQ_WEBHOOK_KEPT_MS);
    return aq_sqlite_write_end(queue, rv);
}
