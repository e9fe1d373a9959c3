/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of columns.
 */
#include "store/sqlite_rows.h"

#include <apr_strings.h>
#include <assert.h>
#include <stddef.h>

typedef enum { ID, WEBHOOK_ID, STATUS, STATE, TEXT, INT, INT64 } column_type_t;

#define AT(member) offsetof(aq_batch_t, member)

typedef struct {
    column_type_t type;
    size_t offset;
} column_t;

static const column_t columns[] = {
    {ID, AT(id)},
    {TEXT, AT(tenant)},
    {TEXT, AT(key_id)},
    {TEXT, AT(location)},
    {TEXT, AT(idempotency_key)},
    {STATUS, AT(status)},
    {INT64, AT(created_at_ms)},
    {INT64, AT(started_at_ms)},
    {INT64, AT(finished_at_ms)},
    {INT64, AT(expires_at_ms)},
    {INT64, AT(cancel_requested_at_ms)},
    {INT64, AT(next_attempt_at_ms)},
    {INT, AT(attempt)},
    {INT, AT(max_attempts)},
    {INT, AT(never_repeat)},
    {INT64, AT(retention_ms)},
    {TEXT, AT(method)},
    {TEXT, AT(path)},
    {TEXT, AT(query)},
    {TEXT, AT(headers)},
    {TEXT, AT(request.content_type)},
    {INT64, AT(request.bytes)},
    {TEXT, AT(request.sha256)},
    {INT, AT(response_status)},
    {TEXT, AT(response_headers)},
    {TEXT, AT(response.content_type)},
    {INT64, AT(response.bytes)},
    {TEXT, AT(response.sha256)},
    {INT64, AT(result_token)},
    {INT64, AT(progress_done)},
    {INT64, AT(progress_total)},
    {INT64, AT(progress_failed)},
    {TEXT, AT(error_code)},
    {TEXT, AT(error_detail)},
    {TEXT, AT(metadata)},
    {INT64, AT(version)},
    {INT64, AT(result_retention_ms)},
    {INT64, AT(result_expires_at_ms)},
    {INT64, AT(start_by_ms)},
    {INT, AT(wants_webhook)},
    {INT, AT(body_gone)},
    {INT64, AT(items)},
};

static_assert(sizeof columns / sizeof columns[0] == AQ_SQLITE_COLUMN_COUNT, "each column is in the table");

#define WEBHOOK_AT(member) offsetof(aq_webhook_t, member)

static const column_t webhook_columns[] = {
    {WEBHOOK_ID, WEBHOOK_AT(id)},
    {TEXT, WEBHOOK_AT(tenant)},
    {TEXT, WEBHOOK_AT(batch_id)},
    {STATUS, WEBHOOK_AT(status)},
    {INT64, WEBHOOK_AT(created_at_ms)},
    {INT64, WEBHOOK_AT(started_at_ms)},
    {INT64, WEBHOOK_AT(finished_at_ms)},
    {INT, WEBHOOK_AT(attempt)},
    {INT, WEBHOOK_AT(response_status)},
    {INT64, WEBHOOK_AT(progress_done)},
    {INT64, WEBHOOK_AT(progress_total)},
    {INT64, WEBHOOK_AT(progress_failed)},
    {TEXT, WEBHOOK_AT(error_code)},
    {TEXT, WEBHOOK_AT(error_detail)},
    {TEXT, WEBHOOK_AT(metadata)},
    {STATE, WEBHOOK_AT(state)},
    {INT, WEBHOOK_AT(attempts)},
    {INT64, WEBHOOK_AT(next_attempt_at_ms)},
    {INT64, WEBHOOK_AT(last_attempt_at_ms)},
    {INT64, WEBHOOK_AT(delivered_at_ms)},
    {INT64, WEBHOOK_AT(expires_at_ms)},
    {INT, WEBHOOK_AT(last_status)},
    {TEXT, WEBHOOK_AT(last_error)},
};

static_assert(sizeof webhook_columns / sizeof webhook_columns[0] == AQ_SQLITE_WEBHOOK_COLUMN_COUNT,
              "each column of a webhook is in the table");

static int column_bind(sqlite3_stmt *statement, int i, const void *at)
{
    switch (columns[i].type) {
    case ID:
        return sqlite3_bind_text(statement, i + 1, at, -1, SQLITE_STATIC);
    case STATUS:
        return sqlite3_bind_text(statement, i + 1, aq_batch_status_name(*(const aq_batch_status_t *)at), -1,
                                 SQLITE_STATIC);
    case TEXT:
        return sqlite3_bind_text(statement, i + 1, *(const char *const *)at, -1, SQLITE_STATIC);
    case INT:
        return sqlite3_bind_int(statement, i + 1, *(const int *)at);
    case INT64:
        return sqlite3_bind_int64(statement, i + 1, *(const int64_t *)at);
    case WEBHOOK_ID:
    case STATE:
        break; /* messages are made by a trigger: only read */
    }
    return SQLITE_MISUSE;
}

int aq_sqlite_row_bind(sqlite3_stmt *statement, const aq_batch_t *batch)
{
    int rc = SQLITE_OK;

    for (int i = 0; rc == SQLITE_OK && i < AQ_SQLITE_COLUMN_COUNT; i++) {
        rc = column_bind(statement, i, (const char *)batch + columns[i].offset);
    }
    return rc;
}

/* The text of a column that is never NULL. */
static const char *column_text(sqlite3_stmt *statement, int i)
{
    const char *text = (const char *)sqlite3_column_text(statement, i);

    return text != NULL ? text : "";
}

/* The tables' own CHECKs let no other word in than those of states. */
static void column_read(sqlite3_stmt *statement, int i, column_type_t type, void *at, apr_pool_t *p)
{
    switch (type) {
    case ID:
        apr_cpystrn(at, column_text(statement, i), AQ_BATCH_ID_SIZE);
        break;
    case WEBHOOK_ID:
        apr_cpystrn(at, column_text(statement, i), AQ_WEBHOOK_ID_SIZE);
        break;
    case STATUS:
        (void)aq_batch_status_parse(column_text(statement, i), at);
        break;
    case STATE:
        (void)aq_webhook_state_parse(column_text(statement, i), at);
        break;
    case TEXT:
        *(const char **)at = apr_pstrdup(p, (const char *)sqlite3_column_text(statement, i));
        break;
    case INT:
        *(int *)at = sqlite3_column_int(statement, i);
        break;
    case INT64:
        *(int64_t *)at = sqlite3_column_int64(statement, i);
        break;
    }
}

static void columns_read(sqlite3_stmt *statement, const column_t *of, int count, void *row, apr_pool_t *p)
{
    for (int i = 0; i < count; i++) {
        column_read(statement, i, of[i].type, (char *)row + of[i].offset, p);
    }
}

aq_batch_t *aq_sqlite_row_read(sqlite3_stmt *statement, apr_pool_t *p)
{
    aq_batch_t *batch = apr_pcalloc(p, sizeof(*batch));

    columns_read(statement, columns, AQ_SQLITE_COLUMN_COUNT, batch, p);
    return batch;
}

aq_webhook_t *aq_sqlite_webhook_read(sqlite3_stmt *statement, apr_pool_t *p)
{
    aq_webhook_t *webhook = apr_pcalloc(p, sizeof(*webhook));

    columns_read(statement, webhook_columns, AQ_SQLITE_WEBHOOK_COLUMN_COUNT, webhook, p);
    return webhook;
}
