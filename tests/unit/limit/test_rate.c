/* SPDX-License-Identifier: Apache-2.0 */
/* Rates: what is read, and what is refused with a sentence that names it (catalogue line 29). */
#include "limit/rate.h"
#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    aq_rate_t rate;
} GOOD[] = {
    {"1/second", {1, 0, AQ_PERIOD_SECONDS, 1, "1s"}},
    {"300/minute", {300, 0, AQ_PERIOD_SECONDS, 60, "1m"}},
    {"5/hour", {5, 0, AQ_PERIOD_SECONDS, 3600, "1h"}},
    {"10000/day", {10000, 0, AQ_PERIOD_SECONDS, 86400, "1d"}},
    {"100000/month", {100000, 0, AQ_PERIOD_MONTH, 0, "1mo"}},
    {"7/total", {7, 0, AQ_PERIOD_TOTAL, 0, "total"}},
    {"20/concurrent", {20, 0, AQ_PERIOD_CONCURRENT, 0, "concurrent"}},
    {"unlimited/day", {AQ_RATE_COUNT_MAX, 1, AQ_PERIOD_SECONDS, 86400, "1d"}},
    {"unlimited/month", {AQ_RATE_COUNT_MAX, 1, AQ_PERIOD_MONTH, 0, "1mo"}},
    {"unlimited/total", {AQ_RATE_COUNT_MAX, 1, AQ_PERIOD_TOTAL, 0, "total"}},
    {"1/s", {1, 0, AQ_PERIOD_SECONDS, 1, "1s"}},
    {"1/m", {1, 0, AQ_PERIOD_SECONDS, 60, "1m"}},
    {"1/h", {1, 0, AQ_PERIOD_SECONDS, 3600, "1h"}},
    {"1/d", {1, 0, AQ_PERIOD_SECONDS, 86400, "1d"}},
    {"9/10s", {9, 0, AQ_PERIOD_SECONDS, 10, "10s"}},
    {"9/15m", {9, 0, AQ_PERIOD_SECONDS, 900, "15m"}},
    {"9/90m", {9, 0, AQ_PERIOD_SECONDS, 5400, "90m"}},
    {"9/60s", {9, 0, AQ_PERIOD_SECONDS, 60, "1m"}},
    {"9/24h", {9, 0, AQ_PERIOD_SECONDS, 86400, "1d"}},
    {"9/7d", {9, 0, AQ_PERIOD_SECONDS, 604800, "7d"}},
    {"9/366d", {9, 0, AQ_PERIOD_SECONDS, 31622400, "366d"}},
    {"9/31622400s", {9, 0, AQ_PERIOD_SECONDS, 31622400, "366d"}},
    {"9/31622399s", {9, 0, AQ_PERIOD_SECONDS, 31622399, "31622399s"}},
    {"4000000000/minute", {AQ_RATE_COUNT_MAX, 0, AQ_PERIOD_SECONDS, 60, "1m"}},
    {"007/minute", {7, 0, AQ_PERIOD_SECONDS, 60, "1m"}},
};

static const char *const BAD[] = {
    "300x",
    "0/minute",
    "-1/day",
    "99999999999999999999/day",
    "",
    "/",
    "300",
    "300/",
    "/minute",
    "300 /minute",
    "300/ minute",
    " 300/minute",
    "300/minute ",
    "300/minutes",
    "300/Minute",
    "300//minute",
    "300/minute/day",
    "+300/minute",
    "3e2/minute",
    "3.5/minute",
    "0x10/minute",
    "300x/minute",
    "4000000001/minute",
    "18446744073709551617/minute",
    "300/0s",
    "300/0",
    "300/60",
    "300/-5m",
    "300/5x",
    "300/5min",
    "300/1mo",
    "300/367d",
    "300/31622401s",
    "300/99999999999999999999d",
    "300/4294967297s",
    "unlimited",
    "unlimited/concurrent",
    "Unlimited/day",
    "unlimited1/day",
    "1unlimited/day",
    "300/year",
    "300/week",
    "\xc2\xb2/minute",
    "300/minut\xc3\xa9",
};

START_TEST(good_rate_is_read)
{
    aq_rate_t rate;
    const char *error = "left";

    ck_assert_msg(aq_rate_parse(fixture_pool, GOOD[_i].text, &rate, &error) == APR_SUCCESS, "%s", GOOD[_i].text);
    ck_assert_ptr_null(error);
    ck_assert_uint_eq(rate.count, GOOD[_i].rate.count);
    ck_assert_int_eq(rate.is_unlimited, GOOD[_i].rate.is_unlimited);
    ck_assert_int_eq(rate.period, GOOD[_i].rate.period);
    ck_assert_uint_eq(rate.period_s, GOOD[_i].rate.period_s);
    ck_assert_str_eq(rate.text, GOOD[_i].rate.text);
}
END_TEST

START_TEST(bad_rate_is_refused_by_name)
{
    static const aq_rate_t zero;
    aq_rate_t rate;
    const char *error = NULL;

    memset(&rate, 0xff, sizeof(rate));
    ck_assert_msg(aq_rate_parse(fixture_pool, BAD[_i], &rate, &error) == APR_EGENERAL, "%s", BAD[_i]);
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_nonnull(strstr(error, BAD[_i]));
    ck_assert_ptr_nonnull(strstr(error, "COUNT/PERIOD"));
    ck_assert_ptr_nonnull(strstr(error, "4000000000"));
    ck_assert_ptr_nonnull(strstr(error, "[N]d"));
    ck_assert_mem_eq(&rate, &zero, sizeof(rate));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, good_rate_is_read, 0, sizeof(GOOD) / sizeof(GOOD[0]));
    tcase_add_loop_test(tests, bad_rate_is_refused_by_name, 0, sizeof(BAD) / sizeof(BAD[0]));
}

int main(void)
{
    return fixture_run("rate", add);
}
