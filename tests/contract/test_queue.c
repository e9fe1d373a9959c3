/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every queue promises (queue.h), one caller at a time. Many at a time, and killed ones: test_queue_processes.c.
 */
#include "contract/queue_fixture.h"

#include <apr_strings.h>
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

START_TEST(a_submitted_batch_is_found_whole)
{
    aq_batch_t batch = queue_batch("acme", 1);

    batch.idempotency_key = "key 1";
    batch.query = "a=b&c=d";
    batch.headers = "{\"accept\":\"text/plain\"}";
    batch.metadata = "{\"n\":1}";
    batch.never_repeat = 1;
    batch.retention_ms = 1234;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    aq_batch_t *found = queue_find(q, batch.id);
    ck_assert_str_eq(found->id, batch.id);
    ck_assert_int_eq(found->status, AQ_BATCH_QUEUED);
    ck_assert_str_eq(found->tenant, "acme");
    ck_assert_str_eq(found->key_id, "k_1");
    ck_assert_str_eq(found->location, batch.location);
    ck_assert_str_eq(found->idempotency_key, "key 1");
    ck_assert_int_eq(found->created_at_ms, batch.created_at_ms);
    ck_assert_int_eq(found->max_attempts, 3);
    ck_assert_int_eq(found->never_repeat, 1);
    ck_assert_int_eq(found->retention_ms, 1234);
    ck_assert_str_eq(found->method, "POST");
    ck_assert_str_eq(found->path, "/v1/import");
    ck_assert_str_eq(found->query, "a=b&c=d");
    ck_assert_str_eq(found->headers, batch.headers);
    ck_assert_str_eq(found->metadata, batch.metadata);
    ck_assert_str_eq(found->request.content_type, "text/csv");
    ck_assert_int_eq(found->request.bytes, 12);
    ck_assert_str_eq(found->request.sha256, "abcd");
    ck_assert_int_eq(found->response.bytes, -1);
    ck_assert_ptr_null(found->error_code);
    ck_assert_int_eq(found->attempt + found->response_status, 0);
    ck_assert_int_eq(found->version, 1);
}
END_TEST

START_TEST(an_unknown_id_is_not_found)
{
    aq_batch_t *batch;

    ck_assert_int_eq(aq_queue_find(q, fixture_pool, "batch_x", &batch), APR_NOTFOUND);
    ck_assert_ptr_null(batch);
}
END_TEST

START_TEST(an_id_is_taken_once)
{
    aq_batch_t batch = queue_batch("acme", 1);

    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_EEXIST);
}
END_TEST

START_TEST(f66_an_idempotency_key_belongs_to_its_tenant)
{
    aq_batch_t first = queue_batch("acme", 1), again = queue_batch("acme", 2), other = queue_batch("other", 3);
    aq_batch_t *found;

    first.idempotency_key = again.idempotency_key = other.idempotency_key = "same";
    ck_assert_int_eq(aq_queue_submit(q, &first, NULL, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_submit(q, &again, NULL, fixture_pool), APR_EEXIST);
    ck_assert_int_eq(aq_queue_submit(q, &other, NULL, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_find_key(q, fixture_pool, "acme", "same", &found), APR_SUCCESS);
    ck_assert_str_eq(found->id, first.id);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, again.id, &found), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_find_key(q, fixture_pool, "other", "same", &found), APR_SUCCESS);
    ck_assert_str_eq(found->id, other.id);
    ck_assert_int_eq(aq_queue_find_key(q, fixture_pool, "third", "same", &found), APR_NOTFOUND);
    ck_assert_ptr_null(found);
}
END_TEST

START_TEST(a_claim_takes_the_oldest_and_counts_the_attempt)
{
    const char *first = queue_submit(q, "acme", 1), *second = queue_submit(q, "acme", 2);

    aq_job_t job = queue_claim(q, "w1", queue_at(100));
    ck_assert_str_eq(job.batch->id, first);
    ck_assert_int_eq(job.batch->attempt, 1);
    ck_assert_int_eq(job.batch->status, AQ_BATCH_RUNNING);
    ck_assert_int_eq(job.batch->started_at_ms, queue_at(100).wall_ms);
    ck_assert_int_eq(queue_find(q, first)->status, AQ_BATCH_RUNNING);
    ck_assert_int_gt(queue_find(q, first)->version, 1);
    ck_assert_str_eq(queue_claim(q, "w2", queue_at(101)).batch->id, second);
    queue_claim_none(q, queue_at(102));
}
END_TEST

