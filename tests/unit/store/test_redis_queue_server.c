/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue in Redis, and what its server is like: how durable it must be, what it does without memory, and where it has lost
 * keys. And where the queue is, as its setting says it.
 */
#include "contract/queue_fixture.h"
#include "store/machine.h"
#include "unit/redis_queue_fixture.h"

#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

static redis_fixture_t server;

static void setup(void)
{
    fixture_log_keep();
    server = redis_fixture_start(NULL);
}

static aq_queue_t *open_any(void)
{
    return redis_queue_open(&server, "machine-a", "budget=10s", AQ_REDIS_DURABLE_NONE);
}

/* ---- durability -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *options[5];
    aq_redis_durability_t most;
} SERVERS[] = {
    {{NULL}, AQ_REDIS_DURABLE_NONE},
    {{"--appendonly", "yes", "--appendfsync", "no", NULL}, AQ_REDIS_DURABLE_NONE},
    {{"--appendonly", "yes", "--appendfsync", "everysec", NULL}, AQ_REDIS_DURABLE_EVERYSEC},
    {{"--appendonly", "yes", "--appendfsync", "always", NULL}, AQ_REDIS_DURABLE_ALWAYS},
};

/* Starts the server anew; it may have a log to read first. */
static void restart_with(const char *const *options)
{
    redis_fixture_kill(&server);
    redis_fixture_restart(&server, options);
    for (int i = 0; i < 3000 && strcmp(redis_fixture_say(&server, "PING"), "PONG") != 0; i++) {
        (void)usleep(10000);
    }
}

START_TEST(a_server_that_is_less_durable_than_wanted_is_not_used)
{
    aq_queue_counts_t counts;

    restart_with(SERVERS[_i].options);
    for (int wanted = AQ_REDIS_DURABLE_NONE; wanted <= AQ_REDIS_DURABLE_ALWAYS; wanted++) {
        fixture_log_keep();
        aq_queue_t *q = redis_queue_open(&server, "machine-a", "budget=10s", (aq_redis_durability_t)wanted);
        const int is_used = wanted <= (int)SERVERS[_i].most;
        ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), is_used ? APR_SUCCESS : APR_EGENERAL);
        ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), is_used ? APR_SUCCESS : APR_EGENERAL);
        ck_assert_int_eq(fixture_log_count(442), !is_used);
        aq_queue_close(q);
    }
}
END_TEST

START_TEST(a_server_that_does_not_say_how_it_writes_is_not_used)
{
    const char *const options[] = {
        "--appendonly", "yes", "--appendfsync", "always", "--rename-command", "CONFIG", "", NULL};
    aq_queue_counts_t counts;

    restart_with(options);
    fixture_log_keep();
    aq_queue_t *q = redis_queue_open(&server, "machine-a", "budget=10s", AQ_REDIS_DURABLE_ALWAYS);
    ck_assert_int_eq(aq_queue_counts(q, NULL, &counts), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(fixture_log_last(442), "does not say how it writes"));
    aq_queue_close(q);
}
END_TEST

/* ---- a server without memory -------------------------------------------------------------------------------------- */

static void memory_set(const char *bytes)
{
    ck_assert_str_eq(redis_fixture_say(&server, apr_pstrcat(fixture_pool, "CONFIG SET maxmemory ", bytes, NULL)), "OK");
}

static const char *submit_told(aq_queue_t *q, int n)
{
    aq_batch_t batch = queue_batch("acme", n);

    batch.wants_webhook = 1;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    return apr_pstrdup(fixture_pool, batch.id);
}

/* A script that was refused in the middle would leave half a change. */
START_TEST(a_server_without_memory_takes_nothing_new_and_no_half_of_it)
{
    aq_queue_t *q = open_any();
    aq_batch_t batch = queue_batch("acme", 1), *found;
    aq_queue_now_t now = queue_at(0);
    const char *keys = redis_fixture_say(&server, "DBSIZE");

    memory_set("1");
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_ENOMEM);
    ck_assert_int_eq(aq_queue_webhook_test(q, "msg_1", "acme", &now), APR_ENOMEM);
    ck_assert_str_eq(redis_fixture_say(&server, "DBSIZE"), keys);
    memory_set("0");
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, batch.id, &found), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    ck_assert_str_eq(queue_claim(q, "w", queue_at(2)).batch->id, batch.id);
    aq_queue_close(q);
}
END_TEST

