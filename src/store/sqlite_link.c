/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection. Statements are prepared once and kept: parsing them costs more than running them.
 */
#include "store/sqlite_link.h"

#include "base/aq_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>

/* Stands where SQLite has a hook of its own, which checkpoints by itself. (PRAGMA wal_autocheckpoint would remove it.) */
static int count_wal_pages(void *data, sqlite3 *db, const char *name, int pages)
{
    aq_sqlite_link_t *link = data;

    (void)db;
    (void)name;
    link->wal_pages = pages;
    return SQLITE_OK;
}

int aq_sqlite_link_open(aq_sqlite_link_t *link, const char *path, int busy_wait_ms)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;

    *link = (aq_sqlite_link_t){.db = NULL};
    int rc = sqlite3_open_v2(path, &link->db, flags, NULL);
    if (rc == SQLITE_OK && sqlite3_db_readonly(link->db, "main") != 0) {
        rc = SQLITE_READONLY; /* SQLite falls back to reading where it may not write */
    }
    /* Closing must not checkpoint by itself: that is done under the write lock. */
    if (rc == SQLITE_OK) {
        rc = sqlite3_db_config(link->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    }
    if (rc == SQLITE_OK) {
        (void)sqlite3_wal_hook(link->db, count_wal_pages, link);
        rc = sqlite3_busy_timeout(link->db, busy_wait_ms);
    }
    return rc;
}

void aq_sqlite_link_close(aq_sqlite_link_t *link)
{
    for (int i = 0; i < AQ_SQL_COUNT; i++) {
        (void)sqlite3_finalize(link->statements[i]); /* repeats the error of its last step, already told */
        link->statements[i] = NULL;
    }
    int rc = sqlite3_close(link->db);
    if (rc != SQLITE_OK) {
        AQ_LOG(AQ_LOG_ERROR, 401, APR_SUCCESS, "queue: the database cannot be closed: %s", sqlite3_errstr(rc));
    }
    link->db = NULL;
}

apr_status_t aq_sqlite_status(int rc)
{
    static const struct {
        int rc;
        apr_status_t status;
    } meanings[] = {
        {SQLITE_OK, APR_SUCCESS},   {SQLITE_ROW, APR_SUCCESS},       {SQLITE_DONE, APR_SUCCESS},
        {SQLITE_BUSY, APR_EBUSY},   {SQLITE_LOCKED, APR_EBUSY},      {SQLITE_FULL, APR_ENOSPC},
        {SQLITE_NOMEM, APR_ENOMEM}, {SQLITE_CONSTRAINT, APR_EEXIST}, {SQLITE_READONLY, EROFS},
        {SQLITE_IOERR, EIO},        {SQLITE_CANTOPEN, APR_EACCES},   {SQLITE_PERM, APR_EACCES},
        {SQLITE_AUTH, APR_EACCES},
    };

    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].rc == (rc & 0xff)) {
            return meanings[i].status;
        }
    }
    return APR_EGENERAL;
}

static apr_status_t judge(const aq_sqlite_link_t *link, aq_sql_t sql, int rc)
{
    apr_status_t rv = aq_sqlite_status(rc);

    if (rv != APR_SUCCESS && rv != APR_EBUSY && rv != APR_EEXIST) {
        AQ_LOG(AQ_LOG_ERROR, 402, rv, "queue: statement %d failed: %s (SQLite %d)", (int)sql, sqlite3_errmsg(link->db),
               rc);
    }
    return rv;
}

static int bind_values(sqlite3_stmt *statement, const char *types, va_list values)
{
    int rc = SQLITE_OK;

    for (int i = 0; rc == SQLITE_OK && types[i] != '\0'; i++) {
        if (types[i] == 'i') {
            rc = sqlite3_bind_int64(statement, i + 1, va_arg(values, int64_t));
        } else {
            rc = sqlite3_bind_text(statement, i + 1, va_arg(values, const char *), -1, SQLITE_STATIC);
        }
    }
    return rc;
}

static int prepare(aq_sqlite_link_t *link, aq_sql_t sql)
{
    if (link->statements[sql] != NULL) {
        return SQLITE_OK;
    }
    return sqlite3_prepare_v3(link->db, aq_sql_text(sql), -1, SQLITE_PREPARE_PERSISTENT, &link->statements[sql], NULL);
}

static int begin(aq_sqlite_link_t *link, aq_sql_t sql, const char *types, va_list values)
{
    int rc = prepare(link, sql);

    if (rc == SQLITE_OK) {
        rc = bind_values(link->statements[sql], types, values);
    }
    return rc == SQLITE_OK ? sqlite3_step(link->statements[sql]) : rc;
}

apr_status_t aq_sqlite_run(aq_sqlite_link_t *link, aq_sql_t sql, int *changes, const char *types, ...)
{
    va_list values;

    va_start(values, types);
    int rc = begin(link, sql, types, values);
    va_end(values);
    apr_status_t rv = judge(link, sql, rc);
    if (changes != NULL) {
        *changes = rv == APR_SUCCESS ? sqlite3_changes(link->db) : 0;
    }
    aq_sqlite_reset(link->statements[sql]);
    return rv;
}

apr_status_t aq_sqlite_run_row(aq_sqlite_link_t *link, aq_sql_t sql, const aq_batch_t *batch)
{
    int rc = prepare(link, sql);

    if (rc == SQLITE_OK) {
        rc = aq_sqlite_row_bind(link->statements[sql], batch);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(link->statements[sql]);
    }
    apr_status_t rv = judge(link, sql, rc);
    aq_sqlite_reset(link->statements[sql]);
    return rv;
}

apr_status_t aq_sqlite_query(aq_sqlite_link_t *link, aq_sql_t sql, sqlite3_stmt **statement, const char *types, ...)
{
    va_list values;

    va_start(values, types);
    int rc = begin(link, sql, types, values);
    va_end(values);
    *statement = link->statements[sql];
    if (rc == SQLITE_ROW) {
        return APR_SUCCESS;
    }
    apr_status_t rv = rc == SQLITE_DONE ? APR_NOTFOUND : judge(link, sql, rc);
    aq_sqlite_reset(*statement);
    return rv;
}

apr_status_t aq_sqlite_next(aq_sqlite_link_t *link, sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);

    if (rc == SQLITE_ROW) {
        return APR_SUCCESS;
    }
    apr_status_t rv = aq_sqlite_status(rc);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 403, rv, "queue: reading failed: %s (SQLite %d)", sqlite3_errmsg(link->db), rc);
    }
    return rc == SQLITE_DONE ? APR_NOTFOUND : rv;
}

void aq_sqlite_reset(sqlite3_stmt *statement)
{
    /* One that could not be prepared. SQLite itself would follow the NULL. */
    if (statement == NULL) {
        return;
    }
    (void)sqlite3_reset(statement); /* repeats the error of the last step, already told */
    (void)sqlite3_clear_bindings(statement);
}