START_TEST(one_tenants_many_jobs_do_not_delay_anothers_single_one)
{
    int of_small = 0;

    for (int n = 0; n < 50; n++) {
        (void)queue_submit(q, "big", n);
    }
    (void)queue_claim(q, "w", queue_at(1));
    (void)queue_submit(q, "small", 100);
    for (int n = 0; n < 2; n++) {
        of_small += strcmp(queue_claim(q, "w", queue_at(2)).batch->tenant, "small") == 0;
    }
    ck_assert_int_eq(of_small, 1);
}
END_TEST

START_TEST(tenants_take_turns)
{
    static const char *const tenants[] = {"a", "b", "c"};
    int claimed[3] = {0};

    for (int n = 0; n < 30; n++) {
        (void)queue_submit(q, n < 20 ? "a" : n < 25 ? "b" : "c", n);
    }
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < 3; i++) {
            const char *tenant = queue_claim(q, "w", queue_at(1)).batch->tenant;
            claimed[tenant[0] - 'a']++;
        }
        for (int i = 0; i < 3; i++) {
            ck_assert_msg(claimed[i] == round, "%s had %d turns in round %d", tenants[i], claimed[i], round);
        }
    }
}
END_TEST

START_TEST(a_finished_batch_tells_how_it_ended_and_is_not_claimed_again)
{
    aq_queue_now_t later = queue_at(200);
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(100));

    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &later, &QUEUE_DONE), APR_SUCCESS);
    aq_batch_t *batch = queue_find(q, id);
    ck_assert_int_eq(batch->status, AQ_BATCH_SUCCEEDED);
    ck_assert_int_eq(batch->response_status, 200);
    ck_assert_int_eq(batch->response.bytes, 5);
    ck_assert_str_eq(batch->response.sha256, "2cf2");
    ck_assert_int_eq(batch->result_token, job.token);
    ck_assert_int_eq(batch->finished_at_ms, later.wall_ms);
    ck_assert_int_eq(batch->expires_at_ms, later.wall_ms + AQ_BATCH_RETENTION_MS);
    ck_assert_int_gt(batch->version, job.batch->version);
    queue_claim_none(q, queue_at(1000000));
}
END_TEST

START_TEST(a_job_that_is_tried_again_waits_and_shows_why)
{
    aq_queue_now_t now = queue_at(200);
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(100));

    ck_assert_int_eq(aq_queue_again(q, id, job.token, &now, 5000, "target-status", "it said 503"), APR_SUCCESS);
    aq_batch_t *batch = queue_find(q, id);
    ck_assert_int_eq(batch->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(batch->next_attempt_at_ms, now.wall_ms + 5000);
    ck_assert_str_eq(batch->error_code, "target-status");
    ck_assert_str_eq(batch->error_detail, "it said 503");
    queue_claim_none(q, queue_at(5199));
    job = queue_claim(q, "w", queue_at(5200));
    ck_assert_int_eq(job.batch->attempt, 2);
    ck_assert_ptr_null(job.batch->error_code);
    ck_assert_int_eq(job.batch->next_attempt_at_ms, 0);
    ck_assert_int_eq(job.batch->started_at_ms, queue_at(100).wall_ms);
}
END_TEST

START_TEST(a_job_that_is_handed_back_is_due_at_once_and_its_attempt_uncounted)
{
    aq_queue_now_t now = queue_at(200);
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(100));
    int64_t first_token = job.token;

    ck_assert_int_eq(aq_queue_hand_back(q, id, job.token, &now, 0), APR_SUCCESS);
    job = queue_claim(q, "w2", queue_at(201));
    ck_assert_int_eq(job.batch->attempt, 1);
    ck_assert_int_gt(job.token, first_token);
    ck_assert_int_eq(aq_queue_hand_back(q, id, job.token, &now, 1000), APR_SUCCESS);
    queue_claim_none(q, queue_at(1199));
    (void)queue_claim(q, "w2", queue_at(1200));
}
END_TEST

