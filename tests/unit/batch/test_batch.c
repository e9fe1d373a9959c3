/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch: IDs, the words of the states, what clients see, and how often they should ask.
 */
#include "batch/batch.h"

#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

static const unsigned char RANDOM[10] = {0xff, 0x00, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0};

START_TEST(id_has_the_time_first_and_is_valid)
{
    char early[AQ_BATCH_ID_SIZE], late[AQ_BATCH_ID_SIZE];

    aq_batch_id_write(early, 1700000000000, RANDOM);
    aq_batch_id_write(late, 1700000000001, RANDOM);
    ck_assert_uint_eq(strlen(early), AQ_BATCH_ID_SIZE - 1);
    ck_assert(aq_batch_id_is_valid(early));
    ck_assert_int_lt(strcmp(early, late), 0);
    /* The worked example of the ULID specification's time part: 1469918176385 is 01ARYZ6S41. */
    aq_batch_id_write(early, 1469918176385, RANDOM);
    ck_assert_int_eq(strncmp(early, "batch_01aryz6s41", 16), 0);
}
END_TEST

/* Flips each of the 80 random bits in turn: all IDs differ. */
START_TEST(id_holds_every_random_bit)
{
    char plain[AQ_BATCH_ID_SIZE], flipped[AQ_BATCH_ID_SIZE];
    unsigned char random[10];

    aq_batch_id_write(plain, 1700000000000, RANDOM);
    for (int bit = 0; bit < 80; bit++) {
        memcpy(random, RANDOM, sizeof random);
        random[bit / 8] ^= (unsigned char)(1U << (bit % 8));
        aq_batch_id_write(flipped, 1700000000000, random);
        ck_assert_str_ne(flipped, plain);
    }
}
END_TEST

static const char *const NO_IDS[] = {
    "",
    "batch_",
    "batch_01aryz6s41000000000000000",   /* one short */
    "batch_01aryz6s4100000000000000000", /* one long */
    "batch_01ARYZ6S410000000000000000",  /* upper case */
    "batch_81aryz6s410000000000000000",  /* more than 128 bits */
    "batch_01aryz6s41000000000000000u",  /* not in the alphabet */
    "batch-01aryz6s410000000000000000",
    "../../../../../../etc/passwd0000",
    "batch_01aryz6s4100000000/0000000",
    "batch_01aryz6s41000000000000000\n",
};

START_TEST(what_is_no_id_is_told)
{
    ck_assert(aq_batch_id_is_valid("batch_01aryz6s410000000000000000"));
    ck_assert_msg(!aq_batch_id_is_valid(NO_IDS[_i]), "%s", NO_IDS[_i]);
}
END_TEST

START_TEST(each_status_has_a_word_of_its_own)
{
    for (int i = 0; i < AQ_BATCH_STATUS_COUNT; i++) {
        aq_batch_status_t status = AQ_BATCH_STATUS_COUNT;
        ck_assert_int_eq(aq_batch_status_parse(aq_batch_status_name((aq_batch_status_t)i), &status), APR_SUCCESS);
        ck_assert_int_eq(status, i);
        ck_assert_int_eq(aq_batch_is_over(status), i >= AQ_BATCH_SUCCEEDED);
    }
    aq_batch_status_t status;
    ck_assert_int_eq(aq_batch_status_parse("Queued", &status), APR_EGENERAL);
    ck_assert_ptr_nonnull(aq_batch_status_name(AQ_BATCH_STATUS_COUNT));
}
END_TEST

static aq_batch_t sample(void)
{
    aq_batch_t batch = {
        .status = AQ_BATCH_QUEUED,
        .tenant = "acme-internal",
        .key_id = "k_secretish",
        .location = "localhost:8080/v1/import",
        .created_at_ms = 1000,
        .max_attempts = 5,
        .method = "POST",
        .path = "/v1/import",
        .query = "token=hidden",
        .headers = "{\"accept\":\"hidden\"}",
        .request = {.content_type = "text/csv", .bytes = 12, .sha256 = "ab12"},
        .response = {.bytes = -1},
        .version = 1,
    };
    aq_batch_id_write(batch.id, 1700000000000, RANDOM);
    return batch;
}

