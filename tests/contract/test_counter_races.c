/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many callers at once: threads over each kind of store, forked processes with threads over the shared one. What was
 * admitted must be the limit exactly, however they race.
 */
#include "contract/counter_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define PROCESSES 16
#define THREADS 2
#define TAKES 1500
#define LIMIT 20000

/* What all callers of a test see. */
typedef struct {
    aq_counter_store_t *store;
    const aq_limit_t *limits[2];
    unsigned limit_count;
    unsigned takes;
    unsigned free_of_ten; /* so many of ten admitted charges are given back */
    aq_time_ms_t now_ms;
    _Atomic uint64_t admitted, outstanding, highest;
} hammer_t;

static void highest_raise(hammer_t *hammer, uint64_t outstanding)
{
    uint64_t highest = atomic_load(&hammer->highest);

    while (outstanding > highest && !atomic_compare_exchange_weak(&hammer->highest, &highest, outstanding)) {
    }
}

/*
 * Takes, and gives some back. `outstanding` is raised after a take and lowered before giving back: it is never above
 * what the store holds, so if it passes the limit the store did.
 */
static void *hammer_run(void *data)
{
    hammer_t *hammer = data;
    aq_counter_t counters[2];
    unsigned turn = 0;

    for (unsigned i = 0; i < hammer->limit_count; i++) {
        counters[i] = counter_of(hammer->store, hammer->limits[i], "a");
    }
    for (unsigned i = 0; i < hammer->takes; i++) {
        if (!counters_take(hammer->store, counters, hammer->limit_count, 1, hammer->now_ms)) {
            continue;
        }
        atomic_fetch_add(&hammer->admitted, 1);
        highest_raise(hammer, atomic_fetch_add(&hammer->outstanding, 1) + 1);
        if (turn++ % 10 < hammer->free_of_ten) {
            atomic_fetch_sub(&hammer->outstanding, 1);
            ck_assert_int_eq(aq_counter_store_give_back(hammer->store, counters, hammer->limit_count, hammer->now_ms),
                             APR_SUCCESS);
        }
    }
    return NULL;
}

static int hammer_threads(void *data)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, hammer_run, data) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return 0;
}

static void hammer_processes(hammer_t *hammer)
{
    pid_t pids[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = child_start(hammer_threads, hammer);
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert(child_join(pids[i]));
    }
}

static hammer_t *hammer_make(aq_counter_store_t *store, const char *rate)
{
    hammer_t *hammer = memory_shared(sizeof(*hammer));

    hammer->store = store;
    hammer->limits[0] = counter_limit(store, "a", rate, NULL);
    hammer->limit_count = 1;
    hammer->takes = TAKES;
    hammer->now_ms = NOON;
    return hammer;
}

START_TEST(threads_are_admitted_exactly_to_the_limit)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    hammer_t *hammer = hammer_make(store, "4000/day");
    pthread_t threads[8];

    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer_run, hammer), 0);
    }
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_uint_eq(hammer->admitted, 4000);
    ck_assert_uint_eq(counter_used(store, counter_of(store, hammer->limits[0], "a"), NOON), 4000);
}
END_TEST

START_TEST(processes_are_admitted_exactly_to_the_limit)
{
    static const char *const rates[] = {"20000/day", "20000/minute", "20000/total", "20000/month"};
    hammer_t *hammer = hammer_make(counters_open_shm(SMALL_SLOTS), rates[_i]);

    hammer_processes(hammer);
    ck_assert_uint_eq(hammer->admitted, LIMIT);
    ck_assert_uint_eq(counter_used(hammer->store, counter_of(hammer->store, hammer->limits[0], "a"), NOON), LIMIT);
}
END_TEST

