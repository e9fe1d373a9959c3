/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker, whole, in a process of its own, against a real HTTP backend: what becomes of batches, and of those whose
 * worker is killed, stopped or left alone.
 */
#include "base/aq_clock.h"
#include "batch/batch_config.h"
#include "contract/queue_fixture.h"
#include "unit/worker/target_server.h"
#include "worker/worker.h"

#include <apr_strings.h>
#include <curl/curl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BODY "id,name\n1,one\n"
#define PATIENCE_MS 20000

static target_server_t *server;
static aq_batch_config_t config;
static aq_worker_options_t options;
static aq_spool_t *spool;
static aq_queue_t *q;
static pid_t worker;
static int submitted;

static void nap(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void config_write(void)
{
    json_t *json = json_pack("{s:o}", "worker", aq_batch_config_json(&config, fixture_pool));

    ck_assert_int_eq(aq_json_file_replace(options.config_file, json, 0600, fixture_pool), APR_SUCCESS);
    json_decref(json);
}

/* A location for each path of the backend, named by it. */
static aq_batch_location_t *location(const char *path)
{
    aq_batch_location_t *made = apr_palloc(fixture_pool, sizeof(*made));

    *made = (aq_batch_location_t){
        .name = path,
        .target = apr_psprintf(fixture_pool, "http://127.0.0.1:%d%s", server->port, path),
        .timeout_ms = 10000,
        .max_attempts = 3,
        .target_is_idempotent = 1,
        .retention_ms = 1000000,
        .max_wait_ms = 86400000,
        .items_parallel = 4,
        .items_timeout_ms = 5000,
    };
    apr_hash_set(config.locations, path, APR_HASH_KEY_STRING, made);
    return made;
}

static void setup(void)
{
    static const char *const paths[] = {"/ok",       "/status/422", "/flaky",   "/slow/400",   "/slow/1500", "/headers",
                                        "/redirect", "/reset",      "/trickle", "/big/100000", "/status/503"};
    char *folder = apr_pstrdup(fixture_pool, fixture_path("state-XXXXXX"));
    const char *error;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    server = target_server_start();
    config = (aq_batch_config_t){.queue_file = apr_pstrcat(fixture_pool, folder, "/queue.db", NULL),
                                 .spool_folder = apr_pstrcat(fixture_pool, folder, "/spool", NULL),
                                 .threads = 3,
                                 .locations = apr_hash_make(fixture_pool)};
    options = (aq_worker_options_t){.config_file = apr_pstrcat(fixture_pool, folder, "/runtime.json", NULL),
                                    .lease_ms = 1200,
                                    .stop_wait_ms = 500,
                                    .result_max_bytes = 50000};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        (void)location(paths[i]);
    }
    config_write();
    ck_assert_int_eq(aq_spool_prepare(config.spool_folder, (uid_t)-1, (gid_t)-1, fixture_pool, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_open(fixture_pool, config.spool_folder, 0, &spool, &error), APR_SUCCESS);
    q = queue_open(config.queue_file);
}

static void worker_start(void)
{
    worker = fork();
    ck_assert_int_ge(worker, 0);
    if (worker == 0) {
        apr_pool_t *pool;
        int code = 1;
        if (apr_pool_create(&pool, NULL) == APR_SUCCESS && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
            code = aq_worker_run(&options, pool);
        }
        _exit(code);
    }
}

static void worker_kill(int number)
{
    if (worker > 0) {
        ck_assert_int_eq(kill(worker, number), 0);
    }
}

/* The exit code of the worker, which has been told to end. */
static int worker_end(void)
{
    int status = -1;

    ck_assert_int_eq(waitpid(worker, &status, 0), worker);
    worker = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void teardown(void)
{
    if (worker > 0) {
        worker_kill(SIGKILL);
        (void)worker_end();
    }
    target_server_stop(server);
    aq_queue_close(q);
}

static const char *submit_to(const char *path, void (*change)(aq_batch_t *batch))
{
    aq_batch_t batch = queue_batch("acme", ++submitted);
    aq_spool_file_t *file;

    batch.location = path;
    batch.created_at_ms = aq_clock_now_ms();
    batch.query = "from=client";
    batch.headers = "{\"accept\":\"application/json\",\"authorization\":\"secret\",\"x-evil\":\"a\\r\\nb: c\"}";
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, BODY, sizeof BODY - 1), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_commit(file, batch.id, &batch.request), APR_SUCCESS);
    if (change != NULL) {
        change(&batch);
    }
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    return apr_pstrdup(fixture_pool, batch.id);
}

