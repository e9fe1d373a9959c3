/* SPDX-License-Identifier: Apache-2.0 */
/* What a counter store must do when counters are to begin anew. Each test runs over each kind of store. */
#include "contract/counter_fixture.h"

#include "store/shm_counters.h"

static const struct {
    const char *rate, *option;
} LIMITS[] = {
    {"5/day", NULL}, {"5/minute", NULL}, {"5/total", NULL}, {"5/month", "anchor=15"}, {"5/minute", "burst=5"},
};
#define LIMIT_COUNT (int)(sizeof(LIMITS) / sizeof(LIMITS[0]))

/* 1 where the store has it; one that has not says so. */
static int is_offered(aq_counter_store_t *store, aq_counter_t *counter)
{
    if (store->ops->reset == NULL) {
        ck_assert_int_eq(aq_counter_store_reset(store, counter, 1, NOON), APR_ENOTIMPL);
    }
    return store->ops->reset != NULL;
}

START_TEST(reset_counter_admits_all_of_its_count_again)
{
    aq_counter_store_t *store = counters_open(_i / LIMIT_COUNT, SMALL_SLOTS);
    const int of = _i % LIMIT_COUNT;
    const aq_limit_t *limit = counter_limit(store, "limit", LIMITS[of].rate, LIMITS[of].option);
    aq_counter_t counter = counter_of(store, limit, "a"), other = counter_of(store, limit, "b");

    ck_assert(counter_take(store, &other, 5, NOON));
    for (int i = 0; i < 5; i++) {
        ck_assert(counter_take(store, &counter, 1, NOON + i * SECOND / 10));
    }
    if (!is_offered(store, &counter)) {
        return;
    }
    ck_assert_int_eq(aq_counter_store_reset(store, &counter, 1, NOON + SECOND), APR_SUCCESS);
    ck_assert_uint_eq(counter.used, 0);
    ck_assert_uint_eq(counter.remaining, 5);
    ck_assert(counter_take(store, &counter, 5, NOON + SECOND));
    ck_assert(!counter_take(store, &counter, 1, NOON + SECOND));
    ck_assert_uint_eq(counter_used(store, other, NOON), 5);
}
END_TEST

START_TEST(charge_from_before_a_reset_gives_nothing_back)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *limit = counter_limit(store, "day", "5/day", NULL);
    aq_counter_t counter = counter_of(store, limit, "a"), in_flight = counter_of(store, limit, "a");

    ck_assert(counter_take(store, &in_flight, 1, NOON));
    if (!is_offered(store, &counter)) {
        return;
    }
    ck_assert_int_eq(aq_counter_store_reset(store, &counter, 1, NOON), APR_SUCCESS);
    counter_give_back(store, &in_flight, NOON);
    ck_assert_uint_eq(counter_used(store, counter, NOON), 0);
    ck_assert(counter_take(store, &counter, 5, NOON));
    ck_assert(!counter_take(store, &counter, 1, NOON));
}
END_TEST

START_TEST(reset_of_a_counter_that_is_not_there_makes_none)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "5/day", NULL), "a");

    if (!is_offered(store, &counter)) {
        return;
    }
    ck_assert_int_eq(aq_counter_store_reset(store, &counter, 1, NOON), APR_SUCCESS);
    ck_assert_uint_eq(counter.used, 0);
    ck_assert_uint_eq(counters_info(store, NOON).live, 0);
}
END_TEST

START_TEST(what_runs_stays_in_its_limit)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "slots", "1/concurrent", NULL), "a");
    aq_counter_t another = counter;

    ck_assert(counter_take(store, &counter, 1, NOON));
    if (!is_offered(store, &another)) {
        return;
    }
    ck_assert_int_eq(aq_counter_store_reset(store, &another, 1, NOON), APR_SUCCESS);
    ck_assert(!counter_take(store, &another, 1, NOON));
    counter_give_back(store, &counter, NOON);
    ck_assert(counter_take(store, &another, 1, NOON));
}
END_TEST

/* As apiquotactl does it, while a server has the file. */
START_TEST(counter_file_opened_beside_a_server_resets_and_takes_nothing)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS), *beside;
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "5/day", NULL), "a");
    const char *error;
    int is_denied;

    ck_assert(counter_take(store, &counter, 5, NOON));
    ck_assert_int_eq(aq_shm_counters_open_to_reset(fixture_pool, fixture_path("counters"), &beside, &error),
                     APR_SUCCESS);
    ck_assert_int_eq(aq_counter_store_take(beside, &counter, 1, 1, NOON, &is_denied), APR_EACCES);
    ck_assert_int_eq(aq_counter_store_reset(beside, &counter, 1, NOON), APR_SUCCESS);
    ck_assert(counter_take(store, &counter, 5, NOON));
}
END_TEST

START_TEST(counter_file_that_is_not_there_is_not_made_to_be_reset)
{
    aq_counter_store_t *store;
    const char *error;

    ck_assert_int_eq(aq_shm_counters_open_to_reset(fixture_pool, fixture_path("none"), &store, &error), APR_ENOENT);
    ck_assert_ptr_null(store);
    ck_assert_ptr_nonnull(strstr(error, "none"));
}
END_TEST

static void add(TCase *tests)
{
    counters_prepare(tests);
    tcase_add_loop_test(tests, reset_counter_admits_all_of_its_count_again, 0, COUNTER_KINDS * LIMIT_COUNT);
    tcase_add_loop_test(tests, charge_from_before_a_reset_gives_nothing_back, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, reset_of_a_counter_that_is_not_there_makes_none, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, what_runs_stays_in_its_limit, 0, COUNTER_KINDS);
    tcase_add_test(tests, counter_file_opened_beside_a_server_resets_and_takes_nothing);
    tcase_add_test(tests, counter_file_that_is_not_there_is_not_made_to_be_reset);
}

int main(void)
{
    return fixture_run("reset of counters", add);
}
