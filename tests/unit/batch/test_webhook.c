/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhook messages: what they say, how they are signed, and what becomes of them.
 */
#include "batch/webhook.h"

#include "base/aq_json.h"
#include "unit/fixture.h"

#include <apr_encode.h>
#include <string.h>

#define MS_PER_MIN INT64_C(60000)
#define MS_PER_HOUR INT64_C(3600000)

static aq_webhook_t ended(aq_batch_status_t status)
{
    return (aq_webhook_t){
        .id = "msg_01hf0000000000000000000000_4",
        .tenant = "acme",
        .batch_id = "batch_01hf0000000000000000000000",
        .status = status,
        .created_at_ms = INT64_C(1700000000000),
        .started_at_ms = INT64_C(1700000001000),
        .finished_at_ms = INT64_C(1700000002500),
        .attempt = 2,
    };
}

static json_t *payload(const aq_webhook_t *webhook)
{
    const char *text = aq_webhook_payload(fixture_pool, webhook);

    ck_assert_ptr_nonnull(text);
    json_t *json = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(json);
    return json;
}

static const struct {
    aq_batch_status_t status;
    const char *type;
} TYPES[] = {
    {AQ_BATCH_SUCCEEDED, "batch.succeeded"},
    {AQ_BATCH_FAILED, "batch.failed"},
    {AQ_BATCH_CANCELED, "batch.canceled"},
};

START_TEST(a_message_says_what_became_of_which_batch)
{
    aq_webhook_t webhook = ended(TYPES[_i].status);
    json_t *json = payload(&webhook), *data = json_object_get(json, "data");

    ck_assert_str_eq(aq_json_string(json, "type"), TYPES[_i].type);
    ck_assert_str_eq(aq_json_string(json, "timestamp"), "2023-11-14T22:13:22.500Z");
    ck_assert_str_eq(aq_json_string(data, "id"), webhook.batch_id);
    ck_assert_str_eq(aq_json_string(data, "status"), aq_batch_status_name(TYPES[_i].status));
    ck_assert_str_eq(aq_json_string(data, "finished_at"), "2023-11-14T22:13:22.500Z");
    json_decref(json);
}
END_TEST

START_TEST(a_message_holds_what_its_batch_says_and_nothing_more)
{
    aq_webhook_t webhook = ended(AQ_BATCH_FAILED);

    webhook.response_status = 422;
    webhook.progress_done = 7;
    webhook.progress_total = 9;
    webhook.progress_failed = 2;
    webhook.error_code = "target-status";
    webhook.error_detail = "the target answered 422";
    webhook.metadata = "{\"order\":5}";
    ck_assert_str_eq(aq_webhook_payload(fixture_pool, &webhook),
                     "{\"type\":\"batch.failed\",\"timestamp\":\"2023-11-14T22:13:22.500Z\",\"data\":{"
                     "\"id\":\"batch_01hf0000000000000000000000\",\"status\":\"failed\","
                     "\"created_at\":\"2023-11-14T22:13:20.000Z\",\"started_at\":\"2023-11-14T22:13:21.000Z\","
                     "\"finished_at\":\"2023-11-14T22:13:22.500Z\",\"attempt\":2,"
                     "\"progress\":{\"done\":7,\"total\":9,\"failed\":2},\"response\":{\"status\":422},"
                     "\"error\":{\"code\":\"target-status\",\"detail\":\"the target answered 422\"},"
                     "\"metadata\":{\"order\":5}}}");
}
END_TEST

START_TEST(what_a_batch_never_had_is_null)
{
    aq_webhook_t webhook = ended(AQ_BATCH_CANCELED);

    webhook.started_at_ms = 0;
    webhook.metadata = "{";
    json_t *json = payload(&webhook), *data = json_object_get(json, "data");
    const char *const names[] = {"started_at", "response", "error", "metadata"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ck_assert_msg(json_is_null(json_object_get(data, names[i])), "%s", names[i]);
    }
    ck_assert(json_is_null(json_object_get(json_object_get(data, "progress"), "total")));
    json_decref(json);
}
END_TEST

