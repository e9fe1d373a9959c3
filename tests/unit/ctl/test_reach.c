/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reach: which limits can never refuse beside another one.
 */
#include "ctl/reach.h"
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
    /* a sliding minute is an estimate, which may let up to twice its count through */
    {"599/minute", "algorithm=fixed", "100/minute", NULL, 0},
    {"600/minute", "algorithm=fixed", "100/minute", NULL, 1},
    /* a total bounds everything, and nothing bounds a total but a total */
    {"100/minute", NULL, "100/total", NULL, 1},
    {"99/minute", NULL, "100/total", NULL, 0},
    {"4000000000/total", NULL, "1/day", NULL, 0},
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

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, a_limit_out_of_reach_is_told, 0, sizeof(CASES) / sizeof(CASES[0]));
}

int main(void)
{
    return fixture_run("reach", add);
}
