/* SPDX-License-Identifier: Apache-2.0 */
/* The worker, whole, in a process of its own, against a real HTTP backend: what becomes of batches. */
#include "base/aq_clock.h"
#include "unit/worker/worker_fixture.h"

#include <apr_strings.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

START_TEST(a_batch_is_sent_as_the_client_would_have_and_its_answer_kept)
{
    worker_start();
    const char *id = world_submit("/ok");
    aq_batch_t *batch = world_wait_for(id, AQ_BATCH_SUCCEEDED);

    ck_assert_int_eq(batch->response_status, 201);
    ck_assert_int_eq(batch->response.bytes, sizeof WORLD_BODY - 1);
    ck_assert_str_eq(batch->response.content_type, "text/plain");
    ck_assert_str_eq(batch->response.sha256, batch->request.sha256);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(world.spool, fixture_pool, id, batch->result_token)),
                     WORLD_BODY);
    ck_assert_int_eq(batch->attempt, 1);
    ck_assert_ptr_null(batch->error_code);
    ck_assert_int_eq(world.server->effects, 1);
    const char *head = world.server->head;
    ck_assert_ptr_nonnull(strstr(head, "POST /ok?from=client HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\nContent-Type: text/csv\r\n"));
    ck_assert_ptr_nonnull(strstr(head, apr_pstrcat(fixture_pool, "\r\nIdempotency-Key: ", id, "\r\n", NULL)));
    ck_assert_ptr_nonnull(strstr(head, apr_pstrcat(fixture_pool, "\r\nAPIQuota-Batch-Id: ", id, "\r\n", NULL)));
    ck_assert_ptr_nonnull(strstr(head, "\r\nAPIQuota-Batch-Tenant: acme\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\nAPIQuota-Batch-Key-Id: k_1\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\nAPIQuota-Batch-Attempt: 1\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\naccept: application/json\r\n"));
    ck_assert_ptr_null(strstr(head, "secret"));
    ck_assert_ptr_null(strstr(head, "x-evil"));
    ck_assert_ptr_null(strstr(head, "Expect:"));
}
END_TEST

/* Seen once in many: a busy machine may take any time. */
START_TEST(a_new_batch_starts_soon)
{
    int64_t took_ms = INT64_MAX;

    worker_start();
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    for (int i = 0; i < 20 && took_ms >= 1000; i++) {
        world_nap(300); /* the worker is idle now */
        aq_time_ms_t began_ms = aq_clock_boot_ms();
        (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
        took_ms = aq_clock_boot_ms() - began_ms;
    }
    ck_assert_int_lt(took_ms, 1000); /* about 150 on an idle machine */
}
END_TEST

START_TEST(an_answer_that_says_no_fails_the_batch_and_is_kept)
{
    worker_start();
    const char *id = world_submit("/status/422");
    aq_batch_t *batch = world_wait_for(id, AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "target-status");
    ck_assert_str_eq(batch->error_detail, "the target answered 422");
    ck_assert_int_eq(batch->response_status, 422);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(world.spool, fixture_pool, id, batch->result_token)), "no\n");
    ck_assert_int_eq(world.server->requests, 1);
}
END_TEST

START_TEST(a_passing_failure_is_tried_again)
{
    worker_start();
    aq_batch_t *batch = world_wait_for(world_submit("/flaky"), AQ_BATCH_SUCCEEDED);

    ck_assert_int_eq(batch->attempt, 2);
    ck_assert_int_eq(world.server->requests, 2);
    ck_assert_int_eq(world.server->effects, 1);
}
END_TEST

START_TEST(the_last_of_passing_failures_is_kept)
{
    worker_start();
    const char *id = world_submit_to("/status/503", one_attempt);
    aq_batch_t *batch = world_wait_for(id, AQ_BATCH_FAILED);

    ck_assert_int_eq(batch->response_status, 503);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(world.spool, fixture_pool, id, batch->result_token)), "no\n");
}
END_TEST

