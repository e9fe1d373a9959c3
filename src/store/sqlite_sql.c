/* SPDX-License-Identifier: Apache-2.0 */
/* What the queue says to SQLite. Of which tables and triggers is told in sqlite_layout.c. */
#include "store/sqlite_sql.h"

#include "store/sqlite_rows.h"

#include <stddef.h>

/* What a list shows, below a first condition that an index serves. */
#define LIST(where) "SELECT " AQ_SQLITE_COLUMNS_LISTED " FROM batches WHERE " where " ORDER BY id DESC LIMIT ?1"

/* When a batch is over at ?N, with the default retention ?D. */
#define EXPIRES_AT(n, d) n " + iif(retention_ms > 0, retention_ms, " d ")"
#define RESULT_EXPIRES_AT(n) "iif(result_retention_ms > 0, " n " + result_retention_ms, 0)"

#define OF_TOKEN " WHERE id = ?1 AND token = ?2 AND worker IS NOT NULL"

static const char *const texts[AQ_SQL_COUNT] = {
    [AQ_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [AQ_SQL_COMMIT] = "COMMIT",
    [AQ_SQL_ROLLBACK] = "ROLLBACK",
    [AQ_SQL_SAVEPOINT] = "SAVEPOINT change",
    [AQ_SQL_SAVEPOINT_UNDO] = "ROLLBACK TO change",
    [AQ_SQL_SAVEPOINT_END] = "RELEASE change",
    [AQ_SQL_SUBMIT] = "INSERT INTO batches (" AQ_SQLITE_COLUMNS ") VALUES (" AQ_SQLITE_PARAMETERS ")",
    [AQ_SQL_SUBMIT_KEY] = "INSERT INTO idempotency_keys (tenant, idempotency_key, batch_id) VALUES (?1, ?2, ?3)",
    [AQ_SQL_FIND] = "SELECT " AQ_SQLITE_COLUMNS " FROM batches WHERE id = ?1",
    [AQ_SQL_FIND_KEY] = "SELECT " AQ_SQLITE_COLUMNS " FROM batches WHERE id ="
                        " (SELECT batch_id FROM idempotency_keys WHERE tenant = ?1 AND idempotency_key = ?2)",
    [AQ_SQL_USE] = "SELECT coalesce(sum(iif(status = 'queued', batches, 0)), 0), coalesce(sum(bytes), 0) FROM totals"
                   " WHERE tenant = ?1",
    [AQ_SQL_LIST] = LIST("tenant = ?3 AND id < ?2"),
    [AQ_SQL_LIST_STATUS] = LIST("tenant = ?3 AND status = ?4 AND id < ?2"),
    [AQ_SQL_LIST_ALL] = LIST("id < ?2"),
    [AQ_SQL_LIST_ALL_STATUS] = LIST("id < ?2 AND status = ?3"),
    [AQ_SQL_CANCEL] = "UPDATE batches SET status = iif(status = 'queued', 'canceled', 'canceling'),"
                      " cancel_requested_at_ms = ?2, finished_at_ms = iif(status = 'queued', ?2, 0),"
                      " expires_at_ms = iif(status = 'queued', " EXPIRES_AT(
                          "?2", "?3") ", 0), next_attempt_at_ms = 0,"
                                      " error_code = NULL, error_detail = NULL, version = version + 1"
                                      " WHERE id = ?1 AND status IN ('queued', 'running')",
    [AQ_SQL_RETRY] = "UPDATE batches SET status = 'queued', attempt = 0, started_at_ms = 0, finished_at_ms = 0,"
                     " expires_at_ms = 0, cancel_requested_at_ms = 0, next_attempt_at_ms = 0, response_status = 0,"
                     " response_headers = NULL, response_type = NULL, response_bytes = -1, response_sha256 = NULL,"
                     " result_token = 0, result_expires_at_ms = 0, progress_done = 0, progress_total = items,"
                     " progress_failed = 0, error_code = NULL, error_detail = NULL, version = version + 1,"
                     " start_by_ms = iif(start_by_ms > 0, ?2 + start_by_ms - max(created_at_ms, queued_at_ms), 0),"
                     " queued_at_ms = ?2"
                     " WHERE id = ?1 AND status IN ('failed', 'canceled') AND body_gone = 0",
    [AQ_SQL_REMOVE_KEY] = "UPDATE idempotency_keys SET expires_at_ms = b.expires_at_ms FROM batches AS b"
                          " WHERE b.id = ?1 AND idempotency_keys.tenant = b.tenant"
                          " AND idempotency_keys.idempotency_key = b.idempotency_key",
    [AQ_SQL_REMOVE] = "DELETE FROM batches WHERE id = ?1 AND status IN ('succeeded', 'failed', 'canceled')",
    [AQ_SQL_IS_WAKING] = "SELECT 1 FROM batches WHERE status = 'queued' AND next_attempt_at_ms > 0"
                         " AND next_attempt_at_ms <= ?1 LIMIT 1",
    [AQ_SQL_RUNNING] = "SELECT tenant, location, jobs FROM running",
    [AQ_SQL_LINES] = "SELECT tenant, location, turn FROM turns ORDER BY turn",
    [AQ_SQL_LINE_FIRST] = "SELECT seq FROM batches WHERE tenant = ?1 AND location = ?2 AND status = 'queued'"
                          " AND next_attempt_at_ms = 0 ORDER BY seq LIMIT 1",
    [AQ_SQL_WAKE] = "UPDATE batches SET next_attempt_at_ms = 0, version = version + 1 WHERE seq IN"
                    " (SELECT seq FROM batches WHERE status = 'queued' AND next_attempt_at_ms > 0"
                    " AND next_attempt_at_ms <= ?1 ORDER BY next_attempt_at_ms LIMIT 100)",
    [AQ_SQL_CLAIM] = "UPDATE batches SET status = 'running', token = token + 1, attempt = attempt + 1, worker = ?1,"
                     " lease_until_ms = ?2, lease_boot_id = ?3, version = version + 1, error_code = NULL,"
                     " error_detail = NULL, started_at_ms = iif(started_at_ms = 0, ?4, started_at_ms)"
                     " WHERE seq = (SELECT seq FROM batches WHERE status = 'queued' AND next_attempt_at_ms = 0"
                     " AND tenant = ?5 AND location = ?6 ORDER BY seq LIMIT 1)"
                     " RETURNING " AQ_SQLITE_COLUMNS ", token",
    [AQ_SQL_TURN_TAKEN] = "UPDATE turns SET turn = (SELECT max(turn) FROM turns) + 1 WHERE tenant = ?1",
    [AQ_SQL_RENEW] = "UPDATE batches SET lease_until_ms = ?2, lease_boot_id = ?3 WHERE worker = ?1"
                     " RETURNING id, token, cancel_requested_at_ms > 0",
    [AQ_SQL_CANCELS] = "SELECT id, token FROM batches WHERE worker = ?1 AND status = 'canceling'",
    [AQ_SQL_PROGRESS] = "UPDATE batches SET attempt = iif(items > 0 AND ?3 > progress_done, 1, attempt), progress_done "
                        "= ?3, progress_total = ?4, progress_failed = ?5,"
                        " version = version + 1" OF_TOKEN,
    [AQ_SQL_FINISH] =
        "UPDATE batches SET status = ?3, finished_at_ms = ?4, "
        " expires_at_ms = " EXPIRES_AT(
            "?4",
            "?5") ", response_status = ?6, response_headers = ?7,"
                  " response_type = ?8, response_bytes = ?9, response_sha256 = ?10,"
                  " result_token = iif(?9 >= 0, token, 0), result_expires_at_ms = iif(?9 >= 0, " RESULT_EXPIRES_AT(
                      "?4") ", 0), error_code = ?11, error_detail = ?12, worker = NULL,"
                            " version = version + 1" OF_TOKEN,
    [AQ_SQL_AGAIN] =
        "UPDATE batches SET status = 'queued', next_attempt_at_ms = ?3, attempt = attempt - ?4,"
        " error_code = ?5, error_detail = ?6, worker = NULL, version = version + 1" OF_TOKEN " AND status = 'running'",
    [AQ_SQL_AGAIN_CANCELED] =
        "UPDATE batches SET status = 'canceled', finished_at_ms = ?3,"
        " expires_at_ms = " EXPIRES_AT("?3", "?4") ", error_code = NULL, error_detail = NULL,"
                                                   " worker = NULL, version = version + 1" OF_TOKEN
                                                   " AND status = 'canceling'",
    [AQ_SQL_LAPSED] =
        "SELECT id, token, attempt, max_attempts, never_repeat AND items = 0, status = 'canceling' FROM batches WHERE "
        "worker IS NOT NULL AND"
        " (worker = ?1 OR lease_boot_id IS NOT ?2 OR lease_until_ms <= ?3) LIMIT 100",
    [AQ_SQL_IS_OVERDUE] = "SELECT 1 FROM batches WHERE status = 'queued' AND start_by_ms > 0 AND start_by_ms <= ?1"
                          " AND (items = 0 OR started_at_ms = 0) LIMIT 1",
    [AQ_SQL_OVERDUE] =
        "UPDATE batches SET status = 'failed', next_attempt_at_ms = 0, finished_at_ms = ?1,"
        " expires_at_ms = " EXPIRES_AT(
            "?1", "?2") ", error_code = 'waited-too-long',"
                        " error_detail = 'it was not done in the time that it may wait', version = version + 1"
                        " WHERE seq IN (SELECT seq FROM batches WHERE status = 'queued' AND start_by_ms > 0"
                        " AND start_by_ms <= ?1 AND (items = 0 OR started_at_ms = 0) ORDER BY start_by_ms LIMIT 100)",
    [AQ_SQL_COUNTS] = "SELECT status, batches FROM totals WHERE tenant = ?1",
    [AQ_SQL_COUNTS_ALL] = "SELECT status, sum(batches) FROM totals GROUP BY status",
    [AQ_SQL_OLDEST] = "SELECT min(created_at_ms) FROM (SELECT (SELECT created_at_ms FROM batches WHERE"
                      " tenant = turns.tenant AND location = turns.location AND status = 'queued'"
                      " AND next_attempt_at_ms = 0 ORDER BY seq LIMIT 1) AS created_at_ms FROM turns WHERE tenant = ?1"
                      " UNION ALL SELECT created_at_ms FROM batches"
                      " WHERE tenant = ?1 AND status = 'queued' AND next_attempt_at_ms > 0)",
    [AQ_SQL_OLDEST_ALL] = "SELECT min(created_at_ms) FROM (SELECT (SELECT created_at_ms FROM batches WHERE"
                          " tenant = turns.tenant AND location = turns.location AND status = 'queued' AND "
                          "next_attempt_at_ms = 0 ORDER BY seq LIMIT 1)"
                          " AS created_at_ms FROM turns UNION ALL SELECT created_at_ms FROM batches"
                          " WHERE status = 'queued' AND next_attempt_at_ms > 0)",
    [AQ_SQL_HAS_EXPIRED] = "SELECT 1 WHERE EXISTS (SELECT 1 FROM batches WHERE expires_at_ms > 0"
                           " AND expires_at_ms <= ?1) OR EXISTS (SELECT 1 FROM batches WHERE result_token > 0"
                           " AND result_expires_at_ms > 0 AND result_expires_at_ms <= ?1) OR EXISTS (SELECT 1"
                           " FROM idempotency_keys WHERE expires_at_ms > 0 AND expires_at_ms <= ?1) OR EXISTS (SELECT 1"
                           " FROM webhooks WHERE expires_at_ms > 0 AND expires_at_ms <= ?1)",
    [AQ_SQL_EXPIRE] = "DELETE FROM batches WHERE seq IN (SELECT seq FROM batches WHERE expires_at_ms > 0"
                      " AND expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2) RETURNING id, result_token",
    [AQ_SQL_EXPIRED_RESULTS] =
        "SELECT id, result_token FROM batches WHERE result_token > 0 AND result_expires_at_ms > 0"
        " AND result_expires_at_ms <= ?1 ORDER BY result_expires_at_ms LIMIT ?2",
    [AQ_SQL_FORGET_RESULT] = "UPDATE batches SET result_token = 0 WHERE id = ?1",
    [AQ_SQL_TRIMMABLE] = "SELECT id, result_token, body_gone, " AQ_SQL_KEPT_BYTES_OF(
        "batches") " FROM batches WHERE " AQ_SQL_HAS_FILES " ORDER BY finished_at_ms LIMIT ?1",
    [AQ_SQL_FORGET] = "UPDATE batches SET body_gone = max(body_gone, ?2), result_token = iif(result_token = ?3, 0,"
                      " result_token) WHERE id = ?1 AND status IN ('succeeded', 'failed', 'canceled')",
    [AQ_SQL_EXPIRE_KEYS] = "DELETE FROM idempotency_keys WHERE (tenant, idempotency_key) IN (SELECT tenant,"
                           " idempotency_key FROM idempotency_keys WHERE expires_at_ms > 0 AND expires_at_ms <= ?1"
                           " ORDER BY expires_at_ms LIMIT ?2)",
    [AQ_SQL_WEBHOOK_ADD] = "INSERT INTO webhooks (id, tenant, finished_at_ms) VALUES (?1, ?2, ?3)",
    [AQ_SQL_WEBHOOK_FIND] = "SELECT " AQ_SQLITE_WEBHOOK_COLUMNS " FROM webhooks WHERE id = ?1",
    [AQ_SQL_WEBHOOK_IS_WAKING] = "SELECT 1 FROM webhooks WHERE state = 'pending' AND worker IS NULL AND awake = 0"
                                 " AND next_attempt_at_ms <= ?1 LIMIT 1",
    [AQ_SQL_WEBHOOK_WAKE] = "UPDATE webhooks SET awake = 1 WHERE seq IN (SELECT seq FROM webhooks"
                            " WHERE state = 'pending' AND worker IS NULL AND awake = 0 AND next_attempt_at_ms <= ?1"
                            " ORDER BY next_attempt_at_ms LIMIT 100)",
    [AQ_SQL_WEBHOOK_NEXT] =
        "SELECT (SELECT seq FROM webhooks WHERE tenant = webhook_turns.tenant AND state = 'pending'"
        " AND worker IS NULL AND awake = 1 AND next_attempt_at_ms <= ?1 ORDER BY next_attempt_at_ms, seq LIMIT 1) AS "
        "due"
        " FROM webhook_turns WHERE due IS NOT NULL AND (SELECT count(*) FROM webhooks"
        " INDEXED BY webhooks_leased WHERE tenant = webhook_turns.tenant AND worker IS NOT NULL) < ?2 ORDER BY turn "
        "LIMIT 1",
    [AQ_SQL_WEBHOOK_CLAIM] = "UPDATE webhooks SET worker = ?2, token = token + 1, attempts = attempts + 1,"
                             " lease_until_ms = ?3, lease_boot_id = ?4, last_attempt_at_ms = ?5 WHERE seq = ?1"
                             " RETURNING " AQ_SQLITE_WEBHOOK_COLUMNS ", token",
    [AQ_SQL_WEBHOOK_TURN_TAKEN] =
        "UPDATE webhook_turns SET turn = (SELECT max(turn) FROM webhook_turns) + 1 WHERE tenant = ?1",
    [AQ_SQL_WEBHOOK_FINISH] = "UPDATE webhooks SET worker = NULL, state = ?3, attempts = attempts - ?4, "
                              "next_attempt_at_ms = ?5, awake = ?5 = 0,"
                              " delivered_at_ms = ?6, expires_at_ms = ?7, last_status = ?8, last_error = ?9" OF_TOKEN,
    [AQ_SQL_WEBHOOK_RETRY] = "UPDATE webhooks SET state = 'pending', attempts = 0, next_attempt_at_ms = 0, awake = 1,"
                             " delivered_at_ms = 0, expires_at_ms = 0 WHERE id = ?1 AND worker IS NULL",
    [AQ_SQL_WEBHOOK_LIST] = "SELECT " AQ_SQLITE_WEBHOOK_COLUMNS " FROM webhooks WHERE tenant = ?3"
                            " AND (?2 IS NULL OR state = ?2) ORDER BY seq DESC LIMIT ?1",
    [AQ_SQL_WEBHOOK_LIST_ALL] = "SELECT " AQ_SQLITE_WEBHOOK_COLUMNS " FROM webhooks"
                                " WHERE ?2 IS NULL OR state = ?2 ORDER BY seq DESC LIMIT ?1",
    [AQ_SQL_WEBHOOK_IS_LAPSED] = "SELECT 1 FROM webhooks WHERE worker IS NOT NULL"
                                 " AND (worker = ?1 OR lease_boot_id IS NOT ?2 OR lease_until_ms <= ?3) LIMIT 1",
    [AQ_SQL_WEBHOOK_RECOVER] =
        "UPDATE webhooks SET worker = NULL, last_error = 'worker-lost', next_attempt_at_ms = 0, awake = 1,"
        " state = iif(attempts < ?4, 'pending', 'failed'), expires_at_ms = iif(attempts < ?4, 0, ?5)"
        " WHERE worker IS NOT NULL AND (worker = ?1 OR lease_boot_id IS NOT ?2 OR lease_until_ms <= ?3)",
    [AQ_SQL_WEBHOOK_EXPIRE] = "DELETE FROM webhooks WHERE seq IN (SELECT seq FROM webhooks WHERE expires_at_ms > 0"
                              " AND expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2)",
};

const char *aq_sql_text(aq_sql_t sql)
{
    return texts[sql];
}