/* Else nothing would ever leave a full server, and what was done would be done again. */
START_TEST(what_is_in_a_server_without_memory_comes_to_its_end_and_makes_room)
{
    aq_queue_t *q = open_any();
    const char *done = submit_told(q, 1), *canceled = submit_told(q, 2), *removed = queue_submit(q, "acme", 3);
    aq_queue_now_t now = queue_at(1), late = queue_at(AQ_BATCH_RETENTION_MS + AQ_WEBHOOK_KEPT_MS);
    apr_array_header_t *held, *gone;
    int has_more;
    aq_delivery_t message;
    aq_queue_use_t use;
    aq_expired_t files;
    aq_batch_t *found;

    memory_set("1");
    aq_job_t job = queue_claim(q, "w", now);
    ck_assert_str_eq(job.batch->id, done);
    ck_assert_int_eq(aq_queue_renew(q, fixture_pool, "w", &now, LEASE_MS, &held), APR_SUCCESS);
    ck_assert_int_eq(held->nelts, 1);
    ck_assert_int_eq(aq_queue_progress(q, done, job.token, 1, 2, 0), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_finish(q, done, job.token, &now, &QUEUE_DONE), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, canceled, &now, &found), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_cancel(q, fixture_pool, removed, &now, &found), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_remove(q, removed, &files), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_webhook_claim(q, fixture_pool, "w", &now, LEASE_MS, 1, &message), APR_SUCCESS);
    const aq_delivery_result_t delivered = {.outcome = {.state = AQ_WEBHOOK_DELIVERED}, .status = 200};
    ck_assert_int_eq(aq_queue_webhook_finish(q, message.webhook->id, message.token, &now, &delivered), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &late, 10, &gone, &has_more), APR_SUCCESS);
    ck_assert_int_eq(gone->nelts, 2);
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, done, &found), APR_NOTFOUND);
    ck_assert_int_eq(aq_queue_use(q, "acme", &use), APR_SUCCESS);
    ck_assert_int_eq(use.queued + use.bytes, 0);
    aq_queue_close(q);
}
END_TEST

/* ---- a server that has lost keys, by eviction or by hand ---------------------------------------------------------- */

static void row_lose(const char *kind, const char *id)
{
    ck_assert_str_eq(redis_fixture_say(&server, apr_pstrcat(fixture_pool, "DEL aq:{q}:", kind, ":", id, NULL)), "1");
}

START_TEST(a_batch_without_a_row_is_listed_no_more_and_hides_no_other)
{
    const aq_queue_query_t all = {.status = -1, .limit = 2}, of_tenant = {.tenant = "acme", .status = -1, .limit = 2};
    aq_queue_t *q = open_any();
    const char *first = queue_submit(q, "acme", 1), *lost = queue_submit(q, "acme", 2);
    const char *last = queue_submit(q, "acme", 3);
    const aq_queue_query_t *queries[] = {&all, &of_tenant};
    aq_queue_page_t page;

    row_lose("b", lost);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(aq_queue_list(q, fixture_pool, queries[i], &page), APR_SUCCESS);
        ck_assert_int_eq(page.batches->nelts, 2);
        ck_assert_str_eq(APR_ARRAY_IDX(page.batches, 0, aq_batch_t *)->id, last);
        ck_assert_str_eq(APR_ARRAY_IDX(page.batches, 1, aq_batch_t *)->id, first);
        ck_assert_int_eq(page.total, 2);
    }
    ck_assert_str_eq(queue_claim(q, "w", queue_at(1)).batch->id, first);
    aq_queue_close(q);
}
END_TEST

