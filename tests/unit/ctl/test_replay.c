/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: what becomes of lines between the log and the answer: their order, and the numbers that are kept of them.
 */
#include "ctl/reorder.h"
#include "ctl/replay.h"
#include "store/memory_counters.h"
#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- limits that are not by key --------------------------------------------------------------------------------- */

static const aq_log_text_t NOBODY;

static aq_log_text_t text_of(const char *text)
{
    return (aq_log_text_t){text, strlen(text)};
}

/* A plan "only" of one limit of two a day, changed by `change` before it is in force. */
static aq_replay_t *replay_of(void (*change)(aq_limit_t *limit))
{
    static const char *const arguments[] = {"day", "2/day"};
    aq_replay_settings_t settings = {.plans = apr_hash_make(fixture_pool), .default_plan = "only"};
    const char *error;
    aq_limit_t *limit;
    aq_plan_t *plan;
    aq_replay_t *replay;

    ck_assert_int_eq(aq_memory_counters_create(fixture_pool, 0, &settings.store), APR_SUCCESS);
    ck_assert_int_eq(aq_plan_create(fixture_pool, "only", &plan, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_limit_parse(fixture_pool, arguments, 2, &limit, &error), APR_SUCCESS);
    change(limit);
    aq_limit_identify(limit, &settings.store->secret);
    ck_assert_int_eq(aq_plan_limit_add(fixture_pool, plan, limit, &error), APR_SUCCESS);
    aq_plan_seal(plan);
    apr_hash_set(settings.plans, "only", APR_HASH_KEY_STRING, plan);
    ck_assert_int_eq(aq_replay_create(fixture_pool, &settings, &replay, &error), APR_SUCCESS);
    return replay;
}

static void line_add(aq_replay_t *replay, aq_log_text_t user, const char *address)
{
    const aq_log_line_t line = {
        .time_ms = 1000, .status = 200, .is_request = 1, .user = user, .address = text_of(address)};

    ck_assert_int_eq(aq_replay_line(replay, &line), APR_SUCCESS);
}

static void by_address(aq_limit_t *limit)
{
    limit->per = AQ_PER_IP;
}

START_TEST(a_limit_by_address_is_shared_by_all_users_of_it)
{
    aq_replay_t *replay = replay_of(by_address);
    const aq_replay_result_t *result;

    line_add(replay, text_of("ann"), "192.0.2.1");
    line_add(replay, text_of("bob"), "::ffff:192.0.2.1");
    line_add(replay, NOBODY, "192.0.2.1");
    line_add(replay, text_of("ann"), "192.0.2.2");
    line_add(replay, text_of("ann"), "");
    ck_assert_int_eq(aq_replay_finish(replay, &result), APR_SUCCESS);
    const aq_replay_limit_t *row = APR_ARRAY_IDX(result->limits, 0, const aq_replay_limit_t *);
    ck_assert_uint_eq(result->replayed, 5);
    ck_assert_uint_eq(row->tally.requests, 4); /* the line without an address counts nowhere */
    ck_assert_uint_eq(row->tally.refused, 1);
    ck_assert_uint_eq(row->subjects, 2);
    ck_assert_uint_eq(row->needs.most, 3);
}
END_TEST

static void at_once(aq_limit_t *limit)
{
    limit->rate.period = AQ_PERIOD_CONCURRENT;
}

START_TEST(a_limit_that_a_log_cannot_tell_is_left_out_and_noted)
{
    aq_replay_t *replay = replay_of(at_once);
    const aq_replay_result_t *result;

    for (int i = 0; i < 5; i++) {
        line_add(replay, text_of("ann"), "192.0.2.1");
    }
    ck_assert_int_eq(aq_replay_finish(replay, &result), APR_SUCCESS);
    ck_assert_int_eq(result->limits->nelts, 0);
    ck_assert_int_eq(result->notes->nelts, 1);
    ck_assert_ptr_nonnull(strstr(APR_ARRAY_IDX(result->notes, 0, const char *), "what ran at once"));
    ck_assert_uint_eq(APR_ARRAY_IDX(result->plans, 0, const aq_replay_plan_t *)->tally.requests, 5);
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
    tcase_add_test(tests, a_limit_by_address_is_shared_by_all_users_of_it);
    tcase_add_test(tests, a_limit_that_a_log_cannot_tell_is_left_out_and_noted);
}

int main(void)
{
    return fixture_run("replay", tests_add);
}
