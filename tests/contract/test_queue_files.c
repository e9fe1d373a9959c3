/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every queue promises for the files of its batches: room is made by the oldest that are over, what is gone is counted
 * no more, and a body that is swept has no row, however the two meet.
 */
#include "contract/queue_fixture.h"

#include "batch/spool.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RACES 150
#define BATCH_BYTES (12 + 5) /* of queue_batch and QUEUE_DONE */

static aq_queue_t *q;
static const char *path;

static void setup(void)
{
    path = queue_path_new();
    q = queue_open(path);
}

static void teardown(void)
{
    aq_queue_close(q);
}

static int64_t bytes_of(const char *tenant)
{
    aq_queue_use_t use;

    ck_assert_int_eq(aq_queue_use(q, tenant, &use), APR_SUCCESS);
    return use.bytes;
}

static apr_array_header_t *trim(int64_t bytes, int most)
{
    apr_array_header_t *trimmed;

    ck_assert_int_eq(aq_queue_trim(q, fixture_pool, bytes, most, &trimmed), APR_SUCCESS);
    return trimmed;
}

START_TEST(room_is_made_by_what_ended_first_and_the_batches_stay)
{
    const char *first = queue_finished(q, "acme", 1, &QUEUE_DONE), *second = queue_finished(q, "other", 2, &QUEUE_DONE);
    const char *third = queue_finished(q, "acme", 3, &QUEUE_DONE);

    apr_array_header_t *trimmed = trim(BATCH_BYTES + 1, 100);
    ck_assert_int_eq(trimmed->nelts, 2);
    const aq_expired_t *gone = &APR_ARRAY_IDX(trimmed, 0, aq_expired_t);
    ck_assert_str_eq(gone->id, first);
    ck_assert_int_eq(gone->keeps_body, 0);
    ck_assert_int_eq(gone->result_token, 1);
    ck_assert_int_eq(gone->bytes, BATCH_BYTES);
    ck_assert_str_eq(APR_ARRAY_IDX(trimmed, 1, aq_expired_t).id, second);
    const aq_batch_t *batch = queue_find(q, first);
    ck_assert_int_eq(batch->status, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(batch->result_token, 0);
    ck_assert_int_eq(batch->response.bytes, 5); /* it had one: 410, not 404 */
    ck_assert_int_eq(batch->body_gone, 1);
    ck_assert_int_eq(queue_find(q, third)->body_gone, 0);
    ck_assert_int_eq(bytes_of("acme"), BATCH_BYTES);
    ck_assert_int_eq(bytes_of("other"), 0);
    ck_assert_str_eq(APR_ARRAY_IDX(trim(1, 100), 0, aq_expired_t).id, third);
    ck_assert_int_eq(trim(1, 100)->nelts, 0);
}
END_TEST

START_TEST(what_is_not_over_is_never_trimmed)
{
    const char *running = queue_submit(q, "acme", 1);
    aq_queue_now_t now = queue_at(10);
    aq_batch_t *canceling;

    (void)queue_claim(q, "w", now);
    const char *asked = queue_submit(q, "acme", 2);
    (void)queue_claim(q, "w", now);
    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, asked, &now, &canceling), APR_SUCCESS);
    const char *queued = queue_submit(q, "acme", 3);
    ck_assert_int_eq(trim(INT64_MAX, 100)->nelts, 0);
    ck_assert_int_eq(queue_find(q, running)->body_gone, 0);
    ck_assert_int_eq(queue_find(q, asked)->body_gone, 0);
    ck_assert_int_eq(queue_find(q, queued)->body_gone, 0);
    ck_assert_int_eq(bytes_of("acme"), 36);
}
END_TEST

START_TEST(no_more_is_trimmed_at_once_than_asked_for)
{
    for (int n = 1; n <= 5; n++) {
        (void)queue_finished(q, "acme", n, &QUEUE_DONE);
    }
    ck_assert_int_eq(trim(INT64_MAX, 2)->nelts, 2);
    ck_assert_int_eq(trim(INT64_MAX, 2)->nelts, 2);
    ck_assert_int_eq(trim(INT64_MAX, 2)->nelts, 1);
}
END_TEST

