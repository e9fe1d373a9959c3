/* SPDX-License-Identifier: Apache-2.0 */
/* What every queue promises of bounds: how much of a tenant is taken, and how much runs at once. */
#include "contract/queue_fixture.h"

#include <apr_strings.h>
#include <errno.h>

static aq_queue_t *q;

static void setup(void)
{
    q = queue_open(queue_path_new());
}

static void teardown(void)
{
    aq_queue_close(q);
}

START_TEST(bounds_refuse_a_tenant_and_no_other)
{
    aq_queue_bounds_t two = {.queued_most = 2}, bytes = {.bytes_most = 12 + 5 + 12};
    aq_batch_t batch = queue_batch("acme", 100), *found;

    (void)queue_finished(q, "acme", 1, &QUEUE_DONE); /* 12 bytes and 5 */
    ck_assert_int_eq(aq_queue_submit(q, &batch, &bytes, fixture_pool), APR_SUCCESS);
    batch = queue_batch("acme", 101);
    ck_assert_int_eq(aq_queue_submit(q, &batch, &bytes, fixture_pool), EDQUOT);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, batch.id, &found), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_submit(q, &batch, &two, fixture_pool), APR_SUCCESS);
    batch = queue_batch("acme", 102);
    ck_assert_int_eq(aq_queue_submit(q, &batch, &two, fixture_pool), APR_EAGAIN);
    batch = queue_batch("other", 103);
    ck_assert_int_eq(aq_queue_submit(q, &batch, &two, fixture_pool), APR_SUCCESS);
    (void)queue_claim(q, "w", queue_at(200));
    (void)queue_claim(q, "w", queue_at(200));
    batch = queue_batch("acme", 102);
    ck_assert_int_eq(aq_queue_submit(q, &batch, &two, fixture_pool), APR_SUCCESS);
}
END_TEST

START_TEST(use_counts_bodies_and_results_until_they_are_gone)
{
    aq_queue_use_t use;
    aq_expired_t gone;
    const char *id = queue_finished(q, "acme", 1, &QUEUE_DONE);

    (void)queue_submit(q, "acme", 2);
    ck_assert_int_eq(aq_queue_use(q, "acme", &use), APR_SUCCESS);
    ck_assert_int_eq(use.queued, 1);
    ck_assert_int_eq(use.bytes, 12 + 5 + 12);
    ck_assert_int_eq(aq_queue_remove(q, id, &gone), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_use(q, "acme", &use), APR_SUCCESS);
    ck_assert_int_eq(use.bytes, 12);
    ck_assert_int_eq(aq_queue_use(q, "nobody", &use), APR_SUCCESS);
    ck_assert_int_eq(use.queued + use.bytes, 0);
}
END_TEST

