/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reach: which limits can never refuse beside another one.
 */
#include "ctl/reach.h"
#include "store/memory_counters.h"
#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *rate, *option;             /* of the limit */
    const char *other_rate, *other_option; /* of the one beside it */
    int is_hidden;
} CASES[] = {
    /* one window, two counts */
    {"500/day", NULL, "300/day", NULL, 1},
    {"300/day", NULL, "300/day", NULL, 1},
    {"299/day", NULL, "300/day", NULL, 0},
    {"500/minute", NULL, "300/minute", NULL, 1},
    {"500/month", NULL, "300/month", NULL, 1},
    {"500/total", NULL, "300/total", NULL, 1},
    /* an hour lies in one day, a day in one month */
    {"100/hour", NULL, "100/day", NULL, 1},
    {"99/hour", NULL, "100/day", NULL, 0},
    {"100/day", NULL, "100/month", NULL, 1},
    {"100/7h", NULL, "100/day", NULL, 0},
    {"200/7h", NULL, "100/day", NULL, 1},
    /* a sliding hour may touch two days */
    {"150/hour", "algorithm=sliding", "100/day", NULL, 0},
    {"200/hour", "algorithm=sliding", "100/day", NULL, 1},
    /* many short windows in a long one */
    {"25/day", NULL, "1/hour", NULL, 0},
    {"26/day", NULL, "1/hour", NULL, 1},
    {"100000/month", NULL, "10/day", NULL, 1},
    {"329/month", NULL, "10/day", NULL, 0},
    /* a sliding minute knows 50 seconds of itself: any minute holds one such stretch and a bit */
    {"199/minute", "algorithm=fixed", "100/minute", NULL, 0},
    {"200/minute", "algorithm=fixed", "100/minute", NULL, 1},
    /* a short one lies within what it knows */
    {"10/second", NULL, "10/minute", NULL, 1},
    {"100/second", NULL, "10/minute", NULL, 1},
    {"9/second", NULL, "10/minute", NULL, 0},
    {"10/42s", NULL, "10/minute", NULL, 1},
    {"10/43s", NULL, "10/minute", NULL, 0},
    /* of a sliding minute's estimate 70 seconds have a part, which may touch three windows of 65 */
    {"200/minute", NULL, "100/65s", "algorithm=fixed", 0},
    {"300/minute", NULL, "100/65s", "algorithm=fixed", 1},
    /* a total bounds everything, and nothing bounds a total but a total */
    {"100/minute", NULL, "100/total", NULL, 1},
    {"99/minute", NULL, "100/total", NULL, 0},
    {"4000000000/total", NULL, "1/day", NULL, 0},
    /* a bucket lets its size through, and then as it fills */
    {"20/second", NULL, "1/second", "burst=18", 1},
    {"20/second", NULL, "1/second", "burst=19", 0},
    {"100/day", NULL, "1/hour", "burst=76", 1},
    {"100/day", NULL, "1/hour", "burst=77", 0},
    {"10/second", "burst=20", "20/minute", NULL, 1},
    {"10/second", "burst=20", "21/minute", NULL, 0},
    {"1/second", "burst=60", "51/minute", NULL, 0},
    {"1/second", "burst=60", "50/minute", NULL, 1},
    {"1/second", "burst=200", "100/hour", NULL, 1},
    {"1/second", "burst=199", "100/hour", NULL, 0},
    {"1/second", "burst=20", "1/second", "burst=20", 1},
    {"1/second", "burst=20", "1/second", "burst=21", 0},
    {"1/second", "burst=20", "2/second", "burst=20", 0},
    {"1/second", "burst=20", "20/total", NULL, 1},
    {"1/second", "burst=19", "20/total", NULL, 0},
    /* what a tenant does at one endpoint it does */
    {"500/day", "per=tenant+endpoint", "300/day", "per=tenant", 1},
    {"500/day", "per=tenant", "300/day", "per=tenant+endpoint", 0},
    {"500/day", "per=tenant+endpoint", "300/day", NULL, 0},
    {"500/day", "per=endpoint", "300/day", "per=tenant", 0},
    {"500/day", "per=ip", "300/day", "per=ip", 0},
    /* a tenant's counter bounds its keys, a key's does not bound its tenant */
    {"500/day", NULL, "300/day", "per=tenant", 1},
    {"500/day", "per=tenant", "300/day", NULL, 0},
    {"500/day", "per=tenant", "300/day", "per=tenant", 1},
    /* what is unlimited refuses nothing by design, and bounds nothing */
    {"unlimited/day", NULL, "1/day", NULL, 0},
    {"4000000000/day", NULL, "unlimited/day", NULL, 0},
};

static aq_limit_t *limit_of(const char *rate, const char *option)
{
    const char *const arguments[] = {"name", rate, option};
    const char *error;
    aq_limit_t *limit;
    apr_status_t rv = aq_limit_parse(fixture_pool, arguments, option ? 3 : 2, &limit, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    return limit;
}

START_TEST(a_limit_out_of_reach_is_told)
{
    const aq_limit_t *limit = limit_of(CASES[_i].rate, CASES[_i].option);
    const aq_limit_t *other = limit_of(CASES[_i].other_rate, CASES[_i].other_option);

    ck_assert_msg(aq_reach_is_hidden(limit, other) == CASES[_i].is_hidden, "%s beside %s", CASES[_i].rate,
                  CASES[_i].other_rate);
}
END_TEST

/* Now and then in a burst, else soon, else after a pause of up to a window and a half. */
static aq_time_ms_t pause_ms(const aq_limit_t *limit)
{
    const int64_t window_ms = limit->rate.period_s ? limit->rate.period_s * INT64_C(1000) : INT64_C(2700000000);

    switch (rand() % 8) {
    case 0:
        return rand() % (window_ms * 3 / 2);
    case 1:
        return rand() % (window_ms / 6);
    default:
        return rand() % 5;
    }
}

START_TEST(what_is_told_to_be_out_of_reach_never_refuses)
{
    aq_limit_t *limit = limit_of(CASES[_i].rate, CASES[_i].option);
    aq_limit_t *other = limit_of(CASES[_i].other_rate, CASES[_i].other_option);
    aq_counter_store_t *store;
    aq_time_ms_t now_ms = INT64_C(1781524800000);

    if (!CASES[_i].is_hidden) {
        return;
    }
    ck_assert_int_eq(aq_memory_counters_create(fixture_pool, 0, &store), APR_SUCCESS);
    aq_limit_identify(limit, &store->secret);
    aq_limit_identify(other, &store->secret);
    srand(1);
    for (int i = 0; i < 20000; i++) {
        aq_counter_t counters[] = {{.limit = limit, .key = {.low = 1}}, {.limit = other, .key = {.low = 2}}};
        int is_denied;

        now_ms += pause_ms(rand() % 2 ? limit : other);
        ck_assert_int_eq(aq_counter_store_take(store, counters, 2, 1, now_ms, &is_denied), APR_SUCCESS);
        ck_assert_msg(!counters[0].is_denied || counters[1].is_denied, "%s refused beside %s", CASES[_i].rate,
                      CASES[_i].other_rate);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, what_is_told_to_be_out_of_reach_never_refuses, 0, sizeof(CASES) / sizeof(CASES[0]));
    tcase_add_loop_test(tests, a_limit_out_of_reach_is_told, 0, sizeof(CASES) / sizeof(CASES[0]));
}

int main(void)
{
    return fixture_run("reach", add);
}
