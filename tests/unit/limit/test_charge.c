/* SPDX-License-Identifier: Apache-2.0 */
/* Charges: one request against all its limits, what is told, and its settling. */
#include "contract/counter_fixture.h"

/* Fails each call, as a store does that cannot be reached. */
static apr_status_t broken_take(aq_counter_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost,
                                aq_time_ms_t now_ms, int *is_denied)
{
    (void)store;
    (void)counters;
    (void)count;
    (void)cost;
    (void)now_ms;
    (void)is_denied;
    return APR_ENOSPC;
}

static aq_charge_t *charge_of(const aq_counter_store_t *store, const char *const *rates, unsigned count)
{
    static const char *const names[] = {"a", "b", "c"};
    aq_charge_t *charge = aq_charge_create(fixture_pool, count);
    const aq_hash128_t subject = aq_subject_hash(&store->secret, AQ_PER_KEY, "k_1");

    for (unsigned i = 0; i < count; i++) {
        aq_charge_counter_set(charge, i, counter_limit(store, names[i], rates[i], NULL), &subject);
    }
    return charge;
}

static void take_all(aq_charge_t *charge, aq_counter_store_t *store, uint32_t cost, aq_time_ms_t now_ms)
{
    ck_assert_int_eq(aq_charge_take(charge, store, cost, now_ms), APR_SUCCESS);
}

START_TEST(charge_is_taken_and_told)
{
    aq_counter_store_t *store = counters_open(0, 0);
    aq_charge_t *charge = charge_of(store, (const char *const[]){"5/minute", "9/day"}, 2);

    ck_assert_int_eq(charge->state, AQ_CHARGE_OPEN);
    ck_assert_int_eq(charge->primary, -1);
    take_all(charge, store, 2, NOON);
    ck_assert_int_eq(charge->state, AQ_CHARGE_TAKEN);
    ck_assert_int_eq(charge->refusing, -1);
    ck_assert_int_eq(charge->now_ms, NOON);
    ck_assert_uint_eq(charge->counters[0].remaining, 3);
    ck_assert_uint_eq(charge->counters[1].remaining, 7);
    ck_assert_int_eq(aq_charge_retry_after_s(charge), -1);
}
END_TEST

START_TEST(charge_without_limits_is_taken)
{
    aq_counter_store_t *store = counters_open(0, 0);
    aq_charge_t *charge = aq_charge_create(fixture_pool, 0);

    take_all(charge, store, 1, NOON);
    ck_assert_int_eq(charge->state, AQ_CHARGE_TAKEN);
    ck_assert_int_eq(aq_charge_settle(charge, store, 1, NOON), APR_SUCCESS);
    ck_assert_int_eq(charge->state, AQ_CHARGE_FREE);
}
END_TEST

START_TEST(primary_is_the_marked_limit)
{
    aq_counter_store_t *store = counters_open(0, 0);
    aq_charge_t *charge = aq_charge_create(fixture_pool, 2);
    const aq_hash128_t subject = aq_subject_hash(&store->secret, AQ_PER_KEY, "k_1");

    aq_charge_counter_set(charge, 0, counter_limit(store, "a", "1/day", "headers=none"), &subject);
    aq_charge_counter_set(charge, 1, counter_limit(store, "b", "1/day", "headers=primary"), &subject);
    ck_assert_int_eq(charge->primary, 1);
}
END_TEST

START_TEST(longest_wait_refuses)
{
    aq_counter_store_t *store = counters_open(0, 0);
    const char *const rates[] = {"1/minute", "1/day", "1/hour"};
    aq_charge_t *first = charge_of(store, rates, 3);
    aq_charge_t *second = charge_of(store, rates, 3);

    take_all(first, store, 1, NOON);
    take_all(second, store, 1, NOON);
    ck_assert_int_eq(second->state, AQ_CHARGE_DENIED);
    ck_assert_int_eq(second->refusing, 1);
    ck_assert_int_eq(aq_charge_retry_after_s(second), (NOON / DAY * DAY + DAY - NOON) / SECOND);
    ck_assert_int_eq(aq_charge_settle(second, store, 1, NOON), APR_SUCCESS);
    ck_assert_int_eq(second->state, AQ_CHARGE_DENIED);
}
END_TEST

START_TEST(wait_is_whole_seconds_rounded_up)
{
    aq_counter_store_t *store = counters_open(0, 0);
    const aq_time_ms_t midnight_ms = NOON / DAY * DAY + DAY;
    const struct {
        int64_t before_ms, wait_s;
    } waits[] = {{1, 1}, {999, 1}, {1000, 1}, {1001, 2}, {59999, 60}};

    take_all(charge_of(store, (const char *const[]){"1/day"}, 1), store, 1, NOON);
    for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        aq_charge_t *charge = charge_of(store, (const char *const[]){"1/day"}, 1);

        take_all(charge, store, 1, midnight_ms - waits[i].before_ms);
        ck_assert_int_eq(aq_charge_retry_after_s(charge), waits[i].wait_s);
        ck_assert_int_eq(charge->counters[0].reset_at_ms, midnight_ms);
        ck_assert_int_eq(aq_charge_reset_s(charge), midnight_ms / SECOND);
    }
}
END_TEST

