/* SPDX-License-Identifier: Apache-2.0 */
/* The worker, whole, in a process of its own: killed, stopped, frozen, told to cancel, given another configuration. */
#include "base/aq_clock.h"
#include "base/aq_file.h"
#include "unit/worker/worker_fixture.h"
#include "worker/janitor.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The lease would last long; the lock of the killed worker's file tells at once. */
START_TEST(f41_a_killed_workers_job_is_done_by_the_next_with_one_effect)
{
    world.options.lease_ms = 600000;
    worker_start();
    const char *id = world_submit("/held");
    world_wait_for_requests(1);
    worker_kill(SIGKILL);
    ck_assert_int_eq(worker_end(), -SIGKILL);
    ck_assert_int_eq(queue_find(world.queue, id)->status, AQ_BATCH_RUNNING);
    atomic_store(&world.server->go_on, 1);
    worker_start();
    aq_batch_t *batch = world_wait_for(id, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(batch->attempt, 2);
    ck_assert_int_eq(world.server->requests, 2);
    ck_assert_int_eq(world.server->effects, 1);
}
END_TEST

/* Stops a worker where it does not hold the queue's lock, without which nobody else could go on. */
static void put_to_sleep(pid_t worker)
{
    const char *lock = apr_pstrcat(fixture_pool, world.config.queue_file, ".lock", NULL);
    apr_status_t rv = APR_EBUSY;
    int status;

    for (int i = 0; i < 1000 && rv != APR_SUCCESS; i++) {
        int fd;
        ck_assert_int_eq(kill(worker, SIGSTOP), 0);
        ck_assert_int_eq(waitpid(worker, &status, WUNTRACED), worker);
        ck_assert_int_eq(aq_file_open(lock, O_RDWR, 0, &fd), APR_SUCCESS);
        rv = aq_file_lock(fd, 0);
        ck_assert_int_eq(close(fd), 0);
        if (rv != APR_SUCCESS) {
            ck_assert_int_eq(kill(worker, SIGCONT), 0);
            world_nap(5);
        }
    }
    ck_assert_int_eq(rv, APR_SUCCESS);
}

START_TEST(f42_a_worker_that_slept_through_its_lease_changes_nothing)
{
    world.options.lease_ms = 3000;
    worker_start();
    const char *id = world_submit("/held");
    pid_t sleeper = world.worker;
    world_wait_for_requests(1);
    put_to_sleep(sleeper);
    atomic_store(&world.server->go_on, 1);
    worker_start();
    aq_batch_t *batch = world_wait_for(id, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(batch->attempt, 2);
    ck_assert_int_eq(kill(sleeper, SIGCONT), 0);
    world_nap(1500); /* time for the woken worker to do what it must not */
    aq_batch_t *after = queue_find(world.queue, id);
    ck_assert_int_eq(after->version, batch->version);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(world.spool, fixture_pool, id, after->result_token)),
                     WORLD_BODY);
    ck_assert_int_eq(kill(sleeper, SIGKILL), 0);
    ck_assert_int_eq(waitpid(sleeper, NULL, 0), sleeper);
}
END_TEST

START_TEST(a_stop_lets_short_jobs_end)
{
    world.options.stop_wait_ms = PATIENCE_MS;
    worker_start();
    const char *id = world_submit("/slow/400");
    world_wait_for_requests(1);
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    ck_assert_int_eq(queue_find(world.queue, id)->status, AQ_BATCH_SUCCEEDED);
}
END_TEST