START_TEST(a_batch_whose_body_is_gone_is_not_queued_again)
{
    const aq_job_result_t failed = {.status = AQ_BATCH_FAILED, .response = {.bytes = -1}, .error_code = "x"};
    const char *id = queue_finished(q, "acme", 1, &failed);
    aq_queue_now_t now = queue_at(10);
    aq_expired_t gone;

    ck_assert_int_eq(trim(1, 1)->nelts, 1);
    ck_assert_int_eq(aq_queue_retry(q, id, &now, &gone), APR_ENOENT);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_FAILED);
    ck_assert_int_eq(aq_queue_remove(q, id, &gone), APR_SUCCESS);
    ck_assert_int_eq(bytes_of("acme"), 0);
}
END_TEST

START_TEST(what_was_lost_is_forgotten_and_counts_no_more)
{
    const char *id = queue_finished(q, "acme", 1, &QUEUE_DONE), *queued = queue_submit(q, "acme", 2);
    aq_expired_t result = {.keeps_body = 1, .result_token = 1}, other = {.keeps_body = 1, .result_token = 9};
    aq_expired_t body = {.keeps_body = 0}, unfinished = {.keeps_body = 0};

    (void)apr_cpystrn(result.id, id, sizeof result.id);
    (void)apr_cpystrn(other.id, id, sizeof other.id);
    (void)apr_cpystrn(body.id, id, sizeof body.id);
    (void)apr_cpystrn(unfinished.id, queued, sizeof unfinished.id);
    ck_assert_int_eq(aq_queue_forget(q, &other), APR_SUCCESS); /* not the batch's result: nothing is forgotten */
    ck_assert_int_eq(queue_find(q, id)->result_token, 1);
    ck_assert_int_eq(aq_queue_forget(q, &result), APR_SUCCESS);
    ck_assert_int_eq(queue_find(q, id)->result_token, 0);
    ck_assert_int_eq(bytes_of("acme"), 24);
    ck_assert_int_eq(aq_queue_forget(q, &body), APR_SUCCESS);
    ck_assert_int_eq(bytes_of("acme"), 12);
    ck_assert_int_eq(aq_queue_forget(q, &unfinished), APR_NOTFOUND);
    ck_assert_int_eq(queue_find(q, queued)->body_gone, 0);
}
END_TEST

static apr_status_t note(void *data, const aq_batch_t *batch)
{
    *(const char **)data = batch != NULL ? apr_pstrdup(fixture_pool, batch->id) : "none";
    return batch != NULL ? APR_SUCCESS : APR_EINCOMPLETE;
}

START_TEST(a_look_shows_the_batch_and_returns_what_was_made_of_it)
{
    const char *id = queue_submit(q, "acme", 1), *seen = NULL;

    ck_assert_int_eq(aq_queue_look(q, fixture_pool, id, note, &seen), APR_SUCCESS);
    ck_assert_str_eq(seen, id);
    ck_assert_int_eq(aq_queue_look(q, fixture_pool, "batch_none", note, &seen), APR_EINCOMPLETE);
    ck_assert_str_eq(seen, "none");
    (void)queue_submit(q, "acme", 2); /* the lock was given back */
}
END_TEST

/* ---- the sweep against the insert -------------------------------------------------------------------------------- */

/* Seen by both processes. */
typedef struct {
    _Atomic int turn;  /* the race that is on; -1: the end */
    _Atomic int swept; /* the last race that the sweeper has ended */
} board_t;

static board_t *board;
static aq_spool_t *spool;
static apr_pool_t *race_pool;

static aq_batch_t race_batch(int n)
{
    aq_batch_t batch = queue_batch("acme", n);
    return batch;
}

