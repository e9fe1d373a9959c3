/* SPDX-License-Identifier: Apache-2.0 */
/* Counter stores and time: edges of windows, calendars, clocks that step. Each test runs over each kind of store. */
#include "contract/counter_fixture.h"

#include <apr_strings.h>

/* Denied at every moment until `free_ms`, and admitted then. */
static void wait_is_exactly(aq_counter_store_t *store, aq_counter_t *counter, aq_time_ms_t now_ms, aq_time_ms_t free_ms)
{
    ck_assert(!counter_take(store, counter, 1, now_ms));
    ck_assert_int_eq(counter->fits_at_ms, free_ms);
    ck_assert(!counter_take(store, counter, 1, free_ms - 1));
    ck_assert(counter_take(store, counter, 1, free_ms));
}

/* Catalogue line 53: one window or the other, never both, never none. */
START_TEST(f53_edge_belongs_to_one_window)
{
    static const struct {
        const char *rate;
        int64_t period_ms;
    } rates[] = {{"1/second", SECOND}, {"1/minute", MINUTE}, {"1/hour", HOUR}, {"1/day", DAY}, {"1/7d", 7 * DAY}};
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);

    for (unsigned r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        const aq_limit_t *limit = counter_limit(store, "edge", rates[r].rate, "algorithm=fixed");
        const int64_t first = NOON / rates[r].period_ms + 1;

        for (uint64_t run = 0; run < 100; run++) {
            const aq_time_ms_t edge_ms = (first + (int64_t)run) * rates[r].period_ms;
            aq_counter_t counter = counter_numbered(store, limit, run);

            ck_assert(counter_take(store, &counter, 1, edge_ms - 1));
            ck_assert(!counter_take(store, &counter, 1, edge_ms - 1));
            ck_assert(counter_take(store, &counter, 1, edge_ms));
            ck_assert(!counter_take(store, &counter, 1, edge_ms));
        }
    }
}
END_TEST

START_TEST(f52_month_ends_with_the_calendar)
{
    static const struct {
        const char *last, *next; /* the last millisecond of a month, the first of the next */
    } ends[] = {
        {"2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00.000Z"},
        {"2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z"},
        {"2027-02-28T23:59:59.999Z", "2027-03-01T00:00:00.000Z"},
        {"2028-02-29T23:59:59.999Z", "2028-03-01T00:00:00.000Z"},
        {"2038-01-31T23:59:59.999Z", "2038-02-01T00:00:00.000Z"},
        {"2100-02-28T23:59:59.999Z", "2100-03-01T00:00:00.000Z"},
    };
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *limit = counter_limit(store, "month", "1/month", NULL);

    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        aq_counter_t counter = counter_numbered(store, limit, i);
        aq_time_ms_t last_ms;
        aq_time_ms_t next_ms;

        ck_assert_int_eq(aq_clock_rfc3339_parse(ends[i].last, &last_ms), APR_SUCCESS);
        ck_assert_int_eq(aq_clock_rfc3339_parse(ends[i].next, &next_ms), APR_SUCCESS);
        ck_assert(counter_take(store, &counter, 1, aq_clock_month_start_ms(last_ms, 0)));
        wait_is_exactly(store, &counter, last_ms, next_ms);
    }
}
END_TEST

START_TEST(f52_twenty_ninth_of_february_is_a_day_of_its_own)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "1/day", NULL), "a");
    aq_time_ms_t day_ms;

    ck_assert_int_eq(aq_clock_rfc3339_parse("2028-02-28T00:00:00Z", &day_ms), APR_SUCCESS);
    for (int day = 0; day < 3; day++, day_ms += DAY) {
        ck_assert(counter_take(store, &counter, 1, day_ms));
        ck_assert(!counter_take(store, &counter, 1, day_ms + DAY - 1));
    }
}
END_TEST

