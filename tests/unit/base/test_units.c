/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units: what is read, and what is refused.
 */
#include "base/aq_units.h"

#include <check.h>
#include <stdlib.h>

typedef struct {
    const char *text;
    apr_status_t status;
    int64_t value;
} case_t;

static const case_t DURATIONS[] = {
    {"500ms", APR_SUCCESS, 500},
    {"1", APR_SUCCESS, 1000},
    {"90", APR_SUCCESS, 90000},
    {"2s", APR_SUCCESS, 2000},
    {"5m", APR_SUCCESS, 300000},
    {"5min", APR_SUCCESS, 300000},
    {"5MIN", APR_SUCCESS, 300000},
    {"1h", APR_SUCCESS, 3600000},
    {"7d", APR_SUCCESS, INT64_C(604800000)},
    {"007d", APR_SUCCESS, INT64_C(604800000)},
    {"9223372036854775807ms", APR_SUCCESS, INT64_MAX},
    {"9223372036854775807", APR_EINVAL, 0},
    {"9223372036854775808ms", APR_EINVAL, 0},
    {"99999999999999999999d", APR_EINVAL, 0},
    {"106751991168d", APR_EINVAL, 0},
    {"0", APR_EGENERAL, 0},
    {"0d", APR_EGENERAL, 0},
    {"", APR_EGENERAL, 0},
    {NULL, APR_EGENERAL, 0},
    {"d", APR_EGENERAL, 0},
    {"-5m", APR_EGENERAL, 0},
    {"+5m", APR_EGENERAL, 0},
    {" 5m", APR_EGENERAL, 0},
    {"5 m", APR_EGENERAL, 0},
    {"5m ", APR_EGENERAL, 0},
    {"1.5h", APR_EGENERAL, 0},
    {"5x", APR_EGENERAL, 0},
    {"5mins", APR_EGENERAL, 0},
    {"5m5s", APR_EGENERAL, 0},
    {"0x10s", APR_EGENERAL, 0},
};

static const case_t SIZES[] = {
    {"1", APR_SUCCESS, 1},
    {"1024", APR_SUCCESS, 1024},
    {"64k", APR_SUCCESS, 65536},
    {"50m", APR_SUCCESS, INT64_C(52428800)},
    {"50M", APR_SUCCESS, INT64_C(52428800)},
    {"10g", APR_SUCCESS, INT64_C(10737418240)},
    {"2t", APR_SUCCESS, INT64_C(2199023255552)},
    {"9223372036854775807", APR_SUCCESS, INT64_MAX},
    {"9223372036854775807k", APR_EINVAL, 0},
    {"99999999999999999999", APR_EINVAL, 0},
    {"8388608t", APR_EINVAL, 0},
    {"0", APR_EGENERAL, 0},
    {"0g", APR_EGENERAL, 0},
    {"", APR_EGENERAL, 0},
    {NULL, APR_EGENERAL, 0},
    {"m", APR_EGENERAL, 0},
    {"-1", APR_EGENERAL, 0},
    {"50mb", APR_EGENERAL, 0},
    {"50 m", APR_EGENERAL, 0},
    {"1.5g", APR_EGENERAL, 0},
    {"50x", APR_EGENERAL, 0},
};

START_TEST(duration_is_read_wholly_or_refused)
{
    const case_t *one = &DURATIONS[_i];
    int64_t ms = -1;

    ck_assert_msg(aq_units_duration_parse(one->text, &ms) == one->status, "%s", one->text);
    ck_assert_int_eq(ms, one->value);
}
END_TEST

START_TEST(size_is_read_wholly_or_refused)
{
    const case_t *one = &SIZES[_i];
    int64_t bytes = -1;

    ck_assert_msg(aq_units_size_parse(one->text, &bytes) == one->status, "%s", one->text);
    ck_assert_int_eq(bytes, one->value);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("units");
    TCase *tcase = tcase_create("units");

    tcase_add_loop_test(tcase, duration_is_read_wholly_or_refused, 0, sizeof DURATIONS / sizeof DURATIONS[0]);
    tcase_add_loop_test(tcase, size_is_read_wholly_or_refused, 0, sizeof SIZES / sizeof SIZES[0]);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
