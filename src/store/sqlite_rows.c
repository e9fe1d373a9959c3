/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows by the tables of queue_columns.h.
 */
#include "store/sqlite_rows.h"

#include "store/queue_columns.h"

#include <apr_strings.h>
#include <assert.h>

static_assert(AQ_BATCH_COLUMN_COUNT == AQ_SQLITE_COLUMN_COUNT, "each column of a batch is in the table");
static_assert(AQ_WEBHOOK_COLUMN_COUNT == AQ_SQLITE_WEBHOOK_COLUMN_COUNT, "each column of a webhook is in the table");

static int column_bind(sqlite3_stmt *statement, int i, const void *at)
{
    switch (aq_batch_columns[i].type) {
    case AQ_COLUMN_ID:
        return sqlite3_bind_text(statement, i + 1, at, -1, SQLITE_STATIC);
    case AQ_COLUMN_STATUS:
        return sqlite3_bind_text(statement, i + 1, aq_batch_status_name(*(const aq_batch_status_t *)at), -1,
                                 SQLITE_STATIC);
    case AQ_COLUMN_TEXT:
        return sqlite3_bind_text(statement, i + 1, *(const char *const *)at, -1, SQLITE_STATIC);
    case AQ_COLUMN_INT:
        return sqlite3_bind_int(statement, i + 1, *(const int *)at);
    case AQ_COLUMN_INT64:
        return sqlite3_bind_int64(statement, i + 1, *(const int64_t *)at);
    case AQ_COLUMN_WEBHOOK_ID:
    case AQ_COLUMN_STATE:
        break; /* messages are made by a trigger: only read */
    }
    return SQLITE_MISUSE;
}

int aq_sqlite_row_bind(sqlite3_stmt *statement, const aq_batch_t *batch)
{
    int rc = SQLITE_OK;

    for (int i = 0; rc == SQLITE_OK && i < AQ_BATCH_COLUMN_COUNT; i++) {
        rc = column_bind(statement, i, (const char *)batch + aq_batch_columns[i].offset);
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
static void column_read(sqlite3_stmt *statement, int i, aq_column_type_t type, void *at, apr_pool_t *p)
{
    switch (type) {
    case AQ_COLUMN_ID:
        apr_cpystrn(at, column_text(statement, i), AQ_BATCH_ID_SIZE);
        break;
    case AQ_COLUMN_WEBHOOK_ID:
        apr_cpystrn(at, column_text(statement, i), AQ_WEBHOOK_ID_SIZE);
        break;
    case AQ_COLUMN_STATUS:
        (void)aq_batch_status_parse(column_text(statement, i), at);
        break;
    case AQ_COLUMN_STATE:
        (void)aq_webhook_state_parse(column_text(statement, i), at);
        break;
    case AQ_COLUMN_TEXT:
        *(const char **)at = apr_pstrdup(p, (const char *)sqlite3_column_text(statement, i));
        break;
    case AQ_COLUMN_INT:
        *(int *)at = sqlite3_column_int(statement, i);
        break;
    case AQ_COLUMN_INT64:
        *(int64_t *)at = sqlite3_column_int64(statement, i);
        break;
    }
}

static void columns_read(sqlite3_stmt *statement, const aq_column_t *of, int count, void *row, apr_pool_t *p)
{
    for (int i = 0; i < count; i++) {
        column_read(statement, i, of[i].type, (char *)row + of[i].offset, p);
    }
}

aq_batch_t *aq_sqlite_row_read(sqlite3_stmt *statement, apr_pool_t *p)
{
    aq_batch_t *batch = apr_pcalloc(p, sizeof(*batch));

    columns_read(statement, aq_batch_columns, AQ_BATCH_COLUMN_COUNT, batch, p);
    return batch;
}

aq_webhook_t *aq_sqlite_webhook_read(sqlite3_stmt *statement, apr_pool_t *p)
{
    aq_webhook_t *webhook = apr_pcalloc(p, sizeof(*webhook));

    columns_read(statement, aq_webhook_columns, AQ_WEBHOOK_COLUMN_COUNT, webhook, p);
    return webhook;
}
