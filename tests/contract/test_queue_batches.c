/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every queue promises of batches that are there: cancel, retry, remove, list, and what time does. Their bounds are in
 * test_queue_limits.c.
 */
#include "contract/queue_fixture.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>
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

static aq_batch_t *cancel(const char *id, aq_queue_now_t now)
{
    aq_batch_t *batch;

    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &batch), APR_SUCCESS);
    ck_assert_str_eq(batch->id, id);
    return batch;
}

START_TEST(f48_a_queued_batch_is_canceled_at_once)
{
    aq_queue_now_t later = queue_at(60);
    const char *id = queue_submit(q, "acme", 1);
    aq_batch_t *batch = cancel(id, queue_at(50));

    ck_assert_int_eq(batch->status, AQ_BATCH_CANCELED);
    ck_assert_int_eq(batch->cancel_requested_at_ms, queue_at(50).wall_ms);
    ck_assert_int_eq(batch->finished_at_ms, queue_at(50).wall_ms);
    ck_assert_int_eq(batch->expires_at_ms, queue_at(50).wall_ms + AQ_BATCH_RETENTION_MS);
    ck_assert_int_gt(batch->version, 1);
    queue_claim_none(q, queue_at(1000));
    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &later, &batch), APR_EINVAL);
    ck_assert_int_eq(queue_find(q, id)->cancel_requested_at_ms, queue_at(50).wall_ms);
}
END_TEST

START_TEST(a_batch_that_waits_for_another_attempt_is_canceled_at_once)
{
    aq_queue_now_t now = queue_at(2);
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(1));

    ck_assert_int_eq(aq_queue_again(q, id, job.token, &now, 5000, "target-status", "503"), APR_SUCCESS);
    aq_batch_t *batch = cancel(id, queue_at(3));
    ck_assert_int_eq(batch->status, AQ_BATCH_CANCELED);
    ck_assert_int_eq(batch->next_attempt_at_ms, 0);
    ck_assert_ptr_null(batch->error_code);
    queue_claim_none(q, queue_at(10000));
}
END_TEST

/* What a worker may write when its cancel was asked for: the truth of it, and never the queue again. */
START_TEST(f48_a_running_batch_is_canceling_and_twice_is_no_error)
{
    aq_queue_now_t now = queue_at(9);
    apr_array_header_t *asked, *held;
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(1));

    ck_assert_int_eq(aq_queue_cancels(q, fixture_pool, "w", &asked), APR_SUCCESS);
    ck_assert_int_eq(asked->nelts, 0);
    aq_batch_t *batch = cancel(id, queue_at(5));
    ck_assert_int_eq(batch->status, AQ_BATCH_CANCELING);
    ck_assert_int_eq(batch->expires_at_ms + batch->finished_at_ms, 0);
    int64_t version = batch->version;
    batch = cancel(id, queue_at(6));
    ck_assert_int_eq(batch->version, version);
    ck_assert_int_eq(batch->cancel_requested_at_ms, queue_at(5).wall_ms);
    ck_assert_int_eq(aq_queue_cancels(q, fixture_pool, "w", &asked), APR_SUCCESS);
    ck_assert_int_eq(asked->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(asked, 0, aq_lease_t).id, id);
    ck_assert_int_eq(APR_ARRAY_IDX(asked, 0, aq_lease_t).token, job.token);
    ck_assert_int_eq(aq_queue_cancels(q, fixture_pool, "other", &asked), APR_SUCCESS);
    ck_assert_int_eq(asked->nelts, 0);
    ck_assert_int_eq(aq_queue_renew(q, fixture_pool, "w", &now, LEASE_MS, &held), APR_SUCCESS);
    ck_assert_int_eq(APR_ARRAY_IDX(held, 0, aq_lease_t).cancel_asked, 1);
    ck_assert_int_eq(aq_queue_hand_back(q, id, job.token, &now, 0), APR_SUCCESS);
    batch = queue_find(q, id);
    ck_assert_int_eq(batch->status, AQ_BATCH_CANCELED);
    ck_assert_int_eq(batch->finished_at_ms, now.wall_ms);
    ck_assert_int_eq(batch->expires_at_ms, now.wall_ms + AQ_BATCH_RETENTION_MS);
    queue_claim_none(q, queue_at(100));
}
END_TEST