START_TEST(what_is_given_back_is_admitted_again_and_the_limit_holds)
{
    static const char *const rates[] = {"20000/day", "20000/minute"};
    hammer_t *hammer = hammer_make(counters_open_shm(SMALL_SLOTS), rates[_i]);

    hammer->free_of_ten = 1;
    hammer_processes(hammer);
    ck_assert_uint_le(hammer->highest, LIMIT);
    ck_assert_uint_le(hammer->outstanding, LIMIT);
    ck_assert_uint_ge(hammer->admitted, LIMIT);
    ck_assert_uint_eq(counter_used(hammer->store, counter_of(hammer->store, hammer->limits[0], "a"), NOON),
                      hammer->outstanding);
}
END_TEST

START_TEST(two_limits_are_taken_together_or_not_at_all)
{
    hammer_t *hammer = hammer_make(counters_open_shm(SMALL_SLOTS), "30000/minute");

    hammer->limits[1] = counter_limit(hammer->store, "b", "20000/day", NULL);
    hammer->limit_count = 2;
    hammer->free_of_ten = _i ? 2 : 0;
    hammer_processes(hammer);
    ck_assert_uint_le(hammer->highest, LIMIT);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(counter_used(hammer->store, counter_of(hammer->store, hammer->limits[i], "a"), NOON),
                          hammer->outstanding);
    }
    if (_i == 0) {
        ck_assert_uint_eq(hammer->admitted, LIMIT);
    }
}
END_TEST

/* Callers on both sides of the edge between two sub-windows swap different words: still no one too many. */
typedef struct {
    hammer_t *hammer;
    aq_time_ms_t now_ms;
} edge_t;

static int edge_run(void *data)
{
    const edge_t *edge = data;
    hammer_t own = *edge->hammer;
    aq_counter_t counter = counter_of(own.store, own.limits[0], "a");

    for (unsigned i = 0; i < TAKES; i++) {
        if (counter_take(own.store, &counter, 1, edge->now_ms)) {
            atomic_fetch_add(&edge->hammer->admitted, 1);
        }
    }
    return 0;
}

START_TEST(edge_of_a_sub_window_lets_nobody_through)
{
    hammer_t *hammer = hammer_make(counters_open_shm(SMALL_SLOTS), "9000/minute");
    edge_t edges[2] = {{hammer, NOON / MINUTE * MINUTE + 50 * SECOND - 1},
                       {hammer, NOON / MINUTE * MINUTE + 50 * SECOND}};
    pid_t pids[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = child_start(edge_run, &edges[i % 2]);
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert(child_join(pids[i]));
    }
    ck_assert_uint_le(hammer->admitted, 9000);
    /* Two that meet at the edge may both be refused: a few places stay free. */
    ck_assert_uint_ge(hammer->admitted, 9000 - PROCESSES);
}
END_TEST

/*
 * Many processes touch the same new counters at the same time, in a table that is nearly full and has many dead slots:
 * two slots for one counter would show as twice its limit.
 */
#define NEW_COUNTERS 400
#define INSERTERS 8
#define CROWDED_SLOTS 4096
#define CROWDED 3100 /* counters that are there before, dead ones among them */

typedef struct {
    aq_counter_store_t *store;
    const aq_limit_t *limit;
    _Atomic unsigned waiting[NEW_COUNTERS];
    _Atomic unsigned admitted[NEW_COUNTERS];
} inserts_t;

static int inserts_run(void *data)
{
    inserts_t *inserts = data;

    for (uint64_t i = 0; i < NEW_COUNTERS; i++) {
        aq_counter_t counter = counter_numbered(inserts->store, inserts->limit, i);

        atomic_fetch_add(&inserts->waiting[i], 1);
        while (atomic_load(&inserts->waiting[i]) < INSERTERS) {
            (void)sched_yield();
        }
        for (int times = 0; times < 2; times++) {
            if (counter_take(inserts->store, &counter, 1, NOON)) {
                atomic_fetch_add(&inserts->admitted[i], 1);
            }
        }
    }
    return 0;
}

