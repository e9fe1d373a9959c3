/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue in SQL.
 *
 *   batches            one row a batch, which is also its job
 *   turns              one row for each tenant that has a job ready; the lowest turn is served next, and then goes to the
 *                      end of the line. A tenant that comes back stands at the end, so one with ten thousand jobs delays
 *                      another's single one by one job at most
 *   totals             how many batches of each status a tenant has, so that counting does not read them
 *   idempotency_keys   a tenant's idempotency keys
 *
 * Triggers keep turns and totals, so that no statement can forget them. A job is ready when it is queued and waits for no
 * time; AQ_SQL_WAKE makes those ready whose time has come. All that claims look at is indexed for rows in that state
 * only: a million finished rows cost nothing.
 *
 * A row is leased while `worker` is not NULL. Each claim counts `token` up; what a worker changes later names the token.
 */
#include "store/sqlite_sql.h"

#include "store/sqlite_rows.h"

#include <stddef.h>

static const char layout_1_tables[] =
    "PRAGMA application_id = 1095856501;"
    "CREATE TABLE batches ("
    "  seq INTEGER PRIMARY KEY,"
    "  id TEXT NOT NULL UNIQUE,"
    "  tenant TEXT NOT NULL,"
    "  key_id TEXT,"
    "  location TEXT NOT NULL,"
    "  idempotency_key TEXT,"
    "  status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled')),"
    "  created_at_ms INTEGER NOT NULL,"
    "  started_at_ms INTEGER NOT NULL,"
    "  finished_at_ms INTEGER NOT NULL,"
    "  expires_at_ms INTEGER NOT NULL,"
    "  cancel_requested_at_ms INTEGER NOT NULL,"
    "  next_attempt_at_ms INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL,"
    "  max_attempts INTEGER NOT NULL,"
    "  never_repeat INTEGER NOT NULL,"
    "  retention_ms INTEGER NOT NULL,"
    "  method TEXT NOT NULL,"
    "  path TEXT NOT NULL,"
    "  query TEXT,"
    "  headers TEXT,"
    "  request_type TEXT,"
    "  request_bytes INTEGER NOT NULL,"
    "  request_sha256 TEXT NOT NULL,"
    "  response_status INTEGER NOT NULL,"
    "  response_headers TEXT,"
    "  response_type TEXT,"
    "  response_bytes INTEGER NOT NULL,"
    "  response_sha256 TEXT,"
    "  result_token INTEGER NOT NULL,"
    "  progress_done INTEGER NOT NULL,"
    "  progress_total INTEGER NOT NULL,"
    "  progress_failed INTEGER NOT NULL,"
    "  error_code TEXT,"
    "  error_detail TEXT,"
    "  metadata TEXT,"
    "  version INTEGER NOT NULL,"
    "  token INTEGER NOT NULL DEFAULT 0,"
    "  worker TEXT,"
    "  lease_until_ms INTEGER NOT NULL DEFAULT 0,"
    "  lease_boot_id TEXT,"
    "  CHECK ((worker IS NOT NULL) = (status IN ('running', 'canceling')))"
    ") STRICT;"
    "CREATE INDEX batches_ready ON batches (tenant, seq) WHERE status = 'queued' AND next_attempt_at_ms = 0;"
    "CREATE INDEX batches_waiting ON batches (next_attempt_at_ms) WHERE status = 'queued' AND next_attempt_at_ms > 0;"
    "CREATE INDEX batches_leased ON batches (worker) WHERE worker IS NOT NULL;"
    "CREATE INDEX batches_expiring ON batches (expires_at_ms) WHERE expires_at_ms > 0;"
    "CREATE INDEX batches_listed ON batches (tenant, created_at_ms, seq);"
    "CREATE TABLE turns (tenant TEXT PRIMARY KEY, turn INTEGER NOT NULL, ready INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX turns_next ON turns (turn);"
    "CREATE TABLE totals (tenant TEXT NOT NULL, status TEXT NOT NULL, batches INTEGER NOT NULL,"
    "  PRIMARY KEY (tenant, status)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE idempotency_keys (tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, batch_id TEXT NOT NULL,"
    "  PRIMARY KEY (tenant, idempotency_key)) STRICT, WITHOUT ROWID;";