START_TEST(a_repeated_request_is_told_of_its_batch_also_where_there_is_no_room)
{
    aq_queue_bounds_t one = {.queued_most = 1};
    aq_batch_t batch = queue_batch("acme", 1), again = queue_batch("acme", 2);

    batch.idempotency_key = again.idempotency_key = "k";
    ck_assert_int_eq(aq_queue_submit(q, &batch, &one, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_submit(q, &again, &one, fixture_pool), APR_EEXIST);
}
END_TEST

static const char *submit_at(const char *tenant, const char *location, int n)
{
    aq_batch_t batch = queue_batch(tenant, n);

    batch.location = location;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    return apr_pstrdup(fixture_pool, batch.id);
}

/* Whom the next job within the limits is of: "tenant location", or "none". */
static const char *next_within(const aq_queue_limits_t *limits)
{
    aq_queue_now_t now = queue_at(100);
    aq_job_t job;

    if (aq_queue_claim(q, fixture_pool, "w", &now, LEASE_MS, limits, &job) != APR_SUCCESS) {
        ck_assert_ptr_null(job.batch);
        return "none";
    }
    return apr_pstrcat(fixture_pool, job.batch->tenant, " ", job.batch->location, NULL);
}

START_TEST(a_tenant_runs_no_more_than_it_may_and_delays_no_other)
{
    aq_queue_limits_t limits = {.tenant_most = 2};

    for (int n = 0; n < 10; n++) {
        (void)submit_at("a", n % 2 ? "/x" : "/y", n);
    }
    ck_assert_str_eq(next_within(&limits), "a /y");
    ck_assert_str_eq(next_within(&limits), "a /x");
    ck_assert_str_eq(next_within(&limits), "none");
    (void)submit_at("b", "/x", 20);
    ck_assert_str_eq(next_within(&limits), "b /x");
    ck_assert_str_eq(next_within(&limits), "none");
    ck_assert_str_eq(next_within(NULL), "a /y");
}
END_TEST

START_TEST(a_location_runs_no_more_than_it_may_of_each_tenant_or_of_all)
{
    aq_concurrency_t each = {.most = 1}, all = {.most = 2, .per_endpoint = 1}, roomy = {.most = 3};
    aq_queue_limits_t limits = {.tenant_most = 2, .locations = apr_hash_make(fixture_pool)};
    aq_queue_now_t now = queue_at(100);
    aq_job_t job;

    apr_hash_set(limits.locations, "/each", APR_HASH_KEY_STRING, &each);
    apr_hash_set(limits.locations, "/all", APR_HASH_KEY_STRING, &all);
    apr_hash_set(limits.locations, "/roomy", APR_HASH_KEY_STRING, &roomy);
    for (int n = 0; n < 2; n++) {
        (void)submit_at("a", "/each", n);
        (void)submit_at("b", "/each", 10 + n);
    }
    ck_assert_str_eq(next_within(&limits), "a /each");
    ck_assert_str_eq(next_within(&limits), "b /each");
    ck_assert_str_eq(next_within(&limits), "none");
    (void)submit_at("c", "/all", 20);
    (void)submit_at("d", "/all", 21);
    (void)submit_at("e", "/all", 22);
    ck_assert_str_eq(next_within(&limits), "c /all");
    ck_assert_int_eq(aq_queue_claim(q, fixture_pool, "w", &now, LEASE_MS, &limits, &job), APR_SUCCESS);
    ck_assert_str_eq(next_within(&limits), "none");
    ck_assert_int_eq(aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_str_eq(next_within(&limits), "e /all");
    for (int n = 0; n < 5; n++) {
        (void)submit_at("f", "/roomy", 30 + n);
    }
    for (int n = 0; n < 3; n++) {
        ck_assert_str_eq(next_within(&limits), "f /roomy");
    }
    ck_assert_str_eq(next_within(&limits), "none");
}
END_TEST

START_TEST(a_full_location_holds_up_no_other_and_takes_no_turn)
{
    aq_concurrency_t one = {.most = 1, .per_endpoint = 1};
    aq_queue_limits_t limits = {.tenant_most = 9, .locations = apr_hash_make(fixture_pool)};
    aq_queue_now_t now = queue_at(100);
    aq_job_t job;

    apr_hash_set(limits.locations, "/full", APR_HASH_KEY_STRING, &one);
    (void)submit_at("z", "/full", 0);
    ck_assert_int_eq(aq_queue_claim(q, fixture_pool, "w", &now, LEASE_MS, &limits, &job), APR_SUCCESS);
    (void)submit_at("a", "/full", 1);
    (void)submit_at("a", "/x", 2);
    (void)submit_at("b", "/full", 3);
    (void)submit_at("c", "/x", 4);
    (void)submit_at("a", "/x", 5);
    ck_assert_str_eq(next_within(&limits), "a /x");
    ck_assert_str_eq(next_within(&limits), "c /x");
    ck_assert_str_eq(next_within(&limits), "a /x");
    ck_assert_str_eq(next_within(&limits), "none");
    ck_assert_int_eq(aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_str_eq(next_within(&limits), "b /full"); /* who has waited since before a was served */
    ck_assert_str_eq(next_within(&limits), "none");
    ck_assert_str_eq(next_within(NULL), "a /full");
}
END_TEST

/* Woken jobs that may not run must neither be lost nor be woken again and again. */
START_TEST(a_job_that_is_due_again_but_held_up_runs_when_it_may)
{
    aq_queue_limits_t limits = {.tenant_most = 1};
    aq_queue_now_t now = queue_at(10);
    const char *first = submit_at("a", "/x", 1);
    aq_job_t job = queue_claim(q, "w", now);

    ck_assert_int_eq(aq_queue_again(q, first, job.token, &now, 20, "x", NULL), APR_SUCCESS);
    (void)submit_at("a", "/x", 2);
    job = queue_claim(q, "w", queue_at(11));
    ck_assert_str_eq(next_within(&limits), "none");
    ck_assert_int_eq(aq_queue_finish(q, job.batch->id, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_str_eq(next_within(&limits), "a /x");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, bounds_refuse_a_tenant_and_no_other);
    tcase_add_test(tests, use_counts_bodies_and_results_until_they_are_gone);
    tcase_add_test(tests, a_repeated_request_is_told_of_its_batch_also_where_there_is_no_room);
    tcase_add_test(tests, a_tenant_runs_no_more_than_it_may_and_delays_no_other);
    tcase_add_test(tests, a_location_runs_no_more_than_it_may_of_each_tenant_or_of_all);
    tcase_add_test(tests, a_full_location_holds_up_no_other_and_takes_no_turn);
    tcase_add_test(tests, a_job_that_is_due_again_but_held_up_runs_when_it_may);
}

int main(void)
{
    return queue_fixture_run("queue_limits", add_tests);
}
