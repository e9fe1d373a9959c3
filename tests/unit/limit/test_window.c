/* SPDX-License-Identifier: Apache-2.0 */
/* Windows: places, words, words that belong to another use of the slot, the end of windows. */
#include "limit/window.h"
#include "unit/fixture.h"

#include <stdlib.h>

/* 2026-11-22T12:20:50Z */
#define NOON INT64_C(1795350050000)
#define MINUTE INT64_C(60000)
#define DAY INT64_C(86400000)

static const aq_window_t MINUTE_SLIDING = {
    .algorithm = AQ_ALGORITHM_SLIDING, .period = AQ_PERIOD_SECONDS, .period_s = 60};
static const aq_window_t MINUTE_FIXED = {.algorithm = AQ_ALGORITHM_FIXED, .period = AQ_PERIOD_SECONDS, .period_s = 60};
static const aq_window_t DAY_FIXED = {.algorithm = AQ_ALGORITHM_FIXED, .period = AQ_PERIOD_SECONDS, .period_s = 86400};
static const aq_window_t MONTH = {.algorithm = AQ_ALGORITHM_FIXED, .period = AQ_PERIOD_MONTH, .period_s = 0};
static const aq_window_t TOTAL = {.algorithm = AQ_ALGORITHM_TOTAL, .period = AQ_PERIOD_TOTAL, .period_s = 0};

static uint64_t word_of(const aq_window_t *window, aq_time_ms_t at_ms, uint32_t count)
{
    return (uint64_t)aq_window_locate(window, at_ms).start << 32 | count;
}

static aq_time_ms_t time_of(const char *text)
{
    aq_time_ms_t ms;

    ck_assert_int_eq(aq_clock_rfc3339_parse(text, &ms), APR_SUCCESS);
    return ms;
}

START_TEST(place_is_where_the_calendar_says)
{
    const aq_window_place_t sub = aq_window_locate(&MINUTE_SLIDING, NOON);
    const aq_window_place_t month = aq_window_locate(&MONTH, NOON);

    ck_assert_uint_eq(sub.start, (uint32_t)(NOON / 1000 * 6));
    ck_assert_uint_eq(sub.length, 60);
    ck_assert_uint_eq(sub.index, (unsigned)(NOON / 10000 % 7));
    ck_assert_uint_eq(aq_window_locate(&DAY_FIXED, NOON).start, (uint32_t)(NOON / DAY * 86400 * 6));
    ck_assert_uint_eq(month.start, (uint32_t)(time_of("2026-11-01T00:00:00Z") / 1000 * 6));
    ck_assert_uint_eq(month.length, 30 * 86400 * 6);
    ck_assert_uint_eq(aq_window_locate(&TOTAL, NOON).start, 0);
    ck_assert_uint_eq(aq_window_locate(&TOTAL, NOON).length, 0);
}
END_TEST

START_TEST(window_ends_with_the_clock)
{
    ck_assert_int_eq(aq_window_end_ms(&MINUTE_SLIDING, NOON), NOON + 10000);
    ck_assert_int_eq(aq_window_end_ms(&MINUTE_FIXED, NOON + 9999), NOON + 10000);
    ck_assert_int_eq(aq_window_end_ms(&MINUTE_FIXED, NOON + 10000), NOON + 10000 + MINUTE);
    ck_assert_int_eq(aq_window_end_ms(&DAY_FIXED, NOON), time_of("2026-11-23T00:00:00Z"));
    ck_assert_int_eq(aq_window_end_ms(&MONTH, NOON), time_of("2026-12-01T00:00:00Z"));
    ck_assert_int_eq(aq_window_end_ms(&MONTH, time_of("2028-02-29T23:59:59.999Z")), time_of("2028-03-01T00:00:00Z"));
    ck_assert_int_eq(aq_window_end_ms(&MONTH, time_of("2038-01-19T03:14:08Z")), time_of("2038-02-01T00:00:00Z"));
    ck_assert_int_eq(aq_window_end_ms(&TOTAL, NOON), AQ_TIME_NEVER);
}
END_TEST