START_TEST(f48_a_cancel_that_success_was_faster_than_loses)
{
    aq_queue_now_t now = queue_at(9);
    aq_batch_t *batch;
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(1));

    (void)cancel(id, queue_at(5));
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &batch), APR_EINVAL);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_SUCCEEDED);
}
END_TEST

START_TEST(f48_a_passing_failure_of_a_canceling_batch_is_its_end)
{
    aq_queue_now_t now = queue_at(9);
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(1));

    (void)cancel(id, queue_at(5));
    ck_assert_int_eq(aq_queue_again(q, id, job.token, &now, 1000, "target-status", "503"), APR_SUCCESS);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_CANCELED);
    ck_assert_ptr_null(queue_find(q, id)->error_code);
}
END_TEST

START_TEST(f48_a_canceling_batch_whose_worker_is_dead_is_canceled_not_revived)
{
    aq_queue_now_t now = queue_at(9);
    unsigned recovered, failed;
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "dead", queue_at(1));

    (void)cancel(id, queue_at(5));
    ck_assert_int_eq(aq_queue_recover(q, &now, "dead", &recovered, &failed), APR_SUCCESS);
    ck_assert_int_eq(queue_find(q, id)->status, AQ_BATCH_CANCELED);
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, &QUEUE_DONE), APR_NOTFOUND);
    queue_claim_none(q, queue_at(100));
}
END_TEST

START_TEST(what_is_not_there_is_not_found)
{
    aq_queue_now_t now = queue_at(1);
    aq_expired_t gone;
    aq_batch_t *batch;
    const char *id = queue_batch("acme", 1).id;

    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &batch), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_remove(q, id, &gone), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_retry(q, id, &now, &gone), APR_NOTFOUND);
}
END_TEST

START_TEST(only_what_is_over_is_removed_and_its_idempotency_key_stays_until_it_would_have_expired)
{
    aq_batch_t batch = queue_batch("acme", 1), again = queue_batch("acme", 2), *found;
    aq_queue_now_t now = queue_at(10);
    apr_array_header_t *expired;
    int has_more;
    aq_expired_t gone;

    batch.idempotency_key = again.idempotency_key = "k";
    batch.retention_ms = 1000;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_remove(q, batch.id, &gone), APR_EINVAL);
    aq_job_t job = queue_claim(q, "w", now);
    ck_assert_int_eq(aq_queue_remove(q, batch.id, &gone), APR_EINVAL);
    ck_assert_int_eq(aq_queue_finish(q, batch.id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_remove(q, batch.id, &gone), APR_SUCCESS);
    ck_assert_str_eq(gone.id, batch.id);
    ck_assert_int_eq(gone.result_token, job.token);
    ck_assert_int_eq(gone.keeps_body, 0);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, batch.id, &found), APR_NOTFOUND);
    now = queue_at(1009);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &now, 10, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_submit(q, &again, NULL, fixture_pool), APR_EEXIST);
    ck_assert_int_eq(aq_queue_find_key(q, fixture_pool, "acme", "k", &found), APR_NOTFOUND);
    now = queue_at(1010);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &now, 10, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(expired->nelts, 0);
    ck_assert_int_eq(aq_queue_submit(q, &again, NULL, fixture_pool), APR_SUCCESS);
}
END_TEST