/* 2^31 seconds since 1970, and the moments at which the 32 bits of a word's start begin again. */
START_TEST(f52_2038_and_where_numbers_wrap_counts_go_on)
{
    static const int64_t ticks = INT64_C(1) << 32;
    const aq_time_ms_t wraps[] = {(INT64_C(1) << 31) * SECOND, ticks * 3 / 6 * SECOND, ticks * 4 / 6 * SECOND,
                                  ticks * 5 / 6 * SECOND};
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *minute = counter_limit(store, "m", "6/minute", NULL);
    const aq_limit_t *month = counter_limit(store, "mo", "60/month", NULL);

    for (unsigned i = 0; i < sizeof(wraps) / sizeof(wraps[0]); i++) {
        aq_counter_t both[2] = {counter_numbered(store, minute, i), counter_numbered(store, month, i)};

        for (int step = -6; step < 0; step++) {
            ck_assert(counters_take(store, both, 2, 1, wraps[i] + step * SECOND));
        }
        ck_assert(!counters_take(store, both, 2, 1, wraps[i]));
        ck_assert(!counters_take(store, both, 2, 1, wraps[i] + 10 * SECOND));
        ck_assert(counters_take(store, both, 2, 1, both[0].fits_at_ms));
        ck_assert_uint_eq(both[1].used, 7);
    }
}
END_TEST

START_TEST(f52_step_forward_ends_windows_and_no_more)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *minute = counter_limit(store, "minute", "2/minute", NULL);
    const aq_limit_t *month = counter_limit(store, "month", "5/month", NULL);
    aq_counter_t both[2] = {counter_of(store, minute, "a"), counter_of(store, month, "a")};

    ck_assert(counters_take(store, both, 2, 2, NOON));
    ck_assert(!counters_take(store, both, 2, 1, NOON));
    ck_assert(counters_take(store, both, 2, 2, NOON + HOUR));
    ck_assert_uint_eq(both[0].used, 2);
    ck_assert_uint_eq(both[1].used, 4);
}
END_TEST

/*
 * What `rate` admits after the clock stepped back by `back_ms`: nothing; and the wait is at most one window longer than
 * the longest there is without a step (a whole window; a window and a sixth where it slides).
 */
static void step_back(aq_counter_store_t *store, const char *rate, int64_t period_ms, int64_t back_ms)
{
    aq_limit_t *limit = counter_limit(store, "step", rate, NULL);
    const int64_t longest_ms = aq_window_life_s(&limit->window) * SECOND;
    aq_counter_t counter = counter_numbered(store, limit, (uint64_t)back_ms);
    const aq_time_ms_t now_ms = NOON - back_ms;

    ck_assert(counter_take(store, &counter, 4, NOON));
    ck_assert(!counter_take(store, &counter, 1, NOON));
    for (int i = 0; i < 3; i++) {
        ck_assert_msg(!counter_take(store, &counter, 1, now_ms), "%s, back by %ld ms: credit", rate, (long)back_ms);
    }
    ck_assert_msg(counter.fits_at_ms - now_ms <= longest_ms + period_ms, "%s, back by %ld ms: wait of %ld ms", rate,
                  (long)back_ms, (long)(counter.fits_at_ms - now_ms));
    ck_assert(!counter_take(store, &counter, 1, counter.fits_at_ms - 1));
    ck_assert(counter_take(store, &counter, 1, counter.fits_at_ms));
    ck_assert_uint_le(counter.used, 4);
}

START_TEST(f52_step_back_gives_no_credit_and_locks_nobody_out)
{
    static const int64_t backs[] = {
        1,         500,        10 * SECOND, 61 * SECOND,   5 * MINUTE,      HOUR - 1, HOUR,
        7 * HOUR,  DAY - 1,    DAY,         DAY + 1,       3 * DAY + HOUR,  30 * DAY, 61 * DAY,
        400 * DAY, 3650 * DAY, 2 * DAY,     2 * HOUR - 17, 9 * MINUTE + 999};
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);

    for (unsigned i = 0; i < sizeof(backs) / sizeof(backs[0]); i++) {
        step_back(store, "4/second", SECOND, backs[i]);
        step_back(store, "4/minute", MINUTE, backs[i]);
        step_back(store, "4/hour", HOUR, backs[i]);
        step_back(store, "4/day", DAY, backs[i]);
        step_back(store, "4/month", 31 * DAY, backs[i]);
    }
}
END_TEST

/* A caller that keeps asking while the clock is back is not kept waiting until the clock is where it was. */
START_TEST(counts_of_a_far_future_end_with_the_present_window)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "minute", "60/minute", NULL), "a");
    unsigned admitted = 0;

    ck_assert(counter_take(store, &counter, 60, NOON + 5 * HOUR));
    for (int64_t ms = 0; ms < 10 * MINUTE; ms += 500) {
        admitted += (unsigned)counter_take(store, &counter, 1, NOON + ms);
    }
    ck_assert_uint_ge(admitted, UINT64_C(60) * 7);
    ck_assert_uint_le(admitted, UINT64_C(60) * 9 + 20);
}
END_TEST

