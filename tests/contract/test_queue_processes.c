/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every queue promises to many at once: each job has one owner, and no acknowledged batch is lost, whoever is killed.
 */
#include "contract/queue_fixture.h"

#include "base/aq_clock.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 6
#define JOBS 120
#define KILLS 25

/* Seen by all processes. A job's number is in its batch's created_at. */
typedef struct {
    _Atomic int owners[JOBS];   /* claims whose attempt is the first */
    _Atomic int finished[JOBS]; /* finishes that the queue acknowledged */
    _Atomic int submitted[JOBS];
    _Atomic int failures;
} board_t;

static const char *path;
static board_t *board;

static void setup(void)
{
    path = queue_path_new();
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(board != MAP_FAILED);
    memset(board, 0, sizeof(*board));
}

static int number_of(const aq_batch_t *batch)
{
    return (int)(batch->created_at_ms - queue_batch("t", 0).created_at_ms);
}

static pid_t spawn(void (*body)(int number), int number)
{
    pid_t child = fixture_fork();

    if (child == 0) {
        body(number);
        _exit(0);
    }
    return child;
}

static void nap(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void reap(pid_t child)
{
    int status;

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with %d", status);
}

/* Claims and finishes until nothing is due. */
static void claim_all(int number)
{
    const char *worker = apr_psprintf(fixture_pool, "w%d", number);
    aq_queue_t *q = queue_open(path);
    aq_queue_now_t now = queue_at(JOBS);
    aq_job_t job;
    apr_status_t rv;

    while ((rv = aq_queue_claim(q, fixture_pool, worker, &now, LEASE_MS, NULL, &job)) == APR_SUCCESS) {
        atomic_fetch_add(&board->owners[number_of(job.batch)], 1);
        if (aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE) == APR_SUCCESS) {
            atomic_fetch_add(&board->finished[number_of(job.batch)], 1);
        }
    }
    if (rv != APR_NOTFOUND) {
        atomic_fetch_add(&board->failures, 1);
    }
    aq_queue_close(q);
}

START_TEST(f49_each_job_has_one_owner)
{
    pid_t children[PROCESSES];
    aq_queue_t *q = queue_open(path);

    for (int n = 0; n < JOBS; n++) {
        (void)queue_submit(q, n % 3 == 0 ? "a" : n % 3 == 1 ? "b" : "c", n);
    }
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = spawn(claim_all, i);
    }
    for (int i = 0; i < PROCESSES; i++) {
        reap(children[i]);
    }
    ck_assert_int_eq(board->failures, 0);
    for (int n = 0; n < JOBS; n++) {
        ck_assert_msg(board->owners[n] == 1, "job %d had %d owners", n, board->owners[n]);
        ck_assert_int_eq(board->finished[n], 1);
    }
    aq_queue_close(q);
}
END_TEST

static void *APR_THREAD_FUNC claim_in_thread(apr_thread_t *thread, void *data)
{
    aq_queue_t *q = data;
    aq_queue_now_t now = queue_at(JOBS);
    aq_batch_t *found;
    apr_pool_t *pool = apr_thread_pool_get(thread);
    aq_job_t job;

    while (aq_queue_claim(q, pool, "threads", &now, LEASE_MS, NULL, &job) == APR_SUCCESS) {
        atomic_fetch_add(&board->owners[number_of(job.batch)], 1);
        if (aq_queue_find(q, pool, job.batch->id, &found) == APR_SUCCESS && found->status == AQ_BATCH_RUNNING &&
            aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE) == APR_SUCCESS) {
            atomic_fetch_add(&board->finished[number_of(job.batch)], 1);
        }
    }
    return NULL;
}

START_TEST(threads_of_one_process_share_a_queue)
{
    apr_thread_t *threads[PROCESSES];
    aq_queue_t *q = queue_open(path);
    apr_status_t ended;

    for (int n = 0; n < JOBS; n++) {
        (void)queue_submit(q, "a", n);
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert_int_eq(apr_thread_create(&threads[i], NULL, claim_in_thread, q, fixture_pool), APR_SUCCESS);
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert_int_eq(apr_thread_join(&ended, threads[i]), APR_SUCCESS);
    }
    for (int n = 0; n < JOBS; n++) {
        ck_assert_int_eq(board->owners[n], 1);
        ck_assert_int_eq(board->finished[n], 1);
    }
    aq_queue_close(q);
}
END_TEST

