/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every statement of the SQLite queue (sqlite_sql.c), and its layout on disk: sqlite_layout.c is the place to read how it
 * works.
 */
#ifndef AQ_SQLITE_SQL_H
#define AQ_SQLITE_SQL_H

typedef enum {
    AQ_SQL_BEGIN,
    AQ_SQL_COMMIT,
    AQ_SQL_ROLLBACK,
    AQ_SQL_SAVEPOINT,
    AQ_SQL_SAVEPOINT_UNDO,
    AQ_SQL_SAVEPOINT_END,
    AQ_SQL_SUBMIT,
    AQ_SQL_SUBMIT_KEY,
    AQ_SQL_FIND,
    AQ_SQL_FIND_KEY,
    AQ_SQL_USE,
    AQ_SQL_LIST,
    AQ_SQL_LIST_STATUS,
    AQ_SQL_LIST_ALL,
    AQ_SQL_LIST_ALL_STATUS,
    AQ_SQL_CANCEL,
    AQ_SQL_RETRY,
    AQ_SQL_REMOVE,
    AQ_SQL_REMOVE_KEY,
    AQ_SQL_IS_WAKING,
    AQ_SQL_RUNNING,
    AQ_SQL_LINES,
    AQ_SQL_LINE_FIRST,
    AQ_SQL_WAKE,
    AQ_SQL_CLAIM,
    AQ_SQL_TURN_TAKEN,
    AQ_SQL_RENEW,
    AQ_SQL_CANCELS,
    AQ_SQL_PROGRESS,
    AQ_SQL_FINISH,
    AQ_SQL_AGAIN,
    AQ_SQL_AGAIN_CANCELED,
    AQ_SQL_LAPSED,
    AQ_SQL_IS_OVERDUE,
    AQ_SQL_OVERDUE,
    AQ_SQL_COUNTS,
    AQ_SQL_COUNTS_ALL,
    AQ_SQL_OLDEST,
    AQ_SQL_OLDEST_ALL,
    AQ_SQL_HAS_EXPIRED,
    AQ_SQL_EXPIRE,
    AQ_SQL_EXPIRED_RESULTS,
    AQ_SQL_FORGET_RESULT,
    AQ_SQL_EXPIRE_KEYS,
    AQ_SQL_WEBHOOK_ADD,
    AQ_SQL_WEBHOOK_FIND,
    AQ_SQL_WEBHOOK_IS_WAKING,
    AQ_SQL_WEBHOOK_WAKE,
    AQ_SQL_WEBHOOK_NEXT,
    AQ_SQL_WEBHOOK_CLAIM,
    AQ_SQL_WEBHOOK_TURN_TAKEN,
    AQ_SQL_WEBHOOK_FINISH,
    AQ_SQL_WEBHOOK_RETRY,
    AQ_SQL_WEBHOOK_LIST,
    AQ_SQL_WEBHOOK_LIST_ALL,
    AQ_SQL_WEBHOOK_IS_LAPSED,
    AQ_SQL_WEBHOOK_RECOVER,
    AQ_SQL_WEBHOOK_EXPIRE,
    AQ_SQL_TRIMMABLE,
    AQ_SQL_FORGET,
    AQ_SQL_COUNT
} aq_sql_t;

/* The text of a statement; static. */
const char *aq_sql_text(aq_sql_t sql);

/* "AQqu": marks a database as a queue of ours (PRAGMA application_id). */
#define AQ_SQL_APPLICATION_ID 0x41517175

/* Batches that have files: the condition of an index, which must be repeated to the letter by what is to use it. */
#define AQ_SQL_HAS_FILES "finished_at_ms > 0 AND (body_gone = 0 OR result_token > 0)"

/* What a batch takes on the spool: from layout 3 on it may outlive its body. */
#define AQ_SQL_KEPT_BYTES_OF(row)                                                                                      \
    "iif(" row ".body_gone, 0, " row ".request_bytes) + iif(" row ".result_token > 0, max(" row                        \
    ".response_bytes, 0), 0)"

/* The layout this program knows, and the texts, ended by NULL, that lead from layout `from` to the next one. */
#define AQ_SQL_LAYOUT 4
const char *const *aq_sql_migration(int from);

#endif