static const char *submit(const char *path)
{
    return submit_to(path, NULL);
}

/* Waits until the batch has this status. */
static aq_batch_t *wait_for(const char *id, aq_batch_status_t status)
{
    aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
    aq_batch_t *batch = queue_find(q, id);

    while (batch->status != status && aq_clock_boot_ms() < until_ms) {
        nap(10);
        batch = queue_find(q, id);
    }
    ck_assert_msg(batch->status == status, "%s is %s (%s: %s), not %s", id, aq_batch_status_name(batch->status),
                  batch->error_code, batch->error_detail, aq_batch_status_name(status));
    return batch;
}

static void wait_for_requests(int count)
{
    aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;

    while (server->requests < count && aq_clock_boot_ms() < until_ms) {
        nap(5);
    }
    ck_assert_int_ge(server->requests, count);
}

START_TEST(a_batch_is_sent_as_the_client_would_have_and_its_answer_kept)
{
    worker_start();
    const char *id = submit("/ok");
    aq_batch_t *batch = wait_for(id, AQ_BATCH_SUCCEEDED);

    ck_assert_int_eq(batch->response_status, 201);
    ck_assert_int_eq(batch->response.bytes, sizeof BODY - 1);
    ck_assert_str_eq(batch->response.content_type, "text/plain");
    ck_assert_str_eq(batch->response.sha256, batch->request.sha256);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(spool, fixture_pool, id, batch->result_token)), BODY);
    ck_assert_int_eq(batch->attempt, 1);
    ck_assert_ptr_null(batch->error_code);
    ck_assert_int_eq(server->effects, 1);
    const char *head = server->head;
    ck_assert_ptr_nonnull(strstr(head, "POST /ok?from=client HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\nContent-Type: text/csv\r\n"));
    ck_assert_ptr_nonnull(strstr(head, apr_pstrcat(fixture_pool, "\r\nIdempotency-Key: ", id, "\r\n", NULL)));
    ck_assert_ptr_nonnull(strstr(head, apr_pstrcat(fixture_pool, "\r\nAPIQuota-Batch-Id: ", id, "\r\n", NULL)));
    ck_assert_ptr_nonnull(strstr(head, "\r\nAPIQuota-Batch-Tenant: acme\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\nAPIQuota-Batch-Key-Id: k_1\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\nAPIQuota-Batch-Attempt: 1\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\naccept: application/json\r\n"));
    ck_assert_ptr_null(strstr(head, "secret"));
    ck_assert_ptr_null(strstr(head, "x-evil"));
    ck_assert_ptr_null(strstr(head, "Expect:"));
}
END_TEST

START_TEST(a_new_batch_starts_soon)
{
    worker_start();
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    nap(300); /* the worker is idle now */
    aq_time_ms_t began_ms = aq_clock_boot_ms();
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_lt(aq_clock_boot_ms() - began_ms, 1000); /* about 150 on an idle machine */
}
END_TEST

START_TEST(an_answer_that_says_no_fails_the_batch_and_is_kept)
{
    worker_start();
    const char *id = submit("/status/422");
    aq_batch_t *batch = wait_for(id, AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "target-status");
    ck_assert_str_eq(batch->error_detail, "the target answered 422");
    ck_assert_int_eq(batch->response_status, 422);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(spool, fixture_pool, id, batch->result_token)), "no\n");
    ck_assert_int_eq(server->requests, 1);
}
END_TEST