START_TEST(json_of_a_new_batch_has_every_field_and_nothing_internal)
{
    static const char *const fields[] = {"id",
                                         "status",
                                         "created_at",
                                         "started_at",
                                         "finished_at",
                                         "expires_at",
                                         "result_expires_at",
                                         "cancel_requested_at",
                                         "attempt",
                                         "max_attempts",
                                         "next_attempt_at",
                                         "progress",
                                         "request",
                                         "response",
                                         "error",
                                         "metadata",
                                         "links"};
    aq_batch_t batch = sample();
    json_t *json = aq_batch_json(&batch, "/v1/batches");

    ck_assert_ptr_nonnull(json);
    ck_assert_uint_eq(json_object_size(json), sizeof fields / sizeof fields[0]);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        ck_assert_msg(json_object_get(json, fields[i]) != NULL, "%s", fields[i]);
    }
    const char *text = aq_json_text(fixture_pool, json);
    ck_assert_ptr_null(strstr(text, "internal"));
    ck_assert_ptr_null(strstr(text, "secretish"));
    ck_assert_ptr_null(strstr(text, "hidden"));
    ck_assert_ptr_nonnull(strstr(text, "\"created_at\":\"1970-01-01T00:00:01.000Z\""));
    ck_assert_ptr_nonnull(strstr(text, "\"response\":null"));
    ck_assert_ptr_nonnull(strstr(text, "/result\""));
    ck_assert_ptr_nonnull(strstr(text, "/cancel\""));
    json_decref(json);
}
END_TEST

START_TEST(json_of_a_batch_whose_machine_is_down_says_so_until_it_is_over)
{
    aq_batch_t batch = sample();

    batch.home = "m_hidden";
    batch.is_home_down = 1;
    json_t *json = aq_batch_json(&batch, "/v1/batches");
    ck_assert_str_eq(json_string_value(json_object_get(json, "waiting_for")), "machine");
    ck_assert_ptr_null(strstr(aq_json_text(fixture_pool, json), "hidden"));
    json_decref(json);
    batch.status = AQ_BATCH_SUCCEEDED;
    json = aq_batch_json(&batch, "/v1/batches");
    ck_assert_ptr_null(json_object_get(json, "waiting_for"));
    json_decref(json);
}
END_TEST

START_TEST(json_of_a_failed_batch_tells_response_error_and_metadata)
{
    aq_batch_t batch = sample();

    batch.status = AQ_BATCH_FAILED;
    batch.response_status = 422;
    batch.response = (aq_batch_body_t){.content_type = "application/json", .bytes = 7, .sha256 = "cd"};
    batch.error_code = "target-status";
    batch.error_detail = "the target answered 422";
    batch.metadata = "{\"job\":\"nightly\"}";
    batch.progress_total = 10;
    batch.progress_done = 4;
    batch.expires_at_ms = 9000;
    batch.result_expires_at_ms = 8000;
    json_t *json = aq_batch_json(&batch, "/b");
    const char *text = aq_json_text(fixture_pool, json);
    ck_assert_ptr_nonnull(
        strstr(text, "\"response\":{\"status\":422,\"content_type\":\"application/json\",\"bytes\":7"));
    ck_assert_ptr_nonnull(
        strstr(text, "\"error\":{\"code\":\"target-status\",\"detail\":\"the target answered 422\"}"));
    ck_assert_ptr_nonnull(strstr(text, "\"metadata\":{\"job\":\"nightly\"}"));
    ck_assert_ptr_nonnull(strstr(text, "\"progress\":{\"done\":4,\"total\":10,\"failed\":0}"));
    ck_assert_ptr_nonnull(strstr(text, "\"result_expires_at\":\"1970-01-01T00:00:08.000Z\""));
    ck_assert_ptr_nonnull(strstr(text, "\"cancel\":null"));
    json_decref(json);
}
END_TEST

static const struct {
    aq_time_ms_t age_ms, next_attempt_in_ms;
    int wait_s;
} POLLS[] = {
    {0, 0, 1},         {9000, 0, 1},  {10010, 0, 2},   {100000, 0, 10}, {300000, 0, 30},
    {86400000, 0, 30}, {-5000, 0, 1}, {1000, 4001, 5}, {1000, 1, 1},    {1000, 3600000, 30},
};

START_TEST(polls_become_rarer)
{
    aq_batch_t batch = sample();

    batch.created_at_ms = INT64_C(1700000000000);
    aq_time_ms_t now_ms = batch.created_at_ms + POLLS[_i].age_ms;

    batch.next_attempt_at_ms = POLLS[_i].next_attempt_in_ms != 0 ? now_ms + POLLS[_i].next_attempt_in_ms : 0;
    ck_assert_int_eq(aq_batch_poll_after_s(&batch, now_ms), POLLS[_i].wait_s);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, id_has_the_time_first_and_is_valid);
    tcase_add_test(tests, id_holds_every_random_bit);
    tcase_add_loop_test(tests, what_is_no_id_is_told, 0, sizeof NO_IDS / sizeof NO_IDS[0]);
    tcase_add_test(tests, each_status_has_a_word_of_its_own);
    tcase_add_test(tests, json_of_a_new_batch_has_every_field_and_nothing_internal);
    tcase_add_test(tests, json_of_a_batch_whose_machine_is_down_says_so_until_it_is_over);
    tcase_add_test(tests, json_of_a_failed_batch_tells_response_error_and_metadata);
    tcase_add_loop_test(tests, polls_become_rarer, 0, sizeof POLLS / sizeof POLLS[0]);
}

int main(void)
{
    return fixture_run("batch", add_tests);
}