START_TEST(word_grows_begins_anew_and_saturates)
{
    const aq_window_place_t place = aq_window_locate(&DAY_FIXED, NOON);
    const uint64_t start = (uint64_t)place.start << 32;

    ck_assert_uint_eq(aq_window_word_add(&place, 0, 3), start | 3);
    ck_assert_uint_eq(aq_window_word_add(&place, start | 3, 4), start | 7);
    ck_assert_uint_eq(aq_window_word_add(&place, word_of(&DAY_FIXED, NOON - DAY, 9), 4), start | 4);
    ck_assert_uint_eq(aq_window_word_add(&place, start | (UINT32_MAX - 1), 5), start | UINT32_MAX);
    ck_assert_uint_eq(aq_window_word_add(&place, start | 1, UINT32_MAX), start | UINT32_MAX);
}
END_TEST

START_TEST(word_gives_back_to_its_own_window_and_not_below_zero)
{
    const uint64_t word = word_of(&DAY_FIXED, NOON, 5);
    const uint32_t start = (uint32_t)(word >> 32);

    ck_assert_uint_eq(aq_window_word_give_back(word, start, 2), word - 2);
    ck_assert_uint_eq(aq_window_word_give_back(word, start, 9), word - 5);
    ck_assert_uint_eq(aq_window_word_give_back(word, start - 86400 * 6, 2), word);
}
END_TEST

/* What another period, another index or chance left behind is no count of this window's, behind now or ahead of it. */
START_TEST(start_of_no_window_counts_as_empty)
{
    const aq_window_t *const windows[] = {&MINUTE_FIXED, &DAY_FIXED, &MONTH, &MINUTE_SLIDING, &TOTAL};

    for (unsigned w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        const aq_window_place_t place = aq_window_locate(windows[w], NOON);

        for (int32_t apart = -400 * 86400 * 6; apart < 400 * 86400 * 6; apart += 86400 * 6 / 4 - 7) {
            uint64_t words[AQ_WINDOW_WORDS] = {0};
            aq_window_look_t look;

            /* Two ticks off every window; and in the sliding one whatever the index. */
            words[place.index] = (uint64_t)(place.start + (uint32_t)(apart / 6 * 6 + 2)) << 32 | 9;
            aq_window_look(windows[w], words, NOON, &look);
            ck_assert_uint_eq(look.used, 0);
            ck_assert_uint_eq(look.mended, 0);
            ck_assert_uint_eq(look.place.start, place.start);
            ck_assert_uint_eq(aq_window_word_add(&look.place, words[place.index], 1), (uint64_t)place.start << 32 | 1);
        }
    }
}
END_TEST

START_TEST(sub_window_in_the_wrong_word_counts_as_empty)
{
    const aq_window_place_t place = aq_window_locate(&MINUTE_SLIDING, NOON);

    for (unsigned wrong = 1; wrong < AQ_WINDOW_WORDS; wrong++) {
        uint64_t words[AQ_WINDOW_WORDS] = {0};
        aq_window_look_t look;

        words[(place.index + wrong) % AQ_WINDOW_WORDS] = (uint64_t)place.start << 32 | 9;
        aq_window_look(&MINUTE_SLIDING, words, NOON, &look);
        ck_assert_uint_eq(look.used, 0);
    }
}
END_TEST

START_TEST(next_window_ahead_is_the_present_one)
{
    const aq_window_t *const windows[] = {&MINUTE_FIXED, &DAY_FIXED, &MONTH};

    for (unsigned w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        const aq_time_ms_t next_ms = aq_window_end_ms(windows[w], NOON);
        uint64_t words[AQ_WINDOW_WORDS] = {word_of(windows[w], next_ms, 5)};
        aq_window_look_t look;

        aq_window_look(windows[w], words, NOON, &look);
        ck_assert_uint_eq(look.used, 5);
        ck_assert_uint_eq(look.mended, 0);
        ck_assert_int_eq(look.place.now_ms, next_ms);
        ck_assert_uint_eq(look.place.start, words[0] >> 32);
        ck_assert_int_eq(aq_window_fits_at(windows[w], words, &look, 5, 1), aq_window_end_ms(windows[w], next_ms));
    }
}
END_TEST

