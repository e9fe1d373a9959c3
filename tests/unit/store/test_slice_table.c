/* SPDX-License-Identifier: Apache-2.0 */
/* Slices in shared memory: who may spend what until when, who asks, and what comes out of places that change owners. */
#include "contract/counter_fixture.h"
#include "store/slice_table.h"

#include <apr_strings.h>

#define PLACES 512
#define NOW INT64_C(1000000)
#define START 600
#define HOLD INT64_C(1000)

static const aq_hash_secret_t secret = {{7}};

static aq_slice_table_t *table_make(void)
{
    aq_slice_table_t *table;

    ck_assert_int_eq(aq_slice_table_create(fixture_pool, PLACES, &table), APR_SUCCESS);
    return table;
}

static aq_counter_t counter_make(const char *rate, uint64_t number)
{
    const char *arguments[] = {"l", rate};
    const char *error;
    aq_limit_t *limit;

    ck_assert_int_eq(aq_limit_parse(fixture_pool, arguments, 2, &limit, &error), APR_SUCCESS);
    aq_limit_identify(limit, &secret);
    return (aq_counter_t){.limit = limit,
                          .key = aq_hash_join(limit->identity, aq_hash_keyed(&secret, &number, sizeof(number)))};
}

static aq_slice_place_t place_make(aq_slice_table_t *table, const char *rate, uint64_t number)
{
    const aq_counter_t counter = counter_make(rate, number);
    const aq_slice_place_t place = aq_slice_insert(table, &counter, "aq:{t:home}", NOW);

    ck_assert_ptr_nonnull(place.slot);
    return place;
}

static int spend(const aq_slice_place_t *place, uint32_t cost, aq_time_ms_t boot_ms)
{
    uint32_t start;
    uint32_t rest;

    return aq_slice_spend(place, cost, boot_ms, &start, &rest);
}

static uint32_t rest_of(const aq_slice_place_t *place)
{
    uint32_t start;

    return aq_slice_rest(place, &start);
}

START_TEST(slice_is_spent_whole_and_no_further_and_not_after_its_death)
{
    const aq_slice_place_t place = place_make(table_make(), "100/day", 1);

    ck_assert(!spend(&place, 1, NOW));
    ck_assert(aq_slice_put(&place, START, 10, NOW + 100, NOW));
    ck_assert(spend(&place, 7, NOW));
    ck_assert(!spend(&place, 4, NOW));
    ck_assert(spend(&place, 1, NOW + 99));
    ck_assert(!spend(&place, 1, NOW + 100));
    ck_assert_uint_eq(rest_of(&place), 2);
}
END_TEST

START_TEST(living_slice_is_not_mixed_with_another_window)
{
    const aq_slice_place_t place = place_make(table_make(), "100/day", 1);

    ck_assert(aq_slice_put(&place, START, 10, NOW + 100, NOW));
    ck_assert(aq_slice_put(&place, START, 5, NOW + 100, NOW));
    ck_assert_uint_eq(rest_of(&place), 15);
    ck_assert(!aq_slice_put(&place, START + 60, 10, NOW + 500, NOW));
    ck_assert_uint_eq(rest_of(&place), 15);
    ck_assert(aq_slice_put(&place, START + 60, 4, NOW + 500, NOW + 100));
    ck_assert_uint_eq(rest_of(&place), 4);
    ck_assert(!aq_slice_put(&place, START + 60, AQ_SLICE_REST_MAX, NOW + 500, NOW + 100));
    ck_assert(spend(&place, 4, NOW + 499));
}
END_TEST

START_TEST(what_is_put_back_goes_to_its_window_and_not_above_a_bound)
{
    const aq_slice_place_t place = place_make(table_make(), "100/day", 1);

    ck_assert(aq_slice_put(&place, START, 10, NOW + 100, NOW));
    ck_assert(!aq_slice_unspend(&place, START, 1, 10));
    ck_assert(spend(&place, 3, NOW));
    ck_assert(aq_slice_unspend(&place, START, 3, 10));
    ck_assert(!aq_slice_unspend(&place, START + 60, 1, 100));
    ck_assert_uint_eq(rest_of(&place), 10);
}
END_TEST