START_TEST(a_message_without_a_row_holds_up_no_other)
{
    const aq_webhook_query_t all = {.state = -1, .limit = 10};
    aq_queue_now_t now = queue_at(1), late = queue_at(2 * AQ_BATCH_RETENTION_MS + AQ_WEBHOOK_KEPT_MS);
    aq_queue_t *q = open_any();
    apr_array_header_t *list, *gone;
    int has_more;
    aq_delivery_t message;

    for (int n = 1; n <= 3; n++) {
        const char *id = apr_psprintf(fixture_pool, "msg_%d", n);
        ck_assert_int_eq(aq_queue_webhook_test(q, id, "acme", &now), APR_SUCCESS);
    }
    row_lose("m", "msg_1");
    ck_assert_int_eq(aq_queue_webhook_claim(q, fixture_pool, "w", &now, LEASE_MS, 9, &message), APR_SUCCESS);
    ck_assert_str_eq(message.webhook->id, "msg_2");
    const aq_delivery_result_t delivered = {.outcome = {.state = AQ_WEBHOOK_DELIVERED}, .status = 200};
    ck_assert_int_eq(aq_queue_webhook_finish(q, "msg_2", message.token, &now, &delivered), APR_SUCCESS);
    row_lose("m", "msg_2");
    ck_assert_int_eq(aq_queue_webhook_list(q, fixture_pool, &all, &list), APR_SUCCESS);
    ck_assert_int_eq(list->nelts, 1);
    ck_assert_int_eq(aq_queue_expire(q, fixture_pool, &late, 10, &gone, &has_more), APR_SUCCESS);
    ck_assert_int_eq(aq_queue_webhook_claim(q, fixture_pool, "w", &now, LEASE_MS, 9, &message), APR_SUCCESS);
    ck_assert_str_eq(message.webhook->id, "msg_3");
    ck_assert_int_eq(aq_queue_webhook_claim(q, fixture_pool, "w", &now, LEASE_MS, 9, &message), APR_NOTFOUND);
    aq_queue_close(q);
}
END_TEST

/* ---- what is said of it ------------------------------------------------------------------------------------------ */

START_TEST(a_setting_is_read_and_said_again)
{
    const char *const words[] = {"redis://10.0.0.7:7000/3", "durability=everysec", "tenant-max=500",
                                 "password-file=/etc/redis.password"};
    const aq_redis_queue_setting_t *setting = redis_queue_setting(words, 4);

    ck_assert_int_eq(setting->durability, AQ_REDIS_DURABLE_EVERYSEC);
    ck_assert_int_eq(setting->tenant_max, 500);
    ck_assert_int_eq(setting->address->budget_ms, 2000);
    const apr_array_header_t *said = aq_redis_queue_setting_words(fixture_pool, setting);
    ck_assert_str_eq(apr_array_pstrcat(fixture_pool, said, ' '),
                     "redis://10.0.0.7:7000 db=3 password-file=/etc/redis.password budget=2000ms durability=everysec");
    const aq_redis_queue_setting_t *again = redis_queue_setting((const char *const *)(void *)said->elts, said->nelts);
    ck_assert_int_eq(again->durability, setting->durability);
    ck_assert_str_eq(again->address->name, setting->address->name);
    ck_assert_int_eq(redis_queue_setting(words, 1)->durability, AQ_REDIS_DURABLE_ALWAYS);
}
END_TEST

static const char *const BAD[][2] = {
    {"durability=often", "always, everysec or none"},
    {"tenant-max=0", "tenant-max="},
    {"tenant-max=x", "tenant-max="},
    {"tenant-max=-1", "tenant-max="},
    {"size=1m", "password-file="},
    {"size=1m", "sni=, durability=, tenant-max=, home="},
    {"mode=leased", "mode=leased is for counters"},
    {"budget=1h", "budget"},
    {"home=", "home="},
    {"home=10.0.0.1/apiquota-home", "http://10.0.0.1:8081/apiquota-home"},
    {"home=http://", "home="},
    {"home=http:///path", "home="},
    {"home=unix:/run/socket|http://a/", "home="},
    {"home=http://user:word@10.0.0.1/", "without a user"},
    {"home=http://10.0.0.1/?a", "home="},
};