static void recover(aq_queue_now_t now, const char *dead_worker, unsigned wanted_recovered, unsigned wanted_failed)
{
    unsigned recovered, failed;

    ck_assert_int_eq(aq_queue_recover(q, &now, dead_worker, &recovered, &failed), APR_SUCCESS);
    ck_assert_uint_eq(recovered, wanted_recovered);
    ck_assert_uint_eq(failed, wanted_failed);
}

START_TEST(f42_what_a_worker_does_after_its_lease_was_lost_changes_nothing)
{
    aq_queue_now_t late = queue_at(2 * LEASE_MS + 5);
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t lost = queue_claim(q, "stopped", queue_at(0));

    recover(queue_at(LEASE_MS - 1), NULL, 0, 0);
    recover(queue_at(LEASE_MS), NULL, 1, 0);
    for (int claimed = 0; claimed < 2; claimed++) {
        aq_batch_t *before = queue_find(q, id);
        ck_assert_int_eq(aq_queue_finish(q, id, lost.token, &late, &QUEUE_DONE), APR_NOTFOUND);
        ck_assert_int_eq(aq_queue_again(q, id, lost.token, &late, 0, "x", "x"), APR_NOTFOUND);
        ck_assert_int_eq(aq_queue_hand_back(q, id, lost.token, &late, 0), APR_NOTFOUND);
        ck_assert_int_eq(aq_queue_progress(q, id, lost.token, 1, 2, 0), APR_NOTFOUND);
        ck_assert_int_eq(queue_find(q, id)->version, before->version);
        ck_assert_int_eq(queue_find(q, id)->status, claimed ? AQ_BATCH_RUNNING : AQ_BATCH_QUEUED);
        if (!claimed) {
            ck_assert_str_eq(queue_claim(q, "other", queue_at(LEASE_MS + 1)).batch->id, id);
        }
    }
}
END_TEST

START_TEST(renewal_keeps_a_job_and_tells_what_is_held)
{
    aq_queue_now_t now = queue_at(LEASE_MS - 1);
    const char *id = queue_submit(q, "acme", 1);
    apr_array_header_t *held;

    (void)queue_submit(q, "acme", 2);
    aq_job_t job = queue_claim(q, "w", queue_at(0));
    (void)queue_claim(q, "other", queue_at(0));
    ck_assert_int_eq(aq_queue_renew(q, fixture_pool, "w", &now, LEASE_MS, &held), APR_SUCCESS);
    ck_assert_int_eq(held->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(held, 0, aq_lease_t).id, id);
    ck_assert_int_eq(APR_ARRAY_IDX(held, 0, aq_lease_t).token, job.token);
    ck_assert_int_eq(APR_ARRAY_IDX(held, 0, aq_lease_t).cancel_asked, 0);
    recover(queue_at(LEASE_MS), NULL, 1, 0); /* the other's */
    recover(queue_at(2 * LEASE_MS - 1), NULL, 1, 0);
    ck_assert_int_eq(aq_queue_renew(q, fixture_pool, "w", &now, LEASE_MS, &held), APR_SUCCESS);
    ck_assert_int_eq(held->nelts, 0);
}
END_TEST

START_TEST(jobs_of_an_earlier_boot_are_recovered_at_once)
{
    aq_queue_now_t rebooted = queue_at(0);

    (void)queue_submit(q, "acme", 1);
    (void)queue_claim(q, "w", queue_at(10 * LEASE_MS));
    rebooted.boot_id = "next-boot";
    rebooted.boot_ms = 1; /* its clock begins anew: the lease looks far in the future */
    recover(rebooted, NULL, 1, 0);
}
END_TEST

START_TEST(jobs_of_a_worker_known_to_be_dead_are_recovered_at_once)
{
    (void)queue_submit(q, "acme", 1);
    (void)queue_submit(q, "acme", 2);
    (void)queue_claim(q, "dead", queue_at(0));
    (void)queue_claim(q, "alive", queue_at(0));
    recover(queue_at(1), "dead", 1, 0);
    recover(queue_at(1), "dead", 0, 0);
    aq_job_t job = queue_claim(q, "alive", queue_at(1));
    ck_assert_int_eq(job.batch->attempt, 2);
    queue_claim_none(q, queue_at(1));
}
END_TEST