START_TEST(wait_that_does_not_help_is_not_told)
{
    aq_counter_store_t *store = counters_open(0, 0);
    aq_charge_t *dear = charge_of(store, (const char *const[]){"5/minute", "5/day"}, 2);
    aq_charge_t *used_up = charge_of(store, (const char *const[]){"1/total"}, 1);

    take_all(dear, store, 6, NOON);
    ck_assert_int_eq(dear->state, AQ_CHARGE_DENIED);
    ck_assert_int_eq(aq_charge_retry_after_s(dear), -1);
    take_all(used_up, store, 1, NOON);
    take_all(used_up, store, 1, NOON);
    ck_assert_int_eq(used_up->state, AQ_CHARGE_DENIED);
    ck_assert_int_eq(aq_charge_retry_after_s(used_up), -1);
}
END_TEST

/* The wait that is told is enough, and where it is more than a second, one second less is not. */
START_TEST(wait_is_enough_and_a_second_less_is_not)
{
    aq_counter_store_t *store = counters_open(0, 0);
    aq_time_ms_t now_ms = NOON;

    for (unsigned i = 0; i < 2000; i++, now_ms += 311 + i * 7919 % 4001) {
        aq_charge_t *charge = charge_of(store, (const char *const[]){"10/minute", "100/hour"}, 2);
        const uint32_t cost = 1 + i % 4;
        int64_t wait_s;

        take_all(charge, store, cost, now_ms);
        if (charge->state == AQ_CHARGE_DENIED) {
            wait_s = aq_charge_retry_after_s(charge);
            ck_assert_int_ge(wait_s, 1);
            if (wait_s > 1) {
                take_all(charge, store, cost, now_ms + (wait_s - 1) * SECOND);
                ck_assert_int_eq(charge->state, AQ_CHARGE_DENIED);
            }
            now_ms += wait_s * SECOND;
            take_all(charge, store, cost, now_ms);
            ck_assert_int_eq(charge->state, AQ_CHARGE_TAKEN);
        }
    }
}
END_TEST

START_TEST(free_answer_is_given_back_once)
{
    aq_counter_store_t *store = counters_open(0, 0);
    const char *const rates[] = {"5/minute", "9/day"};
    aq_charge_t *kept = charge_of(store, rates, 2);
    aq_charge_t *charge = charge_of(store, rates, 2);

    take_all(kept, store, 2, NOON);
    take_all(charge, store, 3, NOON);
    ck_assert_uint_eq(charge->counters[0].remaining, 0);
    ck_assert_int_eq(aq_charge_settle(charge, store, 0, NOON), APR_SUCCESS);
    ck_assert_int_eq(charge->state, AQ_CHARGE_TAKEN);
    ck_assert_int_eq(aq_charge_settle(charge, store, 1, NOON), APR_SUCCESS);
    ck_assert_int_eq(charge->state, AQ_CHARGE_FREE);
    ck_assert_uint_eq(charge->counters[0].remaining, 3);
    ck_assert_uint_eq(charge->counters[1].remaining, 7);
    ck_assert_int_eq(charge->counters[0].reset_at_ms, NOON / MINUTE * MINUTE + MINUTE);
    ck_assert_int_eq(aq_charge_settle(charge, store, 1, NOON), APR_SUCCESS);
    ck_assert_int_eq(aq_charge_settle(charge, store, 0, NOON), APR_SUCCESS);
    ck_assert_int_eq(charge->state, AQ_CHARGE_FREE);
    ck_assert_uint_eq(counter_used(store, kept->counters[0], NOON), 2);
}
END_TEST

START_TEST(used_up_resets_when_one_more_fits)
{
    aq_counter_store_t *store = counters_open(0, 0);
    aq_charge_t *charge = charge_of(store, (const char *const[]){"5/minute"}, 1);
    const aq_counter_t *counter = &charge->counters[0];

    take_all(charge, store, 5, NOON);
    ck_assert_uint_eq(counter->remaining, 0);
    ck_assert_int_eq(counter->reset_at_ms, counter->fits_at_ms);
    ck_assert_int_gt(counter->fits_at_ms, NOON);
    ck_assert(!counter_take(store, &(aq_counter_t){.limit = counter->limit, .key = counter->key}, 1,
                            counter->fits_at_ms - 1));
    ck_assert(
        counter_take(store, &(aq_counter_t){.limit = counter->limit, .key = counter->key}, 1, counter->fits_at_ms));
}
END_TEST

START_TEST(failure_of_the_store_leaves_the_charge_open)
{
    static const aq_counter_store_ops_t broken_ops = {.name = "broken", .take = broken_take};
    aq_counter_store_t *store = counters_open(0, 0);
    aq_counter_store_t broken = {.ops = &broken_ops};
    aq_charge_t *charge = charge_of(store, (const char *const[]){"5/minute"}, 1);

    ck_assert_int_eq(aq_charge_take(charge, &broken, 1, NOON), APR_ENOSPC);
    ck_assert_int_eq(charge->state, AQ_CHARGE_OPEN);
    ck_assert_int_eq(charge->refusing, -1);
    ck_assert_int_eq(aq_charge_settle(charge, &broken, 1, NOON), APR_SUCCESS);
    ck_assert_int_eq(charge->state, AQ_CHARGE_OPEN);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, charge_is_taken_and_told);
    tcase_add_test(tests, charge_without_limits_is_taken);
    tcase_add_test(tests, primary_is_the_marked_limit);
    tcase_add_test(tests, longest_wait_refuses);
    tcase_add_test(tests, wait_is_whole_seconds_rounded_up);
    tcase_add_test(tests, wait_that_does_not_help_is_not_told);
    tcase_add_test(tests, wait_is_enough_and_a_second_less_is_not);
    tcase_add_test(tests, free_answer_is_given_back_once);
    tcase_add_test(tests, used_up_resets_when_one_more_fits);
    tcase_add_test(tests, failure_of_the_store_leaves_the_charge_open);
}

int main(void)
{
    return fixture_run("charge", add);
}
