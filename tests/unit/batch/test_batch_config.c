/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch configuration: what httpd's parent writes, the worker reads.
 */
#include "batch/batch_config.h"

#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

static json_t *sample(void)
{
    aq_batch_location_t a = {.name = "a:80/one",
                             .target = "http://127.0.0.1:1/one",
                             .timeout_ms = 300000,
                             .max_attempts = 5,
                             .target_is_idempotent = 1,
                             .retention_ms = INT64_C(604800000),
                             .result_retention_ms = 5000,
                             .max_wait_ms = 86400000,
                             .concurrency = 3,
                             .concurrency_is_of_all = 1,
                             .items_parallel = 8,
                             .items_gap_us = 50000,
                             .items_timeout_ms = 30000,
                             .wants_webhook = 1};
    aq_batch_location_t b = a;
    aq_batch_config_t config = {.queue_file = "/s/queue.db",
                                .spool_folder = "/s/spool",
                                .spool_max_bytes = INT64_C(10) << 30,
                                .spool_keep_percent = 80,
                                .threads = 4,
                                .key_file = "/s/keys.json",
                                .webhook_allow = apr_array_make(fixture_pool, 2, sizeof(const char *)),
                                .locations = apr_hash_make(fixture_pool)};

    APR_ARRAY_PUSH(config.webhook_allow, const char *) = "127.0.0.0/8";
    APR_ARRAY_PUSH(config.webhook_allow, const char *) = "fd00::/8";
    b.name = "b:80/two";
    b.target_is_idempotent = 0;
    apr_hash_set(config.locations, b.name, APR_HASH_KEY_STRING, &b);
    apr_hash_set(config.locations, a.name, APR_HASH_KEY_STRING, &a);
    return aq_batch_config_json(&config, fixture_pool);
}

START_TEST(what_is_written_is_read)
{
    aq_batch_config_t *config;
    const char *error;
    json_t *json = sample();

    ck_assert_int_eq(aq_batch_config_parse(fixture_pool, json, &config, &error), APR_SUCCESS);
    ck_assert_str_eq(config->queue_file, "/s/queue.db");
    ck_assert_str_eq(config->worker_files, "/s/queue.db");
    ck_assert_str_eq(config->spool_folder, "/s/spool");
    ck_assert_int_eq(config->spool_max_bytes, INT64_C(10) << 30);
    ck_assert_int_eq(config->spool_keep_percent, 80);
    ck_assert_int_eq(config->threads, 4);
    ck_assert_uint_eq(apr_hash_count(config->locations), 2);
    const aq_batch_location_t *b = apr_hash_get(config->locations, "b:80/two", APR_HASH_KEY_STRING);
    ck_assert_str_eq(b->name, "b:80/two");
    ck_assert_str_eq(b->target, "http://127.0.0.1:1/one");
    ck_assert_int_eq(b->timeout_ms, 300000);
    ck_assert_int_eq(b->max_attempts, 5);
    ck_assert_int_eq(b->target_is_idempotent, 0);
    ck_assert_int_eq(b->retention_ms, INT64_C(604800000));
    ck_assert_int_eq(b->result_retention_ms, 5000);
    ck_assert_int_eq(b->max_wait_ms, 86400000);
    ck_assert_int_eq(b->concurrency, 3);
    ck_assert_int_eq(b->concurrency_is_of_all, 1);
    ck_assert_int_eq(b->items_parallel, 8);
    ck_assert_int_eq(b->items_gap_us, 50000);
    ck_assert_int_eq(b->items_timeout_ms, 30000);
    ck_assert_int_eq(b->wants_webhook, 1);
    ck_assert_str_eq(config->key_file, "/s/keys.json");
    ck_assert_int_eq(config->webhook_allow->nelts, 2);
    ck_assert_str_eq(APR_ARRAY_IDX(config->webhook_allow, 1, const char *), "fd00::/8");
    json_decref(json);
}
END_TEST

static const char *const words[] = {"redis://127.0.0.1:6379", "db=2", "durability=always"};

static json_t *redis_sample(void)
{
    aq_batch_config_t config = {.queue_words = apr_array_make(fixture_pool, 3, sizeof(const char *)),
                                .machine = "m_1",
                                .worker_files = "/s/queue",
                                .spool_folder = "/shared",
                                .spool_is_shared = 1,
                                .threads = 4,
                                .locations = apr_hash_make(fixture_pool)};

    for (int i = 0; i < 3; i++) {
        APR_ARRAY_PUSH(config.queue_words, const char *) = words[i];
    }
    return aq_batch_config_json(&config, fixture_pool);
}

START_TEST(a_queue_in_redis_is_written_and_read)
{
    aq_batch_config_t *config;
    const char *error;
    json_t *json = redis_sample();

    ck_assert_int_eq(aq_batch_config_parse(fixture_pool, json, &config, &error), APR_SUCCESS);
    ck_assert_ptr_null(config->queue_file);
    ck_assert_int_eq(config->queue_words->nelts, 3);
    ck_assert_str_eq(APR_ARRAY_IDX(config->queue_words, 2, const char *), words[2]);
    ck_assert_str_eq(aq_batch_config_queue(fixture_pool, config), "redis://127.0.0.1:6379 db=2 durability=always");
    ck_assert_str_eq(config->machine, "m_1");
    ck_assert_str_eq(config->worker_files, "/s/queue");
    ck_assert_int_eq(config->spool_is_shared, 1);
    json_decref(json);
}
END_TEST

