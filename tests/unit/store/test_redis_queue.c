/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the queue in Redis promises beside the contract: answers that are lost, other machines, durability, what is said of it.
 * A server that takes commands and answers none is a real one, stopped by a signal while the call waits.
 */
#include "contract/queue_fixture.h"
#include "store/machine.h"
#include "store/redis_queue.h"
#include "store/redis_queue_setting.h"
#include "unit/redis_fixture.h"

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

static aq_redis_queue_setting_t *setting_of(const char *const *words, int count)
{
    aq_redis_queue_setting_t *setting;
    const char *error = "";

    ck_assert_msg(aq_redis_queue_setting_parse(fixture_pool, words, count, &setting, &error) == APR_SUCCESS, "%s",
                  error);
    return setting;
}

static aq_queue_t *open_with(const char *machine, const char *budget, aq_redis_durability_t durability)
{
    const char *words[] = {apr_pstrcat(fixture_pool, "unix:", server.socket, NULL), budget};
    const aq_redis_queue_options_t options = {.machine = machine, .durability = durability};
    const char *error = "";
    aq_queue_t *q;

    ck_assert_msg(aq_redis_queue_open(fixture_pool, setting_of(words, 2)->address, &options, &q, &error) == APR_SUCCESS,
                  "%s", error);
    return q;
}

static aq_queue_t *open_as(const char *machine)
{
    return open_with(machine, "budget=10s", AQ_REDIS_DURABLE_NONE);
}

/* ---- answers that are lost --------------------------------------------------------------------------------------- */

/* A queue whose calls wait a moment only, on a connection that is there. */
static aq_queue_t *open_hasty(void)
{
    aq_queue_t *q = open_with("machine-a", "budget=300ms", AQ_REDIS_DURABLE_NONE);
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

    ck_assert_int_eq(aq_redis_queue_open(fixture_pool, setting_of(words, 2)->address, &options, &q, &error),
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
    aq_batch_t *found;

    ck_assert_int_eq(aq_queue_finish(a, id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_trim(b, fixture_pool, 1, 10, &gone), APR_SUCCESS);
    ck_assert_int_eq(gone->nelts, 0);
    now = queue_at(AQ_BATCH_RETENTION_MS + hour_ms - 1);
    ck_assert_int_eq(aq_queue_expire(b, fixture_pool, &now, 10, &gone), APR_SUCCESS);
    (void)queue_find(b, id);
    now = queue_at(AQ_BATCH_RETENTION_MS + hour_ms);
    ck_assert_int_eq(aq_queue_expire(b, fixture_pool, &now, 10, &gone), APR_SUCCESS);
    ck_assert_int_eq(gone->nelts, 0); /* its files are not here */
    ck_assert_int_eq(aq_queue_find(b, fixture_pool, id, &found), APR_NOTFOUND);
    aq_queue_close(b);
    aq_queue_close(a);
}
END_TEST

/* ---- durability -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *options[5];
    aq_redis_durability_t most;
} SERVERS[] = {
    {{NULL}, AQ_REDIS_DURABLE_NONE},
    {{"--appendonly", "yes", "--appendfsync", "no", NULL}, AQ_REDIS_DURABLE_NONE},
    {{"--appendonly", "yes", "--appendfsync", "everysec", NULL}, AQ_REDIS_DURABLE_EVERYSEC},
    {{"--appendonly", "yes", "--appendfsync", "always", NULL}, AQ_REDIS_DURABLE_ALWAYS},
};

/* Starts the server anew; it may have a log to read first. */
static void restart_with(const char *const *options)
{
    redis_fixture_kill(&server);
    redis_fixture_restart(&server, options);
    for (int i = 0; i < 3000 && strcmp(redis_fixture_say(&server, "PING"), "PONG") != 0; i++) {
        (void)usleep(10000);
    }
}

START_TEST(a_server_that_is_less_durable_than_wanted_is_not_used)
{
    aq_queue_counts_t counts;

    restart_with(SERVERS[_i].options);
    for (int wanted = AQ_REDIS_DURABLE_NONE; wanted <= AQ_REDIS_DURABLE_ALWAYS; wanted++) {
        fixture_log_keep();
        aq_queue_t *q = open_with("machine-a", "budget=10s", (aq_redis_durability_t)wanted);
        const int is_used = wanted <= (int)SERVERS[_i].most;
        ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), is_used ? APR_SUCCESS : APR_EGENERAL);
        ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), is_used ? APR_SUCCESS : APR_EGENERAL);
        ck_assert_int_eq(fixture_log_count(442), !is_used);
        aq_queue_close(q);
    }
}
END_TEST

START_TEST(a_server_that_does_not_say_how_it_writes_is_not_used)
{
    const char *const options[] = {
        "--appendonly", "yes", "--appendfsync", "always", "--rename-command", "CONFIG", "", NULL};
    aq_queue_counts_t counts;

    restart_with(options);
    fixture_log_keep();
    aq_queue_t *q = open_with("machine-a", "budget=10s", AQ_REDIS_DURABLE_ALWAYS);
    ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(fixture_log_last(442), "does not say how it writes"));
    aq_queue_close(q);
}
END_TEST

/* A script that was refused in the middle would leave half a change. */
START_TEST(a_server_without_memory_refuses_whole_changes)
{
    aq_queue_t *q = open_as("machine-a");
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(0));
    aq_batch_t other = queue_batch("acme", 2), *found;
    aq_queue_now_t now = queue_at(1);

    (void)redis_fixture_say(&server, "CONFIG SET maxmemory 1");
    ck_assert_int_eq(aq_queue_submit(q, &other, NULL, fixture_pool), APR_ENOMEM);
    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &found), APR_ENOMEM);
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_ENOMEM);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_RUNNING);
    (void)redis_fixture_say(&server, "CONFIG SET maxmemory 0");
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_submit(q, &other, NULL, fixture_pool), APR_SUCCESS);
    ck_assert_str_eq(queue_claim(q, "w", queue_at(2)).batch->id, other.id);
    aq_queue_close(q);
}
END_TEST