START_TEST(window_far_ahead_is_moved_to_the_present)
{
    const aq_window_t *const windows[] = {&MINUTE_FIXED, &DAY_FIXED, &MONTH};

    for (unsigned w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        uint64_t words[AQ_WINDOW_WORDS] = {word_of(windows[w], NOON + 100 * DAY, 5)};
        aq_window_look_t look;

        aq_window_look(windows[w], words, NOON, &look);
        ck_assert_uint_eq(look.used, 5);
        ck_assert_uint_eq(look.mended, 1);
        ck_assert_uint_eq(words[0], word_of(windows[w], NOON, 5));
        aq_window_look(windows[w], words, NOON, &look);
        ck_assert_uint_eq(look.mended, 0);
        ck_assert_int_eq(aq_window_fits_at(windows[w], words, &look, 5, 1), aq_window_end_ms(windows[w], NOON));
    }
}
END_TEST

/* However far the clock stepped back, all that was counted is still counted at once, and gone after two windows. */
START_TEST(sub_windows_ahead_still_count)
{
    for (int64_t back_ms = 0; back_ms < 200 * MINUTE; back_ms += 3333) {
        const aq_time_ms_t now_ms = NOON - back_ms;
        uint64_t words[AQ_WINDOW_WORDS] = {0};
        aq_window_look_t look;
        aq_time_ms_t free_ms;

        for (int age = 0; age < AQ_WINDOW_SUBS; age++) {
            const aq_window_place_t place = aq_window_locate(&MINUTE_SLIDING, NOON - age * 10000);

            words[place.index] = aq_window_word_add(&place, 0, 2);
        }
        aq_window_look(&MINUTE_SLIDING, words, now_ms, &look);
        ck_assert_uint_eq(look.used, 12);
        free_ms = aq_window_fits_at(&MINUTE_SLIDING, words, &look, 12, 12);
        ck_assert_int_le(free_ms - now_ms, 2 * MINUTE + 10000);
        aq_window_look(&MINUTE_SLIDING, words, free_ms, &look);
        ck_assert_uint_eq(look.used, 0);
    }
}
END_TEST

START_TEST(life_ends_when_nothing_counts_any_more)
{
    ck_assert_int_eq(aq_window_life_s(&MINUTE_SLIDING), 70);
    ck_assert_int_eq(aq_window_life_s(&MINUTE_FIXED), 60);
    ck_assert_int_eq(aq_window_life_s(&DAY_FIXED), 86400);
    ck_assert_int_eq(aq_window_life_s(&MONTH), 31 * 86400);
    ck_assert_int_eq(aq_window_life_s(&TOTAL), INT64_MAX);
    ck_assert_int_eq(
        aq_window_life_s(&(aq_window_t){.algorithm = AQ_ALGORITHM_SLIDING, .period = AQ_PERIOD_SECONDS, .period_s = 1}),
        2);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, place_is_where_the_calendar_says);
    tcase_add_test(tests, window_ends_with_the_clock);
    tcase_add_test(tests, word_grows_begins_anew_and_saturates);
    tcase_add_test(tests, word_gives_back_to_its_own_window_and_not_below_zero);
    tcase_add_test(tests, start_of_no_window_counts_as_empty);
    tcase_add_test(tests, sub_window_in_the_wrong_word_counts_as_empty);
    tcase_add_test(tests, next_window_ahead_is_the_present_one);
    tcase_add_test(tests, window_far_ahead_is_moved_to_the_present);
    tcase_add_test(tests, sub_windows_ahead_still_count);
    tcase_add_test(tests, life_ends_when_nothing_counts_any_more);
}

int main(void)
{
    return fixture_run("windows", add);
}