START_TEST(a_queue_in_redis_needs_its_words_and_a_machine)
{
    static const char *const names[] = {"queue_redis", "machine", "worker_files"};
    aq_batch_config_t *config;
    const char *error;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *json = redis_sample();
        ck_assert_int_eq(json_object_set_new(json, names[i], json_integer(7)), 0);
        ck_assert_int_eq(aq_batch_config_parse(fixture_pool, json, &config, &error), APR_EGENERAL);
        ck_assert_ptr_nonnull(strstr(error, names[i]));
        json_decref(json);
    }
}
END_TEST

START_TEST(a_server_without_webhooks_says_nothing_of_them)
{
    aq_batch_config_t *config;
    const char *error;
    json_t *json = sample();

    ck_assert_int_eq(json_object_del(json, "key_file"), 0);
    ck_assert_int_eq(json_object_del(json, "webhook_allow"), 0);
    ck_assert_int_eq(aq_batch_config_parse(fixture_pool, json, &config, &error), APR_SUCCESS);
    ck_assert_ptr_null(config->key_file);
    ck_assert_int_eq(config->webhook_allow->nelts, 0);
    json_decref(json);
}
END_TEST

START_TEST(the_text_does_not_depend_on_the_order_of_a_hash)
{
    json_t *json = sample();
    const char *text = aq_json_text(fixture_pool, json);

    ck_assert(strstr(text, "a:80/one") < strstr(text, "b:80/two"));
    json_decref(json);
}
END_TEST

/* Each replaces one member of the sample by this text; NULL: takes it out. The sentence names it. */
static const struct {
    const char *name, *text;
    int of_location;
} SPOILT[] = {
    {"queue_file", NULL, 0},
    {"queue_file", "\"\"", 0},
    {"queue_file", "7", 0},
    {"spool_folder", NULL, 0},
    {"spool_max_bytes", "-1", 0},
    {"spool_max_bytes", "\"10g\"", 0},
    {"spool_keep_percent", "101", 0},
    {"spool_keep_percent", NULL, 0},
    {"threads", "0", 0},
    {"threads", "257", 0},
    {"threads", "1.5", 0},
    {"threads", "4294967297", 0},
    {"locations", NULL, 0},
    {"locations", "[]", 0},
    {"target", NULL, 1},
    {"timeout_ms", "0", 1},
    {"timeout_ms", "99999999999", 1},
    {"max_attempts", "0", 1},
    {"target_is_idempotent", "1", 1},
    {"retention_ms", "null", 1},
    {"result_retention_ms", "-1", 1},
    {"max_wait_ms", "0", 1},
    {"items_parallel", "0", 1},
    {"items_parallel", "257", 1},
    {"items_gap_us", "-1", 1},
    {"items_timeout_ms", "0", 1},
    {"concurrency", "-1", 1},
    {"concurrency_is_of_all", "\"no\"", 1},
    {"wants_webhook", "1", 1},
    {"webhook_allow", "[\"127.0.0.0/8\", \"all\"]", 0},
    {"webhook_allow", "[7]", 0},
};

START_TEST(what_is_missing_or_wrong_is_named)
{
    json_t *json = sample();
    json_t *object = SPOILT[_i].of_location ? json_object_get(json_object_get(json, "locations"), "b:80/two") : json;
    aq_batch_config_t *config;
    const char *error;

    if (SPOILT[_i].text == NULL) {
        ck_assert_int_eq(json_object_del(object, SPOILT[_i].name), 0);
    } else {
        json_t *value = json_loads(SPOILT[_i].text, JSON_DECODE_ANY, NULL);
        ck_assert_ptr_nonnull(value);
        ck_assert_int_eq(json_object_set_new(object, SPOILT[_i].name, value), 0);
    }
    ck_assert_int_eq(aq_batch_config_parse(fixture_pool, json, &config, &error), APR_EGENERAL);
    ck_assert_ptr_null(config);
    ck_assert_ptr_nonnull(strstr(error, SPOILT[_i].name));
    if (SPOILT[_i].of_location) {
        ck_assert_ptr_nonnull(strstr(error, "b:80/two"));
    }
    json_decref(json);
}
END_TEST

START_TEST(members_of_later_versions_are_passed_over)
{
    json_t *json = sample();
    aq_batch_config_t *config;
    const char *error;

    ck_assert_int_eq(json_object_set_new(json, "colour", json_string("green")), 0);
    ck_assert_int_eq(aq_batch_config_parse(fixture_pool, json, &config, &error), APR_SUCCESS);
    json_decref(json);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, what_is_written_is_read);
    tcase_add_test(tests, a_queue_in_redis_is_written_and_read);
    tcase_add_test(tests, a_queue_in_redis_needs_its_words_and_a_machine);
    tcase_add_test(tests, a_server_without_webhooks_says_nothing_of_them);
    tcase_add_test(tests, the_text_does_not_depend_on_the_order_of_a_hash);
    tcase_add_loop_test(tests, what_is_missing_or_wrong_is_named, 0, sizeof SPOILT / sizeof SPOILT[0]);
    tcase_add_test(tests, members_of_later_versions_are_passed_over);
}

int main(void)
{
    return fixture_run("batch_config", add_tests);
}