static const char layout_1_triggers[] =
    "CREATE TRIGGER batch_added AFTER INSERT ON batches BEGIN"
    "  INSERT INTO totals VALUES (new.tenant, new.status, 1)"
    "    ON CONFLICT DO UPDATE SET batches = batches + 1;"
    "  INSERT INTO turns SELECT new.tenant, coalesce((SELECT max(turn) FROM turns), 0) + 1, 1"
    "    WHERE new.status = 'queued' AND new.next_attempt_at_ms = 0 ON CONFLICT DO UPDATE SET ready = ready + 1;"
    "END;"
    "CREATE TRIGGER batch_turned AFTER UPDATE OF status ON batches WHEN old.status <> new.status BEGIN"
    "  UPDATE totals SET batches = batches - 1 WHERE tenant = old.tenant AND status = old.status;"
    "  INSERT INTO totals VALUES (new.tenant, new.status, 1) ON CONFLICT DO UPDATE SET batches = batches + 1;"
    "END;"
    "CREATE TRIGGER batch_readied AFTER UPDATE OF status, next_attempt_at_ms ON batches"
    "  WHEN (new.status = 'queued' AND new.next_attempt_at_ms = 0)"
    "    AND NOT (old.status = 'queued' AND old.next_attempt_at_ms = 0) BEGIN"
    "  INSERT INTO turns SELECT new.tenant, coalesce((SELECT max(turn) FROM turns), 0) + 1, 1"
    "    WHERE true ON CONFLICT DO UPDATE SET ready = ready + 1;"
    "END;"
    "CREATE TRIGGER batch_unreadied AFTER UPDATE OF status, next_attempt_at_ms ON batches"
    "  WHEN (old.status = 'queued' AND old.next_attempt_at_ms = 0)"
    "    AND NOT (new.status = 'queued' AND new.next_attempt_at_ms = 0) BEGIN"
    "  UPDATE turns SET ready = ready - 1 WHERE tenant = old.tenant;"
    "  DELETE FROM turns WHERE tenant = old.tenant AND ready <= 0;"
    "END;"
    "CREATE TRIGGER batch_removed AFTER DELETE ON batches BEGIN"
    "  UPDATE totals SET batches = batches - 1 WHERE tenant = old.tenant AND status = old.status;"
    "  UPDATE turns SET ready = ready - 1 WHERE tenant = old.tenant"
    "    AND old.status = 'queued' AND old.next_attempt_at_ms = 0;"
    "  DELETE FROM turns WHERE tenant = old.tenant AND ready <= 0;"
    "  DELETE FROM idempotency_keys WHERE tenant = old.tenant AND idempotency_key = old.idempotency_key"
    "    AND batch_id = old.id;"
    "END;"
    "PRAGMA user_version = 1;";

const char *const *aq_sql_migration(int from)
{
    static const char *const layout_1[] = {layout_1_tables, layout_1_triggers, NULL};
    static const char *const *const migrations[AQ_SQL_LAYOUT] = {layout_1};

    return migrations[from];
}

#define OF_TOKEN " WHERE id = ?1 AND token = ?2 AND worker IS NOT NULL"