START_TEST(counters_and_capacities_are_told_apart)
{
    aq_slice_table_t *table = table_make();
    const aq_slice_place_t first = place_make(table, "100/day", 1);
    const aq_counter_t same = counter_make("100/day", 1);
    const aq_counter_t lower = counter_make("90/day", 1);
    const aq_counter_t other = counter_make("100/day", 2);

    ck_assert_ptr_eq(aq_slice_find(table, &same).slot, first.slot);
    ck_assert_ptr_null(aq_slice_find(table, &lower).slot);
    ck_assert_ptr_null(aq_slice_find(table, &other).slot);
    ck_assert_ptr_ne(place_make(table, "90/day", 1).slot, first.slot);
}
END_TEST

/* Whoever slept with a place in his hands spends nothing of the counter that has it now, and puts nothing in. */
START_TEST(place_that_changed_its_owner_is_nobody_elses)
{
    aq_slice_table_t *table = table_make();
    aq_slice_place_t old[PLACES];
    unsigned count = 0;
    unsigned taken = 0;

    for (uint64_t i = 0; i < PLACES; i++) {
        const aq_counter_t counter = counter_make("100/day", i);
        const aq_slice_place_t place = aq_slice_insert(table, &counter, "aq:{t:home}", NOW);

        if (place.slot != NULL) {
            old[count++] = place;
        }
    }
    ck_assert_uint_ge(count, PLACES / 2);
    ck_assert(aq_slice_put(&old[0], START, 5, NOW + 5000, NOW));
    for (uint64_t i = 0; i < PLACES; i++) {
        const aq_counter_t counter = counter_make("100/day", PLACES + i);
        const aq_slice_place_t place = aq_slice_insert(table, &counter, "aq:{t:another}", NOW + AQ_SLICE_RECLAIM_MS);

        if (place.slot != NULL) {
            ck_assert_ptr_ne(place.slot, old[0].slot); /* it holds something */
            ck_assert(aq_slice_put(&place, START, 9, NOW + 5000, NOW + AQ_SLICE_RECLAIM_MS));
            taken++;
        }
    }
    ck_assert_uint_ge(taken, PLACES / 2);
    ck_assert(spend(&old[0], 1, NOW + 1));
    for (unsigned i = 1; i < count; i++) {
        aq_slice_rest_t out;

        ck_assert(!spend(&old[i], 1, NOW + 1));
        ck_assert_int_eq(aq_slice_put(&old[i], START, 1, NOW + 1, NOW), old[i].slot->tag == old[i].tag);
        ck_assert_int_eq(aq_slice_take_out(&old[i], NOW, &out), old[i].slot->tag == old[i].tag);
    }
}
END_TEST

START_TEST(one_asks_at_a_time_and_the_next_when_he_died)
{
    const aq_slice_place_t place = place_make(table_make(), "100000/day", 1);
    uint32_t want = 0;

    ck_assert(aq_slice_ask_begin(&place, 1, NOW, HOLD, &want));
    ck_assert_uint_eq(want, 1);
    ck_assert(!aq_slice_ask_begin(&place, 1, NOW + HOLD - 1, HOLD, &want));
    ck_assert(aq_slice_ask_begin(&place, 30, NOW + HOLD, HOLD, &want));
    ck_assert_uint_eq(want, 30);
    aq_slice_ask_end(&place, 30, NOW + HOLD, NOW + HOLD + 100);
    ck_assert(!aq_slice_ask_begin(&place, 1, NOW + HOLD + 99, HOLD, &want));
    ck_assert(aq_slice_ask_begin(&place, 1, NOW + HOLD + 100, HOLD, &want));
}
END_TEST

START_TEST(want_follows_how_long_slices_last)
{
    const aq_slice_place_t place = place_make(table_make(), "100000/day", 1);
    static const struct {
        int64_t lasted_ms;
        uint32_t granted, wanted;
    } rows[] = {{0, 1, 1},   {99, 2, 2},  {99, 4, 4},   {99, 3, 8},   {50, 8, 8},  {100, 8, 8},
                {400, 8, 8}, {401, 4, 4}, {5000, 2, 2}, {5000, 1, 1}, {5000, 1, 1}};
    aq_time_ms_t now_ms = NOW;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t want = 0;

        now_ms += rows[i].lasted_ms;
        ck_assert(aq_slice_ask_begin(&place, 1, now_ms, HOLD, &want));
        ck_assert_msg(want == rows[i].wanted, "row %u: %u", i, want);
        aq_slice_ask_end(&place, rows[i].granted, now_ms, 0);
    }
}
END_TEST

