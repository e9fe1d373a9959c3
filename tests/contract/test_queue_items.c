/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every queue promises for batches of items.
 */
#include "contract/queue_fixture.h"

#include <apr_strings.h>

static aq_queue_t *q;

static void setup(void)
{
    q = queue_open(queue_path_new());
}

static void teardown(void)
{
    aq_queue_close(q);
}

/* A batch of ten items, never to be repeated, that may wait a second for its first start. */
static const char *submit_items(int n)
{
    aq_batch_t batch = queue_batch("acme", n);

    batch.items = batch.progress_total = 10;
    batch.never_repeat = 1;
    batch.start_by_ms = batch.created_at_ms + 1000;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    return apr_pstrdup(fixture_pool, batch.id);
}

static void recover(const char *worker, int64_t ms, unsigned expected, unsigned expected_failed)
{
    aq_queue_now_t now = queue_at(ms);
    unsigned recovered, failed;

    ck_assert_int_eq(aq_queue_recover(q, &now, worker, &recovered, &failed), APR_SUCCESS);
    ck_assert_uint_eq(recovered, expected);
    ck_assert_uint_eq(failed, expected_failed);
}

START_TEST(the_number_of_items_is_kept_and_shown_from_the_beginning)
{
    aq_batch_t *batch = queue_find(q, submit_items(1));

    ck_assert_int_eq(batch->items, 10);
    ck_assert_int_eq(batch->progress_total, 10);
    ck_assert_int_eq(queue_claim(q, "w", queue_at(1)).batch->items, 10);
    ck_assert_int_eq(queue_find(q, queue_submit(q, "acme", 2))->items, 0);
}
END_TEST

START_TEST(items_whose_worker_is_lost_are_queued_again_also_where_none_may_be_repeated)
{
    const char *id = submit_items(1);

    (void)queue_claim(q, "w", queue_at(1));
    recover("w", 2, 1, 0);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_QUEUED);
}
END_TEST

START_TEST(a_worker_lost_after_items_were_done_costs_no_attempt)
{
    const char *id = submit_items(1);

    for (int i = 1; i <= 8; i++) {
        aq_job_t job = queue_claim(q, "w", queue_at(i));
        ck_assert_int_eq(aq_queue_progress(q, id, job.token, i, 10, 0), APR_SUCCESS);
        ck_assert_int_eq(queue_find(q, id)->attempt, 1);
        recover("w", i, 1, 0);
    }
}
END_TEST

START_TEST(f43_items_that_kill_their_worker_each_time_fail_in_the_end)
{
    const char *id = submit_items(1);
    int64_t ms = 1;

    for (int attempt = 1; attempt <= 3; attempt++) {
        aq_job_t job = queue_claim(q, "w", queue_at(ms));
        ck_assert_int_eq(job.batch->attempt, attempt);
        /* Told again, and no more than before. */
        ck_assert_int_eq(aq_queue_progress(q, id, job.token, 0, 10, 0), APR_SUCCESS);
        recover("w", ms, attempt < 3, attempt == 3);
        ms += 100000;
    }
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_FAILED);
}
END_TEST

START_TEST(items_that_have_started_do_not_wait_too_long)
{
    const char *started = submit_items(1), *waiting = submit_items(2);
    aq_queue_now_t late = queue_at(5000);
    unsigned failed;

    aq_job_t job = queue_claim(q, "w", queue_at(1));
    ck_assert_str_eq(job.batch->id, started);
    ck_assert_int_eq(aq_queue_hand_back(q, started, job.token, &late, 60000), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_overdue(q, &late, &failed), APR_SUCCESS);
    ck_assert_uint_eq(failed, 1);
    ck_assert_int_eq(queue_find(q, started)->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(queue_find(q, waiting)->status, AQ_BATCH_FAILED);
    ck_assert_int_eq(aq_queue_overdue(q, &late, &failed), APR_SUCCESS);
    ck_assert_uint_eq(failed, 0);
}
END_TEST

START_TEST(a_batch_of_items_that_is_queued_anew_knows_how_many_there_are)
{
    const char *id = submit_items(1);
    aq_queue_now_t now = queue_at(10);
    aq_expired_t gone;

    aq_job_t job = queue_claim(q, "w", queue_at(1));
    ck_assert_int_eq(aq_queue_progress(q, id, job.token, 7, 10, 2), APR_SUCCESS);
    aq_job_result_t result = {.status = AQ_BATCH_FAILED, .response = {.bytes = -1}, .error_code = "batch-timeout"};
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &result), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_retry(q, id, &now, &gone), APR_SUCCESS);
    aq_batch_t *batch = queue_find(q, id);
    ck_assert_int_eq(batch->progress_total, 10);
    ck_assert_int_eq(batch->progress_done + batch->progress_failed + batch->started_at_ms, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, the_number_of_items_is_kept_and_shown_from_the_beginning);
    tcase_add_test(tests, items_whose_worker_is_lost_are_queued_again_also_where_none_may_be_repeated);
    tcase_add_test(tests, a_worker_lost_after_items_were_done_costs_no_attempt);
    tcase_add_test(tests, f43_items_that_kill_their_worker_each_time_fail_in_the_end);
    tcase_add_test(tests, items_that_have_started_do_not_wait_too_long);
    tcase_add_test(tests, a_batch_of_items_that_is_queued_anew_knows_how_many_there_are);
}

int main(void)
{
    return queue_fixture_run("queue_items", add_tests);
}
