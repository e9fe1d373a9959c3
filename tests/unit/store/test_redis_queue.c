/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the queue in Redis promises beside the contract: answers that are lost, and other machines. What it asks of its server
 * is in test_redis_queue_server.c.
 * A server that takes commands and answers none is a real one, stopped by a signal while the call waits.
 */
#include "contract/queue_fixture.h"
#include "unit/redis_queue_fixture.h"

#include <apr_strings.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static redis_fixture_t server;

static void setup(void)
{
    fixture_log_keep();
    server = redis_fixture_start(NULL);
}

static aq_queue_t *open_as(const char *machine)
{
    return redis_queue_open(&server, machine, "budget=10s", AQ_REDIS_DURABLE_NONE);
}

/* ---- answers that are lost --------------------------------------------------------------------------------------- */

/* A queue whose calls wait no longer than a busy machine makes them wait anyway, on a connection that is there. */
static aq_queue_t *open_hasty(void)
{
    aq_queue_t *q = redis_queue_open(&server, "machine-a", "budget=2s", AQ_REDIS_DURABLE_NONE);
    aq_queue_counts_t counts;

    ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), APR_SUCCESS);
    return q;
}

static void stop(void)
{
    ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
}

/* What was sent while the server stood still it does now; then it is asked again as soon as that is allowed. */
static void go_on(aq_queue_t *q)
{
    aq_queue_counts_t counts;

    ck_assert_int_eq(kill(server.pid, SIGCONT), 0);
    for (int i = 0; i < 3000 && aq_queue_counts(q, NULL, &counts) != APR_SUCCESS; i++) {
        (void)usleep(10000);
    }
    ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), APR_SUCCESS);
}

START_TEST(a_batch_whose_answer_is_lost_is_neither_refused_nor_taken_twice)
{
    aq_queue_t *q = open_hasty();
    aq_batch_t batch = queue_batch("acme", 1), *found;

    stop();
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_INCOMPLETE);
    go_on(q);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, batch.id, &found), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_EEXIST);
    aq_queue_close(q);
}
END_TEST

START_TEST(a_claim_whose_answer_is_lost_is_taken_back_and_no_attempt_is_counted)
{
    aq_queue_t *q = open_hasty();
    const char *id = queue_submit(q, "acme", 1);
    aq_queue_now_t now = queue_at(1);
    aq_job_t job;

    stop();
    ck_assert_int_ne(aq_queue_claim(q, fixture_pool, "w", &now, LEASE_MS, NULL, &job), APR_SUCCESS);
    ck_assert_ptr_null(job.batch);
    go_on(q);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_RUNNING); /* it was done */
    job = queue_claim(q, "w", queue_at(2));
    ck_assert_str_eq(job.batch->id, id);
    ck_assert_int_eq(job.batch->attempt, 1);
    aq_queue_close(q);
}
END_TEST

START_TEST(a_claim_whose_answer_is_lost_is_not_kept_alive_by_renewals)
{
    aq_queue_t *q = open_hasty();
    const char *id = queue_submit(q, "acme", 1);
    aq_queue_now_t now = queue_at(1);
    apr_array_header_t *held;
    aq_job_t job;

    stop();
    ck_assert_int_ne(aq_queue_claim(q, fixture_pool, "w", &now, LEASE_MS, NULL, &job), APR_SUCCESS);
    go_on(q);
    ck_assert_int_eq(aq_queue_renew(q, fixture_pool, "w", &now, LEASE_MS, &held), APR_SUCCESS);
    ck_assert_int_eq(held->nelts, 0);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_QUEUED);
    aq_queue_close(q);
}
END_TEST

/* As where Redis reads it after it was taken back: its worker is at a later epoch then. */
START_TEST(a_claim_that_comes_late_claims_nothing)
{
    aq_queue_t *q = open_as("machine-a");
    const char *id = queue_submit(q, "acme", 1);
    aq_queue_now_t now = queue_at(1);
    aq_job_t job;

    (void)redis_fixture_say(&server, "SET aq:{q}:ep:late 1");
    ck_assert_int_eq(aq_queue_claim(q, fixture_pool, "late", &now, LEASE_MS, NULL, &job), APR_NOTFOUND);
    ck_assert_str_eq(queue_claim(q, "other", now).batch->id, id);
    aq_queue_close(q);
}
END_TEST

START_TEST(the_end_of_a_job_whose_answer_is_lost_is_written_once_and_known_as_ours)
{
    aq_queue_t *q = open_hasty();
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(1));
    aq_queue_now_t now = queue_at(2);

    stop();
    ck_assert_int_ne(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    go_on(q);
    const int64_t version = queue_find(q, id)->version;
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(queue_find(q, id)->version, version);
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_NOTFOUND);
    aq_queue_close(q);
}
END_TEST