/* Submits its share, noting each that was acknowledged, until it is killed or done. */
static void submit_share(int number)
{
    aq_queue_t *q = queue_open_or_exit(path);

    for (int n = number; n < JOBS; n += PROCESSES) {
        aq_batch_t batch = queue_batch("t", n);
        if (board->submitted[n] == 0 && aq_queue_submit(q, &batch, NULL, fixture_pool) == APR_SUCCESS) {
            board->submitted[n] = 1;
        }
    }
    _exit(0);
}

/* Recovers and runs what it gets, for ever; boot time goes on so that leases of the killed end. */
static void work(int number)
{
    const char *worker = apr_psprintf(fixture_pool, "w%ld-%d", (long)getpid(), number);
    aq_queue_t *q = queue_open_or_exit(path);
    unsigned recovered, failed;
    aq_job_t job;

    for (;;) {
        aq_queue_now_t now = {.wall_ms = aq_clock_now_ms(), .boot_ms = aq_clock_boot_ms(), .boot_id = "b"};
        if (aq_queue_recover(q, &now, NULL, &recovered, &failed) != APR_SUCCESS) {
            atomic_fetch_add(&board->failures, 1);
        }
        apr_status_t rv = aq_queue_claim(q, fixture_pool, worker, &now, 200, NULL, &job);
        if (rv == APR_SUCCESS && aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE) == APR_SUCCESS) {
            atomic_fetch_add(&board->finished[number_of(job.batch)], 1);
        } else if (rv == APR_NOTFOUND) {
            nap(5);
        }
    }
}

static void kill_and_reap(pid_t child)
{
    int status;

    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "a child ended with %d", status);
}

static int64_t count_of(aq_queue_t *q, aq_batch_status_t status)
{
    aq_queue_counts_t counts;

    ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), APR_SUCCESS);
    return counts.by_status[status];
}

/* Submitters and workers are killed at random; in the end each acknowledged batch has been finished exactly once. */
START_TEST(f41_no_acknowledged_batch_is_lost_when_anyone_is_killed)
{
    pid_t submitters[PROCESSES], workers[2];
    unsigned seed = 7;

    for (int i = 0; i < 2; i++) {
        workers[i] = spawn(work, i);
    }
    for (int i = 0; i < PROCESSES; i++) {
        submitters[i] = spawn(submit_share, i);
    }
    for (int i = 0; i < KILLS; i++) {
        nap(rand_r(&seed) % 40);
        int worker = i % 2, submitter = i % PROCESSES;
        kill_and_reap(workers[worker]);
        workers[worker] = spawn(work, worker);
        kill_and_reap(submitters[submitter]);
        submitters[submitter] = spawn(submit_share, submitter);
    }
    for (int i = 0; i < PROCESSES; i++) {
        reap(submitters[i]);
    }
    aq_queue_t *q = queue_open(path);
    for (int waited = 0; waited < 3000 && count_of(q, AQ_BATCH_QUEUED) + count_of(q, AQ_BATCH_RUNNING) > 0; waited++) {
        nap(10);
    }
    for (int i = 0; i < 2; i++) {
        kill_and_reap(workers[i]);
    }
    ck_assert_int_eq(board->failures, 0);
    for (int n = 0; n < JOBS; n++) {
        aq_batch_t batch = queue_batch("t", n), *found;
        apr_status_t rv = aq_queue_find(q, fixture_pool, batch.id, &found);
        ck_assert_msg(rv == APR_SUCCESS || !board->submitted[n], "batch %d was acknowledged and is lost", n);
        ck_assert_msg(rv != APR_SUCCESS || aq_batch_is_over(found->status), "batch %d never ended", n);
        ck_assert_int_le(board->finished[n], 1); /* 0: its worker was killed between the end and the note */
    }
    aq_queue_close(q);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, f49_each_job_has_one_owner);
    tcase_add_test(tests, threads_of_one_process_share_a_queue);
    tcase_add_test(tests, f41_no_acknowledged_batch_is_lost_when_anyone_is_killed);
}

int main(void)
{
    return queue_fixture_run("queue_processes", add_tests);
}