START_TEST(f43_a_job_that_kills_its_worker_each_time_fails_in_the_end)
{
    const char *id = queue_submit(q, "acme", 1);
    int64_t ms = 0;

    for (int attempt = 1; attempt <= 3; attempt++) {
        ms += 1000000; /* longer than any wait between these attempts */
        ck_assert_int_eq(queue_claim(q, "w", queue_at(ms)).batch->attempt, attempt);
        recover(queue_at(ms), "w", attempt < 3, attempt == 3);
    }
    aq_batch_t *batch = queue_find(q, id);
    ck_assert_int_eq(batch->status, AQ_BATCH_FAILED);
    ck_assert_str_eq(batch->error_code, "worker-lost");
    ck_assert_int_gt(batch->expires_at_ms, batch->finished_at_ms);
    ck_assert_int_eq(batch->result_token, 0);
    queue_claim_none(q, queue_at(ms + 100000000));
}
END_TEST

START_TEST(a_job_that_must_not_be_repeated_fails_with_its_worker)
{
    aq_batch_t batch = queue_batch("acme", 1);

    batch.never_repeat = 1;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    (void)queue_claim(q, "w", queue_at(0));
    recover(queue_at(0), "w", 0, 1);
    ck_assert_str_eq(queue_find(q, batch.id)->error_code, "outcome-unknown");
}
END_TEST

/* Wall time goes back an hour: what is ready stays ready, and leases do not notice. */
START_TEST(f51_a_stepped_wall_clock_holds_nothing_up)
{
    aq_queue_now_t now = queue_at(0);

    (void)queue_submit(q, "acme", 1);
    now.wall_ms -= 3600000;
    aq_job_t job = queue_claim(q, "w", now);
    now.wall_ms += 7200000;
    recover(now, NULL, 0, 0);
    now.boot_ms += LEASE_MS;
    now.wall_ms -= 7200000;
    recover(now, NULL, 1, 0);
    (void)job;
}
END_TEST

START_TEST(progress_is_shown)
{
    const char *id = queue_submit(q, "acme", 1);
    aq_job_t job = queue_claim(q, "w", queue_at(0));

    ck_assert_int_eq(aq_queue_progress(q, id, job.token, 3, 10, 1), APR_SUCCESS);
    aq_batch_t *batch = queue_find(q, id);
    ck_assert_int_eq(batch->progress_done, 3);
    ck_assert_int_eq(batch->progress_total, 10);
    ck_assert_int_eq(batch->progress_failed, 1);
    ck_assert_int_gt(batch->version, job.batch->version);
}
END_TEST

START_TEST(counts_are_by_tenant_and_of_all)
{
    aq_queue_now_t now = queue_at(9);
    aq_queue_counts_t counts;

    for (int n = 1; n <= 3; n++) {
        (void)queue_submit(q, "a", n);
        (void)queue_submit(q, "b", 10 + n);
    }
    aq_job_t done = queue_claim(q, "w", queue_at(0)), waiting = queue_claim(q, "w", queue_at(0));
    ck_assert_int_eq(aq_queue_finish(q, done.batch->id, done.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_again(q, waiting.batch->id, waiting.token, &now, 500, "x", NULL), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), APR_SUCCESS);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_QUEUED], 5);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_SUCCEEDED], 1);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_RUNNING], 0);
    ck_assert_int_eq(counts.oldest_queued_at_ms, queue_batch("a", 2).created_at_ms);
    ck_assert_int_eq(aq_queue_counts(q, "b", &counts), APR_SUCCESS);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_QUEUED], 3);
    ck_assert_int_eq(counts.oldest_queued_at_ms, queue_batch("b", 11).created_at_ms);
    ck_assert_int_eq(aq_queue_counts(q, "c", &counts), APR_SUCCESS);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_QUEUED], 0);
    ck_assert_int_eq(counts.oldest_queued_at_ms, 0);
}
END_TEST

