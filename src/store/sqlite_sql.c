/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue in SQL.
 *
 *   batches            one row a batch, which is also its job
 *   turns              one row for each tenant and location that has a job ready; all rows of a tenant have one turn. The
 *                      lowest turn is served next, and then goes to the end of the line. A tenant that comes back stands
 *                      at the end, so one with ten thousand jobs delays another's single one by one job at most
 *   running            how many jobs of each tenant and location run, for the limits on them
 *   totals             how many batches of each status a tenant has, and how many bytes on the spool, so that neither
 *                      counting nor admission reads them
 *   idempotency_keys   a tenant's idempotency keys. They go with their batch; that of a batch which was removed before it
 *                      expired stays until expires_at_ms
 *
 *   webhooks           one row a message to a tenant's webhook, made when a batch is over that wants one
 *   webhook_turns      one row for each tenant that has messages ready, served in turn as in `turns`; a message is ready when
 *                      it is pending, in nobody's hands, and awake: AQ_SQL_WEBHOOK_WAKE wakes those whose time has come
 *
 * Triggers keep turns, running and totals and make the messages, so that no statement can forget them. A job is ready when it is queued and waits for no
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

/* What a batch takes on the spool. */
#define BYTES_OF(row) row ".request_bytes + iif(" row ".result_token > 0, max(" row ".response_bytes, 0), 0)"
#define IS_READY(row) row ".status = 'queued' AND " row ".next_attempt_at_ms = 0"

static const char layout_2_tables[] =
    "ALTER TABLE batches ADD COLUMN result_retention_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE batches ADD COLUMN result_expires_at_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE batches ADD COLUMN start_by_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE idempotency_keys ADD COLUMN expires_at_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE totals ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"
    "UPDATE totals SET bytes = (SELECT coalesce(sum(" BYTES_OF(
        "batches") "), 0) FROM batches"
                   "  WHERE batches.tenant = totals.tenant AND batches.status = totals.status);"
                   "DROP INDEX batches_listed;"
                   "DROP INDEX batches_ready;"
                   "CREATE INDEX batches_listed ON batches (tenant, id);"
                   "CREATE INDEX batches_listed_by_status ON batches (tenant, status, id);"
                   "CREATE INDEX batches_ready ON batches (tenant, location, seq) WHERE status = 'queued' AND "
                   "next_attempt_at_ms = 0;"
                   "CREATE INDEX batches_overdue ON batches (start_by_ms) WHERE status = 'queued' AND start_by_ms > 0;"
                   "CREATE INDEX batches_result_expiring ON batches (result_expires_at_ms)"
                   "  WHERE result_token > 0 AND result_expires_at_ms > 0;"
                   "CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at_ms) WHERE expires_at_ms > 0;"
                   "DROP TABLE turns;"
                   "CREATE TABLE turns (tenant TEXT NOT NULL, location TEXT NOT NULL, turn INTEGER NOT NULL, ready "
                   "INTEGER NOT NULL,"
                   "  PRIMARY KEY (tenant, location)) STRICT, WITHOUT ROWID;"
                   "CREATE INDEX turns_next ON turns (turn);"
                   "INSERT INTO turns SELECT tenant, location, dense_rank() OVER (ORDER BY tenant), count(*) FROM "
                   "batches"
                   "  WHERE status = 'queued' AND next_attempt_at_ms = 0 GROUP BY tenant, location;"
                   "CREATE TABLE running (tenant TEXT NOT NULL, location TEXT NOT NULL, jobs INTEGER NOT NULL,"
                   "  PRIMARY KEY (tenant, location)) STRICT, WITHOUT ROWID;"
                   "CREATE INDEX running_at ON running (location);"
                   "INSERT INTO running SELECT tenant, location, count(*) FROM batches WHERE worker IS NOT NULL"
                   "  GROUP BY tenant, location;";

/* A tenant that has a job ready already keeps its turn, also for another location. */
#define TURN_ADD                                                                                                       \
    "  INSERT INTO turns SELECT new.tenant, new.location, coalesce((SELECT turn FROM turns WHERE tenant = new.tenant"  \
    "    LIMIT 1), (SELECT max(turn) FROM turns) + 1, 1), 1"                                                           \
    "    WHERE " IS_READY("new") " ON CONFLICT DO UPDATE SET ready = ready + 1;"
#define TURN_TAKE                                                                                                      \
    "  UPDATE turns SET ready = ready - 1 WHERE tenant = old.tenant AND location = old.location AND " IS_READY(        \
        "old") ";  DELETE FROM turns WHERE tenant = old.tenant AND location = old.location AND ready <= 0;"
#define TOTAL_ADD                                                                                                      \
    "  INSERT INTO totals VALUES (new.tenant, new.status, 1, " BYTES_OF(                                               \
        "new") ")"                                                                                                     \
               "    ON CONFLICT DO UPDATE SET batches = batches + 1, bytes = bytes + excluded.bytes;"