START_TEST(a_passing_failure_is_tried_again)
{
    worker_start();
    aq_batch_t *batch = wait_for(submit("/flaky"), AQ_BATCH_SUCCEEDED);

    ck_assert_int_eq(batch->attempt, 2);
    ck_assert_int_eq(server->requests, 2);
    ck_assert_int_eq(server->effects, 1);
}
END_TEST

static void unrepeatable(aq_batch_t *batch)
{
    batch->never_repeat = 1;
}

static void one_attempt(aq_batch_t *batch)
{
    batch->max_attempts = 1;
}

START_TEST(the_last_of_passing_failures_is_kept)
{
    worker_start();
    const char *id = submit_to("/status/503", one_attempt);
    aq_batch_t *batch = wait_for(id, AQ_BATCH_FAILED);

    ck_assert_int_eq(batch->response_status, 503);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(spool, fixture_pool, id, batch->result_token)), "no\n");
}
END_TEST

START_TEST(a_target_that_is_not_there_is_tried_again_and_told)
{
    location("/ok")->target = "http://127.0.0.1:1/";
    config_write();
    worker_start();
    aq_batch_t *batch = wait_for(submit_to("/ok", one_attempt), AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "target-unreachable");
    ck_assert_int_eq(batch->response_status, 0);
    ck_assert_int_eq(batch->result_token, 0);
}
END_TEST

/* What was sent by an earlier call of the same thread must not make a refused connection look like a lost one. */
START_TEST(a_refused_connection_had_no_effect_also_after_other_calls)
{
    config.threads = 1;
    location("/gone")->target = "http://127.0.0.1:1/";
    config_write();
    worker_start();
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    const char *id = submit_to("/gone", unrepeatable);
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    aq_batch_t *batch = wait_for(id, AQ_BATCH_QUEUED);
    ck_assert_str_eq(batch->error_code, "target-unreachable");
    ck_assert_ptr_null(strstr(batch->error_detail, "127.0.0.1"));
}
END_TEST

START_TEST(f67_what_could_do_harm_in_a_replay_is_not_kept)
{
    worker_start();
    aq_batch_t *batch = wait_for(submit("/headers"), AQ_BATCH_SUCCEEDED);

    ck_assert_str_eq(batch->response_headers, "{\"content-type\":\"text/csv\",\"x-kept\":\"one, two\"}");
}
END_TEST

START_TEST(f50_a_redirect_is_not_followed)
{
    worker_start();
    aq_batch_t *batch = wait_for(submit("/redirect"), AQ_BATCH_FAILED);

    ck_assert_int_eq(batch->response_status, 302);
    ck_assert_int_eq(server->effects, 0);
}
END_TEST

START_TEST(f50_a_target_that_trickles_is_timed_out)
{
    location("/trickle")->timeout_ms = 1500;
    config_write();
    worker_start();
    aq_batch_t *batch = wait_for(submit_to("/trickle", one_attempt), AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "target-timeout");
    ck_assert_int_eq(batch->result_token, 0);
}
END_TEST

START_TEST(f50_an_answer_without_end_is_bounded)
{
    worker_start();
    aq_batch_t *batch = wait_for(submit("/big/100000"), AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "response-too-large");
    ck_assert_int_eq(batch->attempt, 1);
}
END_TEST

START_TEST(f50_a_connection_that_is_reset_is_ambiguous)
{
    worker_start();
    aq_batch_t *batch = wait_for(submit_to("/reset", one_attempt), AQ_BATCH_FAILED);
    ck_assert_str_eq(batch->error_code, "target-lost");
    batch = wait_for(submit_to("/reset", unrepeatable), AQ_BATCH_FAILED);
    ck_assert_str_eq(batch->error_code, "outcome-unknown");
    ck_assert_int_eq(batch->attempt, 1);
}
END_TEST