START_TEST(sweep_takes_out_what_is_idle_or_dead_once)
{
    aq_slice_table_t *table = table_make();
    const aq_slice_place_t idle = place_make(table, "100/minute", 1);
    const aq_slice_place_t dead = place_make(table, "100/day", 2);
    const aq_slice_place_t busy = place_make(table, "100/total", 3);
    aq_slice_rest_t out;
    uint32_t at = 0;
    uint32_t sum = 0;

    ck_assert(aq_slice_put(&idle, START, 10, NOW + 5000, NOW));
    ck_assert(aq_slice_put(&dead, START, 20, NOW + 200, NOW));
    ck_assert(aq_slice_put(&busy, 0, 40, NOW + 5000, NOW));
    ck_assert(spend(&dead, 1, NOW + 199) && spend(&busy, 1, NOW + 199));
    while (aq_slice_sweep(table, &at, NOW + 250, 250, &out)) {
        sum += out.rest;
        ck_assert_str_eq(out.home, "aq:{t:home}");
        ck_assert_uint_eq(out.start, START);
        ck_assert_int_eq(out.is_dead, out.algorithm == AQ_ALGORITHM_FIXED);
        ck_assert_uint_eq(out.period_s, out.algorithm == AQ_ALGORITHM_FIXED ? 86400 : 60);
    }
    ck_assert_uint_eq(sum, 29);
    at = 0;
    ck_assert(!aq_slice_sweep(table, &at, NOW + 250, 250, &out));
    at = 0;
    ck_assert(aq_slice_sweep(table, &at, NOW + 250, INT64_MIN, &out));
    ck_assert_uint_eq(out.rest, 39);
    /* A place that a sweep has long found empty is looked at again once it holds something. */
    at = 0;
    ck_assert(!aq_slice_sweep(table, &at, NOW + 9000, 250, &out));
    ck_assert(aq_slice_put(&idle, START + 60, 3, NOW + 9900, NOW + 9000));
    at = 0;
    ck_assert(aq_slice_sweep(table, &at, NOW + 9950, 250, &out));
    ck_assert_uint_eq(out.rest, 3);
}
END_TEST

START_TEST(sweep_is_one_process_at_a_time)
{
    aq_slice_table_t *table = table_make();

    ck_assert(aq_slice_sweep_is_due(table, NOW, 90));
    ck_assert(!aq_slice_sweep_is_due(table, NOW + 89, 90));
    ck_assert(aq_slice_sweep_is_due(table, NOW + 90, 90));
}
END_TEST

typedef struct {
    aq_slice_place_t place;
    _Atomic uint64_t spent;
} race_t;

static int race_run(void *data)
{
    race_t *race = data;

    for (unsigned i = 0; i < 100000; i++) {
        if (i % 50 == 0 && aq_slice_put(&race->place, START, 7, NOW + 100, NOW)) {
            atomic_fetch_sub(&race->spent, 7);
        }
        if (spend(&race->place, 1, NOW)) {
            atomic_fetch_add(&race->spent, 1);
        }
    }
    return 0;
}

/* What was put in is what was spent and what is left: nothing twice, nothing lost. */
START_TEST(racing_processes_spend_each_unit_once)
{
    race_t *race = memory_shared(sizeof(*race));
    pid_t pids[4];

    race->place = place_make(table_make(), "100000/day", 1);
    for (unsigned i = 0; i < 4; i++) {
        pids[i] = child_start(race_run, race);
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert(child_join(pids[i]));
    }
    ck_assert_uint_eq(atomic_load(&race->spent) + rest_of(&race->place), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, slice_is_spent_whole_and_no_further_and_not_after_its_death);
    tcase_add_test(tests, living_slice_is_not_mixed_with_another_window);
    tcase_add_test(tests, what_is_put_back_goes_to_its_window_and_not_above_a_bound);
    tcase_add_test(tests, counters_and_capacities_are_told_apart);
    tcase_add_test(tests, place_that_changed_its_owner_is_nobody_elses);
    tcase_add_test(tests, one_asks_at_a_time_and_the_next_when_he_died);
    tcase_add_test(tests, want_follows_how_long_slices_last);
    tcase_add_test(tests, sweep_takes_out_what_is_idle_or_dead_once);
    tcase_add_test(tests, sweep_is_one_process_at_a_time);
    tcase_add_test(tests, racing_processes_spend_each_unit_once);
}

int main(void)
{
    return fixture_run("slice table", add);
}