static apr_status_t body_check(void *data, const aq_batch_t *batch)
{
    (void)data;
    return aq_spool_body_check(spool, race_pool, batch->id, batch->request.bytes);
}

static apr_status_t remove_unknown(void *data, const aq_batch_t *batch)
{
    return batch == NULL ? aq_spool_body_remove(spool, race_pool, data) : APR_SUCCESS;
}

/* A sweep as the janitor's: it asks without the lock first, then with it. */
static void sweep_races(void)
{
    aq_queue_t *sweeper = queue_open(path);

    for (int n = 1; n <= RACES; n++) {
        aq_batch_t batch = race_batch(n), *found;
        while (atomic_load(&board->turn) < n) {
        }
        if (aq_queue_find(sweeper, race_pool, batch.id, &found) == APR_NOTFOUND) {
            (void)aq_queue_look(sweeper, race_pool, batch.id, remove_unknown, batch.id);
        }
        atomic_store(&board->swept, n);
    }
    aq_queue_close(sweeper);
    _exit(0);
}

static void store_body(int n)
{
    aq_batch_t batch = race_batch(n);
    aq_spool_file_t *file;
    aq_batch_body_t body;

    ck_assert_int_eq(aq_spool_body_begin(spool, race_pool, NULL, 12, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "twelve bytes", 12), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_commit(file, batch.id, &body), APR_SUCCESS);
}

/* One race; whether the row came first. */
static int race(int n)
{
    const aq_queue_bounds_t bounds = {.body_check = body_check};
    aq_batch_t batch = race_batch(n), *found;

    store_body(n);
    atomic_store(&board->turn, n);
    (void)nanosleep(&(struct timespec){.tv_nsec = n % 20 * 20000}, NULL);
    apr_status_t rv = aq_queue_submit(q, &batch, &bounds, race_pool);
    while (atomic_load(&board->swept) < n) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    apr_status_t is_there = aq_spool_body_check(spool, race_pool, batch.id, 12);
    ck_assert_msg(rv == APR_SUCCESS || rv == APR_ENOENT, "race %d: %d", n, rv);
    ck_assert_msg((rv == APR_SUCCESS) == (is_there == APR_SUCCESS), "race %d: row %d, body %d", n, rv, is_there);
    ck_assert_int_eq(aq_queue_find(q, race_pool, batch.id, &found), rv == APR_SUCCESS ? APR_SUCCESS : APR_NOTFOUND);
    apr_pool_clear(race_pool);
    return rv == APR_SUCCESS;
}

START_TEST(a_sweep_and_an_insert_never_leave_a_row_without_its_body)
{
    const char *error;
    int won = 0;

    char *folder = apr_pstrdup(fixture_pool, fixture_path("race-XXXXXX"));
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(aq_spool_prepare(folder, (uid_t)-1, (gid_t)-1, fixture_pool, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_open(fixture_pool, folder, 0, &spool, &error), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&race_pool, fixture_pool), APR_SUCCESS);
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(board != MAP_FAILED);
    pid_t child = fixture_fork();
    if (child == 0) {
        sweep_races();
    }
    for (int n = 1; n <= RACES; n++) {
        won += race(n);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_msg(won < RACES, "the sweep was never first"); /* else nothing was shown */
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, room_is_made_by_what_ended_first_and_the_batches_stay);
    tcase_add_test(tests, what_is_not_over_is_never_trimmed);
    tcase_add_test(tests, no_more_is_trimmed_at_once_than_asked_for);
    tcase_add_test(tests, a_batch_whose_body_is_gone_is_not_queued_again);
    tcase_add_test(tests, what_was_lost_is_forgotten_and_counts_no_more);
    tcase_add_test(tests, a_look_shows_the_batch_and_returns_what_was_made_of_it);
    tcase_add_test(tests, a_sweep_and_an_insert_never_leave_a_row_without_its_body);
}

int main(void)
{
    return queue_fixture_run("queue_files", add_tests);
}
