/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases and presence: when a job in hand is told to stop, and how a dead worker is told from a living one.
 */
#include "worker/leases.h"

#include "contract/queue_fixture.h"
#include "worker/presence.h"

#include <apr_strings.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PERIOD_MS 5000

static aq_leases_t leases;
static aq_queue_t *q;

static void setup(void)
{
    q = queue_open(queue_path_new());
    ck_assert_int_eq(aq_leases_init(&leases), APR_SUCCESS);
}

static void teardown(void)
{
    aq_queue_close(q);
}

static void hold(aq_held_job_t *held, const char *worker, int n)
{
    (void)queue_submit(q, "acme", n);
    aq_job_t job = queue_claim(q, worker, queue_at(0));
    aq_leases_add(&leases, held, &job, queue_at(0).boot_ms + LEASE_MS);
}

static void renew(int64_t ms, apr_status_t wanted)
{
    aq_queue_now_t now = queue_at(ms);

    ck_assert_int_eq(aq_leases_renew(&leases, q, "w", &now, LEASE_MS, PERIOD_MS), wanted);
}

static unsigned recover(int64_t ms)
{
    aq_queue_now_t now = queue_at(ms);
    unsigned recovered, failed;

    ck_assert_int_eq(aq_queue_recover(q, &now, NULL, &recovered, &failed), APR_SUCCESS);
    return recovered;
}

START_TEST(jobs_in_hand_keep_their_leases)
{
    aq_held_job_t first, second;

    hold(&first, "w", 1);
    hold(&second, "w", 2);
    renew(LEASE_MS - 1, APR_SUCCESS);
    ck_assert_uint_eq(recover(2 * LEASE_MS - 2), 0);
    aq_leases_remove(&leases, &second);
    renew(2 * LEASE_MS - 2, APR_SUCCESS); /* one statement for all of the worker: the other is renewed too */
    ck_assert_int_eq(first.stop, AQ_GO_ON);
    aq_leases_remove(&leases, &first);
    renew(3 * LEASE_MS, APR_SUCCESS); /* nothing in hand: the queue is not asked */
    ck_assert_uint_eq(recover(4 * LEASE_MS), 2);
}
END_TEST

START_TEST(a_job_that_was_lost_is_stopped_and_the_others_go_on)
{
    aq_held_job_t lost, kept;

    fixture_log_keep();
    hold(&lost, "w", 1);
    ck_assert_uint_eq(recover(LEASE_MS), 1);
    hold(&kept, "w", 2);
    renew(LEASE_MS + 1, APR_SUCCESS);
    ck_assert_int_eq(lost.stop, AQ_STOP_LOST);
    ck_assert_int_eq(kept.stop, AQ_GO_ON);
    ck_assert_int_eq(fixture_log_count(620), 1);
}
END_TEST

/* The same worker has claimed the job anew, under another token: the old attempt is still lost. */
START_TEST(a_job_that_came_back_under_another_token_is_another)
{
    aq_held_job_t lost, again;

    fixture_log_keep();
    hold(&lost, "w", 1);
    ck_assert_uint_eq(recover(LEASE_MS), 1);
    aq_job_t job = queue_claim(q, "w", queue_at(LEASE_MS));
    aq_leases_add(&leases, &again, &job, queue_at(2 * LEASE_MS).boot_ms);
    renew(LEASE_MS + 1, APR_SUCCESS);
    ck_assert_int_eq(lost.stop, AQ_STOP_LOST);
    ck_assert_int_eq(again.stop, AQ_GO_ON);
}
END_TEST

static apr_status_t busy(aq_queue_t *queue, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                         apr_array_header_t **held)
{
    (void)queue;
    (void)p;
    (void)worker;
    (void)now;
    (void)lease_ms;
    *held = NULL;
    return APR_EBUSY;
}

START_TEST(a_queue_out_of_reach_stops_jobs_before_their_leases_end)
{
    static const aq_queue_ops_t ops = {.renew = busy};
    aq_queue_t unreachable = {.ops = &ops}, *reachable = q;
    aq_held_job_t held;

    fixture_log_keep();
    hold(&held, "w", 1);
    q = &unreachable;
    renew(LEASE_MS - PERIOD_MS - 1, APR_EBUSY);
    ck_assert_int_eq(held.stop, AQ_GO_ON);
    renew(LEASE_MS - PERIOD_MS, APR_EBUSY);
    ck_assert_int_eq(held.stop, AQ_STOP_LOST);
    ck_assert_int_eq(fixture_log_count(621), 1);
    q = reachable;
}
END_TEST