START_TEST(a_target_that_is_not_there_is_tried_again_and_told)
{
    world_location("/ok")->target = "http://127.0.0.1:1/";
    world_config_write();
    worker_start();
    aq_batch_t *batch = world_wait_for(world_submit_to("/ok", one_attempt), AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "target-unreachable");
    ck_assert_int_eq(batch->response_status, 0);
    ck_assert_int_eq(batch->result_token, 0);
}
END_TEST

/* What was sent by an earlier call of the same thread must not make a refused connection look like a lost one. */
START_TEST(a_refused_connection_had_no_effect_also_after_other_calls)
{
    world.config.threads = 1;
    world_location("/gone")->target = "http://127.0.0.1:1/";
    world_config_write();
    worker_start();
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    const char *id = world_submit_to("/gone", unrepeatable);
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    aq_batch_t *batch = world_wait_for(id, AQ_BATCH_QUEUED);
    ck_assert_str_eq(batch->error_code, "target-unreachable");
    ck_assert_ptr_null(strstr(batch->error_detail, "127.0.0.1"));
}
END_TEST

START_TEST(f67_what_could_do_harm_in_a_replay_is_not_kept)
{
    worker_start();
    aq_batch_t *batch = world_wait_for(world_submit("/headers"), AQ_BATCH_SUCCEEDED);

    ck_assert_str_eq(batch->response_headers, "{\"content-type\":\"text/csv\",\"x-kept\":\"one, two\"}");
}
END_TEST

START_TEST(f50_a_redirect_is_not_followed)
{
    worker_start();
    aq_batch_t *batch = world_wait_for(world_submit("/redirect"), AQ_BATCH_FAILED);

    ck_assert_int_eq(batch->response_status, 302);
    ck_assert_int_eq(world.server->effects, 0);
}
END_TEST

START_TEST(f50_a_target_that_trickles_is_timed_out)
{
    world_location("/trickle")->timeout_ms = 1500;
    world_config_write();
    worker_start();
    aq_batch_t *batch = world_wait_for(world_submit_to("/trickle", one_attempt), AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "target-timeout");
    ck_assert_int_eq(batch->result_token, 0);
}
END_TEST

START_TEST(f50_an_answer_without_end_is_bounded)
{
    worker_start();
    aq_batch_t *batch = world_wait_for(world_submit("/big/100000"), AQ_BATCH_FAILED);

    ck_assert_str_eq(batch->error_code, "response-too-large");
    ck_assert_int_eq(batch->attempt, 1);
}
END_TEST

START_TEST(f50_a_connection_that_is_reset_is_ambiguous)
{
    worker_start();
    aq_batch_t *batch = world_wait_for(world_submit_to("/reset", one_attempt), AQ_BATCH_FAILED);
    ck_assert_str_eq(batch->error_code, "target-lost");
    batch = world_wait_for(world_submit_to("/reset", unrepeatable), AQ_BATCH_FAILED);
    ck_assert_str_eq(batch->error_code, "outcome-unknown");
    ck_assert_int_eq(batch->attempt, 1);
}
END_TEST

START_TEST(f47_a_body_that_is_gone_or_changed_is_never_sent)
{
    const char *gone = world_submit("/ok"), *changed = world_submit("/ok");

    ck_assert_int_eq(aq_spool_body_remove(world.spool, fixture_pool, gone), APR_SUCCESS);
    fixture_write(aq_spool_body_path(world.spool, fixture_pool, changed), "id,name\n1,two\n");
    worker_start();
    ck_assert_str_eq(world_wait_for(gone, AQ_BATCH_FAILED)->error_code, "body-missing");
    ck_assert_str_eq(world_wait_for(changed, AQ_BATCH_FAILED)->error_code, "body-changed");
    ck_assert_int_eq(world.server->requests, 0);
}
END_TEST

static void long_ago(aq_batch_t *batch)
{
    batch->created_at_ms -= INT64_C(25) * 3600 * 1000;
}