/* Charges made while the clock was back are given back to where they went. */
START_TEST(giving_back_after_a_step_back_is_exact)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t before = counter_of(store, counter_limit(store, "minute", "9/minute", NULL), "a");
    aq_counter_t after = before;

    ck_assert(counter_take(store, &before, 4, NOON));
    ck_assert(counter_take(store, &after, 2, NOON - 30 * SECOND));
    ck_assert_uint_eq(after.used, 6);
    counter_give_back(store, &after, NOON - 30 * SECOND);
    ck_assert_uint_eq(after.used, 4);
    counter_give_back(store, &before, NOON - 30 * SECOND);
    ck_assert_uint_eq(before.used, 0);
}
END_TEST

static aq_time_ms_t ten_seconds_later(void)
{
    return NOON + 10 * SECOND;
}

/*
 * A process that slept between reading the clock and charging sees counts of a far future as well. It asks the clock,
 * and moves nothing to its own past: that would give the others credit.
 */
START_TEST(sleeper_leaves_the_counts_of_the_present_alone)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "second", "5/second", NULL), "a");

    store->clock = ten_seconds_later;
    ck_assert(counter_take(store, &counter, 5, NOON + 10 * SECOND));
    ck_assert(!counter_take(store, &counter, 1, NOON));
    ck_assert_int_gt(counter.fits_at_ms, NOON + 10 * SECOND);
    ck_assert(!counter_take(store, &counter, 1, NOON + 10 * SECOND + 300));
    ck_assert(counter_take(store, &counter, 1, NOON + 12 * SECOND));
}
END_TEST

/*
 * A leap second has no millisecond of its own: the clock shows the last second of the day twice, some kernels after they
 * showed the new day for a moment. (A smeared one is seconds that last longer, of which nothing is seen here.)
 */
START_TEST(f52_leap_second_is_one_second_twice)
{
    static const char *const rates[] = {"4/second", "4/minute", "4/minute algorithm=fixed",
                                        "4/day",    "4/month",  "4/minute burst=4"};
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_time_ms_t midnight_ms;

    ck_assert_int_eq(aq_clock_rfc3339_parse("2017-01-01T00:00:00Z", &midnight_ms), APR_SUCCESS);
    for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        const char *options = strchr(rates[i], ' ');
        const char *rate = apr_pstrndup(fixture_pool, rates[i], strcspn(rates[i], " "));
        aq_counter_t counter =
            counter_numbered(store, counter_limit(store, "leap", rate, options ? options + 1 : NULL), i);

        for (int shown = 0; shown < 2; shown++) {
            ck_assert(counter_take(store, &counter, 1, midnight_ms - 600));
            ck_assert(counter_take(store, &counter, 1, midnight_ms - 500));
        }
        ck_assert_msg(!counter_take(store, &counter, 1, midnight_ms - 500), "%s: credit", rates[i]);
        ck_assert(counter_take(store, &counter, 1, counter.fits_at_ms));
        /* And back from the new day. */
        while (counter_take(store, &counter, 1, midnight_ms + 40 * DAY)) {
        }
        ck_assert_msg(!counter_take(store, &counter, 1, midnight_ms + 40 * DAY - 1000), "%s: credit", rates[i]);
    }
}
END_TEST

static void add(TCase *tests)
{
    counters_prepare(tests);
    tcase_add_loop_test(tests, f52_leap_second_is_one_second_twice, 0, COUNTER_KINDS);
    tcase_add_test(tests, sleeper_leaves_the_counts_of_the_present_alone);
    tcase_add_loop_test(tests, f53_edge_belongs_to_one_window, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, f52_month_ends_with_the_calendar, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, f52_twenty_ninth_of_february_is_a_day_of_its_own, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, f52_2038_and_where_numbers_wrap_counts_go_on, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, f52_step_forward_ends_windows_and_no_more, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, f52_step_back_gives_no_credit_and_locks_nobody_out, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, counts_of_a_far_future_end_with_the_present_window, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, giving_back_after_a_step_back_is_exact, 0, COUNTER_KINDS);
}

int main(void)
{
    return fixture_run("counters and time", add);
}
