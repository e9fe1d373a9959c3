/* SPDX-License-Identifier: Apache-2.0 */
/* Counters that are over, of a home that others keep alive: they go, and no request reads all of a home for that. */
#include "contract/counter_fixture.h"
#include "store/redis_request.h"
#include "unit/redis_fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define CALLERS 300

static redis_fixture_t server;
static aq_counter_store_t *store;
static const aq_hash128_t home = {.high = 1, .low = 2};

static void setup(void)
{
    server = redis_fixture_start(NULL);
    store = redis_fixture_store(&server);
}

/* One request of each of so many callers of one tenant. */
static aq_counter_t callers_come(const aq_limit_t *limit, const char *prefix, aq_time_ms_t now_ms)
{
    aq_counter_t counter;

    for (int i = 0; i < CALLERS; i++) {
        counter = counter_of(store, limit, apr_psprintf(fixture_pool, "%s%d", prefix, i));
        counter.home = &home;
        ck_assert(counter_take(store, &counter, 1, now_ms));
    }
    return counter;
}

/* At one time in eight, and then more than a hundred: that nearly none should go has less chance than a broken disk. */
START_TEST(what_is_over_goes_when_others_come)
{
    const aq_limit_t *limit = counter_limit(store, "l", "5/second", NULL);
    char name[AQ_REDIS_HOME_SIZE];
    aq_counter_t counter = callers_come(limit, "early", NOON);

    aq_redis_home_write(&counter, name);
    ck_assert_int_eq(atoi(redis_fixture_say(&server, apr_pstrcat(fixture_pool, "HLEN ", name, NULL))), CALLERS);
    counter = callers_come(limit, "late", NOON + 2 * HOUR);
    ck_assert_int_lt(atoi(redis_fixture_say(&server, apr_pstrcat(fixture_pool, "HLEN ", name, NULL))),
                     CALLERS + CALLERS / 2);
    ck_assert_uint_eq(counter_used(store, counter, NOON + 2 * HOUR), 1);
    ck_assert_ptr_null(strstr(redis_fixture_say(&server, "INFO commandstats"), "cmdstat_hgetall"));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, what_is_over_goes_when_others_come);
}

int main(void)
{
    return fixture_run("redis_sweep", add_tests);
}
