/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What claims cost where many tenants have something that cannot be claimed now: what they cost where few have. Counted, not
 * timed: commands of Redis, which serves nobody else meanwhile; instructions of SQLite's machine.
 */
#include "contract/webhook_fixture.h"
#include "store/sqlite_private.h"
#include "store/sqlite_queue.h"
#include "unit/redis_queue_fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static redis_fixture_t server;
static aq_queue_t *q;

static void redis_setup(void)
{
    server = redis_fixture_start(NULL);
    q = redis_queue_open(&server, "machine-a", "budget=10s", AQ_REDIS_DURABLE_NONE);
}

static void sqlite_setup(void)
{
    const char *error;

    ck_assert_int_eq(aq_sqlite_queue_open(fixture_pool, fixture_path("queue.db"), 20000, &q, &error), APR_SUCCESS);
}

static void teardown(void)
{
    aq_queue_close(q);
}

static void add(const char *tenant)
{
    static int count;
    aq_queue_now_t now = queue_at(10);

    ck_assert_int_eq(aq_queue_webhook_test(q, apr_psprintf(fixture_pool, "msg_%d", ++count), tenant, &now),
                     APR_SUCCESS);
}

/* Tenants with a message each that waits for an hour. */
static void wait_with(int tenants)
{
    const aq_delivery_result_t later = {.outcome = {.state = AQ_WEBHOOK_PENDING, .wait_ms = 3600000}};
    aq_queue_now_t now = queue_at(10);

    for (int i = 0; i < tenants; i++) {
        add(apr_psprintf(fixture_pool, "tenant-%d", i));
        aq_delivery_t delivery = webhook_claim(q, 10);
        ck_assert_int_eq(aq_queue_webhook_finish(q, delivery.webhook->id, delivery.token, &now, &later), APR_SUCCESS);
    }
}

/* How many commands Redis has run since it was told to count anew, those of scripts with them. */
static long redis_calls(void)
{
    long calls = 0;

    for (const char *at = redis_fixture_say(&server, "INFO commandstats"); (at = strstr(at, "calls=")) != NULL; at++) {
        calls += strtol(at + strlen("calls="), NULL, 10);
    }
    ck_assert_int_gt(calls, 0);
    return calls;
}

static long redis_cost(int64_t ms)
{
    (void)redis_fixture_say(&server, "CONFIG RESETSTAT");
    (void)webhook_claim(q, ms);
    return redis_calls();
}

static int steps_take(const aq_sqlite_link_t *link)
{
    return sqlite3_stmt_status(link->statements[AQ_SQL_WEBHOOK_NEXT], SQLITE_STMTSTATUS_VM_STEP, 1);
}

/* How many instructions it took both connections to find the next message. */
static long sqlite_cost(int64_t ms)
{
    const aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);

    (void)steps_take(&queue->reader);
    (void)steps_take(&queue->writer);
    (void)webhook_claim(q, ms);
    return steps_take(&queue->reader) + steps_take(&queue->writer);
}

static void same_cost(long (*cost)(int64_t ms), int many)
{
    wait_with(3);
    add("acme");
    const long few = cost(20);

    ck_assert_int_gt(few, 0);
    wait_with(many);
    add("newcomer"); /* whose turn is the last */
    ck_assert_int_eq(cost(20), few);
}

START_TEST(a_claim_costs_redis_the_same_however_many_tenants_wait)
{
    redis_setup();
    same_cost(redis_cost, 200);
}
END_TEST

START_TEST(a_claim_costs_sqlite_the_same_however_many_tenants_wait)
{
    sqlite_setup();
    same_cost(sqlite_cost, 50);
}
END_TEST

START_TEST(many_that_are_due_at_once_are_woken_some_at_a_time)
{
    redis_setup();
    wait_with(300);
    const long first = redis_cost(3600010);

    for (int i = 1; i < 300; i++) {
        (void)webhook_claim(q, 3600010);
    }
    ck_assert_int_lt(first, 400);
}
END_TEST

/* A job at "/full" where one may run. */
static void job_add(int n)
{
    aq_batch_t batch = queue_batch(apr_psprintf(fixture_pool, "tenant-%d", n), n);

    batch.location = "/full";
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
}