static const char *const texts[AQ_SQL_COUNT] = {
    [AQ_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [AQ_SQL_COMMIT] = "COMMIT",
    [AQ_SQL_ROLLBACK] = "ROLLBACK",
    [AQ_SQL_SUBMIT] = "INSERT INTO batches (" AQ_SQLITE_COLUMNS ") VALUES (" AQ_SQLITE_PARAMETERS ")",
    [AQ_SQL_SUBMIT_KEY] = "INSERT INTO idempotency_keys VALUES (?1, ?2, ?3)",
    [AQ_SQL_FIND] = "SELECT " AQ_SQLITE_COLUMNS " FROM batches WHERE id = ?1",
    [AQ_SQL_FIND_KEY] = "SELECT " AQ_SQLITE_COLUMNS " FROM batches WHERE id ="
                        " (SELECT batch_id FROM idempotency_keys WHERE tenant = ?1 AND idempotency_key = ?2)",
    [AQ_SQL_IS_DUE] = "SELECT 1 WHERE EXISTS (SELECT 1 FROM turns) OR EXISTS (SELECT 1 FROM batches"
                      " WHERE status = 'queued' AND next_attempt_at_ms > 0 AND next_attempt_at_ms <= ?1)",
    [AQ_SQL_WAKE] = "UPDATE batches SET next_attempt_at_ms = 0, version = version + 1 WHERE seq IN"
                    " (SELECT seq FROM batches WHERE status = 'queued' AND next_attempt_at_ms > 0"
                    " AND next_attempt_at_ms <= ?1 ORDER BY next_attempt_at_ms LIMIT 100)",
    [AQ_SQL_CLAIM] = "UPDATE batches SET status = 'running', token = token + 1, attempt = attempt + 1, worker = ?1,"
                     " lease_until_ms = ?2, lease_boot_id = ?3, version = version + 1, error_code = NULL,"
                     " error_detail = NULL, started_at_ms = iif(started_at_ms = 0, ?4, started_at_ms)"
                     " WHERE seq = (SELECT seq FROM batches WHERE status = 'queued' AND next_attempt_at_ms = 0"
                     " AND tenant = (SELECT tenant FROM turns ORDER BY turn LIMIT 1) ORDER BY seq LIMIT 1)"
                     " RETURNING " AQ_SQLITE_COLUMNS ", token",
    [AQ_SQL_TURN_TAKEN] = "UPDATE turns SET turn = (SELECT max(turn) FROM turns) + 1 WHERE tenant = ?1",
    [AQ_SQL_RENEW] = "UPDATE batches SET lease_until_ms = ?2, lease_boot_id = ?3 WHERE worker = ?1"
                     " RETURNING id, token, cancel_requested_at_ms > 0",
    [AQ_SQL_PROGRESS] = "UPDATE batches SET progress_done = ?3, progress_total = ?4, progress_failed = ?5,"
                        " version = version + 1" OF_TOKEN,
    [AQ_SQL_FINISH] = "UPDATE batches SET status = ?3, finished_at_ms = ?4, expires_at_ms = ?4 +"
                      " iif(retention_ms > 0, retention_ms, ?5), response_status = ?6, response_headers = ?7,"
                      " response_type = ?8, response_bytes = ?9, response_sha256 = ?10,"
                      " result_token = iif(?9 >= 0, token, 0), error_code = ?11, error_detail = ?12, worker = NULL,"
                      " version = version + 1" OF_TOKEN,
    [AQ_SQL_AGAIN] = "UPDATE batches SET status = 'queued', next_attempt_at_ms = ?3, attempt = attempt - ?4,"
                     " error_code = ?5, error_detail = ?6, worker = NULL, version = version + 1" OF_TOKEN,
    [AQ_SQL_LAPSED] = "SELECT id, token, attempt, max_attempts, never_repeat FROM batches WHERE worker IS NOT NULL AND"
                      " (worker = ?1 OR lease_boot_id IS NOT ?2 OR lease_until_ms <= ?3) LIMIT 100",
    [AQ_SQL_COUNTS] = "SELECT status, batches FROM totals WHERE tenant = ?1",
    [AQ_SQL_COUNTS_ALL] = "SELECT status, sum(batches) FROM totals GROUP BY status",
    [AQ_SQL_OLDEST] = "SELECT min(created_at_ms) FROM (SELECT created_at_ms FROM (SELECT created_at_ms FROM batches"
                      " WHERE tenant = ?1 AND status = 'queued' AND next_attempt_at_ms = 0 ORDER BY seq LIMIT 1)"
                      " UNION ALL SELECT created_at_ms FROM batches"
                      " WHERE tenant = ?1 AND status = 'queued' AND next_attempt_at_ms > 0)",
    [AQ_SQL_OLDEST_ALL] =
        "SELECT min(created_at_ms) FROM (SELECT (SELECT created_at_ms FROM batches WHERE"
        " tenant = turns.tenant AND status = 'queued' AND next_attempt_at_ms = 0 ORDER BY seq LIMIT 1)"
        " AS created_at_ms FROM turns UNION ALL SELECT created_at_ms FROM batches"
        " WHERE status = 'queued' AND next_attempt_at_ms > 0)",
    [AQ_SQL_HAS_EXPIRED] = "SELECT 1 FROM batches WHERE expires_at_ms > 0 AND expires_at_ms <= ?1 LIMIT 1",
    [AQ_SQL_EXPIRE] = "DELETE FROM batches WHERE seq IN (SELECT seq FROM batches WHERE expires_at_ms > 0"
                      " AND expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2) RETURNING id, result_token",
};

const char *aq_sql_text(aq_sql_t sql)
{
    return texts[sql];
}