/* ---- what is said of it ------------------------------------------------------------------------------------------ */

START_TEST(a_setting_is_read_and_said_again)
{
    const char *const words[] = {"redis://10.0.0.7:7000/3", "durability=everysec", "tenant-max=500",
                                 "password-file=/etc/redis.password"};
    const aq_redis_queue_setting_t *setting = setting_of(words, 4);

    ck_assert_int_eq(setting->durability, AQ_REDIS_DURABLE_EVERYSEC);
    ck_assert_int_eq(setting->tenant_max, 500);
    ck_assert_int_eq(setting->address->budget_ms, 2000);
    const apr_array_header_t *said = aq_redis_queue_setting_words(fixture_pool, setting);
    ck_assert_str_eq(apr_array_pstrcat(fixture_pool, said, ' '),
                     "redis://10.0.0.7:7000 db=3 password-file=/etc/redis.password budget=2000ms durability=everysec");
    const aq_redis_queue_setting_t *again = setting_of((const char *const *)(void *)said->elts, said->nelts);
    ck_assert_int_eq(again->durability, setting->durability);
    ck_assert_str_eq(again->address->name, setting->address->name);
    ck_assert_int_eq(setting_of(words, 1)->durability, AQ_REDIS_DURABLE_ALWAYS);
}
END_TEST

static const char *const BAD[][2] = {
    {"durability=often", "always, everysec or none"},
    {"tenant-max=0", "tenant-max="},
    {"tenant-max=x", "tenant-max="},
    {"tenant-max=-1", "tenant-max="},
    {"size=1m", "password-file="},
    {"budget=1h", "budget"},
    {"home=", "home="},
    {"home=10.0.0.1/apiquota-home", "http://10.0.0.1:8081/apiquota-home"},
    {"home=http://", "home="},
    {"home=http:///path", "home="},
    {"home=unix:/run/socket|http://a/", "home="},
    {"home=http://user:word@10.0.0.1/", "without a user"},
    {"home=http://10.0.0.1/?a", "home="},
};

START_TEST(a_homes_url_is_read_and_said_again_without_its_last_slash)
{
    const char *const words[] = {"redis://127.0.0.1", "home=https://[2001:db8::1]:8081/apiquota-home/"};
    const aq_redis_queue_setting_t *setting = setting_of(words, 2);
    const apr_array_header_t *said = aq_redis_queue_setting_words(fixture_pool, setting);

    ck_assert_str_eq(setting->home_url, "https://[2001:db8::1]:8081/apiquota-home");
    ck_assert_str_eq(setting_of((const char *const *)(void *)said->elts, said->nelts)->home_url, setting->home_url);
    ck_assert_ptr_null(setting_of(words, 1)->home_url);
}
END_TEST

START_TEST(what_is_wrong_with_a_setting_is_said)
{
    const char *const words[] = {"redis://127.0.0.1", BAD[_i][0]};
    aq_redis_queue_setting_t *setting;
    const char *error;

    ck_assert_int_eq(aq_redis_queue_setting_parse(fixture_pool, words, 2, &setting, &error), APR_EGENERAL);
    ck_assert_msg(strstr(error, BAD[_i][1]) != NULL, "%s", error);
}
END_TEST

START_TEST(a_password_in_the_address_is_refused_and_not_repeated)
{
    const char *const words[] = {"redis://:sesame@127.0.0.1"};
    aq_redis_queue_setting_t *setting;
    const char *error;

    ck_assert_int_eq(aq_redis_queue_setting_parse(fixture_pool, words, 1, &setting, &error), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "password-file="));
    ck_assert_ptr_null(strstr(error, "sesame"));
}
END_TEST

START_TEST(a_machine_has_one_name_for_ever)
{
    const char *path = fixture_path("machine"), *first, *again, *error;

    (void)unlink(path);
    ck_assert_int_eq(aq_machine_name(fixture_pool, path, &first, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_machine_name(fixture_pool, path, &again, &error), APR_SUCCESS);
    ck_assert_str_eq(first, again);
    fixture_write(path, apr_pstrcat(fixture_pool, first, "\n", NULL)); /* as an editor leaves it */
    ck_assert_int_eq(aq_machine_name(fixture_pool, path, &again, &error), APR_SUCCESS);
    ck_assert_str_eq(first, again);
    fixture_write(path, "");
    ck_assert_int_ne(aq_machine_name(fixture_pool, path, &again, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_str_eq(fixture_read(path), "");
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
    tcase_add_loop_test(tests, a_server_that_is_less_durable_than_wanted_is_not_used, 0,
                        sizeof SERVERS / sizeof SERVERS[0]);
    tcase_add_test(tests, a_server_that_does_not_say_how_it_writes_is_not_used);
    tcase_add_test(tests, a_server_without_memory_refuses_whole_changes);
    tcase_add_test(tests, a_setting_is_read_and_said_again);
    tcase_add_test(tests, a_homes_url_is_read_and_said_again_without_its_last_slash);
    tcase_add_loop_test(tests, what_is_wrong_with_a_setting_is_said, 0, sizeof BAD / sizeof BAD[0]);
    tcase_add_test(tests, a_password_in_the_address_is_refused_and_not_repeated);
    tcase_add_test(tests, a_machine_has_one_name_for_ever);
}

int main(void)
{
    return fixture_run("redis_queue", add_tests);
}
