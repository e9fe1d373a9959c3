/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leased counters: several machines, simulated as stores with tables of their own, on one real Redis. Time is set: Redis
 * goes by the time that it is given, and each machine's boot time by `present_ms`, an offset of its own ahead.
 */
#include "contract/counter_fixture.h"
#include "store/redis_leased.h"
#include "unit/redis_fixture.h"

#include <apr_strings.h>
#include <signal.h>

static aq_time_ms_t present_ms;

static aq_time_ms_t boot_clock(void)
{
    return present_ms - NOON + DAY;
}

static aq_counter_store_t *machine(const redis_fixture_t *server)
{
    fixture_log_keep();
    return redis_fixture_store_with(
        server, &(aq_redis_counters_options_t){
                    .is_clock_given = 1, .waits_to_settle = 0, .is_leased = 1, .boot_clock = boot_clock});
}

static uint64_t waits(const aq_counter_store_t *store)
{
    return aq_redis_link_waits(aq_redis_counters_link(store));
}

static int take(aq_counter_store_t *store, aq_counter_t *counter)
{
    return counter_take(store, counter, 1, present_ms);
}

/* What Redis has counted, with all slices. */
static uint64_t charged(const redis_fixture_t *server, const char *rate)
{
    aq_counter_store_t *strict = redis_fixture_store(server);

    return counter_used(strict, counter_of(strict, counter_limit(strict, "l", rate, NULL), "a"), present_ms);
}

/* Takes one every `step_ms` until there is a slice of so much. */
static unsigned warm(aq_counter_store_t *store, aq_counter_t *counter, aq_time_ms_t step_ms, unsigned count)
{
    unsigned admitted = 0;

    for (unsigned i = 0; i < count; i++, present_ms += step_ms) {
        admitted += (unsigned)take(store, counter);
    }
    return admitted;
}

START_TEST(busy_counter_asks_redis_rarely_and_counts_each_request)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t counter;
    uint64_t before;

    present_ms = NOON;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "100000/day", NULL), "a");
    before = waits(store);
    for (unsigned i = 1; i <= 5000; i++, present_ms++) {
        ck_assert(take(store, &counter));
        ck_assert_uint_eq(counter.used, i);
        ck_assert_uint_eq(counter.remaining, 100000 - i);
        ck_assert_int_eq(counter.reset_at_ms, NOON / DAY * DAY + DAY);
    }
    ck_assert_uint_le(waits(store) - before, 100);
    ck_assert_uint_ge(charged(&server, "100000/day"), 5000);
}
END_TEST

START_TEST(cold_counter_takes_one_at_a_time)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t counter;

    present_ms = NOON;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "1000/day", NULL), "a");
    for (unsigned i = 1; i <= 20; i++, present_ms += 3 * SECOND) {
        ck_assert(take(store, &counter));
        ck_assert_uint_eq(charged(&server, "1000/day"), i);
    }
}
END_TEST

START_TEST(small_limits_and_buckets_stay_strict)
{
    static const char *const rows[][2] = {{"63/day", NULL}, {"1000/day", "burst=100"}};

    for (unsigned i = 0; i < 2; i++) {
        const redis_fixture_t server = redis_fixture_start(NULL);
        aq_counter_store_t *store;
        aq_counter_t counter;
        uint64_t before;

        present_ms = NOON;
        store = machine(&server);
        counter = counter_of(store, counter_limit(store, "l", rows[i][0], rows[i][1]), "a");
        before = waits(store);
        ck_assert_uint_eq(warm(store, &counter, 1, 50), 50);
        ck_assert_uint_eq(waits(store) - before, 51); /* the first sends the script, too */
    }
}
END_TEST

START_TEST(slice_is_never_spent_after_its_window)
{
    static const struct {
        const char *rate;
        aq_time_ms_t window_ms;
    } rows[] = {{"100000/hour", HOUR}, {"100000/minute", MINUTE / 6}, {"100000/day", DAY}};

    for (unsigned row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        const redis_fixture_t server = redis_fixture_start(NULL);
        const aq_time_ms_t end_ms = NOON / rows[row].window_ms * rows[row].window_ms + rows[row].window_ms;
        aq_counter_store_t *store;
        aq_counter_t counter;
        uint64_t before;

        present_ms = end_ms - 300;
        store = machine(&server);
        counter = counter_of(store, counter_limit(store, "l", rows[row].rate, NULL), "a");
        ck_assert_uint_eq(warm(store, &counter, 1, 297), 297);
        before = waits(store);
        present_ms = end_ms - 2;
        ck_assert(take(store, &counter));
        ck_assert_uint_eq(waits(store), before); /* it still holds some */
        present_ms = end_ms - 1;
        ck_assert(take(store, &counter));
        ck_assert_uint_eq(waits(store), before + 1);
    }
}
END_TEST