START_TEST(a_server_that_is_away_is_said_at_once_and_asked_again)
{
    aq_queue_t *q = open_hasty();
    aq_batch_t batch = queue_batch("acme", 1), *found;

    redis_fixture_kill(&server);
    ck_assert_int_ne(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, batch.id, &found), ECONNREFUSED);
    redis_fixture_restart(&server, NULL);
    go_on(q);
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    aq_queue_close(q);
}
END_TEST

/* ---- machines ---------------------------------------------------------------------------------------------------- */

static void recover(aq_queue_t *q, aq_queue_now_t now, const char *boot_id, unsigned wanted)
{
    unsigned recovered, failed;

    now.boot_id = boot_id;
    ck_assert_int_eq(aq_queue_recover(q, &now, NULL, &recovered, &failed), APR_SUCCESS);
    ck_assert_uint_eq(recovered + failed, wanted);
}

START_TEST(a_job_is_claimed_at_home_only_and_its_row_tells_where_that_is)
{
    aq_queue_t *a = open_as("machine-a"), *b = open_as("machine-b");
    const char *id = queue_submit(a, "acme", 1);

    queue_claim_none(b, queue_at(1));
    const aq_batch_t *seen = queue_find(b, id);
    ck_assert_str_eq(seen->home, "machine-a");
    ck_assert_int_eq(seen->is_elsewhere, 1);
    ck_assert_int_eq(seen->is_home_down, 1); /* none of its workers was heard of */
    recover(a, queue_at(1), "a", 0);
    ck_assert_int_eq(queue_find(b, id)->is_home_down, 0);
    ck_assert_int_eq(queue_find(a, id)->is_elsewhere, 0);
    ck_assert_str_eq(queue_claim(a, "w", queue_at(1)).batch->id, id);
    aq_queue_close(b);
    aq_queue_close(a);
}
END_TEST

static aq_queue_t *open_home(const char *machine, const char *url)
{
    const char *words[] = {apr_pstrcat(fixture_pool, "unix:", server.socket, NULL), "budget=10s"};
    const aq_redis_queue_options_t options = {.machine = machine, .home_url = url, .durability = AQ_REDIS_DURABLE_NONE};
    const char *error = "";
    aq_queue_t *q;

    ck_assert_int_eq(aq_redis_queue_open(fixture_pool, redis_queue_setting(words, 2)->address, &options, &q, &error),
                     APR_SUCCESS);
    return q;
}

START_TEST(a_home_tells_its_url_and_all_share_one_secret)
{
    aq_queue_t *a = open_home("machine-a", "http://10.0.0.1/home"), *b = open_as("machine-b");
    aq_queue_home_t home, other;

    ck_assert_int_eq(aq_queue_home(b, fixture_pool, "machine-a", &home), APR_SUCCESS);
    ck_assert_ptr_null(home.url); /* not heard of yet */
    recover(a, queue_at(1), "a", 0);
    recover(b, queue_at(1), "b", 0);
    ck_assert_int_eq(aq_queue_home(b, fixture_pool, "machine-a", &other), APR_SUCCESS);
    ck_assert_str_eq(other.url, "http://10.0.0.1/home");
    ck_assert_mem_eq(&home.secret, &other.secret, sizeof(home.secret));
    ck_assert_int_eq(aq_queue_home(a, fixture_pool, "machine-b", &home), APR_SUCCESS);
    ck_assert_ptr_null(home.url); /* at work, but it gives nothing */
    ck_assert_mem_eq(&home.secret, &other.secret, sizeof(home.secret));
    aq_queue_close(a);
    a = open_home("machine-a", "http://10.0.0.2/home"); /* told anew at once, not when the old one is over */
    recover(a, queue_at(2), "a", 0);
    ck_assert_int_eq(aq_queue_home(b, fixture_pool, "machine-a", &other), APR_SUCCESS);
    ck_assert_str_eq(other.url, "http://10.0.0.2/home");
    aq_queue_close(b);
    aq_queue_close(a);
}
END_TEST

/* Another boot's name, and a clock that shows less: to another machine neither says anything of a lease. */
START_TEST(f51_another_machines_lease_is_over_when_it_was_watched_for_one_and_a_half)
{
    const int64_t step_ms = 10000, whole_ms = LEASE_MS + LEASE_MS / 2;
    aq_queue_t *a = open_as("machine-a"), *b = open_as("machine-b");
    const char *id = queue_submit(a, "acme", 1);
    int64_t ms;

    (void)queue_claim(a, "w", queue_at(0));
    for (ms = 0; ms < whole_ms; ms += step_ms) {
        recover(b, queue_at(900000 + ms), "b", 0);
    }
    recover(b, queue_at(900000 + whole_ms), "b", 1);
    ck_assert_int_eq(queue_find(b, id)->status, AQ_BATCH_QUEUED);
    aq_queue_close(b);
    aq_queue_close(a);
}
END_TEST

