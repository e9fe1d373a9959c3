/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clock: the civil calendar, and RFC 3339.
 */
#include "base/aq_clock.h"

#include <apr_errno.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static aq_time_ms_t at(const char *text)
{
    aq_time_ms_t t;

    ck_assert_msg(aq_clock_rfc3339_parse(text, &t) == APR_SUCCESS, "%s", text);
    return t;
}

static const struct {
    const char *now;
    int months;
    const char *start;
} MONTHS[] = {
    {"2026-11-22T01:26:36Z", 0, "2026-11-01T00:00:00.000Z"},
    {"2026-11-22T01:26:36Z", 1, "2026-12-01T00:00:00.000Z"},
    {"2026-11-22T01:26:36Z", 2, "2027-01-01T00:00:00.000Z"},
    {"2026-01-31T23:59:59.999Z", 1, "2026-02-01T00:00:00.000Z"},
    {"2026-01-01T00:00:00Z", -1, "2025-12-01T00:00:00.000Z"},
    {"2026-01-01T00:00:00Z", -13, "2024-12-01T00:00:00.000Z"},
    {"2028-02-29T12:00:00Z", 0, "2028-02-01T00:00:00.000Z"},
    {"2028-02-29T12:00:00Z", 1, "2028-03-01T00:00:00.000Z"},
    {"2038-01-19T03:14:08Z", 0, "2038-01-01T00:00:00.000Z"},
    {"2100-02-28T23:59:59Z", 1, "2100-03-01T00:00:00.000Z"},
    {"1969-12-31T23:59:59.999Z", 0, "1969-12-01T00:00:00.000Z"},
    {"2026-06-30T23:59:60Z", 0, "2026-07-01T00:00:00.000Z"},
};

START_TEST(month_starts_as_the_calendar_says)
{
    char text[AQ_RFC3339_SIZE];

    aq_clock_rfc3339_write(text, aq_clock_month_start_ms(at(MONTHS[_i].now), MONTHS[_i].months));
    ck_assert_str_eq(text, MONTHS[_i].start);
}
END_TEST

/* Days, and months of each, over six centuries against the C library's calendar. */
START_TEST(calendar_agrees_with_the_c_library)
{
    char ours[AQ_RFC3339_SIZE], theirs[32];
    struct tm tm;

    for (int64_t s = -INT64_C(9000000000); s < INT64_C(12000000000); s += AQ_S_PER_DAY + 3607) {
        time_t time = (time_t)s;
        ck_assert_ptr_nonnull(gmtime_r(&time, &tm));
        ck_assert_uint_gt(strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S.000Z", &tm), 0);
        aq_clock_rfc3339_write(ours, s * AQ_MS_PER_S);
        ck_assert_str_eq(ours, theirs);
        ck_assert_int_eq(at(ours), s * AQ_MS_PER_S);

        tm.tm_mday = 1;
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        tm.tm_mon += 5;
        ck_assert_int_eq(aq_clock_month_start_ms(s * AQ_MS_PER_S, 5), (int64_t)timegm(&tm) * AQ_MS_PER_S);
    }
}
END_TEST

static const struct {
    const char *text;
    aq_time_ms_t t;
} TIMES[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"1970-01-01T00:00:00.001Z", 1},
    {"1970-01-01T00:00:00.0019999Z", 1},
    {"1970-01-01t00:00:01z", 1000},
    {"1970-01-01 00:00:01Z", 1000},
    {"1970-01-01T01:00:00+01:00", 0},
    {"1969-12-31T23:30:00-00:30", 0},
    {"1970-01-01T00:00:00-23:59", INT64_C(86340000)},
    {"1972-06-30T23:59:60Z", INT64_C(78796800000)},
    {"2038-01-19T03:14:08.5Z", INT64_C(2147483648500)},
    {"0000-01-01T00:00:00Z", -INT64_C(62167219200000)},
};

START_TEST(time_is_read)
{
    ck_assert_int_eq(at(TIMES[_i].text), TIMES[_i].t);
}
END_TEST

static const char *const NO_TIMES[] = {
    "",
    "now",
    "2027-01-01",
    "2027-01-01T00:00:00",
    "2027-01-01T00:00Z",
    "2027-01-01T00:00:00Zx",
    "2027-01-01T00:00:00.Z",
    "2027-13-01T00:00:00Z",
    "2027-00-01T00:00:00Z",
    "2027-02-29T00:00:00Z",
    "2100-02-29T00:00:00Z",
    "2027-04-31T00:00:00Z",
    "2027-01-00T00:00:00Z",
    "2027-01-01T24:00:00Z",
    "2027-01-01T00:60:00Z",
    "2027-01-01T00:00:61Z",
    "2027-01-01T00:00:00+24:00",
    "2027-01-01T00:00:00+0100",
    "2027-1-1T0:0:0Z",
    " 2027-01-01T00:00:00Z",
    "+027-01-01T00:00:00Z",
    "12027-01-01T00:00:00Z",
};

START_TEST(what_is_no_time_is_refused)
{
    aq_time_ms_t t = 7;

    ck_assert_msg(aq_clock_rfc3339_parse(NO_TIMES[_i], &t) == APR_EGENERAL, "%s", NO_TIMES[_i]);
    ck_assert_int_eq(t, 0);
}
END_TEST

START_TEST(times_outside_of_four_digit_years_are_clamped)
{
    char text[AQ_RFC3339_SIZE];

    aq_clock_rfc3339_write(text, INT64_MAX);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
    aq_clock_rfc3339_write(text, INT64_MIN);
    ck_assert_str_eq(text, "0000-01-01T00:00:00.000Z");
}
END_TEST

START_TEST(clocks_run_and_the_boot_has_an_id)
{
    char id[40], again[40];
    aq_time_ms_t boot_ms = aq_clock_boot_ms();

    ck_assert_int_gt(aq_clock_now_ms(), at("2026-01-01T00:00:00Z"));
    ck_assert_int_gt(boot_ms, 0);
    ck_assert_int_ge(aq_clock_boot_ms(), boot_ms);
    aq_clock_boot_id(id);
    aq_clock_boot_id(again);
    ck_assert_uint_eq(strlen(id), 36);
    ck_assert_str_eq(id, again);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tests = tcase_create("clock");

    tcase_add_loop_test(tests, month_starts_as_the_calendar_says, 0, sizeof(MONTHS) / sizeof(MONTHS[0]));
    tcase_add_test(tests, calendar_agrees_with_the_c_library);
    tcase_add_loop_test(tests, time_is_read, 0, sizeof(TIMES) / sizeof(TIMES[0]));
    tcase_add_loop_test(tests, what_is_no_time_is_refused, 0, sizeof(NO_TIMES) / sizeof(NO_TIMES[0]));
    tcase_add_test(tests, times_outside_of_four_digit_years_are_clamped);
    tcase_add_test(tests, clocks_run_and_the_boot_has_an_id);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