START_TEST(f47_a_body_that_is_gone_or_changed_is_never_sent)
{
    const char *gone = submit("/ok"), *changed = submit("/ok");

    ck_assert_int_eq(aq_spool_body_remove(spool, fixture_pool, gone), APR_SUCCESS);
    fixture_write(aq_spool_body_path(spool, fixture_pool, changed), "id,name\n1,two\n");
    worker_start();
    ck_assert_str_eq(wait_for(gone, AQ_BATCH_FAILED)->error_code, "body-missing");
    ck_assert_str_eq(wait_for(changed, AQ_BATCH_FAILED)->error_code, "body-changed");
    ck_assert_int_eq(server->requests, 0);
}
END_TEST

/* The lease would last long; the lock of the killed worker's file tells at once. */
START_TEST(f41_a_killed_workers_job_is_done_by_the_next_with_one_effect)
{
    options.lease_ms = 600000;
    worker_start();
    const char *id = submit("/slow/1500");
    wait_for_requests(1);
    worker_kill(SIGKILL);
    ck_assert_int_eq(worker_end(), -SIGKILL);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_RUNNING);
    worker_start();
    aq_batch_t *batch = wait_for(id, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(batch->attempt, 2);
    ck_assert_int_eq(server->requests, 2);
    ck_assert_int_eq(server->effects, 1);
}
END_TEST

START_TEST(f42_a_worker_that_slept_through_its_lease_changes_nothing)
{
    worker_start();
    const char *id = submit("/slow/1500");
    pid_t sleeper = worker;
    wait_for_requests(1);
    ck_assert_int_eq(kill(sleeper, SIGSTOP), 0);
    worker_start();
    aq_batch_t *batch = wait_for(id, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(batch->attempt, 2);
    ck_assert_int_eq(kill(sleeper, SIGCONT), 0);
    nap(1500); /* time for the woken worker to do what it must not */
    aq_batch_t *after = queue_find(q, id);
    ck_assert_int_eq(after->version, batch->version);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(spool, fixture_pool, id, after->result_token)), BODY);
    ck_assert_int_eq(kill(sleeper, SIGKILL), 0);
    ck_assert_int_eq(waitpid(sleeper, NULL, 0), sleeper);
}
END_TEST

START_TEST(a_stop_lets_short_jobs_end)
{
    worker_start();
    const char *id = submit("/slow/400");
    wait_for_requests(1);
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_SUCCEEDED);
}
END_TEST

START_TEST(a_stop_hands_long_jobs_back)
{
    worker_start();
    const char *id = submit("/slow/1500"), *unknown = submit_to("/slow/1500", unrepeatable);
    wait_for_requests(2);
    options.stop_wait_ms = 500;
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    aq_batch_t *batch = queue_find(q, id);
    ck_assert_int_eq(batch->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(batch->attempt, 0);
    ck_assert_str_eq(queue_find(q, unknown)->error_code, "outcome-unknown");
    worker_start();
    ck_assert_int_eq(wait_for(id, AQ_BATCH_SUCCEEDED)->attempt, 1);
    ck_assert_int_eq(server->effects, 2);
}
END_TEST

static void cancel(const char *id, aq_batch_status_t becomes)
{
    aq_queue_now_t now = {.wall_ms = aq_clock_now_ms()};
    aq_batch_t *batch;

    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &batch), APR_SUCCESS);
    ck_assert_int_eq(batch->status, becomes);
}

START_TEST(f48_a_canceled_transfer_is_stopped_within_a_second)
{
    options.lease_ms = 30000;
    location("/slow/9000");
    config_write();
    worker_start();
    const char *id = submit("/slow/9000"), *unrepeated = submit_to("/slow/9000", unrepeatable);
    wait_for_requests(2);
    aq_time_ms_t began_ms = aq_clock_boot_ms();
    cancel(id, AQ_BATCH_CANCELING);
    cancel(unrepeated, AQ_BATCH_CANCELING);
    aq_batch_t *batch = wait_for(id, AQ_BATCH_CANCELED);
    ck_assert_int_lt(aq_clock_boot_ms() - began_ms, 2000); /* about 400, and libcurl looks once a second at worst */
    ck_assert_ptr_null(batch->error_code);
    ck_assert_int_eq(batch->result_token, 0);
    (void)wait_for(unrepeated, AQ_BATCH_CANCELED);
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(server->requests, 3);
}
END_TEST

