/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite link: one connection with its prepared statements, and SQLite's results as apr_status_t.
 *
 * A link is used by one thread at a time; its owner sees to that.
 */
#ifndef AQ_SQLITE_LINK_H
#define AQ_SQLITE_LINK_H

#include "store/sqlite_rows.h"
#include "store/sqlite_sql.h"

#include <apr_errno.h>
#include <sqlite3.h>

typedef struct {
    sqlite3 *db;
    sqlite3_stmt *statements[AQ_SQL_COUNT]; /* prepared when first used */
    int wal_pages;                          /* in the WAL after the last commit of this link */
} aq_sqlite_link_t;

/* Opens an existing file, never through a symbolic link. On failure too, aq_sqlite_link_close ends it. */
int aq_sqlite_link_open(aq_sqlite_link_t *link, const char *path, int busy_wait_ms);
void aq_sqlite_link_close(aq_sqlite_link_t *link);

/* What an SQLite result means to a caller: APR_EBUSY, APR_ENOSPC, APR_EEXIST, EROFS, EIO …, APR_EGENERAL. */
apr_status_t aq_sqlite_status(int rc);

/*
 * Runs a statement that returns no rows. `types` has a letter for each parameter: `i` an int64_t, `t` a text or NULL,
 * which must stay until the call returns. `*changes` (NULL: not wanted): rows changed. Failures are logged, but for
 * those that a caller can bring about: busy and constraint.
 */
apr_status_t aq_sqlite_run(aq_sqlite_link_t *link, aq_sql_t sql, int *changes, const char *types, ...);

/* The same for a statement whose parameters are the columns of a row. */
apr_status_t aq_sqlite_run_row(aq_sqlite_link_t *link, aq_sql_t sql, const aq_batch_t *batch);

/*
 * Begins a statement that returns rows: APR_SUCCESS with the first row at `*statement`, or APR_NOTFOUND. While it is
 * APR_SUCCESS the caller goes on with aq_sqlite_next and ends with aq_sqlite_reset.
 */
apr_status_t aq_sqlite_query(aq_sqlite_link_t *link, aq_sql_t sql, sqlite3_stmt **statement, const char *types, ...);
apr_status_t aq_sqlite_next(aq_sqlite_link_t *link, sqlite3_stmt *statement);
void aq_sqlite_reset(sqlite3_stmt *statement);

#endif
