/* SPDX-License-Identifier: Apache-2.0 */
/* What every counter store must do, one caller at a time. Each test runs over each kind of store. */
#include "contract/counter_fixture.h"

#include <apr_strings.h>

START_TEST(fixed_limit_admits_exactly_its_count)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "5/day", NULL), "a");

    for (unsigned i = 1; i <= 5; i++) {
        ck_assert(counter_take(store, &counter, 1, NOON));
        ck_assert_uint_eq(counter.used, i);
        ck_assert_uint_eq(counter.remaining, 5 - i);
        ck_assert(!counter.is_denied);
        ck_assert_int_eq(counter.reset_at_ms, NOON / DAY * DAY + DAY);
    }
    ck_assert(!counter_take(store, &counter, 1, NOON));
    ck_assert(counter.is_denied);
    ck_assert_uint_eq(counter.used, 5);
    ck_assert_int_eq(counter.fits_at_ms, NOON / DAY * DAY + DAY);
    ck_assert(!counter_take(store, &counter, 1, counter.fits_at_ms - 1));
    ck_assert(counter_take(store, &counter, 1, counter.fits_at_ms));
}
END_TEST

START_TEST(sliding_limit_admits_again_when_it_said_so)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "minute", "30/minute", NULL), "a");
    aq_time_ms_t now_ms = NOON;

    for (unsigned i = 0; i < 30; i++, now_ms += 1700) {
        ck_assert(counter_take(store, &counter, 1, now_ms));
    }
    for (unsigned i = 0; i < 60; i++) {
        ck_assert(!counter_take(store, &counter, 1, now_ms));
        ck_assert_int_gt(counter.fits_at_ms, now_ms);
        ck_assert(!counter_take(store, &counter, 1, counter.fits_at_ms - 1));
        now_ms = counter.fits_at_ms;
        ck_assert(counter_take(store, &counter, 1, now_ms));
    }
}
END_TEST

START_TEST(denied_by_one_limit_is_counted_by_none)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *minute = counter_limit(store, "minute", "3/minute", NULL);
    const aq_limit_t *day = counter_limit(store, "day", "2/day", NULL);
    aq_counter_t both[2] = {counter_of(store, minute, "a"), counter_of(store, day, "a")};

    ck_assert(counters_take(store, both, 2, 1, NOON));
    ck_assert(counters_take(store, both, 2, 1, NOON));
    ck_assert(!counters_take(store, both, 2, 1, NOON));
    ck_assert(!both[0].is_denied);
    ck_assert(both[1].is_denied);
    ck_assert_uint_eq(both[0].used, 2);
    ck_assert_uint_eq(both[0].remaining, 1);
    ck_assert_uint_eq(counter_used(store, counter_of(store, minute, "a"), NOON), 2);
    ck_assert_uint_eq(both[0].receipt.cost, 0);
}
END_TEST

START_TEST(cost_is_taken_whole_or_not_at_all)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "10/day", NULL), "a");

    ck_assert(counter_take(store, &counter, 7, NOON));
    ck_assert(!counter_take(store, &counter, 4, NOON));
    ck_assert_uint_eq(counter.used, 7);
    ck_assert(counter_take(store, &counter, 3, NOON));
    ck_assert_uint_eq(counter.remaining, 0);
    ck_assert(!counter_take(store, &counter, 11, NOON));
    ck_assert_int_eq(counter.fits_at_ms, AQ_TIME_NEVER);
}
END_TEST

START_TEST(giving_back_makes_room_once)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "2/day", NULL);
    aq_counter_t first = counter_of(store, day, "a");
    aq_counter_t second = first;

    ck_assert(counter_take(store, &first, 1, NOON));
    ck_assert(counter_take(store, &second, 1, NOON));
    counter_give_back(store, &first, NOON);
    ck_assert_uint_eq(first.used, 1);
    ck_assert_uint_eq(first.remaining, 1);
    counter_give_back(store, &first, NOON);
    ck_assert_uint_eq(first.used, 1);
    ck_assert(counter_take(store, &first, 1, NOON));
    ck_assert(!counter_take(store, &second, 1, NOON));
}
END_TEST

START_TEST(giving_back_never_reaches_another_window)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "9/day", NULL);
    const aq_limit_t *minute = counter_limit(store, "minute", "9/minute", NULL);
    aq_counter_t old[2] = {counter_of(store, day, "a"), counter_of(store, minute, "a")};
    aq_counter_t fresh[2] = {old[0], old[1]};

    ck_assert(counters_take(store, old, 2, 5, NOON));
    ck_assert(counters_take(store, fresh, 2, 3, NOON + DAY));
    ck_assert_int_eq(aq_counter_store_give_back(store, old, 2, NOON + DAY), APR_SUCCESS);
    ck_assert_uint_eq(old[0].used, 3);
    ck_assert_uint_eq(old[1].used, 3);
}
END_TEST

START_TEST(giving_back_more_than_there_is_leaves_zero)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "9/day", NULL), "a");

    ck_assert(counter_take(store, &counter, 2, NOON));
    counter.receipt.cost = 5;
    counter_give_back(store, &counter, NOON);
    ck_assert_uint_eq(counter.used, 0);
    ck_assert_uint_eq(counter.remaining, 9);
}
END_TEST

START_TEST(look_neither_counts_nor_creates)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "2/day", NULL);
    aq_counter_store_info_t info;

    ck_assert_uint_eq(counter_used(store, counter_of(store, day, "a"), NOON), 0);
    info = counters_info(store, NOON);
    ck_assert_uint_eq(info.live + info.dead, 0);
    ck_assert_uint_eq(info.slots, counter_kinds[_i].is_bounded ? SMALL_SLOTS : 0);
    ck_assert_str_ne(info.id, "");
}
END_TEST

