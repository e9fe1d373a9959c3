/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sliding windows against a model, over random scripts: what is used, when a cost fits (exact to the millisecond), and
 * how far the estimate is from an exact log. The seed is printed with each failure.
 */
#include "unit/fixture.h"
#include "unit/limit/window_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED UINT64_C(20261122)
#define SCRIPTS 3000
#define STEPS 60

static const uint32_t PERIODS[] = {1, 2, 5, 7, 10, 30, 60, 61, 900, 3600, 86400, 31622400};
#define PERIOD_COUNT (sizeof(PERIODS) / sizeof(PERIODS[0]))

typedef struct {
    aq_window_t window;
    uint64_t words[AQ_WINDOW_WORDS];
    uint64_t limit;
    aq_time_ms_t now_ms;
} counter_t;

static aq_window_look_t look(counter_t *counter, aq_time_ms_t now_ms)
{
    aq_window_look_t look;

    aq_window_look(&counter->window, counter->words, now_ms, &look);
    ck_assert_uint_eq(look.mended, 0);
    return look;
}

static int fits(counter_t *counter, aq_time_ms_t now_ms, uint32_t cost)
{
    return look(counter, now_ms).used + cost <= counter->limit;
}

static void charge(counter_t *counter, uint32_t cost)
{
    const aq_window_look_t at = look(counter, counter->now_ms);
    uint64_t *word = &counter->words[at.place.index];

    *word = aq_window_word_add(&at.place, *word, cost);
}

static counter_t counter_draw(uint64_t *seed)
{
    const uint32_t period_s = PERIODS[model_draw(seed, PERIOD_COUNT)];

    return (counter_t){
        .window = {.algorithm = AQ_ALGORITHM_SLIDING, .period = AQ_PERIOD_SECONDS, .period_s = period_s},
        .limit = 1 + model_draw(seed, model_draw(seed, 2) ? 20 : 100000),
        .now_ms = INT64_C(1795350050000) + (int64_t)model_draw(seed, UINT64_C(40) * 365 * 86400 * 1000),
    };
}

/* A pause: mostly short, sometimes to just before, at or just behind an edge of a sub-window, sometimes long. */
static int64_t pause_draw(uint64_t *seed, const counter_t *counter)
{
    const int64_t q = (int64_t)counter->window.period_s * 1000;
    const int64_t edge_ms = ((counter->now_ms * 6 / q + 1) * q + 5) / 6;

    switch (model_draw(seed, 8)) {
    case 0:
        return 0;
    case 1:
        return edge_ms - counter->now_ms;
    case 2:
        return edge_ms - counter->now_ms - 1 > 0 ? edge_ms - counter->now_ms - 1 : 0;
    case 3:
        return edge_ms - counter->now_ms + 1;
    case 4:
        return (int64_t)model_draw(seed, (uint64_t)q * 2);
    default:
        return (int64_t)model_draw(seed, (uint64_t)q / 12 + 1);
    }
}

/* When `cost` fits is exact: it fits then and not a millisecond earlier. */
static void fits_at_check(counter_t *counter, uint32_t cost, uint64_t seed)
{
    const aq_window_look_t at = look(counter, counter->now_ms);
    const aq_time_ms_t free_ms = aq_window_fits_at(&counter->window, counter->words, &at, counter->limit, cost);

    if (cost > counter->limit) {
        ck_assert_int_eq(free_ms, AQ_TIME_NEVER);
    } else if (fits(counter, counter->now_ms, cost)) {
        ck_assert_int_eq(free_ms, counter->now_ms);
    } else {
        ck_assert_msg(free_ms > counter->now_ms && fits(counter, free_ms, cost) && !fits(counter, free_ms - 1, cost),
                      "seed %lu: period %u, limit %lu, cost %u, in %ld ms", (unsigned long)seed,
                      counter->window.period_s, (unsigned long)counter->limit, cost, (long)(free_ms - counter->now_ms));
    }
}

START_TEST(estimate_and_wait_agree_with_the_model)
{
    model_t *model = malloc(sizeof(*model));
    unsigned denied = 0;

    ck_assert_ptr_nonnull(model);
    for (uint64_t script = 0; script < SCRIPTS; script++) {
        uint64_t seed = SEED + script * 1000003;
        counter_t counter = counter_draw(&seed);

        model->count = 0;
        for (int step = 0; step < STEPS; step++) {
            const uint32_t cost = 1 + (uint32_t)model_draw(&seed, counter.limit / (1 + model_draw(&seed, 8)) + 2);

            counter.now_ms += pause_draw(&seed, &counter);
            ck_assert_msg(look(&counter, counter.now_ms).used ==
                              model_used(model, counter.window.period_s, counter.now_ms),
                          "script %lu, step %d", (unsigned long)script, step);
            fits_at_check(&counter, cost, script);
            if (fits(&counter, counter.now_ms, cost)) {
                charge(&counter, cost);
                model_charge(model, counter.now_ms, cost);
            } else {
                denied++;
            }
        }
    }
    ck_assert_uint_gt(denied, SCRIPTS * 5);
    free(model);
}
END_TEST

