/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every queue promises of messages to webhooks: a claim owns a message while its lease lasts; tenants are served in turn.
 * Which ends of a batch leave one is in test_queue_webhook_ends.c.
 */
#include "contract/webhook_fixture.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 4
#define MESSAGES 60

static const char *path;
static aq_queue_t *q;

static void setup(void)
{
    path = queue_path_new();
    q = queue_open(path);
}

static void teardown(void)
{
    aq_queue_close(q);
}

static aq_webhook_t *find(const char *id)
{
    aq_webhook_t *webhook;

    ck_assert_int_eq(aq_queue_webhook_find(q, fixture_pool, id, &webhook), APR_SUCCESS);
    return webhook;
}

/* A batch that wants a webhook and is canceled at `ms`; its message's ID. */
static const char *message(const char *tenant, int n, int64_t ms)
{
    const char *id = webhook_submit(q, tenant, n);
    aq_queue_now_t now = queue_at(ms);
    aq_batch_t *batch;

    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, id, &now, &batch), APR_SUCCESS);
    return apr_psprintf(fixture_pool, AQ_WEBHOOK_ID_PREFIX "%s_%" APR_INT64_T_FMT, id + strlen("batch_"),
                        batch->version);
}

static apr_status_t finish(const aq_delivery_t *delivery, int64_t ms, aq_webhook_state_t state, int64_t wait_ms)
{
    aq_queue_now_t now = queue_at(ms);
    aq_delivery_result_t result = {
        .outcome = {.state = state, .wait_ms = wait_ms}, .status = 500, .error = "the receiver answered 500"};

    return aq_queue_webhook_finish(q, delivery->webhook->id, delivery->token, &now, &result);
}

/* ---- claims ----------------------------------------------------------------------------------------------------- */

START_TEST(a_message_is_claimed_once_and_ended_by_who_claimed_it)
{
    const char *id = message("acme", 1, 10);
    aq_delivery_t delivery = webhook_claim(q, 20), other;

    ck_assert_str_eq(delivery.webhook->id, id);
    ck_assert_int_eq(delivery.webhook->attempts, 1);
    ck_assert_int_eq(delivery.webhook->last_attempt_at_ms, queue_at(20).wall_ms);
    webhook_claim_none(q, 20);
    other = delivery;
    other.token++;
    ck_assert_int_eq(finish(&other, 30, AQ_WEBHOOK_DELIVERED, 0), APR_NOTFOUND);
    ck_assert_int_eq(find(id)->state, AQ_WEBHOOK_PENDING);
    ck_assert_int_eq(finish(&delivery, 30, AQ_WEBHOOK_DELIVERED, 0), APR_SUCCESS);
    const aq_webhook_t *webhook = find(id);
    ck_assert_int_eq(webhook->state, AQ_WEBHOOK_DELIVERED);
    ck_assert_int_eq(webhook->delivered_at_ms, queue_at(30).wall_ms);
    ck_assert_int_eq(webhook->expires_at_ms, queue_at(30).wall_ms + AQ_WEBHOOK_KEPT_MS);
    ck_assert_int_eq(webhook->last_status, 500);
    ck_assert_str_eq(webhook->last_error, "the receiver answered 500");
    ck_assert_int_eq(finish(&delivery, 40, AQ_WEBHOOK_FAILED, 0), APR_NOTFOUND);
    webhook_claim_none(q, 1000000);
}
END_TEST

START_TEST(a_message_that_waits_is_claimed_when_it_is_due)
{
    const char *id = message("acme", 1, 10);
    aq_delivery_t delivery = webhook_claim(q, 20);

    ck_assert_int_eq(finish(&delivery, 30, AQ_WEBHOOK_PENDING, 5000), APR_SUCCESS);
    ck_assert_int_eq(find(id)->next_attempt_at_ms, queue_at(5030).wall_ms);
    webhook_claim_none(q, 5029);
    delivery = webhook_claim(q, 5030);
    ck_assert_str_eq(delivery.webhook->id, id);
    ck_assert_int_eq(delivery.webhook->attempts, 2);
}
END_TEST

