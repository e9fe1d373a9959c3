/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status page: when something is wrong, and how figures read.
 */
#include "httpd/status_parts.h"
#include "unit/fixture.h"

#include <string.h>

#define MINUTE_MS (AQ_S_PER_MIN * AQ_MS_PER_S)

/* A server in which all is well. */
static aq_status_t well(void)
{
    static aq_server_config_t server;
    aq_status_t status;

    memset(&status, 0, sizeof(status));
    status.health.server = &server;
    status.health.slots = 1000;
    status.health.counters_live = 800;
    status.health.has_keys = 1;
    status.health.has_batches = 1;
    status.health.worker_is_wanted = 1;
    status.health.worker_is_up = 1;
    status.health.spool_max_bytes = 1000;
    status.health.spool_bytes = 849;
    status.health.queue_age_ms = 15 * MINUTE_MS;
    return status;
}

static const char *first_text(const aq_status_t *status)
{
    return status->troubles->nelts ? APR_ARRAY_IDX(status->troubles, 0, aq_trouble_t).text : "";
}

START_TEST(nothing_is_said_where_all_is_well)
{
    aq_status_t status = well();

    aq_status_judge(fixture_pool, &status);
    ck_assert_int_eq(status.verdict, AQ_VERDICT_GOOD);
    ck_assert_str_eq(first_text(&status), "");
}
END_TEST

static void counters_fill(aq_health_t *health)
{
    health->counters_live = 801;
}

static void store_break(aq_health_t *health)
{
    health->store_failure = APR_TIMEUP;
}

static void store_err(aq_health_t *health)
{
    health->store_errors_lately = 3;
}

static void keys_break(aq_health_t *health)
{
    health->keys_are_failing = 1;
}

static void entries_refuse(aq_health_t *health)
{
    health->refused_entries = 2;
}

static void worker_end(aq_health_t *health)
{
    health->worker_is_up = 0;
    health->batches.by_status[AQ_BATCH_QUEUED] = 5;
}

static void queue_break(aq_health_t *health)
{
    health->queue_failure = APR_EACCES;
}

static void queue_age(aq_health_t *health)
{
    health->queue_age_ms = 15 * MINUTE_MS + 1;
}

static void spool_fill(aq_health_t *health)
{
    health->spool_bytes = 850;
}

static void spool_be_full(aq_health_t *health)
{
    health->spool_bytes = 980;
}

static const struct {
    void (*change)(aq_health_t *health);
    aq_verdict_t verdict;
    aq_part_t part;
    const char *words;
} CASES[] = {
    {counters_fill, AQ_VERDICT_WARNING, AQ_PART_STORE, "filling up"},
    {store_break, AQ_VERDICT_BAD, AQ_PART_STORE, "does not answer"},
    {store_err, AQ_VERDICT_BAD, AQ_PART_STORE, "3 requests could not be counted"},
    {keys_break, AQ_VERDICT_BAD, AQ_PART_KEYS, "cannot be read"},
    {entries_refuse, AQ_VERDICT_WARNING, AQ_PART_KEYS, "2 entries"},
    {worker_end, AQ_VERDICT_BAD, AQ_PART_BATCHES, "5 batches wait"},
    {queue_break, AQ_VERDICT_BAD, AQ_PART_BATCHES, "503"},
    {queue_age, AQ_VERDICT_WARNING, AQ_PART_BATCHES, "15 minutes"},
    {spool_fill, AQ_VERDICT_WARNING, AQ_PART_SPOOL, "507"},
    {spool_be_full, AQ_VERDICT_BAD, AQ_PART_SPOOL, "507"},
};

START_TEST(each_trouble_is_said_and_belongs_to_its_part)
{
    aq_status_t status = well();

    CASES[_i].change(&status.health);
    aq_status_judge(fixture_pool, &status);
    ck_assert_int_eq(status.verdict, CASES[_i].verdict);
    for (int part = 0; part < AQ_PART_COUNT; part++) {
        ck_assert_int_eq(status.part_verdicts[part], part == (int)CASES[_i].part ? CASES[_i].verdict : AQ_VERDICT_GOOD);
    }
    ck_assert_int_eq(status.troubles->nelts, 1);
    ck_assert_ptr_nonnull(strstr(first_text(&status), CASES[_i].words));
}
END_TEST

START_TEST(the_worst_is_said_first)
{
    aq_status_t status = well();

    entries_refuse(&status.health);
    spool_be_full(&status.health);
    aq_status_judge(fixture_pool, &status);
    ck_assert_int_eq(status.verdict, AQ_VERDICT_BAD);
    ck_assert_ptr_nonnull(strstr(first_text(&status), "spool"));
    ck_assert_int_eq(status.troubles->nelts, 2);
}
END_TEST

START_TEST(a_worker_that_is_off_is_no_trouble_while_nothing_waits)
{
    aq_status_t status = well();

    status.health.worker_is_wanted = 0;
    status.health.worker_is_up = 0;
    aq_status_judge(fixture_pool, &status);
    ck_assert_int_eq(status.verdict, AQ_VERDICT_GOOD);
}
END_TEST

static const struct {
    uint64_t number;
    const char *text;
} NUMBERS[] = {
    {0, "0"},
    {999, "999"},
    {1000, "1,000"},
    {12045, "12,045"},
    {999999, "999,999"},
    {1000000, "1,000,000"},
    {9999999, "9,999,999"},
    {12345678, "12.3 M"},
    {UINT64_C(4000000000), "4000.0 M"},
};

START_TEST(numbers_are_cut_into_thousands)
{
    aq_text_t *text = aq_text_create(fixture_pool);

    aq_part_number(text, NUMBERS[_i].number);
    ck_assert_str_eq(aq_text_join(text), NUMBERS[_i].text);
}
END_TEST

START_TEST(durations_and_sizes_read_as_people_say_them)
{
    static const int64_t seconds[] = {-1, 59, 60, 3600 + 60, 86400 * 4 + 3600 * 10};
    aq_text_t *text = aq_text_create(fixture_pool);

    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        aq_part_duration(text, seconds[i] * AQ_MS_PER_S);
        aq_text_add(text, ", ");
    }
    aq_part_bytes(text, 1023);
    aq_text_add(text, ", ");
    aq_part_bytes(text, 1536);
    aq_text_add(text, ", ");
    aq_part_bytes(text, INT64_C(10) << 30);
    ck_assert_str_eq(aq_text_join(text), "0 s, 59 s, 1 min, 1 h 1 min, 4 d 10 h, 1023 bytes, 1.5 kB, 10.0 GB");
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_test(tests, nothing_is_said_where_all_is_well);
    tcase_add_loop_test(tests, each_trouble_is_said_and_belongs_to_its_part, 0, sizeof(CASES) / sizeof(CASES[0]));
    tcase_add_test(tests, the_worst_is_said_first);
    tcase_add_test(tests, a_worker_that_is_off_is_no_trouble_while_nothing_waits);
    tcase_add_loop_test(tests, numbers_are_cut_into_thousands, 0, sizeof(NUMBERS) / sizeof(NUMBERS[0]));
    tcase_add_test(tests, durations_and_sizes_read_as_people_say_them);
}

int main(void)
{
    return fixture_run("status", tests_add);
}
