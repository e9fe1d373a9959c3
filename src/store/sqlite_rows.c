/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of columns.
 */
#include "store/sqlite_rows.h"

#include <apr_strings.h>
#include <assert.h>
#include <stddef.h>

typedef enum { ID, STATUS, TEXT, INT, INT64 } column_type_t;

#define AT(member) offsetof(aq_batch_t, member)

static const struct {
    column_type_t type;
    size_t offset;
} columns[] = {
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
};

static_assert(sizeof columns / sizeof columns[0] == AQ_SQLITE_COLUMN_COUNT, "each column is in the table");

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

static void column_read(sqlite3_stmt *statement, int i, void *at, apr_pool_t *p)
{
    const char *text;

    switch (columns[i].type) {
    case ID:
        text = (const char *)sqlite3_column_text(statement, i);
        apr_cpystrn(at, text != NULL ? text : "", AQ_BATCH_ID_SIZE);
        break;
    case STATUS:
        /* The table's own CHECK lets no other word in. */
        text = (const char *)sqlite3_column_text(statement, i);
        (void)aq_batch_status_parse(text != NULL ? text : "", at);
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

aq_batch_t *aq_sqlite_row_read(sqlite3_stmt *statement, apr_pool_t *p)
{
    aq_batch_t *batch = apr_pcalloc(p, sizeof(*batch));

    for (int i = 0; i < AQ_SQLITE_COLUMN_COUNT; i++) {
        column_read(statement, i, (char *)batch + columns[i].offset, p);
    }
    return batch;
}