START_TEST(f48_a_canceled_job_of_a_killed_worker_is_not_revived)
{
    worker_start();
    const char *id = submit("/slow/1500");
    wait_for_requests(1);
    worker_kill(SIGKILL);
    (void)worker_end();
    cancel(id, AQ_BATCH_CANCELING);
    cancel(id, AQ_BATCH_CANCELING);
    worker_start();
    (void)wait_for(id, AQ_BATCH_CANCELED);
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(server->requests, 2);
}
END_TEST

/* Canceled at every moment around the answer: it is one of the two, the row never changes its mind, and a result is there
 * if and only if it succeeded. */
START_TEST(f48_a_cancel_raced_by_success_has_one_outcome)
{
    worker_start();
    for (int round = 0; round < 12; round++) {
        aq_queue_now_t now = {.wall_ms = aq_clock_now_ms()};
        const char *id = submit("/slow/400");
        aq_batch_t *batch;
        wait_for_requests(round + 1);
        nap(100 + round * 40);
        apr_status_t rv = aq_queue_cancel(q, fixture_pool, id, &now, &batch);
        aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
        while (!aq_batch_is_over(queue_find(q, id)->status) && aq_clock_boot_ms() < until_ms) {
            nap(5);
        }
        batch = queue_find(q, id);
        ck_assert(batch->status == AQ_BATCH_SUCCEEDED || batch->status == AQ_BATCH_CANCELED);
        ck_assert_int_eq(batch->result_token > 0, batch->status == AQ_BATCH_SUCCEEDED);
        ck_assert(rv == APR_SUCCESS || (rv == APR_EINVAL && batch->status == AQ_BATCH_SUCCEEDED));
        ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &batch), APR_EINVAL);
    }
}
END_TEST