START_TEST(a_batch_whose_location_is_gone_waits_but_not_for_ever)
{
    worker_start();
    const char *waits = world_submit("/gone"), *waited = world_submit_to("/gone", long_ago);

    ck_assert_str_eq(world_wait_for(waited, AQ_BATCH_FAILED)->error_code, "waited-too-long");
    (void)world_wait_for(world_submit("/ok"), AQ_BATCH_SUCCEEDED);
    aq_batch_t *batch = queue_find(world.queue, waits);
    ck_assert_int_eq(batch->status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(batch->attempt, 0);
    ck_assert_int_gt(batch->next_attempt_at_ms, batch->created_at_ms);
}
END_TEST

static void soon_over(aq_batch_t *batch)
{
    batch->retention_ms = 2000; /* longer than the first worker takes to sweep */
}

START_TEST(what_has_expired_goes_with_its_files)
{
    aq_batch_t *found;

    worker_start();
    const char *id = world_submit_to("/ok", soon_over);
    aq_batch_t *batch = world_wait_for(id, AQ_BATCH_SUCCEEDED);
    worker_kill(SIGTERM);
    ck_assert_int_eq(worker_end(), 0);
    world_nap(2100); /* not a wait for another: the clock of a worker cannot be set */
    worker_start();  /* it sweeps at its start */
    const char *result = aq_spool_result_path(world.spool, fixture_pool, id, batch->result_token);
    for (aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
         access(result, F_OK) == 0 && aq_clock_boot_ms() < until_ms;) {
        world_nap(10);
    }
    ck_assert_int_ne(access(result, F_OK), 0);
    ck_assert_int_ne(access(aq_spool_body_path(world.spool, fixture_pool, id), F_OK), 0);
    ck_assert_int_eq(aq_queue_find(world.queue, fixture_pool, id, &found), APR_NOTFOUND);
}
END_TEST

START_TEST(many_batches_are_each_done_once)
{
    const char *ids[40];

    for (int i = 0; i < 40; i++) {
        ids[i] = world_submit("/ok");
    }
    worker_start();
    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(world_wait_for(ids[i], AQ_BATCH_SUCCEEDED)->attempt, 1);
    }
    ck_assert_int_eq(world.server->requests, 40);
    ck_assert_int_eq(world.server->effects, 40);
}
END_TEST

START_TEST(it_does_not_start_without_a_configuration)
{
    ck_assert_int_eq(unlink(world.options.config_file), 0);
    worker_start();
    ck_assert_int_eq(worker_end(), 1);
    fixture_write(world.options.config_file, "{}");
    worker_start();
    ck_assert_int_eq(worker_end(), 1);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, world_setup, world_teardown);
    tcase_add_test(tests, a_batch_is_sent_as_the_client_would_have_and_its_answer_kept);
    tcase_add_test(tests, a_new_batch_starts_soon);
    tcase_add_test(tests, an_answer_that_says_no_fails_the_batch_and_is_kept);
    tcase_add_test(tests, a_passing_failure_is_tried_again);
    tcase_add_test(tests, the_last_of_passing_failures_is_kept);
    tcase_add_test(tests, a_target_that_is_not_there_is_tried_again_and_told);
    tcase_add_test(tests, a_refused_connection_had_no_effect_also_after_other_calls);
    tcase_add_test(tests, f67_what_could_do_harm_in_a_replay_is_not_kept);
    tcase_add_test(tests, f50_a_redirect_is_not_followed);
    tcase_add_test(tests, f50_a_target_that_trickles_is_timed_out);
    tcase_add_test(tests, f50_an_answer_without_end_is_bounded);
    tcase_add_test(tests, f50_a_connection_that_is_reset_is_ambiguous);
    tcase_add_test(tests, f47_a_body_that_is_gone_or_changed_is_never_sent);
    tcase_add_test(tests, a_batch_whose_location_is_gone_waits_but_not_for_ever);
    tcase_add_test(tests, what_has_expired_goes_with_its_files);
    tcase_add_test(tests, many_batches_are_each_done_once);
    tcase_add_test(tests, it_does_not_start_without_a_configuration);
}

int main(void)
{
    return fixture_run("worker", add_tests);
}