START_TEST(an_attempt_that_was_not_made_is_uncounted)
{
    const char *id = message("acme", 1, 10);
    aq_delivery_t delivery = webhook_claim(q, 20);
    aq_queue_now_t now = queue_at(30);
    aq_delivery_result_t result = {.outcome = {.state = AQ_WEBHOOK_PENDING}, .is_uncounted = 1};

    ck_assert_int_eq(aq_queue_webhook_finish(q, id, delivery.token, &now, &result), APR_SUCCESS);
    ck_assert_int_eq(find(id)->attempts, 0);
    ck_assert_int_eq(webhook_claim(q, 30).webhook->attempts, 1);
}
END_TEST

START_TEST(a_message_is_due_at_once_whatever_the_clock_says_later)
{
    (void)message("acme", 1, 10);
    (void)webhook_claim(q, -3600000);
}
END_TEST

START_TEST(tenants_are_served_in_turn_and_within_their_bound)
{
    static const char *const order[] = {"a", "b", "c", "a", "a"};
    aq_delivery_t deliveries[5];

    for (int n = 0; n < 10; n++) {
        (void)message("a", n, 10);
    }
    (void)message("b", 1, 10);
    (void)message("c", 1, 10);
    for (int i = 0; i < 5; i++) {
        deliveries[i] = webhook_claim(q, 20);
        ck_assert_str_eq(deliveries[i].webhook->tenant, order[i]);
    }
    webhook_claim_none(q, 20);
    ck_assert_int_eq(finish(&deliveries[0], 30, AQ_WEBHOOK_DELIVERED, 0), APR_SUCCESS);
    ck_assert_str_eq(webhook_claim(q, 30).webhook->tenant, "a");
    (void)message("d", 1, 40);
    ck_assert_str_eq(webhook_claim(q, 40).webhook->tenant, "d");
    webhook_claim_none(q, 40);
}
END_TEST

START_TEST(a_tenant_is_claimed_for_in_the_order_of_its_messages)
{
    const char *first = message("a", 2, 10), *second = message("a", 1, 20);

    ck_assert_str_eq(webhook_claim(q, 30).webhook->id, first);
    ck_assert_str_eq(webhook_claim(q, 30).webhook->id, second);
}
END_TEST

START_TEST(claims_of_a_dead_worker_are_due_again)
{
    const char *id = message("acme", 1, 10);
    aq_delivery_t delivery = webhook_claim(q, 20);

    webhook_recover(q, "other", 30);
    webhook_claim_none(q, 30);
    webhook_recover(q, "w", 30);
    ck_assert_int_eq(finish(&delivery, 30, AQ_WEBHOOK_DELIVERED, 0), APR_NOTFOUND);
    ck_assert_int_eq(find(id)->attempts, 1);
    ck_assert_int_eq(webhook_claim(q, 30).webhook->attempts, 2);
}
END_TEST

START_TEST(claims_whose_lease_is_over_are_due_again)
{
    (void)message("acme", 1, 10);
    (void)webhook_claim(q, 20);
    webhook_recover(q, NULL, 20 + LEASE_MS - 1);
    webhook_claim_none(q, 20 + LEASE_MS - 1);
    webhook_recover(q, NULL, 20 + LEASE_MS);
    (void)webhook_claim(q, 20 + LEASE_MS);
    aq_queue_now_t later = {.wall_ms = queue_at(30).wall_ms, .boot_ms = 1, .boot_id = "next-boot"};
    unsigned recovered, failed;
    ck_assert_int_eq(aq_queue_recover(q, &later, NULL, &recovered, &failed), APR_SUCCESS);
    (void)webhook_claim(q, 40);
}
END_TEST

START_TEST(a_message_that_kills_its_worker_each_time_is_given_up)
{
    const char *id = message("acme", 1, 10);

    for (int attempt = 1; attempt <= AQ_WEBHOOK_ATTEMPTS_MAX; attempt++) {
        ck_assert_int_eq(find(id)->state, AQ_WEBHOOK_PENDING);
        (void)webhook_claim(q, 20);
        webhook_recover(q, "w", 30);
    }
    const aq_webhook_t *webhook = find(id);
    ck_assert_int_eq(webhook->state, AQ_WEBHOOK_FAILED);
    ck_assert_str_eq(webhook->last_error, "worker-lost");
    ck_assert_int_eq(webhook->expires_at_ms, queue_at(30).wall_ms + AQ_WEBHOOK_KEPT_MS);
    webhook_claim_none(q, 40);
}
END_TEST

/* ---- what operators ask ----------------------------------------------------------------------------------------- */

