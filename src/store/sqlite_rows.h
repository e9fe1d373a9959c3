/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows: a batch to and from the columns of its row, by one table (queue_columns.h) for both ways; and a webhook's message
 * from its row.
 */
#ifndef AQ_SQLITE_ROWS_H
#define AQ_SQLITE_ROWS_H

#include "batch/batch.h"
#include "batch/webhook.h"

#include <sqlite3.h>

#define AQ_SQLITE_COLUMN_COUNT 42
#define AQ_SQLITE_COLUMNS_WITH(headers, response_headers)                                                              \
    "id, tenant, key_id, location, idempotency_key, status, created_at_ms, started_at_ms, finished_at_ms, "            \
    "expires_at_ms, cancel_requested_at_ms, next_attempt_at_ms, attempt, max_attempts, never_repeat, retention_ms, "   \
    "method, path, query, " headers                                                                                    \
    ", request_type, request_bytes, request_sha256, response_status, " response_headers                                \
    ", response_type, response_bytes, response_sha256, result_token, progress_done, progress_total, progress_failed, " \
    "error_code, error_detail, metadata, version, result_retention_ms, result_expires_at_ms, start_by_ms, "            \
    "wants_webhook, body_gone, items"
#define AQ_SQLITE_COLUMNS AQ_SQLITE_COLUMNS_WITH("headers", "response_headers")
/* For lists: without the two that may be long, which no list shows. */
#define AQ_SQLITE_COLUMNS_LISTED AQ_SQLITE_COLUMNS_WITH("NULL", "NULL")
#define AQ_SQLITE_PARAMETERS "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?"

/* What is read of a webhook's message, in this order. */
#define AQ_SQLITE_WEBHOOK_COLUMN_COUNT 23
#define AQ_SQLITE_WEBHOOK_COLUMNS                                                                                      \
    "id, tenant, batch_id, status, created_at_ms, started_at_ms, finished_at_ms, attempt, response_status, "           \
    "progress_done, progress_total, progress_failed, error_code, error_detail, metadata, state, attempts, "            \
    "next_attempt_at_ms, last_attempt_at_ms, delivered_at_ms, expires_at_ms, last_status, last_error"

/* Binds all columns; texts are not copied. An SQLite result. */
int aq_sqlite_row_bind(sqlite3_stmt *statement, const aq_batch_t *batch);

/* Reads the columns of the current row, the first being `id`, into a new batch in `p`. */
aq_batch_t *aq_sqlite_row_read(sqlite3_stmt *statement, apr_pool_t *p);
aq_webhook_t *aq_sqlite_webhook_read(sqlite3_stmt *statement, apr_pool_t *p);

#endif