#define TOTAL_TAKE                                                                                                     \
    "  UPDATE totals SET batches = batches - 1, bytes = bytes - (" BYTES_OF(                                           \
        "old") ")"                                                                                                     \
               "    WHERE tenant = old.tenant AND status = old.status;"

static const char layout_2_triggers[] =
    "DROP TRIGGER batch_added;"
    "DROP TRIGGER batch_turned;"
    "DROP TRIGGER batch_removed;"
    "DROP TRIGGER batch_readied;"
    "DROP TRIGGER batch_unreadied;"
    "CREATE TRIGGER batch_added AFTER INSERT ON batches BEGIN" TOTAL_ADD TURN_ADD "END;"
    "CREATE TRIGGER batch_turned AFTER UPDATE OF status, result_token ON batches"
    "  WHEN old.status <> new.status OR old.result_token <> new.result_token BEGIN" TOTAL_TAKE TOTAL_ADD "END;"
    "CREATE TRIGGER batch_readied AFTER UPDATE OF status, next_attempt_at_ms ON batches"
    "  WHEN (" IS_READY("new") ") AND NOT (" IS_READY(
        "old") ") BEGIN" TURN_ADD "END;"
               "CREATE TRIGGER batch_unreadied AFTER UPDATE OF status, next_attempt_at_ms ON batches"
               "  WHEN (" IS_READY("old") ") AND NOT (" IS_READY(
                   "new") ") BEGIN" TURN_TAKE "END;"
                          "CREATE TRIGGER batch_started AFTER UPDATE OF worker ON batches"
                          "  WHEN old.worker IS NULL AND new.worker IS NOT NULL BEGIN"
                          "  INSERT INTO running VALUES (new.tenant, new.location, 1) ON CONFLICT DO UPDATE SET jobs = "
                          "jobs + 1;"
                          "END;"
                          "CREATE TRIGGER batch_stopped AFTER UPDATE OF worker ON batches"
                          "  WHEN old.worker IS NOT NULL AND new.worker IS NULL BEGIN"
                          "  UPDATE running SET jobs = jobs - 1 WHERE tenant = old.tenant AND location = old.location;"
                          "  DELETE FROM running WHERE tenant = old.tenant AND location = old.location AND jobs <= 0;"
                          "END;"
                          "CREATE TRIGGER batch_removed AFTER DELETE ON batches BEGIN" TOTAL_TAKE TURN_TAKE
                          "  DELETE FROM idempotency_keys WHERE tenant = old.tenant AND idempotency_key = "
                          "old.idempotency_key"
                          "    AND batch_id = old.id AND expires_at_ms = 0;"
                          "END;"
                          "PRAGMA user_version = 2;";

/* From layout 3 on a batch may outlive its body. */
#define KEPT_BYTES_OF(row)                                                                                             \
    "iif(" row ".body_gone, 0, " row ".request_bytes) + iif(" row ".result_token > 0, max(" row                        \
    ".response_bytes, 0), 0)"
#define KEPT_ADD                                                                                                       \
    "  INSERT INTO totals VALUES (new.tenant, new.status, 1, " KEPT_BYTES_OF(                                          \
        "new") ")"                                                                                                     \
               "    ON CONFLICT DO UPDATE SET batches = batches + 1, bytes = bytes + excluded.bytes;"
#define KEPT_TAKE                                                                                                      \
    "  UPDATE totals SET batches = batches - 1, bytes = bytes - (" KEPT_BYTES_OF(                                      \
        "old") ")"                                                                                                     \
               "    WHERE tenant = old.tenant AND status = old.status;"
#define HAS_FILES "finished_at_ms > 0 AND (body_gone = 0 OR result_token > 0)"

static const char layout_3_files[] =
    "ALTER TABLE batches ADD COLUMN body_gone INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX batches_with_files ON batches (finished_at_ms) WHERE " HAS_FILES ";"
    "DROP TRIGGER batch_added;"
    "DROP TRIGGER batch_turned;"
    "DROP TRIGGER batch_removed;"
    "CREATE TRIGGER batch_added AFTER INSERT ON batches BEGIN" KEPT_ADD TURN_ADD "END;"
    "CREATE TRIGGER batch_turned AFTER UPDATE OF status, result_token, body_gone ON batches"
    "  WHEN old.status <> new.status OR old.result_token <> new.result_token OR old.body_gone <> new.body_gone"
    "  BEGIN" KEPT_TAKE KEPT_ADD "END;"
    "CREATE TRIGGER batch_removed AFTER DELETE ON batches BEGIN" KEPT_TAKE TURN_TAKE
    "  DELETE FROM idempotency_keys WHERE tenant = old.tenant AND idempotency_key = old.idempotency_key"
    "    AND batch_id = old.id AND expires_at_ms = 0;"
    "END;";