START_TEST(a_worker_follows_its_parent)
{
    int ends[2];
    pid_t pids[2] = {0, 0};

    ck_assert_int_eq(pipe(ends), 0);
    pid_t parent = fork();
    ck_assert_int_ge(parent, 0);
    if (parent == 0) {
        options.parent_pid = getpid();
        worker_start();
        pids[0] = worker;
        (void)!write(ends[1], pids, sizeof pids);
        (void)pause();
        _exit(0);
    }
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert_int_eq(read(ends[0], pids, sizeof pids), sizeof pids);
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(kill(parent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    /* The orphan holds the pipe's other end until it ends. */
    ck_assert_int_eq(read(ends[0], pids, 1), 0);
}
END_TEST

START_TEST(a_reload_brings_new_locations_and_keeps_the_good_ones)
{
    worker_start();
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    fixture_write(options.config_file, "{ broken");
    worker_kill(SIGHUP);
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    (void)location("/new");
    config_write();
    worker_kill(SIGHUP);
    nap(600); /* two of its ticks: it has read the file */
    (void)wait_for(submit("/new"), AQ_BATCH_SUCCEEDED);
}
END_TEST

START_TEST(a_reload_that_moves_the_queue_ends_the_worker)
{
    worker_start();
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    config.threads = 5;
    config_write();
    worker_kill(SIGHUP);
    ck_assert_int_eq(worker_end(), 0);
}
END_TEST

static void long_ago(aq_batch_t *batch)
{
    batch->created_at_ms -= INT64_C(25) * 3600 * 1000;
}

START_TEST(a_batch_whose_location_is_gone_waits_but_not_for_ever)
{
    worker_start();
    const char *waits = submit("/gone"), *waited = submit_to("/gone", long_ago);

    ck_assert_str_eq(wait_for(waited, AQ_BATCH_FAILED)->error_code, "waited-too-long");
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    aq_batch_t *batch = queue_find(q, waits);
    ck_assert_int_eq(batch->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(batch->attempt, 0);
    ck_assert_int_gt(batch->next_attempt_at_ms, batch->created_at_ms);
}
END_TEST

static void soon_over(aq_batch_t *batch)
{
    batch->retention_ms = 1;
}

START_TEST(what_has_expired_goes_with_its_files)
{
    aq_batch_t *found;

    worker_start();
    const char *id = submit_to("/ok", soon_over);
    aq_batch_t *batch = wait_for(id, AQ_BATCH_SUCCEEDED);
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    worker_start(); /* it sweeps at its start */
    (void)wait_for(submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, id, &found), APR_NOTFOUND);
    ck_assert_int_ne(access(aq_spool_body_path(spool, fixture_pool, id), F_OK), 0);
    ck_assert_int_ne(access(aq_spool_result_path(spool, fixture_pool, id, batch->result_token), F_OK), 0);
}
END_TEST

START_TEST(many_batches_are_each_done_once)
{
    const char *ids[40];

    for (int i = 0; i < 40; i++) {
        ids[i] = submit("/ok");
    }
    worker_start();
    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(wait_for(ids[i], AQ_BATCH_SUCCEEDED)->attempt, 1);
    }
    ck_assert_int_eq(server->requests, 40);
    ck_assert_int_eq(server->effects, 40);
}
END_TEST

START_TEST(it_does_not_start_without_a_configuration)
{
    ck_assert_int_eq(unlink(options.config_file), 0);
    worker_start();
    ck_assert_int_eq(worker_end(), 1);
    fixture_write(options.config_file, "{}");
    worker_start();
    ck_assert_int_eq(worker_end(), 1);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_batch_is_sent_as_the_client_would_have_and_its_answer_kept);
    tcase_add_test(tests, a_new_batch_starts_soon);
    tcase_add_test(tests, an_answer_that_says_no_fails_the_batch_and_is_kept);
    tcase_add_test(tests, a_passing_failure_is_tried_again);
    tcase_add_test(tests, the_last_of_passing_failures_is_kept);
    tcase_add_test(tests, a_target_that_is_not_there_is_tried_again_and_told);
    tcase_add_test(tests, a_refused_connection_had_no_effect_also_after_other_calls);
    tcase_add_test(tests, f67_what_could_do_harm_in_a_replay_is_not_kept);
    tcase_add_test(tests, f50_a_redirect_is_not_followed);
    tcase_add_test(tests, f50_a_target_that_trickles_is_timed_out);
    tcase_add_test(tests, f50_an_answer_without_end_is_bounded);
    tcase_add_test(tests, f50_a_connection_that_is_reset_is_ambiguous);
    tcase_add_test(tests, f47_a_body_that_is_gone_or_changed_is_never_sent);
    tcase_add_test(tests, f41_a_killed_workers_job_is_done_by_the_next_with_one_effect);
    tcase_add_test(tests, f42_a_worker_that_slept_through_its_lease_changes_nothing);
    tcase_add_test(tests, a_stop_lets_short_jobs_end);
    tcase_add_test(tests, a_stop_hands_long_jobs_back);
    tcase_add_test(tests, f48_a_canceled_transfer_is_stopped_within_a_second);
    tcase_add_test(tests, f48_a_canceled_job_of_a_killed_worker_is_not_revived);
    tcase_add_test(tests, f48_a_cancel_raced_by_success_has_one_outcome);
    tcase_add_test(tests, a_worker_follows_its_parent);
    tcase_add_test(tests, a_reload_brings_new_locations_and_keeps_the_good_ones);
    tcase_add_test(tests, a_reload_that_moves_the_queue_ends_the_worker);
    tcase_add_test(tests, a_batch_whose_location_is_gone_waits_but_not_for_ever);
    tcase_add_test(tests, what_has_expired_goes_with_its_files);
    tcase_add_test(tests, many_batches_are_each_done_once);
    tcase_add_test(tests, it_does_not_start_without_a_configuration);
}

int main(void)
{
    return fixture_run("worker", add_tests);
}
