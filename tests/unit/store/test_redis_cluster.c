/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of several homes in a Redis Cluster: one wait for all, and charged in all or in none, whoever races. */
#include "contract/counter_fixture.h"
#include "store/redis_request.h"
#include "unit/redis_cluster_fixture.h"

#include <apr_strings.h>
#include <string.h>

#define PROCESSES 4
#define TRIES 40
#define LIMIT 60

static const aq_redis_counters_options_t waiting = {.is_clock_given = 1, .waits_to_settle = 1};

typedef struct {
    aq_counter_store_t *store;
    const aq_limit_t *wide, *narrow;
    atomic_uint admitted;
} race_t;

/* Of subjects that are at home on different nodes, more often than not. */
static void counters_make(const race_t *race, aq_counter_t counters[3])
{
    counters[0] = counter_of(race->store, race->wide, "tenant");
    counters[1] = counter_of(race->store, race->narrow, "address");
    counters[2] = counter_of(race->store, race->wide, "endpoint");
}

static race_t *race_make(const aq_redis_counters_options_t *options)
{
    race_t *race = memory_shared(sizeof(*race));

    race->store = redis_cluster_fixture_store(options);
    race->wide = counter_limit(race->store, "wide", "1000/day", NULL);
    race->narrow = counter_limit(race->store, "narrow", "60/day", NULL);
    return race;
}

static uint64_t used_of(const race_t *race, int which)
{
    aq_counter_t counters[3];

    counters_make(race, counters);
    return counter_used(race->store, counters[which], NOON);
}

START_TEST(charge_of_three_homes_is_waited_for_once)
{
    const aq_redis_counters_options_t options = {.is_clock_given = 1};
    const race_t *race = race_make(&options);
    const aq_redis_link_t *link = aq_redis_counters_link(race->store);
    aq_counter_t counters[3];
    uint64_t waits;

    counters_make(race, counters);
    ck_assert(counters_take(race->store, counters, 3, 1, NOON)); /* the first one sends the script to each node */
    waits = aq_redis_link_waits(link);
    ck_assert(counters_take(race->store, counters, 3, 1, NOON));
    ck_assert_uint_eq(aq_redis_link_waits(link), waits + 1);
    ck_assert_int_eq(aq_counter_store_give_back(race->store, counters, 3, NOON), APR_SUCCESS);
    ck_assert_uint_eq(aq_redis_link_waits(link), waits + 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(counters[i].used, 1);
        ck_assert_uint_eq(used_of(race, i), 1);
    }
}
END_TEST

START_TEST(answer_of_a_refused_charge_shows_none_of_it)
{
    const race_t *race = race_make(&waiting);
    aq_counter_t counters[3];

    counters_make(race, counters);
    ck_assert(counters_take(race->store, counters, 3, LIMIT, NOON));
    counters_make(race, counters);
    ck_assert(!counters_take(race->store, counters, 3, 1, NOON));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(counters[i].is_denied, i == 1);
        ck_assert_uint_eq(counters[i].used, LIMIT);
        ck_assert_uint_eq(counters[i].receipt.cost, 0);
    }
}
END_TEST

static int race_run(void *data)
{
    race_t *race = data;

    for (int i = 0; i < TRIES; i++) {
        aq_counter_t counters[3];
        int is_denied;

        counters_make(race, counters);
        if (aq_counter_store_take(race->store, counters, 3, 1, NOON, &is_denied) != APR_SUCCESS) {
            return 1;
        }
        if (!is_denied) {
            atomic_fetch_add(&race->admitted, 1);
        }
    }
    return 0;
}

/* More tries than places: none above the limit, and each home holds what was admitted, no more and no less. */
START_TEST(racing_charges_of_several_homes_are_whole)
{
    race_t *race = race_make(&waiting);
    pid_t pids[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = child_start(race_run, race);
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert(child_join(pids[i]));
    }
    ck_assert_uint_le(race->admitted, LIMIT);
    ck_assert_int_eq(race_run(race), 0); /* what a race has refused for nothing */
    ck_assert_uint_eq(race->admitted, LIMIT);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(used_of(race, i), LIMIT);
    }
}
END_TEST

/* The name of a counter's home, from the store's own words. */
static const char *home_of(const aq_counter_t *counter)
{
    char *home = apr_palloc(fixture_pool, AQ_REDIS_HOME_SIZE);

    aq_redis_home_write(counter, home);
    return home;
}

/* One of the three holds what is no counter: the call fails, and the others hold nothing of it. */
START_TEST(charge_that_fails_in_one_home_is_given_back_in_the_others)
{
    const race_t *race = race_make(&waiting);
    aq_counter_t counters[3];
    int is_denied;
    unsigned set = 0;

    fixture_log_keep();
    counters_make(race, counters);
    for (unsigned node = 0; node < REDIS_CLUSTER_NODES; node++) {
        const char *command = apr_pstrcat(fixture_pool, "SET ", home_of(&counters[1]), " text", NULL);

        set += strcmp(redis_cluster_fixture_say(node, command), "OK") == 0;
    }
    ck_assert_uint_eq(set, 1);
    ck_assert_int_ne(aq_counter_store_take(race->store, counters, 3, 1, NOON, &is_denied), APR_SUCCESS);
    ck_assert_uint_eq(used_of(race, 0), 0);
    ck_assert_uint_eq(used_of(race, 2), 0);
}
END_TEST

static void add(TCase *tests)
{
    redis_cluster_fixture_add(tests);
    tcase_add_test(tests, charge_of_three_homes_is_waited_for_once);
    tcase_add_test(tests, answer_of_a_refused_charge_shows_none_of_it);
    tcase_add_test(tests, racing_charges_of_several_homes_are_whole);
    tcase_add_test(tests, charge_that_fails_in_one_home_is_given_back_in_the_others);
}

int main(void)
{
    return fixture_run("Counters in a Redis Cluster", add);
}