#define IS_OVER(row) row ".status IN ('succeeded', 'failed', 'canceled')"
#define WEBHOOK_TURN_ADD                                                                                               \
    "  INSERT INTO webhook_turns SELECT new.tenant, coalesce((SELECT max(turn) FROM webhook_turns), 0) + 1, 1"         \
    "    WHERE true ON CONFLICT DO UPDATE SET pending = pending + 1;"
#define WEBHOOK_TURN_TAKE                                                                                              \
    "  UPDATE webhook_turns SET pending = pending - 1 WHERE tenant = old.tenant;"                                      \
    "  DELETE FROM webhook_turns WHERE tenant = old.tenant AND pending <= 0;"

/*
 * A message's ID names the end that it tells of: a batch that is queued anew ends with another version. The message is
 * due at once, whatever the clock says later.
 */
static const char layout_3_webhooks[] =
    "ALTER TABLE batches ADD COLUMN wants_webhook INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE webhooks ("
    "  seq INTEGER PRIMARY KEY,"
    "  id TEXT NOT NULL UNIQUE,"
    "  tenant TEXT NOT NULL,"
    "  batch_id TEXT,"
    "  status TEXT NOT NULL DEFAULT 'succeeded' CHECK (status IN ('succeeded', 'failed', 'canceled')),"
    "  created_at_ms INTEGER NOT NULL DEFAULT 0,"
    "  started_at_ms INTEGER NOT NULL DEFAULT 0,"
    "  finished_at_ms INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL DEFAULT 0,"
    "  response_status INTEGER NOT NULL DEFAULT 0,"
    "  progress_done INTEGER NOT NULL DEFAULT 0,"
    "  progress_total INTEGER NOT NULL DEFAULT 0,"
    "  progress_failed INTEGER NOT NULL DEFAULT 0,"
    "  error_code TEXT,"
    "  error_detail TEXT,"
    "  metadata TEXT,"
    "  state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'dropped')),"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  next_attempt_at_ms INTEGER NOT NULL DEFAULT 0,"
    "  last_attempt_at_ms INTEGER NOT NULL DEFAULT 0,"
    "  delivered_at_ms INTEGER NOT NULL DEFAULT 0,"
    "  expires_at_ms INTEGER NOT NULL DEFAULT 0,"
    "  last_status INTEGER NOT NULL DEFAULT 0,"
    "  last_error TEXT,"
    "  token INTEGER NOT NULL DEFAULT 0,"
    "  worker TEXT,"
    "  lease_until_ms INTEGER NOT NULL DEFAULT 0,"
    "  lease_boot_id TEXT,"
    "  CHECK (worker IS NULL OR state = 'pending')"
    ") STRICT;"
    "CREATE INDEX webhooks_due ON webhooks (next_attempt_at_ms) WHERE state = 'pending' AND worker IS NULL;"
    "CREATE INDEX webhooks_due_of ON webhooks (tenant, next_attempt_at_ms) WHERE state = 'pending' AND worker IS NULL;"
    "CREATE INDEX webhooks_leased ON webhooks (tenant) WHERE worker IS NOT NULL;"
    "CREATE INDEX webhooks_expiring ON webhooks (expires_at_ms) WHERE expires_at_ms > 0;"
    "CREATE INDEX webhooks_listed ON webhooks (tenant, seq);"
    "CREATE TABLE webhook_turns (tenant TEXT PRIMARY KEY, turn INTEGER NOT NULL, pending INTEGER NOT NULL)"
    "  STRICT, WITHOUT ROWID;"
    "CREATE INDEX webhook_turns_next ON webhook_turns (turn);"
    "CREATE TRIGGER batch_over AFTER UPDATE OF status ON batches"
    "  WHEN new.wants_webhook AND " IS_OVER("new") " AND NOT " IS_OVER(
        "old") " BEGIN"
               "  INSERT INTO webhooks (id, tenant, batch_id, status, created_at_ms, started_at_ms, finished_at_ms, "
               "attempt,"
               "    response_status, progress_done, progress_total, progress_failed, error_code, error_detail, "
               "metadata)"
               "    VALUES ('" AQ_WEBHOOK_ID_PREFIX
               "' || substr(new.id, 7) || '_' || new.version, new.tenant, new.id, new.status,"
               "    new.created_at_ms, new.started_at_ms, new.finished_at_ms, new.attempt, new.response_status,"
               "    new.progress_done, new.progress_total, new.progress_failed, new.error_code, new.error_detail, "
               "new.metadata)"
               "    ON CONFLICT DO NOTHING;"
               "END;"
               "CREATE TRIGGER webhook_added AFTER INSERT ON webhooks BEGIN" WEBHOOK_TURN_ADD "END;"
               "CREATE TRIGGER webhook_over AFTER UPDATE OF state ON webhooks"
               "  WHEN old.state = 'pending' AND new.state <> 'pending' BEGIN" WEBHOOK_TURN_TAKE "END;"
               "CREATE TRIGGER webhook_again AFTER UPDATE OF state ON webhooks"
               "  WHEN old.state <> 'pending' AND new.state = 'pending' BEGIN" WEBHOOK_TURN_ADD "END;";