START_TEST(denied_request_creates_no_counter)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "1/day", NULL);
    const aq_limit_t *hour = counter_limit(store, "hour", "9/hour", NULL);
    aq_counter_t both[2] = {counter_of(store, day, "a"), counter_of(store, hour, "b")};

    ck_assert(counter_take(store, &both[0], 1, NOON));
    ck_assert(!counters_take(store, both, 2, 1, NOON));
    ck_assert_uint_eq(counters_info(store, NOON).live, 1);
}
END_TEST

START_TEST(unlimited_is_counted_and_never_denies)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "unlimited/day", NULL), "a");

    for (int i = 0; i < 3; i++) {
        ck_assert(counter_take(store, &counter, UINT32_MAX, NOON));
        ck_assert_uint_eq(counter.used, UINT32_MAX);
        ck_assert(!counter.is_denied);
    }
}
END_TEST

START_TEST(highest_limit_is_exact)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t fixed = counter_of(store, counter_limit(store, "day", "4000000000/day", NULL), "a");
    aq_counter_t sliding = counter_of(store, counter_limit(store, "minute", "4000000000/minute", NULL), "a");

    ck_assert(counter_take(store, &fixed, UINT32_C(3999999999), NOON));
    ck_assert(counter_take(store, &fixed, 1, NOON));
    ck_assert(!counter_take(store, &fixed, 1, NOON));
    ck_assert(counter_take(store, &sliding, UINT32_C(4000000000), NOON));
    ck_assert(!counter_take(store, &sliding, 1, NOON + 59 * SECOND));
    ck_assert(counter_take(store, &sliding, UINT32_C(4000000000), NOON + 70 * SECOND));
}
END_TEST

START_TEST(total_never_resets)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "all", "2/total", NULL), "a");

    ck_assert(counter_take(store, &counter, 2, NOON));
    ck_assert_int_eq(counter.reset_at_ms, AQ_TIME_NEVER);
    ck_assert(!counter_take(store, &counter, 1, NOON + 3650 * DAY));
    ck_assert_int_eq(counter.fits_at_ms, AQ_TIME_NEVER);
    ck_assert_int_eq(counter.reset_at_ms, AQ_TIME_NEVER);
}
END_TEST

START_TEST(lower_limit_acts_at_once_on_what_is_counted)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t many = counter_of(store, counter_limit(store, "day", "9/day", NULL), "a");
    aq_counter_t few = counter_of(store, counter_limit(store, "day", "3/day", NULL), "a");

    ck_assert(counter_take(store, &many, 5, NOON));
    ck_assert(!counter_take(store, &few, 1, NOON));
    ck_assert_uint_eq(few.used, 5);
    ck_assert_uint_eq(few.remaining, 0);
    ck_assert(counter_take(store, &many, 4, NOON));
}
END_TEST

START_TEST(counters_are_told_apart_by_limit_period_algorithm_and_subject)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counters[] = {
        counter_of(store, counter_limit(store, "a", "1/day", NULL), "x"),
        counter_of(store, counter_limit(store, "b", "1/day", NULL), "x"),
        counter_of(store, counter_limit(store, "a", "1/hour", NULL), "x"),
        counter_of(store, counter_limit(store, "a", "1/day", "algorithm=sliding"), "x"),
        counter_of(store, counter_limit(store, "a", "1/day", "per=tenant"), "x"),
        counter_of(store, counter_limit(store, "a", "1/day", NULL), "y"),
    };
    const unsigned count = sizeof(counters) / sizeof(counters[0]);

    for (unsigned i = 0; i < count; i++) {
        ck_assert(counter_take(store, &counters[i], 1, NOON));
    }
    for (unsigned i = 0; i < count; i++) {
        ck_assert(!counter_take(store, &counters[i], 1, NOON));
    }
}
END_TEST

START_TEST(sixteen_limits_at_once)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counters[AQ_LIMITS_MAX];

    for (unsigned i = 0; i < AQ_LIMITS_MAX; i++) {
        const char *name = apr_psprintf(fixture_pool, "l%u", i);

        counters[i] = counter_of(store, counter_limit(store, name, i % 2 ? "9/day" : "8/minute", NULL), "a");
    }
    ck_assert(counters_take(store, counters, AQ_LIMITS_MAX, 8, NOON));
    ck_assert(!counters_take(store, counters, AQ_LIMITS_MAX, 1, NOON));
    for (unsigned i = 0; i < AQ_LIMITS_MAX; i++) {
        ck_assert_uint_eq(counters[i].used, 8);
        ck_assert_int_eq(counters[i].is_denied, i % 2 == 0);
    }
}
END_TEST

static void add(TCase *tests)
{
    counters_prepare(tests);
    tcase_add_loop_test(tests, fixed_limit_admits_exactly_its_count, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, sliding_limit_admits_again_when_it_said_so, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, denied_by_one_limit_is_counted_by_none, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, cost_is_taken_whole_or_not_at_all, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, giving_back_makes_room_once, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, giving_back_never_reaches_another_window, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, giving_back_more_than_there_is_leaves_zero, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, look_neither_counts_nor_creates, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, denied_request_creates_no_counter, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, unlimited_is_counted_and_never_denies, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, highest_limit_is_exact, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, total_never_resets, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, lower_limit_acts_at_once_on_what_is_counted, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, counters_are_told_apart_by_limit_period_algorithm_and_subject, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, sixteen_limits_at_once, 0, COUNTER_KINDS);
}

int main(void)
{
    return fixture_run("counter store", add);
}