START_TEST(a_stop_hands_long_jobs_back)
{
    worker_start();
    const char *id = world_submit("/held"), *unknown = world_submit_to("/held", unrepeatable);
    world_wait_for_requests(2);
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    aq_batch_t *batch = queue_find(world.queue, id);
    ck_assert_int_eq(batch->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(batch->attempt, 0);
    ck_assert_str_eq(queue_find(world.queue, unknown)->error_code, "outcome-unknown");
    atomic_store(&world.server->go_on, 1);
    worker_start();
    ck_assert_int_eq(world_wait_for(id, AQ_BATCH_SUCCEEDED)->attempt, 1);
    world_wait_for_effects(2);
}
END_TEST

static void cancel(const char *id, aq_batch_status_t becomes)
{
    aq_queue_now_t now = {.wall_ms = aq_clock_now_ms()};
    aq_batch_t *batch;

    ck_assert_int_eq(aq_queue_cancel(world.queue, fixture_pool, id, &now, &batch), APR_SUCCESS);
    ck_assert_int_eq(batch->status, becomes);
}

/* Seen once in some: a busy machine may take any time. */
START_TEST(f48_a_canceled_transfer_is_stopped_within_a_second)
{
    int64_t took_ms = INT64_MAX;
    int requests = 0;

    world_location("/held")->timeout_ms = 60000;
    world_config_write();
    worker_start();
    for (int i = 0; i < 10 && took_ms >= 2000; i++) {
        const char *id = world_submit("/held"), *unrepeated = world_submit_to("/held", unrepeatable);
        requests += 2;
        world_wait_for_requests(requests);
        aq_time_ms_t began_ms = aq_clock_boot_ms();
        cancel(id, AQ_BATCH_CANCELING);
        cancel(unrepeated, AQ_BATCH_CANCELING);
        aq_batch_t *batch = world_wait_for(id, AQ_BATCH_CANCELED);
        took_ms = aq_clock_boot_ms() - began_ms;
        ck_assert_ptr_null(batch->error_code);
        ck_assert_int_eq(batch->result_token, 0);
        (void)world_wait_for(unrepeated, AQ_BATCH_CANCELED);
    }
    ck_assert_int_lt(took_ms, 2000); /* about 400, and libcurl looks once a second at worst */
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(world.server->requests, requests + 1);
}
END_TEST

START_TEST(f48_a_canceled_job_of_a_killed_worker_is_not_revived)
{
    worker_start();
    const char *id = world_submit("/held");
    world_wait_for_requests(1);
    worker_kill(SIGKILL);
    (void)worker_end();
    cancel(id, AQ_BATCH_CANCELING);
    cancel(id, AQ_BATCH_CANCELING);
    worker_start();
    (void)world_wait_for(id, AQ_BATCH_CANCELED);
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(world.server->requests, 2);
}
END_TEST

/* Canceled at every moment around the answer: it is one of the two, the row never changes its mind, and a result is there
 * if and only if it succeeded. */
START_TEST(f48_a_cancel_raced_by_success_has_one_outcome)
{
    worker_start();
    for (int round = 0; round < 12; round++) {
        aq_queue_now_t now = {.wall_ms = aq_clock_now_ms()};
        const char *id = world_submit("/slow/400");
        aq_batch_t *batch;
        world_wait_for_requests(round + 1);
        world_nap(100 + round * 40);
        apr_status_t rv = aq_queue_cancel(world.queue, fixture_pool, id, &now, &batch);
        aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
        while (!aq_batch_is_over(queue_find(world.queue, id)->status) && aq_clock_boot_ms() < until_ms) {
            world_nap(5);
        }
        batch = queue_find(world.queue, id);
        ck_assert(batch->status == AQ_BATCH_SUCCEEDED || batch->status == AQ_BATCH_CANCELED);
        ck_assert_int_eq(batch->result_token > 0, batch->status == AQ_BATCH_SUCCEEDED);
        ck_assert(rv == APR_SUCCESS || (rv == APR_EINVAL && batch->status == AQ_BATCH_SUCCEEDED));
        ck_assert_int_eq(aq_queue_cancel(world.queue, fixture_pool, id, &now, &batch), APR_EINVAL);
    }
}
END_TEST

START_TEST(a_worker_follows_its_parent)
{
    int ends[2];
    pid_t pids[2] = {0, 0};

    ck_assert_int_eq(pipe(ends), 0);
    pid_t parent = fixture_fork();
    if (parent == 0) {
        world.options.parent_pid = getpid();
        worker_start();
        pids[0] = world.worker;
        (void)!write(ends[1], pids, sizeof pids);
        (void)pause();
        _exit(0);
    }
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert_int_eq(read(ends[0], pids, sizeof pids), sizeof pids);
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(kill(parent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    /* The orphan holds the pipe's other end until it ends. */
    ck_assert_int_eq(read(ends[0], pids, 1), 0);
}
END_TEST

START_TEST(a_reload_brings_new_locations_and_keeps_the_good_ones)
{
    worker_start();
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    fixture_write(world.options.config_file, "{ broken");
    worker_kill(SIGHUP);
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    (void)world_location("/new");
    world_config_write();
    worker_kill(SIGHUP);
    /* One that comes before it has read the file waits for its location for long. */
    aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
    aq_batch_t *batch;
    do {
        const char *id = world_submit("/new");
        do {
            world_nap(10);
            batch = queue_find(world.queue, id);
        } while (batch->status != AQ_BATCH_SUCCEEDED && batch->next_attempt_at_ms == 0 &&
                 aq_clock_boot_ms() < until_ms);
    } while (batch->status != AQ_BATCH_SUCCEEDED && aq_clock_boot_ms() < until_ms);
    ck_assert_int_eq(batch->status, AQ_BATCH_SUCCEEDED);
}
END_TEST

START_TEST(a_reload_that_moves_the_queue_ends_the_worker)
{
    worker_start();
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    world.config.threads = 5;
    world_config_write();
    worker_kill(SIGHUP);
    ck_assert_int_eq(worker_end(), 0);
}
END_TEST

/* ---- a spool that is not mounted --------------------------------------------------------------------------------- */

static void spool_folder_move(const char *name, int is_away)
{
    const char *there = apr_pstrcat(fixture_pool, world.config.spool_folder, "/", name, NULL);
    const char *away = apr_pstrcat(fixture_pool, there, ".away", NULL);

    ck_assert_int_eq(is_away ? rename(there, away) : rename(away, there), 0);
}

START_TEST(a_batch_waits_for_a_spool_that_is_not_there)
{
    aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
    aq_batch_t *batch;

    worker_start();
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    worker_kill(SIGSTOP);
    const char *id = world_submit_to("/ok", one_attempt);
    spool_folder_move("body", 1);
    worker_kill(SIGCONT);
    do {
        world_nap(10);
        batch = queue_find(world.queue, id);
    } while (batch->next_attempt_at_ms == 0 && !aq_batch_is_over(batch->status) && aq_clock_boot_ms() < until_ms);
    spool_folder_move("body", 0);
    ck_assert_int_eq(batch->status, AQ_BATCH_QUEUED);
    ck_assert_int_gt(batch->next_attempt_at_ms, batch->created_at_ms);
    ck_assert_int_eq(batch->attempt, 0);
    ck_assert_int_eq(world.server->requests, 1);
}
END_TEST

START_TEST(no_result_is_taken_for_lost_while_the_spool_is_not_there)
{
    aq_worker_t janitor = {.pool = fixture_pool, .queue = world.queue, .spool = world.spool};

    worker_start();
    const char *id = world_submit("/ok");
    (void)world_wait_for(id, AQ_BATCH_SUCCEEDED);
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    spool_folder_move("result", 1);
    aq_janitor_sweep(&janitor, 0);
    spool_folder_move("result", 0);
    ck_assert_int_ne(queue_find(world.queue, id)->result_token, 0);
    ck_assert_int_eq(
        unlink(aq_spool_result_path(world.spool, fixture_pool, id, queue_find(world.queue, id)->result_token)), 0);
    aq_janitor_sweep(&janitor, 0);
    ck_assert_int_eq(queue_find(world.queue, id)->result_token, 0);
}
END_TEST

START_TEST(leases_end_also_where_no_workers_file_can_be_looked_at)
{
    aq_worker_t janitor = {.pool = fixture_pool,
                           .queue = world.queue,
                           .spool = world.spool,
                           .presence = {.folder = "/nowhere/", .prefix = "queue.db.worker-"}};
    const char *id = world_submit("/ok");

    (void)queue_claim(world.queue, "of another boot", queue_at(0));
    fixture_log_keep();
    for (int i = 0; i < 3; i++) {
        aq_janitor_recover(&janitor);
    }
    ck_assert_int_eq(queue_find(world.queue, id)->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(fixture_log_count(632), 1);
}
END_TEST

/* A file that a crash left, which whoever opens it waits for (up to 45 seconds), as on a disk that stands still. */
static int orphan_hold(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert(signal(SIGIO, SIG_IGN) != SIG_ERR); /* which tells the holder of a lease that somebody waits */
    ck_assert_int_eq(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    return fd;
}

static void wait_for_sweep_at(int fd)
{
    for (aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
         fcntl(fd, F_GETLEASE) == F_WRLCK && aq_clock_boot_ms() < until_ms;) {
        world_nap(10);
    }
    ck_assert_int_ne(fcntl(fd, F_GETLEASE), F_WRLCK);
}

static void overdue(aq_batch_t *batch)
{
    batch->next_attempt_at_ms = batch->created_at_ms + 3600000;
    batch->start_by_ms = batch->created_at_ms;
}

START_TEST(a_sweep_that_stands_still_holds_up_neither_recovery_nor_a_stop)
{
    const char *orphan = apr_pstrcat(fixture_pool, world.config.spool_folder, "/incoming/0.part", NULL);
    int fd = orphan_hold(orphan);

    worker_start();
    wait_for_sweep_at(fd);
    const aq_batch_t *batch = world_wait_for(world_submit_to("/ok", overdue), AQ_BATCH_FAILED);
    ck_assert_str_eq(batch->error_code, "waited-too-long");
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    ck_assert_int_eq(access(orphan, F_OK), 0); /* so the sweep had not gone on when it ended */
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

/* More than the queue is asked for at a time, and no batch goes with them. */
#define MESSAGES 101

START_TEST(a_sweep_leaves_no_message_that_is_past_its_time)
{
    aq_worker_t janitor = {.pool = fixture_pool, .queue = world.queue, .spool = world.spool};
    aq_webhook_query_t all = {.state = -1, .limit = MESSAGES};
    aq_delivery_result_t result = {.outcome = {.state = AQ_WEBHOOK_DELIVERED}};
    aq_queue_now_t now = queue_at(0);
    apr_array_header_t *left;

    for (int n = 0; n < MESSAGES; n++) {
        const char *id = apr_psprintf(fixture_pool, "msg_%d", n);
        aq_delivery_t delivery;
        ck_assert_int_eq(aq_queue_webhook_test(world.queue, id, "acme", &now), APR_SUCCESS);
        ck_assert_int_eq(aq_queue_webhook_claim(world.queue, fixture_pool, "w", &now, LEASE_MS, 1, &delivery),
                         APR_SUCCESS);
        ck_assert_int_eq(aq_queue_webhook_finish(world.queue, id, delivery.token, &now, &result), APR_SUCCESS);
    }
    aq_janitor_sweep(&janitor, 0);
    ck_assert_int_eq(aq_queue_webhook_list(world.queue, fixture_pool, &all, &left), APR_SUCCESS);
    ck_assert_int_eq(left->nelts, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, world_setup, world_teardown);
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
    tcase_add_test(tests, a_batch_waits_for_a_spool_that_is_not_there);
    tcase_add_test(tests, no_result_is_taken_for_lost_while_the_spool_is_not_there);
    tcase_add_test(tests, leases_end_also_where_no_workers_file_can_be_looked_at);
    tcase_add_test(tests, a_sweep_that_stands_still_holds_up_neither_recovery_nor_a_stop);
    tcase_add_test(tests, a_sweep_leaves_no_message_that_is_past_its_time);
}

int main(void)
{
    return fixture_run("life of a worker", add_tests);
}