START_TEST(expired_batches_go_with_their_idempotency_keys)
{
    aq_batch_t batch = queue_batch("acme", 1), *found;
    aq_queue_now_t now = queue_at(10);
    apr_array_header_t *expired;
    int has_more;
    aq_queue_counts_t counts;

    batch.retention_ms = 1000;
    batch.idempotency_key = "k";
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    aq_job_t job = queue_claim(q, "w", now);
    ck_assert_int_eq(aq_queue_finish(q, batch.id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    now = queue_at(1009);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &now, 10, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(expired->nelts, 0);
    now = queue_at(1010);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &now, 10, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(expired->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(expired, 0, aq_expired_t).id, batch.id);
    ck_assert_int_eq(APR_ARRAY_IDX(expired, 0, aq_expired_t).result_token, job.token);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, batch.id, &found), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_find_key(q, fixture_pool, "acme", "k", &found), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_counts(q, "acme", &counts), APR_SUCCESS);
    ck_assert_int_eq(counts.by_status[AQ_BATCH_SUCCEEDED], 0);
}
END_TEST

START_TEST(no_more_expire_at_once_than_asked_for_and_waiting_ones_never)
{
    aq_queue_now_t now = queue_at(0), far = queue_at(AQ_BATCH_RETENTION_MS * 100);
    apr_array_header_t *expired;
    int has_more;

    for (int n = 0; n < 5; n++) {
        (void)queue_submit(q, "acme", n);
        aq_job_t job = queue_claim(q, "w", now);
        ck_assert_int_eq(aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    }
    (void)queue_submit(q, "acme", 9);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &far, 3, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(expired->nelts, 3);
    ck_assert_int_eq(has_more, 1);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &far, 3, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(expired->nelts, 2);
    ck_assert_int_eq(has_more, 0);
    ck_assert_int_eq(queue_claim(q, "w", far).batch->attempt, 1);
}
END_TEST

START_TEST(texts_with_quotes_and_controls_pass_unchanged)
{
    aq_batch_t batch = queue_batch("'; DROP TABLE batches; --", 1);

    batch.path = "/v1/\"%27\x01\xc3\xa9";
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    aq_batch_t *found = queue_claim(q, "w'", queue_at(0)).batch;
    ck_assert_str_eq(found->tenant, batch.tenant);
    ck_assert_str_eq(found->path, batch.path);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_submitted_batch_is_found_whole);
    tcase_add_test(tests, an_unknown_id_is_not_found);
    tcase_add_test(tests, an_id_is_taken_once);
    tcase_add_test(tests, f66_an_idempotency_key_belongs_to_its_tenant);
    tcase_add_test(tests, a_claim_takes_the_oldest_and_counts_the_attempt);
    tcase_add_test(tests, one_tenants_many_jobs_do_not_delay_anothers_single_one);
    tcase_add_test(tests, tenants_take_turns);
    tcase_add_test(tests, a_finished_batch_tells_how_it_ended_and_is_not_claimed_again);
    tcase_add_test(tests, a_job_that_is_tried_again_waits_and_shows_why);
    tcase_add_test(tests, a_job_that_is_handed_back_is_due_at_once_and_its_attempt_uncounted);
    tcase_add_test(tests, f42_what_a_worker_does_after_its_lease_was_lost_changes_nothing);
    tcase_add_test(tests, renewal_keeps_a_job_and_tells_what_is_held);
    tcase_add_test(tests, jobs_of_an_earlier_boot_are_recovered_at_once);
    tcase_add_test(tests, jobs_of_a_worker_known_to_be_dead_are_recovered_at_once);
    tcase_add_test(tests, f43_a_job_that_kills_its_worker_each_time_fails_in_the_end);
    tcase_add_test(tests, a_job_that_must_not_be_repeated_fails_with_its_worker);
    tcase_add_test(tests, f51_a_stepped_wall_clock_holds_nothing_up);
    tcase_add_test(tests, progress_is_shown);
    tcase_add_test(tests, counts_are_by_tenant_and_of_all);
    tcase_add_test(tests, expired_batches_go_with_their_idempotency_keys);
    tcase_add_test(tests, no_more_expire_at_once_than_asked_for_and_waiting_ones_never);
    tcase_add_test(tests, texts_with_quotes_and_controls_pass_unchanged);
}

int main(void)
{
    return queue_fixture_run("queue", add_tests);
}
