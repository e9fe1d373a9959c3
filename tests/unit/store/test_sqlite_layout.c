/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: a database of an earlier layout is brought up to date, and what is asked often is served by an index.
 */
#include "store/sqlite_sql.h"

#include "contract/webhook_fixture.h"
#include "store/sqlite_queue.h"

#include <apr_strings.h>
#include <sqlite3.h>
#include <string.h>

static const char *path;

static void setup(void)
{
    path = queue_path_new();
}

static sqlite3 *database_open(void)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void run(sqlite3 *db, const char *sql)
{
    char *error = NULL;

    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql, error);
}

/* A row as the first layout had it. */
static void row_add(sqlite3 *db, int n, const char *tenant, const char *status, const char *worker)
{
    run(db, apr_psprintf(
                fixture_pool,
                "INSERT INTO batches VALUES (NULL, '%s', '%s', 'k', '/x', NULL, '%s', 1, 0, 0, 0, 0, 0, 0, 3, 0, 0,"
                " 'POST', '/x', NULL, NULL, NULL, 12, 'ab', 0, NULL, NULL, %d, NULL, %d, 0, 0, 0, NULL, NULL,"
                " NULL, 1, 0, %s, 0, NULL)",
                queue_batch(tenant, n).id, tenant, status, n == 1 ? 5 : -1, n == 1, worker));
}

START_TEST(a_queue_of_the_first_layout_keeps_its_batches_and_their_turns)
{
    aq_queue_use_t use;
    sqlite3 *db = database_open();

    run(db, "PRAGMA journal_mode = WAL");
    for (const char *const *text = aq_sql_migration(0); *text != NULL; text++) {
        run(db, *text);
    }
    row_add(db, 1, "acme", "succeeded", "NULL");
    row_add(db, 2, "acme", "queued", "NULL");
    row_add(db, 3, "acme", "queued", "NULL");
    row_add(db, 4, "other", "queued", "NULL");
    row_add(db, 5, "acme", "running", "'w'");
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    aq_queue_t *q = queue_open(path);
    ck_assert_int_eq(aq_queue_use(q, "acme", &use), APR_SUCCESS);
    ck_assert_int_eq(use.queued, 2);
    ck_assert_int_eq(use.bytes, 4 * 12 + 5);
    aq_queue_now_t now = queue_at(1);
    aq_job_t job;
    aq_queue_limits_t limits = {.tenant_most = 1}; /* acme has one that runs already */
    ck_assert_int_eq(aq_queue_claim(q, fixture_pool, "v", &now, LEASE_MS, &limits, &job), APR_SUCCESS);
    ck_assert_str_eq(job.batch->tenant, "other");
    ck_assert_str_eq(queue_claim(q, "v", now).batch->tenant, "acme");
    ck_assert_str_eq(queue_claim(q, "v", now).batch->tenant, "acme");
    queue_claim_none(q, now);
    aq_queue_close(q);
}
END_TEST

START_TEST(a_queue_of_the_second_layout_keeps_its_batches_which_want_no_webhook)
{
    apr_array_header_t *webhooks;
    aq_webhook_query_t query = {.state = -1, .limit = 1};
    sqlite3 *db = database_open();

    run(db, "PRAGMA journal_mode = WAL");
    for (int layout = 0; layout < 2; layout++) {
        for (const char *const *text = aq_sql_migration(layout); *text != NULL; text++) {
            run(db, *text);
        }
    }
    run(db, apr_psprintf(
                fixture_pool,
                "INSERT INTO batches VALUES (NULL, '%s', 'acme', 'k', '/x', NULL, 'queued', 1, 0, 0, 0, 0, 0, 0, 3,"
                " 0, 0, 'POST', '/x', NULL, NULL, NULL, 12, 'ab', 0, NULL, NULL, -1, NULL, 0, 0, 0, 0, NULL, NULL,"
                " NULL, 1, 0, NULL, 0, NULL, 0, 0, 0)",
                queue_batch("acme", 1).id));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    aq_queue_t *q = queue_open(path);
    aq_queue_now_t now = queue_at(1);
    aq_job_t job = queue_claim(q, "v", now);
    ck_assert_int_eq(job.batch->wants_webhook, 0);
    ck_assert_int_eq(aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_webhook_list(q, fixture_pool, &query, &webhooks), APR_SUCCESS);
    ck_assert_int_eq(webhooks->nelts, 0);
    aq_queue_close(q);
}
END_TEST

START_TEST(a_queue_of_the_third_layout_keeps_its_messages_and_their_turns)
{
    sqlite3 *db = database_open();

    run(db, "PRAGMA journal_mode = WAL");
    for (int layout = 0; layout < 3; layout++) {
        for (const char *const *text = aq_sql_migration(layout); *text != NULL; text++) {
            run(db, *text);
        }
    }
    run(db, "INSERT INTO webhooks (id, tenant, finished_at_ms) VALUES ('msg_1', 'a', 1), ('msg_2', 'b', 1),"
            " ('msg_3', 'b', 1), ('msg_4', 'c', 1), ('msg_5', 'd', 1)");
    run(db, apr_psprintf(fixture_pool,
                         "UPDATE webhooks SET next_attempt_at_ms = %" APR_INT64_T_FMT " WHERE id IN ('msg_1', 'msg_3')",
                         queue_at(1000).wall_ms));
    run(db,
        "UPDATE webhooks SET worker = 'w', lease_boot_id = 'this-boot', lease_until_ms = 9000000 WHERE id = 'msg_4';"
        "UPDATE webhooks SET state = 'delivered' WHERE id = 'msg_5'");
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    aq_queue_t *q = queue_open(path);
    ck_assert_str_eq(webhook_claim(q, 10).webhook->id, "msg_2");
    webhook_claim_none(q, 999);
    ck_assert_str_eq(webhook_claim(q, 1000).webhook->id, "msg_1");
    ck_assert_str_eq(webhook_claim(q, 1000).webhook->id, "msg_3");
    webhook_recover(q, "w", 1000);
    ck_assert_str_eq(webhook_claim(q, 1000).webhook->id, "msg_1");
    aq_queue_close(q);
}
END_TEST