START_TEST(idle_slice_is_given_back_to_its_window)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t counter;

    present_ms = NOON;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "100000/day", NULL), "a");
    ck_assert_uint_eq(warm(store, &counter, 1, 500), 500);
    ck_assert_uint_gt(charged(&server, "100000/day"), 500);
    present_ms += AQ_LEASED_IDLE_MS - 100;
    aq_redis_counters_return(store, present_ms, 0);
    ck_assert_uint_gt(charged(&server, "100000/day"), 500);
    present_ms += 101;
    aq_redis_counters_return(store, present_ms, 0);
    ck_assert_uint_eq(charged(&server, "100000/day"), 500);
    ck_assert(take(store, &counter));
    ck_assert_uint_eq(counter.used, 501);
}
END_TEST

START_TEST(end_of_a_process_gives_all_back)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;

    present_ms = NOON;
    store = machine(&server);
    for (unsigned i = 0; i < 9; i++) {
        const char *subject = apr_psprintf(fixture_pool, "s%u", i);
        aq_counter_t counter = counter_of(store, counter_limit(store, "l", "100000/total", NULL), subject);

        ck_assert_uint_eq(warm(store, &counter, 1, 100), 100);
    }
    aq_redis_counters_return(store, present_ms, 1);
    for (unsigned i = 0; i < 9; i++) {
        aq_counter_store_t *strict = redis_fixture_store(&server);
        const char *subject = apr_psprintf(fixture_pool, "s%u", i);

        ck_assert_uint_eq(counter_used(strict,
                                       counter_of(strict, counter_limit(strict, "l", "100000/total", NULL), subject),
                                       present_ms),
                          100);
    }
}
END_TEST

START_TEST(return_that_gets_lost_is_used_up_and_never_free)
{
    redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t counter;
    uint64_t before;
    int is_denied;

    fixture_log_keep();
    present_ms = NOON;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "100000/day", NULL), "a");
    ck_assert_uint_eq(warm(store, &counter, 1, 500), 500);
    before = charged(&server, "100000/day");
    ck_assert_uint_gt(before, 500);
    (void)kill(server.pid, SIGSTOP);
    aq_redis_link_budget_set(aq_redis_counters_link(store), 50);
    aq_redis_counters_return(store, present_ms, 1);
    ck_assert_int_ne(aq_counter_store_take(store, &counter, 1, 1, present_ms, &is_denied), APR_SUCCESS);
    (void)kill(server.pid, SIGCONT);
    ck_assert_uint_le(charged(&server, "100000/day"), before);
    ck_assert_uint_ge(charged(&server, "100000/day"), 500);
}
END_TEST

START_TEST(slices_are_spent_while_redis_is_away_and_then_no_more)
{
    redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t counter;
    unsigned admitted = 0;
    int is_denied = 0;

    fixture_log_keep();
    present_ms = NOON;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "6400/day", NULL), "a");
    ck_assert_uint_eq(warm(store, &counter, 1, 1000), 1000);
    redis_fixture_kill(&server);
    while (aq_counter_store_take(store, &counter, 1, 1, present_ms, &is_denied) == APR_SUCCESS) {
        ck_assert(!is_denied);
        admitted++;
    }
    ck_assert_uint_ge(admitted, 1);
    ck_assert_uint_le(admitted, 300); /* 1.5 * 6400 / 32 */
}
END_TEST

START_TEST(refused_by_one_limit_spends_nothing_of_the_others)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t both[3];

    present_ms = NOON;
    store = machine(&server);
    both[0] = counter_of(store, counter_limit(store, "l", "100000/day", NULL), "a");
    both[1] = counter_of(store, counter_limit(store, "running", "2/concurrent", NULL), "a");
    both[2] = counter_of(store, counter_limit(store, "few", "70/hour", NULL), "a");
    ck_assert_uint_eq(warm(store, &both[0], 1, 300), 300);
    ck_assert(counters_take(store, both, 3, 1, present_ms));
    ck_assert(counters_take(store, both, 2, 1, present_ms));
    ck_assert_uint_eq(both[0].used, 302);
    ck_assert(!counters_take(store, both, 3, 1, present_ms));
    ck_assert(!both[0].is_denied && both[1].is_denied && !both[2].is_denied);
    ck_assert_uint_eq(both[0].used, 302);
    ck_assert_uint_eq(both[2].used, 1);
    ck_assert_uint_eq(both[0].receipt.cost, 0);
    ck_assert(take(store, &both[0]));
    ck_assert_uint_eq(both[0].used, 303);
}
END_TEST

