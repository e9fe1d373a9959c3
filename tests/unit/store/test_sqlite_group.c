/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: changes that share a transaction end each for itself, and each in its time.
 */
#include "contract/queue_fixture.h"

#include "base/aq_clock.h"
#include "base/aq_file.h"
#include "store/sqlite_queue.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS 40
#define WAIT_MS 400

static aq_queue_t *q;
static const char *path;
static pthread_barrier_t together;
static _Atomic int wrong, late;

static void setup(void)
{
    path = queue_path_new();
    q = queue_open(path);
    wrong = 0;
}

static void in_threads(void *(*run)(void *number))
{
    pthread_t threads[THREADS];

    ck_assert_int_eq(pthread_barrier_init(&together, NULL, THREADS), 0);
    for (intptr_t n = 0; n < THREADS; n++) {
        ck_assert_int_eq(pthread_create(&threads[n], NULL, run, (void *)n), 0);
    }
    for (int n = 0; n < THREADS; n++) {
        ck_assert_int_eq(pthread_join(threads[n], NULL), 0);
    }
    (void)pthread_barrier_destroy(&together);
}

/* Even threads submit what is new, odd ones what is there already. */
static void *submit_both(void *number)
{
    int n = (int)(intptr_t)number;

    for (int round = 0; round < ROUNDS; round++) {
        aq_batch_t batch = queue_batch("acme", n % 2 == 0 ? 1000 + round * THREADS + n : 1);
        apr_status_t wanted = n % 2 == 0 ? APR_SUCCESS : APR_EEXIST;
        (void)pthread_barrier_wait(&together);
        wrong += aq_queue_submit(q, &batch, NULL, NULL) != wanted;
    }
    return NULL;
}

START_TEST(a_change_that_fails_takes_back_its_own_and_no_others)
{
    aq_queue_counts_t counts;

    (void)queue_submit(q, "acme", 1);
    in_threads(submit_both);
    ck_assert_int_eq(wrong, 0);
    for (int n = 0; n < ROUNDS * THREADS; n++) {
        if (n % THREADS % 2 == 0) {
            (void)queue_find(q, queue_batch("acme", 1000 + n).id);
        }
    }
    ck_assert_int_eq(aq_queue_counts(q, "acme", &counts), APR_SUCCESS);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_QUEUED], 1 + ROUNDS * THREADS / 2);
    aq_queue_close(q);
}
END_TEST

/* Claims, and ends the job by its token, after one try with another. */
static void *claim_and_finish(void *number)
{
    const char *worker = (intptr_t)number % 2 == 0 ? "even" : "odd";
    aq_queue_now_t now = queue_at(1000);
    apr_pool_t *pool;
    aq_job_t job;

    if (apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        wrong++;
        return NULL;
    }
    (void)pthread_barrier_wait(&together);
    for (int round = 0; round < ROUNDS; round++) {
        if (aq_queue_claim(q, pool, worker, &now, LEASE_MS, NULL, &job) != APR_SUCCESS) {
            wrong++;
            break;
        }
        wrong += job.token != 1 || job.batch->attempt != 1;
        wrong += aq_queue_finish(q, job.batch->id, job.token + 1, &now, &QUEUE_DONE) != APR_NOTFOUND;
        wrong += aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE) != APR_SUCCESS;
        apr_pool_clear(pool);
    }
    apr_pool_destroy(pool);
    return NULL;
}

START_TEST(claims_and_ends_that_share_a_transaction_have_one_owner_each)
{
    aq_queue_counts_t counts;

    for (int n = 0; n < ROUNDS * THREADS; n++) {
        (void)queue_submit(q, n % 2 == 0 ? "acme" : "other", n);
    }
    in_threads(claim_and_finish);
    ck_assert_int_eq(wrong, 0);
    ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), APR_SUCCESS);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_SUCCEEDED], ROUNDS * THREADS);
    aq_queue_close(q);
}
END_TEST

/* A process that holds the write lock until it is killed. */
static pid_t lock_elsewhere(void)
{
    int ready[2], fd;
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fixture_fork();
    if (child == 0) {
        if (aq_file_open(apr_pstrcat(fixture_pool, path, ".lock", NULL), O_RDWR, 0, &fd) == APR_SUCCESS &&
            aq_file_lock(fd, -1) == APR_SUCCESS && write(ready[1], "x", 1) == 1) {
            (void)pause();
        }
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(close(ready[0]) + close(ready[1]), 0);
    return child;
}

static void *submit_late(void *number)
{
    aq_batch_t batch = queue_batch("acme", (int)(intptr_t)number);

    (void)pthread_barrier_wait(&together);
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)(intptr_t)number * 30000000}, NULL);
    aq_time_ms_t began_ms = aq_clock_boot_ms();
    wrong += aq_queue_submit(q, &batch, NULL, NULL) != APR_EBUSY;
    aq_time_ms_t took_ms = aq_clock_boot_ms() - began_ms;
    wrong += took_ms < WAIT_MS - 50;
    late += took_ms > 3 * WAIT_MS;
    return NULL;
}

/* One that leads and fails must not begin the others' waiting anew: the last of them would wait for all. That none waits so
 * long is seen once in some, for a busy machine may let any of them wait. */
START_TEST(f45_each_of_many_that_wait_for_a_lock_waits_no_longer_than_it_may)
{
    const char *error;

    aq_queue_close(q);
    ck_assert_int_eq(aq_sqlite_queue_open(fixture_pool, path, WAIT_MS, &q, &error), APR_SUCCESS);
    pid_t child = lock_elsewhere();
    for (int i = 0; i < 10 && (i == 0 || late > 0); i++) {
        late = 0;
        in_threads(submit_late);
    }
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_int_eq(wrong, 0);
    ck_assert_int_eq(late, 0);
    (void)queue_submit(q, "acme", 99);
    aq_queue_close(q);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, a_change_that_fails_takes_back_its_own_and_no_others);
    tcase_add_test(tests, claims_and_ends_that_share_a_transaction_have_one_owner_each);
    tcase_add_test(tests, f45_each_of_many_that_wait_for_a_lock_waits_no_longer_than_it_may);
}

int main(void)
{
    return fixture_run("sqlite_group", add_tests);
}
