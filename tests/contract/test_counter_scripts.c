/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every algorithm, in every store, against a plain model (counter_model.h): random scripts of requests of some cost, of
 * charges given back, of a clock that goes on, leaps and steps back, and of limits that change. A store must admit what
 * the model admits and no more, show the same use, and say a wait that is enough and not a second too long.
 *
 * A script that fails names its number; AQ_SEED=N runs others (1 unless set), AQ_SCRIPTS=N more than 10,000 a test.
 */
#include "contract/counter_fixture.h"
#include "contract/counter_model.h"

#include <apr_strings.h>
#include <stdio.h>

#define SCRIPTS 10000
#define STEPS 40
#define HELD_MAX 8
#define SLOTS 65536
#define LIMITS 3

/* One kind of limit. Those of one row take each other's place while a script runs. */
typedef struct {
    model_kind_t kind;
    int64_t period_ms;
    const char *rates[LIMITS];
    int64_t forget_ms; /* a store may forget a counter that was not charged for so long, or longer */
} row_t;

static const row_t rows[] = {
    {MODEL_FIXED,
     MINUTE,
     {"5/minute algorithm=fixed", "9/minute algorithm=fixed", "2/minute algorithm=fixed"},
     30 * SECOND},
    {MODEL_FIXED, DAY, {"50/day", "1/day", "7/day"}, 12 * HOUR},
    {MODEL_SLIDING, MINUTE, {"6/minute", "13/minute", "2/minute"}, MINUTE},
    {MODEL_SLIDING, 7 * SECOND, {"20/7s", "1/7s", "5/7s"}, 30 * SECOND},
    {MODEL_TOTAL, MINUTE, {"9/total", "30/total", "3/total"}, DAY},
    {MODEL_BUCKET, SECOND, {"6/second burst=10", "24/second burst=10", "96/second burst=30"}, 30 * SECOND},
    {MODEL_BUCKET, MINUTE, {"6/minute burst=6", "3/minute burst=12", "12/minute burst=2"}, 30 * SECOND},
    {MODEL_BUCKET, SECOND, {"7/second burst=9", "31/second burst=9", "127/second burst=40"}, 30 * SECOND},
    {MODEL_BUCKET, HOUR, {"60/hour burst=60", "6000/hour burst=60", "11/hour burst=3"}, 30 * SECOND},
    {MODEL_BUCKET, SECOND, {"100/second burst=20", "103/second burst=20", "10007/second burst=200"}, 30 * SECOND},
    {MODEL_CONCURRENT, MINUTE, {"3/concurrent", "9/concurrent", "20/concurrent"}, DAY},
};

#define ROWS (int)(sizeof(rows) / sizeof(rows[0]))

typedef struct {
    const row_t *row;
    aq_counter_store_t *store;
    aq_limit_t *limits[LIMITS];
    aq_limit_t *limit; /* that holds now */
    uint64_t number, random;
    aq_time_ms_t now_ms;
    aq_time_ms_t charged_ms; /* the last charge */
    aq_time_ms_t begin_ms;   /* the clock never steps back behind it */
    model_t model;
    aq_hash128_t subject;
    aq_counter_t held[HELD_MAX]; /* admitted and not settled */
    model_receipt_t receipts[HELD_MAX];
    unsigned held_count;
    int is_rescaled; /* a bucket's rate changed: what is used of a token was rounded up, by less than 80 ns each time */
} script_t;

static uint64_t draw(script_t *script, uint64_t below)
{
    script->random ^= script->random << 13;
    script->random ^= script->random >> 7;
    script->random ^= script->random << 17;
    return (script->random * UINT64_C(0x2545f4914f6cdd1d) >> 32) % below;
}