START_TEST(another_machines_lease_that_is_renewed_is_not_over)
{
    aq_queue_t *a = open_as("machine-a"), *b = open_as("machine-b");
    const char *id = queue_submit(a, "acme", 1);
    apr_array_header_t *held;

    (void)queue_claim(a, "w", queue_at(0));
    for (int64_t ms = 0; ms < 4 * LEASE_MS; ms += 10000) {
        aq_queue_now_t now = queue_at(0); /* a's clock stands still, for all that b knows */
        ck_assert_int_eq(aq_queue_renew(a, fixture_pool, "w", &now, LEASE_MS, &held), APR_SUCCESS);
        recover(b, queue_at(900000 + ms), "b", 0);
    }
    ck_assert_int_eq(queue_find(b, id)->status, AQ_BATCH_RUNNING);
    aq_queue_close(b);
    aq_queue_close(a);
}
END_TEST

/* Redis was away, or this worker stood still: nobody could renew, or nobody watched. */
START_TEST(a_gap_in_the_watch_begins_it_anew)
{
    aq_queue_t *a = open_as("machine-a"), *b = open_as("machine-b");

    (void)queue_submit(a, "acme", 1);
    (void)queue_claim(a, "w", queue_at(0));
    recover(b, queue_at(0), "b", 0);
    recover(b, queue_at(10 * LEASE_MS), "b", 0);
    recover(b, queue_at(10 * LEASE_MS + 10000), "b", 0);
    aq_queue_close(b);
    aq_queue_close(a);
}
END_TEST

START_TEST(only_home_trims_and_others_expire_what_home_is_late_with)
{
    const int64_t hour_ms = 3600000;
    aq_queue_t *a = open_as("machine-a"), *b = open_as("machine-b");
    const char *id = queue_submit(a, "acme", 1);
    aq_job_t job = queue_claim(a, "w", queue_at(0));
    aq_queue_now_t now = queue_at(0);
    apr_array_header_t *gone;
    int has_more;
    aq_batch_t *found;

    ck_assert_int_eq(aq_queue_finish(a, id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_trim(b, fixture_pool, 1, 10, &gone), APR_SUCCESS);
    ck_assert_int_eq(gone->nelts, 0);
    now = queue_at(AQ_BATCH_RETENTION_MS + hour_ms - 1);
    ck_assert_int_eq(aq_queue_expire(b, fixture_pool, &now, 10, &gone, &has_more), APR_SUCCESS);
    (void)queue_find(b, id);
    now = queue_at(AQ_BATCH_RETENTION_MS + hour_ms);
    ck_assert_int_eq(aq_queue_expire(b, fixture_pool, &now, 10, &gone, &has_more), APR_SUCCESS);
    ck_assert_int_eq(gone->nelts, 0); /* its files are not here */
    ck_assert_int_eq(aq_queue_find(b, fixture_pool, id, &found), APR_NOTFOUND);
    ck_assert_str_eq(redis_fixture_say(&server, "EXISTS aq:{q}:homes"), "0"); /* nobody asks after that machine again */
    aq_queue_close(b);
    aq_queue_close(a);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, a_batch_whose_answer_is_lost_is_neither_refused_nor_taken_twice);
    tcase_add_test(tests, a_claim_whose_answer_is_lost_is_taken_back_and_no_attempt_is_counted);
    tcase_add_test(tests, a_claim_whose_answer_is_lost_is_not_kept_alive_by_renewals);
    tcase_add_test(tests, a_claim_that_comes_late_claims_nothing);
    tcase_add_test(tests, the_end_of_a_job_whose_answer_is_lost_is_written_once_and_known_as_ours);
    tcase_add_test(tests, a_server_that_is_away_is_said_at_once_and_asked_again);
    tcase_add_test(tests, a_job_is_claimed_at_home_only_and_its_row_tells_where_that_is);
    tcase_add_test(tests, a_home_tells_its_url_and_all_share_one_secret);
    tcase_add_test(tests, f51_another_machines_lease_is_over_when_it_was_watched_for_one_and_a_half);
    tcase_add_test(tests, another_machines_lease_that_is_renewed_is_not_over);
    tcase_add_test(tests, a_gap_in_the_watch_begins_it_anew);
    tcase_add_test(tests, only_home_trims_and_others_expire_what_home_is_late_with);
}

int main(void)
{
    return fixture_run("redis_queue", add_tests);
}