START_TEST(a_message_is_sent_again_for_an_operator)
{
    const char *id = message("acme", 1, 10);
    aq_delivery_t delivery = webhook_claim(q, 20);

    ck_assert_int_eq(aq_queue_webhook_retry(q, "msg_none"), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_webhook_retry(q, id), APR_EBUSY);
    ck_assert_int_eq(finish(&delivery, 30, AQ_WEBHOOK_FAILED, 0), APR_SUCCESS);
    webhook_claim_none(q, 40);
    ck_assert_int_eq(aq_queue_webhook_retry(q, id), APR_SUCCESS);
    const aq_webhook_t *webhook = find(id);
    ck_assert_int_eq(webhook->state, AQ_WEBHOOK_PENDING);
    ck_assert_int_eq(webhook->attempts, 0);
    ck_assert_int_eq(webhook->expires_at_ms, 0);
    delivery = webhook_claim(q, 50);
    ck_assert_int_eq(delivery.webhook->attempts, 1);
    ck_assert_int_eq(finish(&delivery, 60, AQ_WEBHOOK_PENDING, 5000), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_webhook_retry(q, id), APR_SUCCESS);
    (void)webhook_claim(q, 70);
}
END_TEST

START_TEST(a_test_message_tells_of_no_batch)
{
    aq_queue_now_t now = queue_at(10);

    ck_assert_int_eq(aq_queue_webhook_test(q, "msg_test_0", "acme", &now), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_webhook_test(q, "msg_test_0", "acme", &now), APR_EEXIST);
    aq_delivery_t delivery = webhook_claim(q, 10);
    ck_assert_str_eq(delivery.webhook->id, "msg_test_0");
    ck_assert_str_eq(delivery.webhook->tenant, "acme");
    ck_assert_ptr_null(delivery.webhook->batch_id);
    ck_assert_int_eq(delivery.webhook->finished_at_ms, now.wall_ms);
}
END_TEST

START_TEST(messages_are_listed_newest_first_by_tenant_and_state)
{
    aq_webhook_query_t two = {.tenant = "a", .state = -1, .limit = 2};
    apr_array_header_t *webhooks;
    const char *ids[3];

    for (int n = 0; n < 3; n++) {
        ids[n] = message("a", n, 10);
    }
    (void)message("b", 0, 10);
    aq_delivery_t delivery = webhook_claim(q, 20);
    ck_assert_int_eq(finish(&delivery, 20, AQ_WEBHOOK_DELIVERED, 0), APR_SUCCESS);
    ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, 4);
    ck_assert_str_eq(webhook_nth(webhook_list(q, NULL, -1), 0)->tenant, "b");
    ck_assert_int_eq(webhook_list(q, "a", AQ_WEBHOOK_PENDING)->nelts, 2);
    ck_assert_int_eq(webhook_list(q, NULL, AQ_WEBHOOK_DELIVERED)->nelts, 1);
    ck_assert_int_eq(aq_queue_webhook_list(q, fixture_pool, &two, &webhooks), APR_SUCCESS);
    ck_assert_int_eq(webhooks->nelts, 2);
    ck_assert_str_eq(webhook_nth(webhooks, 0)->id, ids[2]);
    ck_assert_str_eq(webhook_nth(webhooks, 1)->id, ids[1]);
}
END_TEST

START_TEST(messages_go_when_they_have_been_kept_long_enough)
{
    const char *id = message("acme", 1, 10), *pending = message("acme", 2, 10);
    aq_delivery_t delivery = webhook_claim(q, 20);
    apr_array_header_t *expired;
    int has_more;
    aq_webhook_t *webhook;

    ck_assert_int_eq(finish(&delivery, 20, AQ_WEBHOOK_DELIVERED, 0), APR_SUCCESS);
    aq_queue_now_t early = queue_at(20 + AQ_WEBHOOK_KEPT_MS - 1), late = queue_at(20 + AQ_WEBHOOK_KEPT_MS);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &early, 100, &expired, &has_more), APR_SUCCESS);
    (void)find(id);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &late, 100, &expired, &has_more), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_webhook_find(q, fixture_pool, id, &webhook), APR_NOTFOUND);
    ck_assert_ptr_null(webhook);
    (void)find(pending);
    (void)webhook_claim(q, 50);
}
END_TEST