/* What polls, lists, claims and the janitor run, and how they must find their rows. */
static const struct {
    aq_sql_t sql;
    const char *uses;
} INDEXED[] = {
    {AQ_SQL_FIND, "INDEX sqlite_autoindex_batches_1 (id=?)"},
    {AQ_SQL_LIST, "INDEX batches_listed (tenant=? AND id<?)"},
    {AQ_SQL_LIST_STATUS, "INDEX batches_listed_by_status (tenant=? AND status=? AND id<?)"},
    {AQ_SQL_LIST_ALL, "INDEX sqlite_autoindex_batches_1 (id<?)"},
    {AQ_SQL_LINES, "COVERING INDEX turns_next"},
    {AQ_SQL_LINE_FIRST, "INDEX batches_ready (tenant=? AND location=?)"},
    {AQ_SQL_CLAIM, "INDEX batches_ready (tenant=? AND location=?)"},
    {AQ_SQL_IS_WAKING, "INDEX batches_waiting (next_attempt_at_ms>? AND next_attempt_at_ms<?)"},
    {AQ_SQL_WAKE, "INDEX batches_waiting (next_attempt_at_ms>? AND next_attempt_at_ms<?)"},
    {AQ_SQL_RENEW, "batches_leased (worker=?)"},
    {AQ_SQL_CANCELS, "batches_leased (worker=?)"},
    {AQ_SQL_LAPSED, "batches_leased"},
    {AQ_SQL_IS_OVERDUE, "INDEX batches_overdue (start_by_ms>? AND start_by_ms<?)"},
    {AQ_SQL_HAS_EXPIRED, "INDEX batches_expiring"},
    {AQ_SQL_HAS_EXPIRED, "INDEX batches_result_expiring"},
    {AQ_SQL_EXPIRE, "INDEX batches_expiring (expires_at_ms>? AND expires_at_ms<?)"},
    {AQ_SQL_EXPIRED_RESULTS, "INDEX batches_result_expiring"},
    {AQ_SQL_TRIMMABLE, "INDEX batches_with_files"},
    {AQ_SQL_USE, "USING PRIMARY KEY (tenant=?)"},
    {AQ_SQL_WEBHOOK_FIND, "INDEX sqlite_autoindex_webhooks_1 (id=?)"},
    {AQ_SQL_WEBHOOK_IS_WAKING, "INDEX webhooks_waiting (next_attempt_at_ms<?)"},
    {AQ_SQL_WEBHOOK_WAKE, "INDEX webhooks_waiting (next_attempt_at_ms<?)"},
    {AQ_SQL_WEBHOOK_NEXT, "INDEX webhooks_ready (tenant=? AND next_attempt_at_ms<?)"},
    {AQ_SQL_WEBHOOK_NEXT, "INDEX webhooks_leased (tenant=?)"},
    {AQ_SQL_WEBHOOK_NEXT, "INDEX webhook_turns_next"},
    {AQ_SQL_WEBHOOK_LIST, "INDEX webhooks_listed (tenant=?)"},
    {AQ_SQL_WEBHOOK_IS_LAPSED, "INDEX webhooks_leased"},
    {AQ_SQL_WEBHOOK_RECOVER, "INDEX webhooks_leased"},
    {AQ_SQL_WEBHOOK_EXPIRE, "INDEX webhooks_expiring (expires_at_ms>? AND expires_at_ms<?)"},
    {AQ_SQL_HAS_EXPIRED, "INDEX webhooks_expiring (expires_at_ms>? AND expires_at_ms<?)"},
};

START_TEST(what_is_asked_often_costs_the_same_however_many_batches_are_over)
{
    sqlite3_stmt *row;
    const char *plan = "";

    aq_queue_close(queue_open(path));
    sqlite3 *db = database_open();
    const char *explain = apr_pstrcat(fixture_pool, "EXPLAIN QUERY PLAN ", aq_sql_text(INDEXED[_i].sql), NULL);
    ck_assert_int_eq(sqlite3_prepare_v2(db, explain, -1, &row, NULL), SQLITE_OK);
    while (sqlite3_step(row) == SQLITE_ROW) {
        plan = apr_pstrcat(fixture_pool, plan, (const char *)sqlite3_column_text(row, 3), "\n", NULL);
    }
    ck_assert_int_eq(sqlite3_finalize(row), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    ck_assert_msg(strstr(plan, INDEXED[_i].uses) != NULL, "no \"%s\" in\n%s", INDEXED[_i].uses, plan);
    ck_assert_msg(strstr(plan, "SCAN batches\n") == NULL && strstr(plan, "TEMP B-TREE") == NULL, "%s", plan);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, a_queue_of_the_first_layout_keeps_its_batches_and_their_turns);
    tcase_add_test(tests, a_queue_of_the_third_layout_keeps_its_messages_and_their_turns);
    tcase_add_test(tests, a_queue_of_the_second_layout_keeps_its_batches_which_want_no_webhook);
    tcase_add_loop_test(tests, what_is_asked_often_costs_the_same_however_many_batches_are_over, 0,
                        sizeof INDEXED / sizeof INDEXED[0]);
}

int main(void)
{
    return fixture_run("sqlite_layout", add_tests);
}