START_TEST(a_test_message_tells_of_no_batch)
{
    aq_webhook_t webhook = {.tenant = "acme", .finished_at_ms = INT64_C(1700000000000)};
    unsigned char random[10] = {1, 2, 3};

    aq_webhook_test_id_write(webhook.id, webhook.finished_at_ms, random);
    ck_assert_str_eq(webhook.id, "msg_01hf7yat000410600000000000_0");
    ck_assert_str_eq(aq_webhook_payload(fixture_pool, &webhook),
                     "{\"type\":\"webhook.test\",\"timestamp\":\"2023-11-14T22:13:20.000Z\",\"data\":{}}");
}
END_TEST

/* The example of the standard's own libraries. */
START_TEST(a_signature_is_that_of_the_standard)
{
    static const char secret_text[] = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    unsigned char secret[64];
    apr_size_t size;

    ck_assert_int_eq(apr_decode_base64_binary(secret, secret_text, APR_ENCODE_STRING, APR_ENCODE_NONE, &size),
                     APR_SUCCESS);
    ck_assert_str_eq(aq_webhook_sign(fixture_pool, secret, size, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                                     "{\"test\": 2432232314}"),
                     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}
END_TEST

static const int64_t SCHEDULE[] = {
    5000,
    5 * MS_PER_MIN,
    30 * MS_PER_MIN,
    2 * MS_PER_HOUR,
    5 * MS_PER_HOUR,
    10 * MS_PER_HOUR,
    14 * MS_PER_HOUR,
    20 * MS_PER_HOUR,
    24 * MS_PER_HOUR,
};

START_TEST(attempts_follow_the_schedule_spread_by_a_tenth)
{
    aq_webhook_attempt_t attempt = {.end = AQ_WEBHOOK_UNREACHABLE, .attempts = _i + 1};
    double wait = (double)SCHEDULE[_i];

    ck_assert_int_eq(aq_webhook_decide(&attempt, 0.5).state, AQ_WEBHOOK_PENDING);
    ck_assert_int_eq(aq_webhook_decide(&attempt, 0.5).wait_ms, SCHEDULE[_i]);
    ck_assert_int_eq(aq_webhook_decide(&attempt, 0).wait_ms, (int64_t)(wait * 0.9));
    ck_assert_double_le((double)aq_webhook_decide(&attempt, 0.999999).wait_ms, wait * 1.1);
    ck_assert_double_gt((double)aq_webhook_decide(&attempt, 0.999999).wait_ms, wait * 1.099);
}
END_TEST

START_TEST(the_last_attempt_is_the_last)
{
    aq_webhook_attempt_t attempt = {.end = AQ_WEBHOOK_UNREACHABLE, .attempts = AQ_WEBHOOK_ATTEMPTS_MAX};

    ck_assert_int_eq(aq_webhook_decide(&attempt, 0.5).state, AQ_WEBHOOK_FAILED);
    attempt = (aq_webhook_attempt_t){.end = AQ_WEBHOOK_ANSWERED, .status = 200, .attempts = AQ_WEBHOOK_ATTEMPTS_MAX};
    ck_assert_int_eq(aq_webhook_decide(&attempt, 0.5).state, AQ_WEBHOOK_DELIVERED);
}
END_TEST

static const struct {
    aq_webhook_end_t end;
    int status;
    aq_webhook_state_t state;
} ENDS[] = {
    {AQ_WEBHOOK_ANSWERED, 200, AQ_WEBHOOK_DELIVERED}, {AQ_WEBHOOK_ANSWERED, 204, AQ_WEBHOOK_DELIVERED},
    {AQ_WEBHOOK_ANSWERED, 299, AQ_WEBHOOK_DELIVERED}, {AQ_WEBHOOK_ANSWERED, 199, AQ_WEBHOOK_PENDING},
    {AQ_WEBHOOK_ANSWERED, 301, AQ_WEBHOOK_PENDING},   {AQ_WEBHOOK_ANSWERED, 307, AQ_WEBHOOK_PENDING},
    {AQ_WEBHOOK_ANSWERED, 400, AQ_WEBHOOK_PENDING},   {AQ_WEBHOOK_ANSWERED, 404, AQ_WEBHOOK_PENDING},
    {AQ_WEBHOOK_ANSWERED, 410, AQ_WEBHOOK_FAILED},    {AQ_WEBHOOK_ANSWERED, 429, AQ_WEBHOOK_PENDING},
    {AQ_WEBHOOK_ANSWERED, 500, AQ_WEBHOOK_PENDING},   {AQ_WEBHOOK_ANSWERED, 503, AQ_WEBHOOK_PENDING},
    {AQ_WEBHOOK_UNREACHABLE, 0, AQ_WEBHOOK_PENDING},  {AQ_WEBHOOK_REFUSED, 0, AQ_WEBHOOK_PENDING},
    {AQ_WEBHOOK_NO_RECEIVER, 0, AQ_WEBHOOK_DROPPED},
};

START_TEST(an_answer_decides_what_becomes_of_a_message)
{
    aq_webhook_attempt_t attempt = {.end = ENDS[_i].end, .status = ENDS[_i].status, .attempts = 1};

    ck_assert_int_eq(aq_webhook_decide(&attempt, 0.5).state, ENDS[_i].state);
}
END_TEST

static const struct {
    int status;
    int64_t retry_after_s, wait_ms;
} RETRY_AFTER[] = {
    {429, 60, 60000}, {503, 60, 60000},      {503, 1, 5000},         {500, 60, 5000},
    {429, 0, 5000},   {200 + 101, 60, 5000}, {429, 86400, 86400000}, {429, INT64_MAX, 86400000},
};

START_TEST(a_retry_after_of_429_and_503_is_the_least_wait)
{
    aq_webhook_attempt_t attempt = {.end = AQ_WEBHOOK_ANSWERED,
                                    .status = RETRY_AFTER[_i].status,
                                    .retry_after_s = RETRY_AFTER[_i].retry_after_s,
                                    .attempts = 1};

    ck_assert_int_eq(aq_webhook_decide(&attempt, 0.5).wait_ms, RETRY_AFTER[_i].wait_ms);
}
END_TEST

START_TEST(states_have_words)
{
    aq_webhook_state_t state;

    for (int i = 0; i < AQ_WEBHOOK_STATE_COUNT; i++) {
        ck_assert_int_eq(aq_webhook_state_parse(aq_webhook_state_name((aq_webhook_state_t)i), &state), APR_SUCCESS);
        ck_assert_int_eq(state, i);
    }
    ck_assert_int_eq(aq_webhook_state_parse("sent", &state), APR_EGENERAL);
    ck_assert_str_eq(aq_webhook_state_name(AQ_WEBHOOK_STATE_COUNT), "unknown");
}
END_TEST

#define LOOP(tests, test, table) tcase_add_loop_test(tests, test, 0, sizeof(table) / sizeof((table)[0]))

static void add_tests(TCase *tests)
{
    LOOP(tests, a_message_says_what_became_of_which_batch, TYPES);
    tcase_add_test(tests, a_message_holds_what_its_batch_says_and_nothing_more);
    tcase_add_test(tests, what_a_batch_never_had_is_null);
    tcase_add_test(tests, a_test_message_tells_of_no_batch);
    tcase_add_test(tests, a_signature_is_that_of_the_standard);
    LOOP(tests, attempts_follow_the_schedule_spread_by_a_tenth, SCHEDULE);
    tcase_add_test(tests, the_last_attempt_is_the_last);
    LOOP(tests, an_answer_decides_what_becomes_of_a_message, ENDS);
    LOOP(tests, a_retry_after_of_429_and_503_is_the_least_wait, RETRY_AFTER);
    tcase_add_test(tests, states_have_words);
}

int main(void)
{
    return fixture_run("webhook", add_tests);
}