/* Items: batches whose lines are sent one by one. */
static const char layout_3_items[] = "ALTER TABLE batches ADD COLUMN items INTEGER NOT NULL DEFAULT 0;";
static const char layout_3_end[] = "PRAGMA user_version = 3;";

/*
 * From layout 4 on a batch knows when it was queued anew, and of tenants those alone have a turn whose messages may be sent:
 * however many wait for their next attempt, a claim does not look at them.
 */
#define IS_MESSAGE_READY(row) row ".state = 'pending' AND " row ".worker IS NULL AND " row ".awake = 1"
#define MESSAGE_TURN_ADD                                                                                               \
    "  INSERT INTO webhook_turns SELECT new.tenant, coalesce((SELECT max(turn) FROM webhook_turns), 0) + 1, 1"         \
    "    WHERE true ON CONFLICT DO UPDATE SET ready = ready + 1;"
#define MESSAGE_TURN_TAKE                                                                                              \
    "  UPDATE webhook_turns SET ready = ready - 1 WHERE tenant = old.tenant;"                                          \
    "  DELETE FROM webhook_turns WHERE tenant = old.tenant AND ready <= 0;"

static const char layout_4_tables[] =
    "ALTER TABLE batches ADD COLUMN queued_at_ms INTEGER NOT NULL DEFAULT 0;"
    "DROP TRIGGER webhook_added;"
    "DROP TRIGGER webhook_over;"
    "DROP TRIGGER webhook_again;"
    "DROP INDEX webhooks_due;"
    "DROP INDEX webhooks_due_of;"
    "ALTER TABLE webhooks ADD COLUMN awake INTEGER NOT NULL DEFAULT 1;"
    "UPDATE webhooks SET awake = 0 WHERE next_attempt_at_ms > 0;"
    "CREATE INDEX webhooks_waiting ON webhooks (next_attempt_at_ms)"
    "  WHERE state = 'pending' AND worker IS NULL AND awake = 0;"
    "CREATE INDEX webhooks_ready ON webhooks (tenant, next_attempt_at_ms)"
    "  WHERE state = 'pending' AND worker IS NULL AND awake = 1;"
    "ALTER TABLE webhook_turns RENAME COLUMN pending TO ready;"
    "UPDATE webhook_turns SET ready = (SELECT count(*) FROM webhooks WHERE webhooks.tenant = webhook_turns.tenant"
    "  AND " IS_MESSAGE_READY("webhooks") ");"
                                          "DELETE FROM webhook_turns WHERE ready = 0;";
static const char layout_4_triggers[] = "CREATE TRIGGER webhook_added AFTER INSERT ON webhooks WHEN " IS_MESSAGE_READY(
    "new") " BEGIN" MESSAGE_TURN_ADD "END;"
           "CREATE TRIGGER webhook_readied AFTER UPDATE OF state, worker, awake ON webhooks"
           "  WHEN (" IS_MESSAGE_READY("new") ") AND NOT (" IS_MESSAGE_READY(
               "old") ") BEGIN" MESSAGE_TURN_ADD "END;"
                      "CREATE TRIGGER webhook_unreadied AFTER UPDATE OF state, worker, awake ON webhooks"
                      "  WHEN (" IS_MESSAGE_READY("old") ") AND NOT (" IS_MESSAGE_READY(
                          "new") ") BEGIN" MESSAGE_TURN_TAKE "END;"
                                 "PRAGMA user_version = 4;";

const char *const *aq_sql_migration(int from)
{
    static const char *const layout_1[] = {layout_1_tables, layout_1_triggers, NULL};
    static const char *const layout_2[] = {layout_2_tables, layout_2_triggers, NULL};
    static const char *const layout_3[] = {layout_3_webhooks, layout_3_files, layout_3_items, layout_3_end, NULL};
    static const char *const layout_4[] = {layout_4_tables, layout_4_triggers, NULL};
    static const char *const *const migrations[AQ_SQL_LAYOUT] = {layout_1, layout_2, layout_3, layout_4};

    return migrations[from];
}

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
    [AQ_SQL_TRIMMABLE] = "SELECT id, result_token, body_gone, " KEPT_BYTES_OF(
        "batches") " FROM batches WHERE " HAS_FILES " ORDER BY finished_at_ms LIMIT ?1",
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