START_TEST(a_failed_or_canceled_batch_is_queued_anew)
{
    aq_job_result_t failed_result = QUEUE_DONE;
    aq_queue_now_t now = queue_at(500);
    aq_expired_t gone;

    failed_result.status = AQ_BATCH_FAILED;
    failed_result.error_code = "target-status";
    const char *failed = queue_finished(q, "acme", 1, &failed_result),
               *done = queue_finished(q, "acme", 2, &QUEUE_DONE);
    const char *canceled = queue_submit(q, "acme", 3);
    (void)cancel(canceled, now);
    ck_assert_int_eq(aq_queue_retry(q, done, &now, &gone), APR_EINVAL);
    ck_assert_int_eq(aq_queue_retry(q, failed, &now, &gone), APR_SUCCESS);
    ck_assert_int_eq(gone.result_token, 1);
    ck_assert_int_eq(gone.keeps_body, 1);
    aq_batch_t *batch = queue_find(q, failed);
    ck_assert_int_eq(batch->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(batch->attempt + batch->response_status + batch->result_token + batch->expires_at_ms, 0);
    ck_assert_ptr_null(batch->error_code);
    ck_assert_int_eq(aq_queue_retry(q, failed, &now, &gone), APR_EINVAL);
    ck_assert_int_eq(aq_queue_retry(q, canceled, &now, &gone), APR_SUCCESS);
    ck_assert_int_eq(queue_find(q, canceled)->cancel_requested_at_ms, 0);
    ck_assert_int_eq(queue_claim(q, "w", now).token, 2);
}
END_TEST

static aq_queue_page_t list(const char *tenant, int status, const char *before, int limit)
{
    aq_queue_query_t query = {.tenant = tenant, .status = status, .before = before, .limit = limit};
    aq_queue_page_t page;

    ck_assert_int_eq(aq_queue_list(q, fixture_pool, &query, &page), APR_SUCCESS);
    return page;
}

static const char *id_at(const aq_queue_page_t *page, int i)
{
    ck_assert_int_lt(i, page->batches->nelts);
    return APR_ARRAY_IDX(page->batches, i, aq_batch_t *)->id;
}

START_TEST(a_list_leaves_out_what_it_does_not_show)
{
    aq_batch_t batch = queue_batch("acme", 1);

    batch.headers = "{\"accept\":\"text/plain\"}";
    batch.query = "mode=full";
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    (void)queue_claim(q, "w", queue_at(2));
    aq_queue_now_t now = queue_at(3);
    ck_assert_int_eq(aq_queue_finish(q, batch.id, 1, &now, &QUEUE_DONE), APR_SUCCESS);
    const aq_queue_page_t page = list("acme", -1, NULL, 1);
    const aq_batch_t *listed = APR_ARRAY_IDX(page.batches, 0, aq_batch_t *), *found = queue_find(q, batch.id);
    ck_assert_ptr_null(listed->headers);
    ck_assert_ptr_null(listed->response_headers);
    ck_assert_str_eq(found->headers, batch.headers);
    ck_assert_str_eq(found->response_headers, QUEUE_DONE.response_headers);
    ck_assert_str_eq(listed->query, found->query);
    ck_assert_str_eq(listed->response.content_type, found->response.content_type);
    ck_assert_str_eq(listed->response.sha256, found->response.sha256);
    ck_assert_int_eq(listed->expires_at_ms, found->expires_at_ms);
}
END_TEST

START_TEST(a_list_shows_a_tenants_newest_first_in_pages)
{
    const char *ids[5];

    for (int n = 0; n < 5; n++) {
        ids[n] = queue_submit(q, "acme", n);
        (void)queue_submit(q, "other", n);
    }
    aq_queue_page_t page = list("acme", -1, NULL, 2);
    ck_assert_int_eq(page.total, 5);
    ck_assert_int_eq(page.has_more, 1);
    ck_assert_int_eq(page.batches->nelts, 2);
    ck_assert_str_eq(id_at(&page, 0), ids[4]);
    ck_assert_str_eq(id_at(&page, 1), ids[3]);
    page = list("acme", -1, ids[1], 2);
    ck_assert_int_eq(page.batches->nelts, 1);
    ck_assert_int_eq(page.has_more, 0);
    ck_assert_str_eq(id_at(&page, 0), ids[0]);
    page = list("acme", -1, ids[2], 2);
    ck_assert_int_eq(page.has_more, 0);
    ck_assert_int_eq(page.batches->nelts, 2);
    ck_assert_int_eq(list("nobody", -1, NULL, 2).total, 0);
    page = list(NULL, -1, NULL, 100);
    ck_assert_int_eq(page.total, 10);
    ck_assert_int_eq(page.batches->nelts, 10);
}
END_TEST

START_TEST(a_page_goes_on_where_the_last_ended_while_batches_come_and_go)
{
    const char *ids[6];
    aq_expired_t gone;

    for (int n = 0; n < 6; n++) {
        ids[n] = queue_submit(q, "acme", n);
    }
    aq_queue_page_t page = list("acme", -1, NULL, 3); /* 5 4 3 */
    (void)cancel(ids[3], queue_at(9));
    ck_assert_int_eq(aq_queue_remove(q, ids[3], &gone), APR_SUCCESS);
    (void)queue_submit(q, "acme", 7);
    page = list("acme", -1, id_at(&page, 2), 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(id_at(&page, i), ids[2 - i]);
    }
    ck_assert_int_eq(page.has_more, 0);
    ck_assert_int_eq(page.total, 6);
}
END_TEST

START_TEST(a_list_may_show_one_status)
{
    const char *canceled = queue_submit(q, "acme", 1), *queued = queue_submit(q, "acme", 2);

    (void)queue_submit(q, "other", 3);
    (void)cancel(canceled, queue_at(9));
    aq_queue_page_t page = list("acme", AQ_BATCH_CANCELED, NULL, 10);
    ck_assert_int_eq(page.total, 1);
    ck_assert_str_eq(id_at(&page, 0), canceled);
    page = list("acme", AQ_BATCH_QUEUED, NULL, 10);
    ck_assert_int_eq(page.total, 1);
    ck_assert_str_eq(id_at(&page, 0), queued);
    page = list(NULL, AQ_BATCH_QUEUED, NULL, 10);
    ck_assert_int_eq(page.total, 2);
    ck_assert_int_eq(list("acme", AQ_BATCH_FAILED, NULL, 10).batches->nelts, 0);
}
END_TEST

START_TEST(a_result_expires_before_its_batch)
{
    aq_batch_t batch = queue_batch("acme", 1);
    aq_queue_now_t now = queue_at(10);
    apr_array_header_t *expired;
    int has_more;
    aq_queue_use_t use;

    batch.retention_ms = 5000;
    batch.result_retention_ms = 1000;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    aq_job_t job = queue_claim(q, "w", now);
    ck_assert_int_eq(aq_queue_finish(q, batch.id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(queue_find(q, batch.id)->result_expires_at_ms, now.wall_ms + 1000);
    now = queue_at(1010);
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &now, 10, &expired, &has_more), APR_SUCCESS);
        ck_assert_int_eq(expired->nelts, round == 0);
    }
    aq_batch_t *found = queue_find(q, batch.id);
    ck_assert_int_eq(found->result_token, 0);
    ck_assert_int_eq(found->response_status, 200);
    ck_assert_int_eq(found->response.bytes, 5);
    ck_assert_int_eq(found->status, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(aq_queue_use(q, "acme", &use), APR_SUCCESS);
    ck_assert_int_eq(use.bytes, 12);
    now = queue_at(5010);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &now, 10, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(expired->nelts, 1);
    ck_assert_int_eq(APR_ARRAY_IDX(expired, 0, aq_expired_t).keeps_body, 0);
}
END_TEST

START_TEST(what_waited_too_long_fails_and_what_runs_does_not)
{
    aq_queue_now_t now = queue_at(999);
    aq_batch_t batches[3];
    unsigned failed;

    for (int n = 0; n < 3; n++) {
        batches[n] = queue_batch("acme", n);
        batches[n].start_by_ms = n < 2 ? queue_at(1000).wall_ms : 0;
        ck_assert_int_eq(aq_queue_submit(q, &batches[n], NULL, fixture_pool), APR_SUCCESS);
    }
    (void)queue_claim(q, "w", now);
    ck_assert_int_eq(aq_queue_overdue(q, &now, &failed), APR_SUCCESS);
    ck_assert_uint_eq(failed, 0);
    now = queue_at(1000);
    ck_assert_int_eq(aq_queue_overdue(q, &now, &failed), APR_SUCCESS);
    ck_assert_uint_eq(failed, 1);
    ck_assert_int_eq(queue_find(q, batches[0].id)->status, AQ_BATCH_RUNNING);
    aq_batch_t *late = queue_find(q, batches[1].id);
    ck_assert_int_eq(late->status, AQ_BATCH_FAILED);
    ck_assert_str_eq(late->error_code, "waited-too-long");
    ck_assert_int_eq(late->expires_at_ms, now.wall_ms + AQ_BATCH_RETENTION_MS);
    ck_assert_int_eq(queue_find(q, batches[2].id)->status, AQ_BATCH_QUEUED);
}
END_TEST

START_TEST(what_is_queued_anew_may_wait_as_long_as_at_first_however_often_that_is)
{
    aq_batch_t batch = queue_batch("acme", 1), *found;
    aq_expired_t gone;
    unsigned failed;

    batch.start_by_ms = batch.created_at_ms + 1000;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    for (int64_t ms = 50000; ms <= 150000; ms += 50000) {
        aq_queue_now_t now = queue_at(ms), just = queue_at(ms + 999), late = queue_at(ms + 1000);
        ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, batch.id, &now, &found),
                         ms == 50000 ? APR_SUCCESS : APR_EINVAL);
        ck_assert_int_eq(aq_queue_retry(q, batch.id, &now, &gone), APR_SUCCESS);
        ck_assert_int_eq(aq_queue_overdue(q, &just, &failed), APR_SUCCESS);
        ck_assert_uint_eq(failed, 0);
        ck_assert_int_eq(aq_queue_overdue(q, &late, &failed), APR_SUCCESS);
        ck_assert_uint_eq(failed, 1);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, f48_a_queued_batch_is_canceled_at_once);
    tcase_add_test(tests, a_batch_that_waits_for_another_attempt_is_canceled_at_once);
    tcase_add_test(tests, f48_a_running_batch_is_canceling_and_twice_is_no_error);
    tcase_add_test(tests, f48_a_cancel_that_success_was_faster_than_loses);
    tcase_add_test(tests, f48_a_passing_failure_of_a_canceling_batch_is_its_end);
    tcase_add_test(tests, f48_a_canceling_batch_whose_worker_is_dead_is_canceled_not_revived);
    tcase_add_test(tests, what_is_not_there_is_not_found);
    tcase_add_test(tests, only_what_is_over_is_removed_and_its_idempotency_key_stays_until_it_would_have_expired);
    tcase_add_test(tests, a_failed_or_canceled_batch_is_queued_anew);
    tcase_add_test(tests, a_list_leaves_out_what_it_does_not_show);
    tcase_add_test(tests, a_list_shows_a_tenants_newest_first_in_pages);
    tcase_add_test(tests, a_page_goes_on_where_the_last_ended_while_batches_come_and_go);
    tcase_add_test(tests, a_list_may_show_one_status);
    tcase_add_test(tests, a_result_expires_before_its_batch);
    tcase_add_test(tests, what_waited_too_long_fails_and_what_runs_does_not);
    tcase_add_test(tests, what_is_queued_anew_may_wait_as_long_as_at_first_however_often_that_is);
}

int main(void)
{
    return queue_fixture_run("queue_batches", add_tests);
}
