/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue's layout in SQL, from each version of it to the next.
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
 * Triggers keep turns, running and totals and make the messages, so that no statement can forget them. A job is ready when
 * it is queued and waits for no time; AQ_SQL_WAKE makes those ready whose time has come. All that claims look at is indexed
 * for rows in that state only: a million finished rows cost nothing.
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

#define KEPT_ADD                                                                                                       \
    "  INSERT INTO totals VALUES (new.tenant, new.status, 1, " AQ_SQL_KEPT_BYTES_OF(                                   \
        "new") ")"                                                                                                     \
               "    ON CONFLICT DO UPDATE SET batches = batches + 1, bytes = bytes + excluded.bytes;"
#define KEPT_TAKE                                                                                                      \
    "  UPDATE totals SET batches = batches - 1, bytes = bytes - (" AQ_SQL_KEPT_BYTES_OF(                               \
        "old") ")"                                                                                                     \
               "    WHERE tenant = old.tenant AND status = old.status;"
static const char layout_3_files[] =
    "ALTER TABLE batches ADD COLUMN body_gone INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX batches_with_files ON batches (finished_at_ms) WHERE " AQ_SQL_HAS_FILES ";"
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