/* With counts near 2^32 and the longest period the products have more than 64 bits. */
START_TEST(estimate_is_exact_for_the_largest_numbers)
{
    const aq_time_ms_t start_ms = INT64_C(31622400000) * 60;
    counter_t counter = {
        .window = {.algorithm = AQ_ALGORITHM_SLIDING, .period = AQ_PERIOD_SECONDS, .period_s = 31622400},
        .limit = AQ_RATE_COUNT_MAX,
        .now_ms = start_ms};

    charge(&counter, (uint32_t)AQ_RATE_COUNT_MAX);
    /* Half of the sub-window that slides out. */
    ck_assert_uint_eq(look(&counter, start_ms + INT64_C(31622400000) * 13 / 12).used, AQ_RATE_COUNT_MAX / 2);
    fits_at_check(&counter, 1, 0);
    fits_at_check(&counter, 1999999999, 0);
    fits_at_check(&counter, (uint32_t)AQ_RATE_COUNT_MAX, 0);
}
END_TEST

/* What a caller gets: admitted, above an exact log, refused where the log would not, the most in any period. */
typedef struct {
    unsigned admitted, over, early, worst;
} quality_t;

static quality_t quality(model_t *model, uint32_t period_s, uint64_t limit, uint64_t seed, int is_bursty)
{
    counter_t counter = {
        .window = {.algorithm = AQ_ALGORITHM_SLIDING, .period = AQ_PERIOD_SECONDS, .period_s = period_s},
        .limit = limit,
        .now_ms = INT64_C(1795350050000)};
    const int64_t period_ms = (int64_t)period_s * 1000;
    quality_t quality = {0};

    model->count = 0;
    for (unsigned i = 0; i < 1500; i++) {
        uint64_t log;

        if (!is_bursty) {
            counter.now_ms += 100;
        } else if (model_draw(&seed, 40) == 0) {
            counter.now_ms += (int64_t)model_draw(&seed, (uint64_t)period_ms);
        } else {
            counter.now_ms += (int64_t)model_draw(&seed, 400);
        }
        log = model_log(model, period_s, counter.now_ms);
        if (fits(&counter, counter.now_ms, 1)) {
            charge(&counter, 1);
            model_charge(model, counter.now_ms, 1);
            quality.admitted++;
            quality.over += log >= limit;
        } else {
            quality.early += log < limit;
        }
        log = model_log(model, period_s, counter.now_ms);
        quality.worst = log > quality.worst ? (unsigned)log : quality.worst;
    }
    return quality;
}

/* The estimate is near an exact log: few are admitted above it, and nobody gets the limit twice in one period. */
START_TEST(estimate_is_near_an_exact_log)
{
    model_t *model = malloc(sizeof(*model));
    quality_t sum = {0};

    ck_assert_ptr_nonnull(model);
    for (uint64_t seed = 0; seed < 12; seed++) {
        const uint64_t limit = 20 + seed * 10;
        const quality_t one = quality(model, 60, limit, SEED + seed, 1);

        sum.admitted += one.admitted;
        sum.over += one.over;
        sum.early += one.early;
        ck_assert_uint_lt(one.worst, 2 * limit);
    }
    printf("sliding window, bursty callers: %.1f %% admitted above an exact log, %.1f %% refused too early\n",
           100.0 * sum.over / sum.admitted, 100.0 * sum.early / sum.admitted);
    ck_assert_msg(sum.over * 100 <= sum.admitted * 8, "%u of %u above", sum.over, sum.admitted);
    free(model);
}
END_TEST

/* A caller who asks all the time gets the limit in each period, and never more. */
START_TEST(hammering_caller_never_gets_more_than_the_limit)
{
    model_t *model = malloc(sizeof(*model));

    ck_assert_ptr_nonnull(model);
    for (uint64_t limit = 10; limit <= 100; limit += 30) {
        ck_assert_uint_le(quality(model, 60, limit, SEED, 0).worst, limit);
    }
    free(model);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, estimate_and_wait_agree_with_the_model);
    tcase_add_test(tests, estimate_is_exact_for_the_largest_numbers);
    tcase_add_test(tests, estimate_is_near_an_exact_log);
    tcase_add_test(tests, hammering_caller_never_gets_more_than_the_limit);
}

int main(void)
{
    return fixture_run("sliding windows", add);
}