#define expect(script, condition)                                                                                      \
    ck_assert_msg((condition), "script %lu, %s: %s", (unsigned long)(script)->number, (script)->row->rates[0],         \
                  #condition)

static aq_counter_t counter_fresh(const script_t *script)
{
    return (aq_counter_t){.limit = script->limit, .key = aq_hash_join(script->limit->identity, script->subject)};
}

static void held_add(script_t *script, const aq_counter_t *counter, const model_receipt_t *receipt)
{
    if (script->held_count < HELD_MAX && !script->is_rescaled) {
        script->held[script->held_count] = *counter;
        script->receipts[script->held_count++] = *receipt;
    }
}

/* A millisecond is the least that can be asked, and more than all roundings of a script. */
static int admitted_just_before(const script_t *script, uint32_t cost)
{
    model_t before = script->model;

    return counter_model_admits(&before, cost, script->now_ms - 1);
}

/* What the store shows is what the model has; after another rate perhaps what it had a millisecond ago. */
static void used_compare(script_t *script, const aq_counter_t *counter)
{
    model_t before = script->model;
    const uint64_t used = counter_model_used(&script->model, script->now_ms);

    if (script->is_rescaled) {
        expect(script, counter->used >= used && counter->used <= counter_model_used(&before, script->now_ms - 1));
    } else {
        expect(script, counter->used == used);
    }
}

/* The store's answer to one request beside the model's. 1 where it was admitted. */
static int request_make(script_t *script, aq_counter_t *counter, uint32_t cost)
{
    const int is_strict = script->is_rescaled;
    const int admits = counter_model_admits(&script->model, cost, script->now_ms);
    const int is_admitted = counter_take(script->store, counter, cost, script->now_ms);

    expect(script, admits || !is_admitted);
    expect(script, is_admitted || !admits || (is_strict && !admitted_just_before(script, cost)));
    if (is_admitted) {
        const model_receipt_t receipt = counter_model_charge(&script->model, cost, script->now_ms);

        held_add(script, counter, &receipt);
        script->begin_ms =
            script->now_ms - script->charged_ms > script->row->forget_ms ? script->now_ms : script->begin_ms;
        script->charged_ms = script->now_ms;
    }
    used_compare(script, counter);
    expect(script, counter->remaining <= script->limit->capacity);
    return is_admitted;
}

/* Retry-After is enough, and a second less is not. */
static void wait_try(script_t *script, const aq_counter_t *refused, uint32_t cost)
{
    const aq_time_ms_t refused_ms = script->now_ms;
    const int64_t wait_s = (refused->fits_at_ms - refused_ms + SECOND - 1) / SECOND;
    aq_counter_t counter = counter_fresh(script);

    expect(script, wait_s > 0);
    if (wait_s > 1) {
        expect(script, !counter_take(script->store, &counter, cost, refused_ms + (wait_s - 1) * SECOND));
    }
    script->now_ms = refused_ms + wait_s * SECOND;
    expect(script, request_make(script, &counter, cost));
}

static void request_step(script_t *script)
{
    const uint32_t cost = (uint32_t)(draw(script, 4) == 0 ? 1 + draw(script, 6) : 1);
    aq_counter_t counter = counter_fresh(script);

    if (request_make(script, &counter, cost) || script->row->kind == MODEL_CONCURRENT) {
        return;
    }
    if (counter.fits_at_ms == AQ_TIME_NEVER) {
        expect(script, cost > script->limit->capacity || script->row->kind == MODEL_TOTAL);
    } else if (draw(script, 3) == 0) {
        wait_try(script, &counter, cost);
    }
}

static void settle_step(script_t *script)
{
    if (script->held_count != 0) {
        const unsigned which = (unsigned)draw(script, script->held_count);
        aq_counter_t counter = script->held[which];

        counter_give_back(script->store, &counter, script->now_ms);
        counter_model_give_back(&script->model, &script->receipts[which], script->now_ms);
        script->held_count--;
        script->held[which] = script->held[script->held_count];
        script->receipts[which] = script->receipts[script->held_count];
    }
}

static void clock_step(script_t *script)
{
    const uint64_t period_ms = (uint64_t)script->row->period_ms;
    const uint64_t chance = draw(script, 40);
    int64_t by_ms = (int64_t)draw(script, period_ms / 4);

    if (chance == 0) {
        by_ms = -(int64_t)draw(script, 3 * period_ms);
    } else if (chance < 3) {
        by_ms = (int64_t)draw(script, 3 * period_ms);
    }
    script->now_ms = script->now_ms + by_ms > script->begin_ms ? script->now_ms + by_ms : script->begin_ms;
}

/* Then a request at once, by which the store learns of it. A bucket's past is over then: nothing of before is given back. */
static void limit_step(script_t *script)
{
    script->limit = script->limits[draw(script, LIMITS)];
    counter_model_limit_set(&script->model, script->limit->capacity, script->limit->rate.count, script->now_ms);
    if (script->row->kind == MODEL_BUCKET) {
        script->held_count = 0;
        script->begin_ms = script->now_ms;
        script->is_rescaled = 1;
    }
    request_step(script);
}

static void script_run(script_t *script)
{
    for (int step = 0; step < STEPS; step++) {
        const uint64_t chance = draw(script, 16);

        if (chance < 4) {
            clock_step(script);
        } else if (chance < 6) {
            settle_step(script);
        } else if (chance < 7 && draw(script, 3) == 0) {
            limit_step(script);
        } else {
            request_step(script);
        }
    }
}

/* A limit as a directive has it: "6/second burst=10". */
static aq_limit_t *limit_make(const aq_counter_store_t *store, const char *text)
{
    const char *space = strchr(text, ' ');
    const char *rate = space != NULL ? apr_pstrmemdup(fixture_pool, text, (apr_size_t)(space - text)) : text;

    return counter_limit(store, "scripted", rate, space != NULL ? space + 1 : NULL);
}

static uint64_t number_of(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : fallback;
}

START_TEST(store_does_what_the_model_does)
{
    const uint64_t seed = number_of("AQ_SEED", 1);
    const uint64_t scripts = number_of("AQ_SCRIPTS", SCRIPTS) / counter_kinds[_i % COUNTER_KINDS].share;
    script_t script = {.row = &rows[_i / COUNTER_KINDS], .store = counters_open(_i % COUNTER_KINDS, SLOTS)};

    for (int i = 0; i < LIMITS; i++) {
        script.limits[i] = limit_make(script.store, script.row->rates[i]);
    }
    for (script.number = 0; script.number < scripts; script.number++) {
        script.random = (seed << 32 | (script.number + 1)) * UINT64_C(0x9e3779b97f4a7c15);
        script.subject = aq_hash_keyed(&script.store->secret, &script.number, sizeof(script.number));
        script.limit = script.limits[0];
        script.now_ms = NOON + (int64_t)draw(&script, (uint64_t)DAY) / 125 * 125;
        script.begin_ms = script.charged_ms = script.now_ms - 10 * script.row->period_ms;
        script.model = (model_t){.kind = script.row->kind,
                                 .period_ms = script.row->period_ms,
                                 .capacity = script.limit->capacity,
                                 .count = script.limit->rate.count};
        script.held_count = 0;
        script.is_rescaled = 0;
        script_run(&script);
    }
}
END_TEST

static void add(TCase *tests)
{
    counters_prepare(tests);
    tcase_add_loop_test(tests, store_does_what_the_model_does, 0, ROWS * COUNTER_KINDS);
}

int main(void)
{
    printf("scripts with AQ_SEED=%lu\n", (unsigned long)number_of("AQ_SEED", 1));
    return fixture_run("counter scripts", add);
}