START_TEST(a_homes_url_is_read_and_said_again_without_its_last_slash)
{
    const char *const words[] = {"redis://127.0.0.1", "home=https://[2001:db8::1]:8081/apiquota-home/"};
    const aq_redis_queue_setting_t *setting = redis_queue_setting(words, 2);
    const apr_array_header_t *said = aq_redis_queue_setting_words(fixture_pool, setting);

    ck_assert_str_eq(setting->home_url, "https://[2001:db8::1]:8081/apiquota-home");
    ck_assert_str_eq(redis_queue_setting((const char *const *)(void *)said->elts, said->nelts)->home_url,
                     setting->home_url);
    ck_assert_ptr_null(redis_queue_setting(words, 1)->home_url);
}
END_TEST

START_TEST(what_is_wrong_with_a_setting_is_said)
{
    const char *const words[] = {"redis://127.0.0.1", BAD[_i][0]};
    aq_redis_queue_setting_t *setting;
    const char *error;

    ck_assert_int_eq(aq_redis_queue_setting_parse(fixture_pool, words, 2, &setting, &error), APR_EGENERAL);
    ck_assert_msg(strstr(error, BAD[_i][1]) != NULL, "%s", error);
}
END_TEST

START_TEST(a_password_in_the_address_is_refused_and_not_repeated)
{
    const char *const words[] = {"redis://:sesame@127.0.0.1"};
    aq_redis_queue_setting_t *setting;
    const char *error;

    ck_assert_int_eq(aq_redis_queue_setting_parse(fixture_pool, words, 1, &setting, &error), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "password-file="));
    ck_assert_ptr_null(strstr(error, "sesame"));
}
END_TEST

START_TEST(a_machine_has_one_name_for_ever)
{
    const char *path = fixture_path("machine"), *first, *again, *error;

    (void)unlink(path);
    ck_assert_int_eq(aq_machine_name(fixture_pool, path, &first, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_machine_name(fixture_pool, path, &again, &error), APR_SUCCESS);
    ck_assert_str_eq(first, again);
    fixture_write(path, apr_pstrcat(fixture_pool, first, "\n", NULL)); /* as an editor leaves it */
    ck_assert_int_eq(aq_machine_name(fixture_pool, path, &again, &error), APR_SUCCESS);
    ck_assert_str_eq(first, again);
    fixture_write(path, "");
    ck_assert_int_ne(aq_machine_name(fixture_pool, path, &again, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_str_eq(fixture_read(path), "");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_loop_test(tests, a_server_that_is_less_durable_than_wanted_is_not_used, 0,
                        sizeof SERVERS / sizeof SERVERS[0]);
    tcase_add_test(tests, a_server_that_does_not_say_how_it_writes_is_not_used);
    tcase_add_test(tests, a_server_without_memory_takes_nothing_new_and_no_half_of_it);
    tcase_add_test(tests, what_is_in_a_server_without_memory_comes_to_its_end_and_makes_room);
    tcase_add_test(tests, a_batch_without_a_row_is_listed_no_more_and_hides_no_other);
    tcase_add_test(tests, a_message_without_a_row_holds_up_no_other);
    tcase_add_test(tests, a_setting_is_read_and_said_again);
    tcase_add_test(tests, a_homes_url_is_read_and_said_again_without_its_last_slash);
    tcase_add_loop_test(tests, what_is_wrong_with_a_setting_is_said, 0, sizeof BAD / sizeof BAD[0]);
    tcase_add_test(tests, a_password_in_the_address_is_refused_and_not_repeated);
    tcase_add_test(tests, a_machine_has_one_name_for_ever);
}

int main(void)
{
    return fixture_run("redis_queue_server", add_tests);
}
