/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: what becomes of lines between the log and the answer: their order, and the numbers that are kept of them.
 */
#include "ctl/reorder.h"
#include "ctl/tally.h"
#include "unit/fixture.h"

#include <stdlib.h>

#define MINUTE_MS INT64_C(60000)

/* ---- order ------------------------------------------------------------------------------------------------------ */

typedef struct {
    int count;
    aq_pending_t lines[64];
} released_t;

static apr_status_t keep(void *data, const aq_pending_t *pending)
{
    released_t *released = data;

    ck_assert_int_lt(released->count, 64);
    released->lines[released->count++] = *pending;
    return APR_SUCCESS;
}

/* Adds lines of these times, each with its index as the status. */
static uint64_t lines_add(released_t *released, const int64_t *times_ms, int count)
{
    aq_reorder_t *reorder = aq_reorder_create(fixture_pool, keep, released);

    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(aq_reorder_add(reorder, &(aq_pending_t){.time_ms = times_ms[i], .status = i}), APR_SUCCESS);
    }
    ck_assert_int_eq(aq_reorder_finish(reorder), APR_SUCCESS);
    ck_assert_int_eq(released->count, count);
    return aq_reorder_late(reorder);
}

START_TEST(lines_less_than_a_minute_out_of_order_are_put_right)
{
    static const int64_t times[] = {100000, 103000, 101000, 101000, 110000, 102000, 100000, 111999, 111000, 500000};
    static const int wanted[] = {0, 6, 2, 3, 5, 1, 4, 8, 7, 9};
    released_t released = {0};

    ck_assert_uint_eq(lines_add(&released, times, 10), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(released.lines[i].status, wanted[i]);
        ck_assert_int_eq(released.lines[i].time_ms, times[wanted[i]]);
    }
}
END_TEST

START_TEST(a_line_too_late_counts_when_it_comes)
{
    static const int64_t times[] = {100000, 160000, 180000, 105000, 101000};
    released_t released = {0};

    ck_assert_uint_eq(lines_add(&released, times, 5), 2);
    for (int i = 1; i < 5; i++) {
        ck_assert_int_ge(released.lines[i].time_ms, released.lines[i - 1].time_ms);
    }
    ck_assert_int_eq(released.lines[1].status, 3);
    ck_assert_int_eq(released.lines[1].time_ms, 105000);
    ck_assert_int_eq(released.lines[2].status, 4);
    ck_assert_int_eq(released.lines[2].time_ms, 105000);
}
END_TEST

static apr_status_t count_only(void *data, const aq_pending_t *pending)
{
    *(uint64_t *)data += 1;
    return pending->time_ms == 100000 ? APR_SUCCESS : APR_EGENERAL;
}

START_TEST(more_lines_than_are_held_are_handed_on)
{
    uint64_t count = 0;
    aq_reorder_t *reorder = aq_reorder_create(fixture_pool, count_only, &count);

    for (int i = 0; i <= AQ_REORDER_LINES_MAX; i++) {
        ck_assert_int_eq(aq_reorder_add(reorder, &(aq_pending_t){.time_ms = 100000}), APR_SUCCESS);
    }
    ck_assert_uint_eq(count, AQ_REORDER_LINES_MAX);
    ck_assert_int_eq(aq_reorder_finish(reorder), APR_SUCCESS);
    ck_assert_uint_eq(count, AQ_REORDER_LINES_MAX + 1);
    ck_assert_uint_eq(aq_reorder_late(reorder), 0);
}
END_TEST

/* ---- tallies ---------------------------------------------------------------------------------------------------- */

START_TEST(the_worst_minute_is_the_first_with_the_most_refusals)
{
    aq_tally_t tally = {0};
    static const int64_t times[] = {30000, 90000, 90001, 130000, 130000, 200000};

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        aq_tally_refuse(&tally, times[i]);
    }
    ck_assert_uint_eq(tally.refused, 6);
    ck_assert_int_eq(tally.first_ms, 30000);
    ck_assert_int_eq(tally.last_ms, 200000);
    ck_assert_int_eq(tally.worst_minute_ms, MINUTE_MS);
    ck_assert_uint_eq(tally.worst_minute_refused, 2);
}
END_TEST

/* What the limit for that share should be, by sorting. */
static int need_compare(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return (one > other) - (one < other);
}

static uint64_t limit_by_sorting(uint64_t *needs, size_t count, unsigned per_mille)
{
    qsort(needs, count, sizeof(*needs), need_compare);
    return needs[count - 1 - count * per_mille / 1000];
}

START_TEST(the_limit_for_a_share_is_that_of_the_sorted_needs)
{
    static const uint64_t bounds[] = {1, 10, 4000, 100000, 3000000000};
    static const unsigned shares[] = {0, 1, 10, 50, 500};
    uint64_t *values = apr_palloc(fixture_pool, 5000 * sizeof(*values));
    unsigned seed = 7;

    for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        aq_needs_t needs = {.p = fixture_pool};
        for (size_t i = 0; i < 5000; i++) {
            values[i] = 1 + ((uint64_t)rand_r(&seed) << 16 ^ (uint64_t)rand_r(&seed)) % bounds[b];
            aq_needs_add(&needs, values[i]);
        }
        for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
            int is_exact;
            uint64_t wanted = limit_by_sorting(values, 5000, shares[s]);
            uint64_t limit = aq_needs_limit(&needs, shares[s], &is_exact);
            ck_assert_uint_ge(limit, wanted);
            ck_assert_uint_le(limit, is_exact ? wanted : wanted + wanted / 2000);
            ck_assert_msg(is_exact || bounds[b] > 4096, "%u is not exact", (unsigned)bounds[b]);
        }
    }
}
END_TEST

START_TEST(without_needs_there_is_no_limit_for_a_share)
{
    aq_needs_t needs = {.p = fixture_pool};
    int is_exact;

    ck_assert_uint_eq(aq_needs_limit(&needs, 10, &is_exact), 0);
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_test(tests, lines_less_than_a_minute_out_of_order_are_put_right);
    tcase_add_test(tests, a_line_too_late_counts_when_it_comes);
    tcase_add_test(tests, more_lines_than_are_held_are_handed_on);
    tcase_add_test(tests, the_worst_minute_is_the_first_with_the_most_refusals);
    tcase_add_test(tests, the_limit_for_a_share_is_that_of_the_sorted_needs);
    tcase_add_test(tests, without_needs_there_is_no_limit_for_a_share);
}

int main(void)
{
    return fixture_run("replay", tests_add);
}
