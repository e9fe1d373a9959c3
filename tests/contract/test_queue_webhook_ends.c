/* SPDX-License-Identifier: Apache-2.0 */
/* What every queue promises of the ends of batches that want a webhook: each leaves its message, in the same transaction. */
#include "contract/webhook_fixture.h"

#include <apr_strings.h>
#include <string.h>

static aq_queue_t *q;

static void setup(void)
{
    q = queue_open(queue_path_new());
}

static void teardown(void)
{
    aq_queue_close(q);
}

static aq_batch_t *cancel(const char *id, int64_t ms)
{
    aq_queue_now_t now = queue_at(ms);
    aq_batch_t *batch;

    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &batch), APR_SUCCESS);
    return batch;
}

static void end_finish(const char *id, aq_batch_status_t status)
{
    aq_job_t job = queue_claim(q, "w", queue_at(10));
    aq_job_result_t result = QUEUE_DONE;
    aq_queue_now_t now = queue_at(20);

    result.status = status;
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &result), APR_SUCCESS);
}

static void end_succeeded(const char *id)
{
    end_finish(id, AQ_BATCH_SUCCEEDED);
}

static void end_failed(const char *id)
{
    end_finish(id, AQ_BATCH_FAILED);
}

static void end_finish_canceled(const char *id)
{
    end_finish(id, AQ_BATCH_CANCELED);
}

static void end_canceled_queued(const char *id)
{
    (void)cancel(id, 20);
}

static void end_again_canceled(const char *id)
{
    aq_job_t job = queue_claim(q, "w", queue_at(10));
    aq_queue_now_t now = queue_at(20);

    (void)cancel(id, 15);
    ck_assert_int_eq(aq_queue_again(q, id, job.token, &now, 1000, "target-status", "503"), APR_SUCCESS);
}

static void end_handed_back_canceled(const char *id)
{
    aq_job_t job = queue_claim(q, "w", queue_at(10));
    aq_queue_now_t now = queue_at(20);

    (void)cancel(id, 15);
    ck_assert_int_eq(aq_queue_hand_back(q, id, job.token, &now, 0), APR_SUCCESS);
}

static void end_lost_canceled(const char *id)
{
    (void)queue_claim(q, "w", queue_at(10));
    (void)cancel(id, 15);
    webhook_recover(q, "w", 20);
}

static void end_lost_at_the_last_attempt(const char *id)
{
    for (int attempt = 1; attempt <= 3; attempt++) {
        aq_queue_now_t now = queue_at(20);
        aq_job_t job = queue_claim(q, "w", queue_at(10));
        ck_assert_str_eq(job.batch->id, id);
        if (attempt < 3) {
            ck_assert_int_eq(aq_queue_again(q, id, job.token, &now, 0, "target-status", "503"), APR_SUCCESS);
        }
    }
    webhook_recover(q, "w", 20);
}

static void end_overdue(const char *id)
{
    aq_queue_now_t now = queue_at(5000);
    unsigned failed;

    (void)id;
    ck_assert_int_eq(aq_queue_overdue(q, &now, &failed), APR_SUCCESS);
    ck_assert_int_eq(failed, 1);
}

static const struct {
    void (*end)(const char *id);
    aq_batch_status_t status;
} ENDS[] = {
    {end_succeeded, AQ_BATCH_SUCCEEDED},      {end_failed, AQ_BATCH_FAILED},
    {end_finish_canceled, AQ_BATCH_CANCELED}, {end_canceled_queued, AQ_BATCH_CANCELED},
    {end_again_canceled, AQ_BATCH_CANCELED},  {end_handed_back_canceled, AQ_BATCH_CANCELED},
    {end_lost_canceled, AQ_BATCH_CANCELED},   {end_lost_at_the_last_attempt, AQ_BATCH_FAILED},
    {end_overdue, AQ_BATCH_FAILED},
};