static apr_status_t job_claim(aq_job_t *job)
{
    aq_concurrency_t one = {.most = 1, .per_endpoint = 1};
    aq_queue_limits_t limits = {.tenant_most = 3, .locations = apr_hash_make(fixture_pool)};
    aq_queue_now_t now = queue_at(1000);

    apr_hash_set(limits.locations, "/full", APR_HASH_KEY_STRING, &one);
    return aq_queue_claim(q, fixture_pool, "w", &now, LEASE_MS, &limits, job);
}

START_TEST(a_full_location_costs_redis_the_same_however_many_tenants_wait_for_it)
{
    long cost[2];
    aq_job_t running, job;
    int n = 0;

    redis_setup();
    job_add(n++);
    ck_assert_int_eq(job_claim(&running), APR_SUCCESS);
    for (int i = 0; i < 2; i++) {
        while (n < 3 + 200 * i) {
            job_add(n++);
        }
        (void)redis_fixture_say(&server, "CONFIG RESETSTAT");
        ck_assert_int_eq(job_claim(&job), APR_NOTFOUND);
        cost[i] = redis_calls();
    }
    ck_assert_int_eq(cost[1], cost[0]);
    aq_queue_now_t now = queue_at(1000);
    ck_assert_int_eq(aq_queue_finish(q, running.batch->id, running.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(job_claim(&job), APR_SUCCESS);
    ck_assert_str_eq(job.batch->tenant, "tenant-1");
}
END_TEST

/* SQLite reads the lines, an instruction or few for each. */
START_TEST(a_full_location_costs_sqlite_little_for_each_tenant_that_waits_for_it)
{
    long cost[2];
    aq_job_t running, job;
    int n = 0;

    sqlite_setup();
    job_add(n++);
    ck_assert_int_eq(job_claim(&running), APR_SUCCESS);
    for (int i = 0; i < 2; i++) {
        while (n < 3 + 50 * i) {
            job_add(n++);
        }
        sqlite3_stmt *lines = aq_sqlite_queue_of(q)->reader.statements[AQ_SQL_LINES];
        (void)sqlite3_stmt_status(lines, SQLITE_STMTSTATUS_VM_STEP, 1);
        ck_assert_int_eq(job_claim(&job), APR_NOTFOUND);
        cost[i] = sqlite3_stmt_status(lines, SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    ck_assert_int_gt(cost[0], 0);
    ck_assert_int_le(cost[1] - cost[0], 50 * 10);
}
END_TEST

/* It had turns of tenants alone. */
START_TEST(jobs_that_an_earlier_version_queued_in_redis_are_claimed_in_turn)
{
    aq_job_t job;

    redis_setup();
    for (int n = 0; n < 3; n++) {
        job_add(n);
    }
    ck_assert_str_eq(redis_fixture_say(&server, "DEL aq:{q}:hl:machine-a aq:{q}:ht:9:machine-a/full"), "2");
    job_add(3);
    for (int n = 0; n < 4; n++) {
        aq_queue_now_t now = queue_at(1000);
        ck_assert_int_eq(job_claim(&job), APR_SUCCESS);
        ck_assert_str_eq(job.batch->tenant, apr_psprintf(fixture_pool, "tenant-%d", n));
        ck_assert_int_eq(aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    }
    ck_assert_int_eq(job_claim(&job), APR_NOTFOUND);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_test(tests, a_claim_costs_redis_the_same_however_many_tenants_wait);
    tcase_add_test(tests, a_claim_costs_sqlite_the_same_however_many_tenants_wait);
    tcase_add_test(tests, a_full_location_costs_redis_the_same_however_many_tenants_wait_for_it);
    tcase_add_test(tests, a_full_location_costs_sqlite_little_for_each_tenant_that_waits_for_it);
    tcase_add_test(tests, jobs_that_an_earlier_version_queued_in_redis_are_claimed_in_turn);
    tcase_add_test(tests, many_that_are_due_at_once_are_woken_some_at_a_time);
}

int main(void)
{
    return fixture_run("cost of claims", add_tests);
}