START_TEST(a_stop_never_becomes_weaker)
{
    aq_held_job_t held;

    hold(&held, "w", 1);
    aq_leases_stop(&leases, AQ_STOP_ASKED);
    ck_assert_int_eq(held.stop, AQ_STOP_ASKED);
    aq_leases_stop(&leases, AQ_STOP_LOST);
    aq_leases_stop(&leases, AQ_STOP_ASKED);
    ck_assert_int_eq(held.stop, AQ_STOP_LOST);
}
END_TEST

START_TEST(waiting_ends_with_the_worker)
{
    ck_assert_int_eq(aq_leases_wait(&leases, 10), 1);
    aq_leases_end(&leases);
    ck_assert_int_eq(aq_leases_wait(&leases, 600000), 0);
}
END_TEST

static int dead_count;
static int dead_verdict;

static int count_dead(void *data, const char *name)
{
    dead_count += strcmp(name, data) == 0;
    return dead_verdict;
}

/* A worker that is there until it is killed; its name. */
static pid_t other_start(const char *queue_file, char name[64])
{
    aq_presence_t other;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fixture_fork();
    if (child == 0) {
        if (aq_presence_begin(&other, fixture_pool, queue_file, 7) == APR_SUCCESS &&
            write(ends[1], other.name, 64) == 64) {
            (void)pause();
        }
        _exit(1);
    }
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert_int_eq(read(ends[0], name, 64), 64);
    ck_assert_int_eq(close(ends[0]), 0);
    return child;
}

static int scan(const aq_presence_t *presence, char *name)
{
    dead_count = 0;
    ck_assert_int_eq(aq_presence_scan(presence, fixture_pool, count_dead, name), APR_SUCCESS);
    return dead_count;
}

START_TEST(a_dead_worker_is_told_from_a_living_one)
{
    const char *queue_file = queue_path_new();
    aq_presence_t ours;
    char name[64];

    ck_assert_int_eq(aq_presence_begin(&ours, fixture_pool, queue_file, 7), APR_SUCCESS);
    pid_t other = other_start(queue_file, name);
    ck_assert_str_ne(name, ours.name);
    ck_assert_int_eq(scan(&ours, name), 0);
    ck_assert_int_eq(kill(other, SIGSTOP), 0); /* it hangs: that is not dead */
    ck_assert_int_eq(scan(&ours, name), 0);
    ck_assert_int_eq(kill(other, SIGKILL), 0);
    ck_assert_int_eq(waitpid(other, NULL, 0), other);
    dead_verdict = 0; /* its jobs could not be recovered: it is looked at again */
    ck_assert_int_eq(scan(&ours, name), 1);
    dead_verdict = 1;
    ck_assert_int_eq(scan(&ours, name), 1);
    ck_assert_int_eq(scan(&ours, name), 0);
    ck_assert_int_eq(access(ours.path, F_OK), 0);
    aq_presence_end(&ours);
    ck_assert_int_ne(access(ours.path, F_OK), 0);
}
END_TEST

/* Its own lock is held through scans: fcntl would drop it were the file opened and closed a second time. */
START_TEST(a_scan_does_not_free_ones_own_lock)
{
    const char *queue_file = queue_path_new();
    aq_presence_t ours;

    ck_assert_int_eq(aq_presence_begin(&ours, fixture_pool, queue_file, 7), APR_SUCCESS);
    dead_verdict = 1;
    (void)scan(&ours, ours.name);
    pid_t other = fixture_fork();
    if (other == 0) {
        aq_presence_t theirs = ours;
        apr_cpystrn(theirs.name, "another", sizeof theirs.name);
        _exit(scan(&theirs, ours.name));
    }
    int status = -1;
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(status, 0);
    aq_presence_end(&ours);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, jobs_in_hand_keep_their_leases);
    tcase_add_test(tests, a_job_that_was_lost_is_stopped_and_the_others_go_on);
    tcase_add_test(tests, a_job_that_came_back_under_another_token_is_another);
    tcase_add_test(tests, a_queue_out_of_reach_stops_jobs_before_their_leases_end);
    tcase_add_test(tests, a_stop_never_becomes_weaker);
    tcase_add_test(tests, waiting_ends_with_the_worker);
    tcase_add_test(tests, a_dead_worker_is_told_from_a_living_one);
    tcase_add_test(tests, a_scan_does_not_free_ones_own_lock);
}

int main(void)
{
    return fixture_run("leases", add_tests);
}