START_TEST(each_end_of_a_batch_leaves_one_message)
{
    const char *id = webhook_submit(q, "acme", 1);

    ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, 0);
    ENDS[_i].end(id);
    const aq_batch_t *batch = queue_find(q, id);
    ck_assert_int_eq(batch->status, ENDS[_i].status);
    ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, 1);
    const aq_webhook_t *webhook = webhook_nth(webhook_list(q, "acme", AQ_WEBHOOK_PENDING), 0);
    ck_assert_str_eq(webhook->id, apr_psprintf(fixture_pool, AQ_WEBHOOK_ID_PREFIX "%s_%" APR_INT64_T_FMT,
                                               id + strlen("batch_"), batch->version));
    ck_assert_str_eq(webhook->batch_id, id);
    ck_assert_int_eq(webhook->status, batch->status);
    ck_assert_int_eq(webhook->finished_at_ms, batch->finished_at_ms);
    ck_assert_int_eq(webhook->attempts, 0);
    ck_assert_str_eq(webhook_claim(q, batch->finished_at_ms - queue_at(0).wall_ms).webhook->id, webhook->id);
}
END_TEST

START_TEST(a_batch_that_wants_no_webhook_leaves_no_message)
{
    const char *id = queue_submit(q, "acme", 1);

    end_succeeded(id);
    ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, 0);
}
END_TEST

START_TEST(another_attempt_is_no_end)
{
    const char *id = webhook_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(10));
    aq_queue_now_t now = queue_at(20);

    ck_assert_int_eq(aq_queue_again(q, id, job.token, &now, 0, "target-status", "503"), APR_SUCCESS);
    job = queue_claim(q, "w", queue_at(30));
    ck_assert_int_eq(aq_queue_progress(q, id, job.token, 1, 2, 0), APR_SUCCESS);
    webhook_recover(q, "w", 40);
    ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, 0);
}
END_TEST

START_TEST(a_late_end_leaves_no_second_message)
{
    const char *id = webhook_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(10));
    aq_queue_now_t now = queue_at(30);

    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_NOTFOUND);
    ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, 1);
}
END_TEST

START_TEST(a_message_tells_of_the_batch_as_it_was)
{
    const char *id = webhook_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(10));
    aq_queue_now_t now = queue_at(20);
    aq_job_result_t result = QUEUE_DONE;
    aq_expired_t gone;

    result.status = AQ_BATCH_FAILED;
    result.response_status = 422;
    result.error_code = "target-status";
    result.error_detail = "the target answered 422";
    ck_assert_int_eq(aq_queue_progress(q, id, job.token, 5, 9, 2), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &result), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_retry(q, id, &now, &gone), APR_SUCCESS);
    (void)cancel(id, 40);
    ck_assert_int_eq(aq_queue_remove(q, id, &gone), APR_SUCCESS);

    apr_array_header_t *both = webhook_list(q, "acme", -1);
    ck_assert_int_eq(both->nelts, 2);
    ck_assert_int_eq(webhook_nth(both, 0)->status, AQ_BATCH_CANCELED);
    const aq_webhook_t *first = webhook_nth(both, 1);
    ck_assert_str_ne(first->id, webhook_nth(both, 0)->id);
    ck_assert_int_eq(first->status, AQ_BATCH_FAILED);
    ck_assert_int_eq(first->created_at_ms, queue_batch("acme", 1).created_at_ms);
    ck_assert_int_eq(first->started_at_ms, queue_at(10).wall_ms);
    ck_assert_int_eq(first->finished_at_ms, queue_at(20).wall_ms);
    ck_assert_int_eq(first->attempt, 1);
    ck_assert_int_eq(first->response_status, 422);
    ck_assert_int_eq(first->progress_done, 5);
    ck_assert_int_eq(first->progress_total, 9);
    ck_assert_int_eq(first->progress_failed, 2);
    ck_assert_str_eq(first->error_code, "target-status");
    ck_assert_str_eq(first->error_detail, "the target answered 422");
    ck_assert_str_eq(first->metadata, "{\"n\":1}");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, each_end_of_a_batch_leaves_one_message, 0, sizeof ENDS / sizeof ENDS[0]);
    tcase_add_test(tests, a_batch_that_wants_no_webhook_leaves_no_message);
    tcase_add_test(tests, another_attempt_is_no_end);
    tcase_add_test(tests, a_late_end_leaves_no_second_message);
    tcase_add_test(tests, a_message_tells_of_the_batch_as_it_was);
}

int main(void)
{
    return queue_fixture_run("queue_webhook_ends", add_tests);
}