START_TEST(refusal_stands_for_a_tenth_of_a_second_without_asking)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t counter;
    uint64_t before;

    present_ms = NOON;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "100/day", NULL), "a");
    ck_assert_uint_eq(warm(store, &counter, 1, 101), 100);
    present_ms--;
    before = waits(store);
    for (unsigned i = 0; i < 99; i++, present_ms++) {
        ck_assert(!take(store, &counter));
        ck_assert_uint_eq(counter.remaining, 0);
        ck_assert_int_eq(counter.fits_at_ms, NOON / DAY * DAY + DAY);
    }
    ck_assert_uint_eq(waits(store), before);
    present_ms += 2;
    ck_assert(!take(store, &counter));
    ck_assert_uint_eq(waits(store), before + 1);
}
END_TEST

START_TEST(free_answer_goes_back_to_its_slice_or_to_its_window)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    const aq_time_ms_t end_ms = NOON / HOUR * HOUR + HOUR;
    aq_counter_store_t *store;
    aq_counter_t counter;
    aq_counter_t old;

    present_ms = end_ms - 400;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "100000/hour", NULL), "a");
    ck_assert_uint_eq(warm(store, &counter, 1, 300), 300);
    counter_give_back(store, &counter, present_ms);
    ck_assert_uint_eq(counter.used, 299);
    ck_assert_uint_eq(counter.receipt.cost, 0);
    counter_give_back(store, &counter, present_ms);
    ck_assert_uint_eq(counter.used, 299);
    ck_assert(take(store, &counter));
    ck_assert_uint_eq(counter.used, 300);
    old = counter;
    present_ms = end_ms + 10;
    ck_assert_uint_eq(warm(store, &counter, 1, 100), 100);
    counter_give_back(store, &old, present_ms);
    ck_assert(take(store, &counter));
    ck_assert_uint_eq(counter.used, 101);
}
END_TEST

/* The rest of a machine's slice is not kept from a request that costs more. */
START_TEST(cost_above_what_is_left_here_is_taken_whole)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;
    aq_counter_t counter;
    uint64_t used = 0;

    present_ms = NOON;
    store = machine(&server);
    counter = counter_of(store, counter_limit(store, "l", "1000/day", NULL), "a");
    for (unsigned i = 0; i < 400; i++, present_ms += 150) {
        used += counter_take(store, &counter, 7, present_ms) ? 7 : 0;
    }
    ck_assert_uint_eq(used, 994);
    for (unsigned i = 0; i < 20; i++, present_ms += 150) {
        used += (uint64_t)take(store, &counter);
    }
    ck_assert_uint_eq(used, 1000);
}
END_TEST

/* Line 40: what a machine that dies takes with it. S = limit / 32, and at most half of one and the next. */
START_TEST(f40_machine_that_dies_strands_no_more_than_is_documented)
{
    static const struct {
        const char *rate;
        uint64_t limit, bound;
    } rows[] = {{"100/day", 100, 4}, {"1000/day", 1000, 46}, {"6400/day", 6400, 300}, {"64/total", 64, 3}};

    for (unsigned row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        const redis_fixture_t server = redis_fixture_start(NULL);

        for (unsigned killed_at = 7; killed_at < rows[row].limit / 2; killed_at += (unsigned)rows[row].limit / 5) {
            aq_counter_store_t *first;
            aq_counter_store_t *second;
            aq_counter_t counter;
            uint64_t admitted;
            const char *subject = apr_psprintf(fixture_pool, "s%u", killed_at);

            present_ms = NOON;
            first = machine(&server);
            second = machine(&server);
            counter = counter_of(first, counter_limit(first, "l", rows[row].rate, NULL), subject);
            admitted = warm(first, &counter, 1, killed_at);
            counter.receipt.cost = 0;
            admitted += warm(second, &counter, 1, (unsigned)rows[row].limit + 1);
            ck_assert_uint_le(admitted, rows[row].limit);
            ck_assert_uint_ge(admitted + rows[row].bound, rows[row].limit);
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, busy_counter_asks_redis_rarely_and_counts_each_request);
    tcase_add_test(tests, cold_counter_takes_one_at_a_time);
    tcase_add_test(tests, small_limits_and_buckets_stay_strict);
    tcase_add_test(tests, slice_is_never_spent_after_its_window);
    tcase_add_test(tests, idle_slice_is_given_back_to_its_window);
    tcase_add_test(tests, end_of_a_process_gives_all_back);
    tcase_add_test(tests, return_that_gets_lost_is_used_up_and_never_free);
    tcase_add_test(tests, slices_are_spent_while_redis_is_away_and_then_no_more);
    tcase_add_test(tests, refused_by_one_limit_spends_nothing_of_the_others);
    tcase_add_test(tests, refusal_stands_for_a_tenth_of_a_second_without_asking);
    tcase_add_test(tests, free_answer_goes_back_to_its_slice_or_to_its_window);
    tcase_add_test(tests, cost_above_what_is_left_here_is_taken_whole);
    tcase_add_test(tests, f40_machine_that_dies_strands_no_more_than_is_documented);
}

int main(void)
{
    return fixture_run("leased counters in Redis", add);
}
