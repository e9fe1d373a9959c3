/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daily use: the words of its limit are the last seven days, whatever store they lie in.
 */
#include "limit/daily.h"

#include "contract/counter_fixture.h"
#include "identity/daily_use.h"
#include "store/memory_counters.h"

#include <apr_strings.h>
#include <string.h>

static aq_counter_store_t *store;
static aq_plan_t *plan;
static apr_hash_t *plans;
static json_t *key_file;
static const char *folder; /* each test's own */

/* A plan of a minute and a day, with its daily use, and a tenant "acme". */
static void begin(const char *test)
{
    static const char *const minute[] = {"minute", "60/minute"};
    const char *error;
    aq_limit_t *limit;

    ck_assert_int_eq(aq_memory_counters_create(fixture_pool, 0, &store), APR_SUCCESS);
    ck_assert_int_eq(aq_plan_create(fixture_pool, "basic", &plan, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_limit_parse(fixture_pool, minute, 2, &limit, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_plan_limit_add(fixture_pool, plan, limit, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_daily_add(fixture_pool, plan, &error), APR_SUCCESS);
    aq_plan_seal(plan);
    for (int i = 0; i < plan->limits->nelts; i++) {
        aq_limit_identify(APR_ARRAY_IDX(plan->limits, i, aq_limit_t *), &store->secret);
    }
    plans = apr_hash_make(fixture_pool);
    apr_hash_set(plans, "basic", APR_HASH_KEY_STRING, plan);
    folder = fixture_path(test);
    json_decref(key_file); /* that of an earlier begin in the same test */
    key_file = json_pack("{s:{s:{s:s}}}", "tenants", "acme", "plan", "basic");
}

static void use(uint32_t cost, aq_time_ms_t now_ms)
{
    aq_counter_t counter = counter_of(store, aq_daily_of(plan), "acme");

    ck_assert(counter_take(store, &counter, cost, now_ms));
}

static void keep(aq_time_ms_t now_ms)
{
    const char *error = "";
    apr_status_t rv = aq_daily_use_keep(fixture_pool, store, key_file, plans, folder, now_ms, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
}

/* What is kept, as "day used" for each, in the order of the days. */
static const char *kept(const char *since, const char *until)
{
    const char *text = "", *error;
    json_t *days;
    const json_t *day;
    size_t i;

    ck_assert_int_eq(aq_daily_use_read(fixture_pool, folder, since, until, &days, &error), APR_SUCCESS);
    json_array_foreach(days, i, day)
    {
        const json_t *entry = json_array_get(json_object_get(day, "use"), 0);
        ck_assert_str_eq(aq_json_string(entry, "tenant"), "acme");
        ck_assert_str_eq(aq_json_string(entry, "plan"), "basic");
        ck_assert_str_eq(json_string_value(json_array_get(json_object_get(entry, "limits"), 0)), "minute");
        ck_assert_uint_eq(json_array_size(json_object_get(entry, "limits")), 1);
        text = apr_psprintf(fixture_pool, "%s%s %d,", text, aq_json_string(day, "day"),
                            (int)json_integer_value(json_object_get(entry, "used")));
    }
    json_decref(days);
    return text;
}

START_TEST(each_of_seven_days_has_its_use)
{
    aq_daily_t days[AQ_DAILY_DAYS];
    uint64_t words[AQ_WINDOW_WORDS];

    begin("each");
    for (uint32_t i = 0; i < 9; i++) {
        use(10 + i, NOON + i * DAY);
    }
    const aq_counter_t counter = counter_of(store, aq_daily_of(plan), "acme");
    ck_assert_int_eq(aq_counter_store_words(store, &counter, words), APR_SUCCESS);
    aq_daily_read(aq_daily_of(plan), words, NOON + 8 * DAY, days);
    for (uint32_t i = 0; i < AQ_DAILY_DAYS; i++) {
        ck_assert_uint_eq(days[i].used, 18 - i);
        ck_assert_int_eq(days[i].day_ms, NOON / DAY * DAY + (8 - (int64_t)i) * DAY);
    }
}
END_TEST

START_TEST(day_ends_at_midnight_utc)
{
    const aq_time_ms_t midnight = NOON / DAY * DAY + DAY;

    begin("day");
    use(1, midnight - 1);
    use(2, midnight);
    keep(midnight);
    const char *text = kept(NULL, NULL);
    ck_assert_ptr_nonnull(strstr(text, " 1,"));
    ck_assert_ptr_nonnull(strstr(text, " 2,"));
}
END_TEST

/* As after a crash on the way, or by a timer and a reload at once. */
START_TEST(keeping_again_and_again_counts_nothing_twice)
{
    begin("keeping");
    use(5, NOON);
    keep(NOON);
    keep(NOON);
    const char *once = kept(NULL, NULL);
    keep(NOON + HOUR);
    ck_assert_str_eq(kept(NULL, NULL), once);
    use(5, NOON + HOUR);
    keep(NOON + DAY);
    ck_assert_ptr_nonnull(strstr(kept(NULL, NULL), " 10,"));
}
END_TEST

/* A counter file that was set aside begins at zero. */
START_TEST(lost_counters_do_not_take_back_what_is_kept)
{
    begin("lost");
    use(5, NOON);
    keep(NOON);
    begin("lost");
    use(1, NOON);
    keep(NOON);
    ck_assert_ptr_nonnull(strstr(kept(NULL, NULL), " 5,"));
}
END_TEST

START_TEST(days_are_read_from_one_to_another_and_kept_for_400)
{
    begin("days");
    for (int i = 0; i < 403; i++) {
        use(1, NOON + i * DAY);
        if (i % 6 == 0) {
            keep(NOON + i * DAY);
        }
    }
    keep(NOON + 402 * DAY);
    const char *all = kept(NULL, NULL), *day = all;
    int count = 0;
    for (; (day = strchr(day, ',')) != NULL; day++) {
        count++;
    }
    ck_assert_int_eq(count, AQ_DAILY_USE_KEEP_DAYS + 1); /* and today */
    const char *first = apr_pstrmemdup(fixture_pool, all, 10);
    ck_assert_str_eq(kept(first, first), apr_pstrcat(fixture_pool, first, " 1,", NULL));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, each_of_seven_days_has_its_use);
    tcase_add_test(tests, day_ends_at_midnight_utc);
    tcase_add_test(tests, keeping_again_and_again_counts_nothing_twice);
    tcase_add_test(tests, lost_counters_do_not_take_back_what_is_kept);
    tcase_add_test(tests, days_are_read_from_one_to_another_and_kept_for_400);
}

int main(void)
{
    return fixture_run("daily use", add);
}
