/* SPDX-License-Identifier: Apache-2.0 */
/* Redis: round trips; a server that goes and comes back; members of processes that die. On a real server. */
#include "contract/counter_fixture.h"
#include "store/failover_counters.h"
#include "unit/redis_fixture.h"

#include <apr_strings.h>
#include <time.h>
#include <unistd.h>

/* P7: any number of limits, one round trip that is waited for; what is given back waits for none. */
START_TEST(charge_takes_one_round_trip_whatever_its_limits)
{
    static const char *const rates[] = {"9/second", "9/minute", "9/day", "9/month", "9/total", "9/concurrent"};
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store = redis_fixture_store_with(&server, &(aq_redis_counters_options_t){.is_clock_given = 1});
    aq_redis_link_t *link = aq_redis_counters_link(store);
    aq_counter_t counters[AQ_LIMITS_MAX];
    uint64_t waits;

    for (unsigned i = 0; i < AQ_LIMITS_MAX; i++) {
        const char *name = apr_psprintf(fixture_pool, "l%u", i);

        counters[i] = counter_of(store, counter_limit(store, name, rates[i % 6], NULL), i % 2 ? "a" : "b");
    }
    ck_assert(counters_take(store, counters, AQ_LIMITS_MAX, 1, NOON)); /* the first one sends the script */
    waits = aq_redis_link_waits(link);
    ck_assert(counters_take(store, counters, AQ_LIMITS_MAX, 1, NOON));
    ck_assert_uint_eq(aq_redis_link_waits(link), waits + 1);
    ck_assert_int_eq(aq_counter_store_give_back(store, counters, AQ_LIMITS_MAX, NOON), APR_SUCCESS);
    ck_assert_uint_eq(aq_redis_link_waits(link), waits + 1);
    ck_assert_uint_eq(counters[2].used, 1);
    ck_assert_uint_eq(counter_used(store, counters[2], NOON), 1);
}
END_TEST

static void tend_until(aq_counter_store_t *store, int is_down)
{
    const time_t began = time(NULL);

    while (aq_redis_link_is_down(aq_redis_counters_link(store)) != is_down) {
        const struct timespec pause = {.tv_nsec = 10000000};

        ck_assert_msg(time(NULL) - began < 40, "it does not come back");
        aq_redis_counters_tend(store, fixture_pool);
        (void)nanosleep(&pause, NULL);
    }
}

START_TEST(server_that_is_away_is_asked_no_more_until_it_answers)
{
    redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store = redis_fixture_store(&server);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "9/day", NULL), "a");
    uint64_t failures[AQ_REDIS_FAILURES];
    int is_denied;

    fixture_log_keep();
    ck_assert(counter_take(store, &counter, 1, NOON));
    redis_fixture_kill(&server);
    ck_assert_int_ne(aq_counter_store_take(store, &counter, 1, 1, NOON, &is_denied), APR_SUCCESS);
    ck_assert_int_eq(aq_counter_store_take(store, &counter, 1, 1, NOON, &is_denied), APR_ECONNREFUSED);
    aq_redis_link_failures(aq_redis_counters_link(store), failures);
    ck_assert_uint_eq(failures[AQ_REDIS_DOWN], 1);
    ck_assert_int_eq(fixture_log_count(420), 1);
    redis_fixture_restart(&server, NULL);
    tend_until(store, 0);
    ck_assert(counter_take(store, &counter, 1, NOON));
}
END_TEST

START_TEST(wait_ends_a_little_before_its_budget)
{
    static const struct {
        int64_t budget_ms, wait_ms;
    } rows[] = {{1, 1}, {9, 9}, {10, 9}, {49, 45}, {50, 45}, {100, 95}, {2000, 1995}};

    ck_assert_int_eq(aq_redis_wait_ms(rows[_i].budget_ms), rows[_i].wait_ms);
}
END_TEST

START_TEST(another_server_in_its_place_is_refused)
{
    redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store = redis_fixture_store(&server);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "9/day", NULL), "a");
    uint64_t failures[AQ_REDIS_FAILURES];
    int is_denied;

    fixture_log_keep();
    ck_assert_str_eq(redis_fixture_say(&server, "SET aq:secret 00"), "OK");
    ck_assert_int_ne(aq_counter_store_take(store, &counter, 1, 1, NOON, &is_denied), APR_SUCCESS);
    aq_redis_link_failures(aq_redis_counters_link(store), failures);
    ck_assert_uint_eq(failures[AQ_REDIS_MARK], 1);
}
END_TEST

/* Longer than a busy machine lets this process stand still. */
#define LIFE_S 6

static int place_take(void *store)
{
    aq_counter_t counter = counter_of(store, counter_limit(store, "jobs", "2/concurrent", NULL), "a");

    return !counter_take(store, &counter, 1, NOON) || !counter_take(store, &counter, 1, NOON);
}

START_TEST(places_of_a_dead_process_end_with_its_life_and_those_of_a_living_one_do_not)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store = redis_fixture_store_with(
        &server, &(aq_redis_counters_options_t){.is_clock_given = 1, .member_life_ms = LIFE_S * 1000});
    aq_counter_t counter = counter_of(store, counter_limit(store, "jobs", "2/concurrent", NULL), "a");
    const time_t began = time(NULL);

    ck_assert(child_join(child_start(place_take, store)));
    ck_assert(!counter_take(store, &counter, 1, NOON));
    while (!counter_take(store, &counter, 1, NOON)) {
        ck_assert_msg(time(NULL) - began < 40, "its places never end");
        (void)usleep(50000);
    }
    for (const time_t since = time(NULL); time(NULL) - since < LIFE_S + 2; (void)usleep(50000)) {
        aq_redis_counters_tend(store, fixture_pool);
        ck_assert_uint_eq(counter_used(store, counter, NOON), 1);
    }
}
END_TEST

START_TEST(local_counting_begins_where_redis_stood_and_settles_where_it_charged)
{
    redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *redis = redis_fixture_store(&server);
    aq_counter_store_t *store = aq_failover_counters_create(fixture_pool, redis, counters_open_shm(SMALL_SLOTS));
    static const char *const rates[] = {"5/day", "5/minute", "5/total", "5/month"};

    fixture_log_keep();
    for (unsigned i = 0; i < 4; i++) {
        aq_counter_t counter = counter_of(store, counter_limit(store, "few", rates[i], NULL), "a");

        ck_assert(counter_take(store, &counter, 3, NOON));
    }
    redis_fixture_kill(&server);
    for (unsigned i = 0; i < 4; i++) {
        aq_counter_t counter = counter_of(store, counter_limit(store, "few", rates[i], NULL), "a");

        ck_assert(counter_take(store, &counter, 2, NOON));
        ck_assert_uint_eq(counter.used, 5);
        counter_give_back(store, &counter, NOON);
        ck_assert_uint_eq(counter.used, 3);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, charge_takes_one_round_trip_whatever_its_limits);
    tcase_add_test(tests, server_that_is_away_is_asked_no_more_until_it_answers);
    tcase_add_loop_test(tests, wait_ends_a_little_before_its_budget, 0, 7);
    tcase_add_test(tests, another_server_in_its_place_is_refused);
    tcase_add_test(tests, places_of_a_dead_process_end_with_its_life_and_those_of_a_living_one_do_not);
    tcase_add_test(tests, local_counting_begins_where_redis_stood_and_settles_where_it_charged);
}

int main(void)
{
    return fixture_run("Redis", add);
}