START_TEST(new_counter_gets_one_slot_whoever_races_for_it)
{
    inserts_t *inserts = memory_shared(sizeof(*inserts));
    pid_t pids[INSERTERS];
    aq_limit_t *old;

    inserts->store = counters_open_shm(CROWDED_SLOTS);
    inserts->limit = counter_limit(inserts->store, "new", "3/day", NULL);
    old = counter_limit(inserts->store, "old", "9/minute", NULL);
    for (uint64_t i = 0; i < CROWDED; i++) {
        aq_counter_t counter = counter_numbered(inserts->store, old, 1000000 + i);

        /* Three of four are over when the race begins. */
        ck_assert(counter_take(inserts->store, &counter, 1, i % 4 != 0 ? NOON - DAY : NOON));
    }
    for (int i = 0; i < INSERTERS; i++) {
        pids[i] = child_start(inserts_run, inserts);
    }
    for (int i = 0; i < INSERTERS; i++) {
        ck_assert(child_join(pids[i]));
    }
    for (uint64_t i = 0; i < NEW_COUNTERS; i++) {
        ck_assert_uint_eq(inserts->admitted[i], 3);
        ck_assert_uint_eq(counter_used(inserts->store, counter_numbered(inserts->store, inserts->limit, i), NOON), 3);
    }
    for (uint64_t i = 0; i < CROWDED; i += 4) {
        ck_assert_uint_eq(counter_used(inserts->store, counter_numbered(inserts->store, old, 1000000 + i), NOON), 1);
    }
}
END_TEST

/* The same, where the counter's own slot is dead and begun anew. */
START_TEST(dead_counter_is_begun_anew_once)
{
    inserts_t *inserts = memory_shared(sizeof(*inserts));
    pid_t pids[INSERTERS];

    inserts->store = counters_open_shm(SMALL_SLOTS);
    inserts->limit = counter_limit(inserts->store, "new", "3/minute", NULL);
    for (uint64_t i = 0; i < NEW_COUNTERS; i++) {
        aq_counter_t counter = counter_numbered(inserts->store, inserts->limit, i);

        ck_assert(counter_take(inserts->store, &counter, 3, NOON - HOUR));
    }
    for (int i = 0; i < INSERTERS; i++) {
        pids[i] = child_start(inserts_run, inserts);
    }
    for (int i = 0; i < INSERTERS; i++) {
        ck_assert(child_join(pids[i]));
    }
    for (uint64_t i = 0; i < NEW_COUNTERS; i++) {
        ck_assert_uint_eq(inserts->admitted[i], 3);
    }
    ck_assert_uint_eq(counters_info(inserts->store, NOON).live, NEW_COUNTERS);
}
END_TEST

/* Catalogue line 61. */
START_TEST(last_place_is_given_to_one_of_a_thousand)
{
    hammer_t *hammer = hammer_make(counters_open_shm(SMALL_SLOTS), "1000/day");
    aq_counter_t counter = counter_of(hammer->store, hammer->limits[0], "a");

    ck_assert(counter_take(hammer->store, &counter, 999, NOON));
    hammer->takes = 1000 / PROCESSES / THREADS + 1;
    hammer_processes(hammer);
    ck_assert_uint_eq(hammer->admitted, 1);
}
END_TEST

static void add(TCase *tests)
{
    counters_prepare(tests);
    tcase_add_loop_test(tests, threads_are_admitted_exactly_to_the_limit, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, processes_are_admitted_exactly_to_the_limit, 0, 4);
    tcase_add_loop_test(tests, what_is_given_back_is_admitted_again_and_the_limit_holds, 0, 2);
    tcase_add_loop_test(tests, two_limits_are_taken_together_or_not_at_all, 0, 2);
    tcase_add_test(tests, edge_of_a_sub_window_lets_nobody_through);
    tcase_add_test(tests, new_counter_gets_one_slot_whoever_races_for_it);
    tcase_add_test(tests, dead_counter_is_begun_anew_once);
    tcase_add_test(tests, last_place_is_given_to_one_of_a_thousand);
}

int main(void)
{
    return fixture_run("counters under many callers", add);
}
