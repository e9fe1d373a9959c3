/* SPDX-License-Identifier: Apache-2.0 */
/* Trouble: when a failure that goes on is told. */
#include "worker/trouble.h"

#include "unit/fixture.h"

#include <string.h>

#define BEGIN_MS INT64_C(5000)

START_TEST(trouble_is_told_at_once_then_once_a_minute_and_when_it_is_over)
{
    static const struct {
        int64_t after_ms;
        apr_status_t rv;
        aq_trouble_news_t news;
        const char *lasting;
    } looks[] = {
        {0, APR_EBUSY, AQ_TROUBLE_LASTS, ""},
        {2000, APR_EBUSY, AQ_TROUBLE_NO_NEWS, NULL},
        {59999, APR_EGENERAL, AQ_TROUBLE_NO_NEWS, NULL},
        {60000, APR_EGENERAL, AQ_TROUBLE_LASTS, " (for 60 s now)"},
        {119999, APR_EBUSY, AQ_TROUBLE_NO_NEWS, NULL},
        {185000, APR_EBUSY, AQ_TROUBLE_LASTS, " (for 185 s now)"},
        {190000, APR_SUCCESS, AQ_TROUBLE_IS_OVER, " after 190 s"},
        {192000, APR_SUCCESS, AQ_TROUBLE_NO_NEWS, NULL},
        {194000, APR_EBUSY, AQ_TROUBLE_LASTS, ""},
    };
    aq_trouble_t trouble = {.is_there = 0};

    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        ck_assert_int_eq(aq_trouble_note(&trouble, looks[i].rv, BEGIN_MS + looks[i].after_ms), looks[i].news);
        ck_assert(looks[i].lasting == NULL || strcmp(trouble.lasting, looks[i].lasting) == 0);
    }
}
END_TEST

START_TEST(what_never_failed_is_never_told)
{
    aq_trouble_t trouble = {.is_there = 0};

    for (int64_t ms = 0; ms < 200000; ms += 2000) {
        ck_assert_int_eq(aq_trouble_note(&trouble, APR_SUCCESS, ms), AQ_TROUBLE_NO_NEWS);
    }
    ck_assert_int_eq(aq_trouble_note(&trouble, APR_EBUSY, 0), AQ_TROUBLE_LASTS); /* boot time may be 0 */
    ck_assert_int_eq(aq_trouble_note(&trouble, APR_EBUSY, 1), AQ_TROUBLE_NO_NEWS);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, trouble_is_told_at_once_then_once_a_minute_and_when_it_is_over);
    tcase_add_test(tests, what_never_failed_is_never_told);
}

int main(void)
{
    return fixture_run("trouble", add_tests);
}