START_TEST(that_more_messages_are_past_their_time_is_told)
{
    aq_queue_now_t late = queue_at(20 + AQ_WEBHOOK_KEPT_MS);
    apr_array_header_t *expired;
    int has_more;

    for (int n = 0; n < 5; n++) {
        aq_queue_now_t now = queue_at(10);
        ck_assert_int_eq(aq_queue_webhook_test(q, apr_psprintf(fixture_pool, "msg_%d", n), "acme", &now), APR_SUCCESS);
        aq_delivery_t delivery = webhook_claim(q, 20);
        ck_assert_int_eq(finish(&delivery, 20, AQ_WEBHOOK_DELIVERED, 0), APR_SUCCESS);
    }
    for (int left = 5; left > 0; left -= 2) {
        ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, left);
        ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &late, 2, &expired, &has_more), APR_SUCCESS);
        ck_assert_int_eq(expired->nelts, 0);
        ck_assert_int_eq(has_more, left >= 2);
    }
    ck_assert_int_eq(webhook_list(q, NULL, -1)->nelts, 0);
}
END_TEST

/* ---- many at once ----------------------------------------------------------------------------------------------- */

/* Claims until nothing is due, and writes the ID of each message to `fd`. */
static void claim_all(const char *worker, int fd)
{
    aq_queue_t *own = queue_open(path);
    aq_queue_now_t now = queue_at(20);
    aq_delivery_t delivery;

    while (aq_queue_webhook_claim(own, fixture_pool, worker, &now, LEASE_MS, MESSAGES, &delivery) == APR_SUCCESS) {
        char line[AQ_WEBHOOK_ID_SIZE + 1];
        int size = snprintf(line, sizeof line, "%s\n", delivery.webhook->id);
        if (write(fd, line, (size_t)size) != size) {
            _exit(1);
        }
    }
    aq_queue_close(own);
    _exit(0);
}

START_TEST(each_message_has_one_owner_however_many_workers_claim)
{
    pid_t children[PROCESSES];
    char text[MESSAGES * AQ_WEBHOOK_ID_SIZE + 1] = "";
    int ends[2], status;

    for (int n = 0; n < MESSAGES; n++) {
        (void)message(n % 2 == 0 ? "a" : "b", n, 10);
    }
    ck_assert_int_eq(pipe(ends), 0);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fixture_fork();
        if (children[i] == 0) {
            claim_all(apr_psprintf(fixture_pool, "w%d", i), ends[1]);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(close(ends[1]), 0);
    for (size_t got = 0, size = 1; size > 0; got += size) {
        ssize_t more = read(ends[0], text + got, sizeof text - 1 - got);
        size = more > 0 ? (size_t)more : 0;
    }
    apr_array_header_t *webhooks = webhook_list(q, NULL, -1);
    for (int i = 0; i < webhooks->nelts; i++) {
        const char *at = strstr(text, webhook_nth(webhooks, i)->id);
        ck_assert_ptr_nonnull(at);
        ck_assert_ptr_null(strstr(at + 1, webhook_nth(webhooks, i)->id));
    }
    ck_assert_int_eq(webhooks->nelts, MESSAGES);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_message_is_claimed_once_and_ended_by_who_claimed_it);
    tcase_add_test(tests, a_message_that_waits_is_claimed_when_it_is_due);
    tcase_add_test(tests, an_attempt_that_was_not_made_is_uncounted);
    tcase_add_test(tests, a_message_is_due_at_once_whatever_the_clock_says_later);
    tcase_add_test(tests, tenants_are_served_in_turn_and_within_their_bound);
    tcase_add_test(tests, a_tenant_is_claimed_for_in_the_order_of_its_messages);
    tcase_add_test(tests, claims_of_a_dead_worker_are_due_again);
    tcase_add_test(tests, claims_whose_lease_is_over_are_due_again);
    tcase_add_test(tests, a_message_that_kills_its_worker_each_time_is_given_up);
    tcase_add_test(tests, a_message_is_sent_again_for_an_operator);
    tcase_add_test(tests, a_test_message_tells_of_no_batch);
    tcase_add_test(tests, messages_are_listed_newest_first_by_tenant_and_state);
    tcase_add_test(tests, messages_go_when_they_have_been_kept_long_enough);
    tcase_add_test(tests, that_more_messages_are_past_their_time_is_told);
    tcase_add_test(tests, each_message_has_one_owner_however_many_workers_claim);
}

int main(void)
{
    return queue_fixture_run("queue_webhooks", add_tests);
}
