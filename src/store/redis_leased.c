/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in Redis, leased. See redis_leased.h; how slices are held is in slice_table.c. */
#include "store/redis_leased.h"

#include "base/aq_metrics.h"
#include "store/redis_counters_private.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(((aq_slice_rest_t *)0)->home) == AQ_REDIS_HOME_SIZE, "a place holds the name of a home");

/* In a receipt's index, whose own values are below AQ_WINDOW_WORDS: it was spent from a slice of the window in its word. */
#define LEASED 0x40u
#define TICKS_PER_S 6
/* A smaller slice is not worth being followed before it is used up. */
#define AHEAD_MIN 4
/* So long nobody asks for a slice after an answer that never came, and at most so long while one is waited for. */
#define FAILED_MS INT64_C(1000)
/* One process of all sweeps, each time that this has passed: just less than the pause of their timers. */
#define SWEEP_PAUSE_MS INT64_C(90)

/* One counter of a take. */
typedef struct {
    aq_counter_t *counter;
    aq_slice_place_t place; /* none: it is charged in Redis */
    uint32_t start;         /* of the window that it was paid from */
    uint32_t rest;          /* what was left there */
    int is_paid, is_asking;
    uint32_t want;
    const aq_counter_t *said; /* what Redis answered, where it charged this one; NULL: it did not */
    const aq_redis_slice_t *slice;
} taking_t;

typedef struct {
    aq_redis_store_t *store;
    taking_t takings[AQ_LIMITS_MAX];
    unsigned count, unpaid;
    uint32_t cost;
    aq_time_ms_t now_ms, boot_ms;
} take_t;

/* Those of a take that Redis is asked for. */
typedef struct {
    unsigned count;
    taking_t *of[AQ_LIMITS_MAX];
    aq_counter_t counters[AQ_LIMITS_MAX];
    aq_redis_slice_t slices[AQ_LIMITS_MAX];
    uint64_t words[AQ_LIMITS_MAX][AQ_WINDOW_WORDS];
} asked_t;

static int is_leased(const aq_redis_store_t *store, const aq_limit_t *limit)
{
    const int is_wanted =
        limit->mode == AQ_LIMIT_LEASED || (limit->mode == AQ_LIMIT_AS_STORE && !store->options.is_leased_by_name);

    return is_wanted && limit->window.algorithm <= AQ_ALGORITHM_TOTAL &&
           (limit->rate.is_unlimited || limit->capacity >= AQ_LEASED_CAPACITY_MIN);
}

/* Boot time; where the caller gives the time, the latest that was given. */
static aq_time_ms_t boot_now(aq_redis_store_t *store, aq_time_ms_t now_ms)
{
    int64_t latest_ms;

    if (store->options.boot_clock != NULL) {
        return store->options.boot_clock();
    }
    if (!store->options.is_clock_given) {
        return aq_clock_boot_ms();
    }
    latest_ms = atomic_load(&store->latest_ms);
    while (latest_ms < now_ms && !atomic_compare_exchange_weak(&store->latest_ms, &latest_ms, now_ms)) {
    }
    return latest_ms > now_ms ? latest_ms : now_ms;
}

static aq_time_ms_t redis_now(const aq_redis_store_t *store, aq_time_ms_t now_ms)
{
    return now_ms + (store->options.is_clock_given ? 0 : atomic_load_explicit(&store->ahead_ms, memory_order_relaxed));
}

/* ---- giving back to Redis --------------------------------------------------------------------------------------- */

/* What the script calls the window that begins at `start`, which is given modulo 2^32, at about `redis_ms`. */
static uint64_t mark_of(aq_algorithm_t algorithm, uint32_t period_s, uint32_t start, aq_time_ms_t redis_ms)
{
    const int64_t ticks = redis_ms / AQ_MS_PER_S * TICKS_PER_S;
    const int64_t whole = ticks + (int32_t)(start - (uint32_t)ticks);

    if (algorithm == AQ_ALGORITHM_TOTAL || whole < 0) {
        return 0;
    }
    return (uint64_t)whole / (algorithm == AQ_ALGORITHM_SLIDING ? period_s : TICKS_PER_S);
}

/* Tells Redis of units that were taken out. With `is_waiting` its answer is waited for. */
static void units_return(aq_redis_store_t *store, const aq_slice_rest_t *rest, aq_time_ms_t now_ms, int is_waiting)
{
    const aq_redis_saying_t saying = aq_redis_count_saying(store, AQ_REDIS_BACK, 0, now_ms);
    const uint64_t mark = mark_of(rest->algorithm, rest->period_s, rest->start, redis_now(store, now_ms));
    aq_redis_request_t request;
    aq_redis_failure_t failure;

    aq_redis_request_return(&request, &store->script, &saying, rest->home, &rest->key, rest->algorithm, rest->rest,
                            mark);
    failure = is_waiting ? aq_redis_request_ask(store->link, &request, &store->script, NULL, NULL)
                         : aq_redis_request_send(store->link, &request);
    aq_slices_count(failure == AQ_REDIS_DONE ? AQ_SLICE_RETURNED : AQ_SLICE_LOST, rest->rest);
}

/* The same for a counter that is at hand. */
static void units_return_of(aq_redis_store_t *store, const aq_counter_t *counter, uint32_t start, uint32_t units,
                            aq_time_ms_t now_ms)
{
    const aq_window_t *window = &counter->limit->window;
    char home[AQ_REDIS_HOME_SIZE];
    aq_slice_rest_t rest = {.key = counter->key,
                            .algorithm = window->algorithm,
                            .period_s = window->period_s,
                            .start = start,
                            .rest = units};

    aq_redis_home_write(counter, home);
    (void)memcpy(rest.home, home, sizeof(rest.home));
    units_return(store, &rest, now_ms, 0);
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* The words of a counter as Redis last said them, less what this machine still holds. 0: nothing was said. */
static int words_find(const aq_slice_place_t *place, const aq_counter_t *counter, uint64_t words[AQ_WINDOW_WORDS])
{
    const int has_words = aq_slice_words_load(place, words);
    uint32_t start;
    const uint32_t rest = aq_slice_rest(place, &start);
    const unsigned count = counter->limit->window.algorithm == AQ_ALGORITHM_SLIDING ? AQ_WINDOW_WORDS : 1;

    for (unsigned i = 0; i < count; i++) {
        words[i] = aq_window_word_give_back(words[i], start, rest);
    }
    return has_words;
}

static void answer(const aq_redis_store_t *store, const aq_slice_place_t *place, aq_counter_t *counter,
                   aq_time_ms_t now_ms, uint32_t denied_cost)
{
    const aq_time_ms_t redis_ms = redis_now(store, now_ms);
    uint64_t words[AQ_WINDOW_WORDS];

    (void)words_find(place, counter, words);
    aq_redis_count_answer(counter, words, redis_ms, now_ms, denied_cost);
}

/* ---- spending --------------------------------------------------------------------------------------------------- */

/* Pays what can be paid from slices, and notes the rest. */
static void spend_all(take_t *take, aq_counter_t *counters)
{
    for (unsigned i = 0; i < take->count; i++) {
        taking_t *taking = &take->takings[i];

        *taking = (taking_t){.counter = &counters[i]};
        counters[i].receipt.cost = 0;
        if (is_leased(take->store, counters[i].limit)) {
            taking->place = aq_slice_find(take->store->slices, &counters[i]);
        }
        taking->is_paid = taking->place.slot != NULL &&
                          aq_slice_spend(&taking->place, take->cost, take->boot_ms, &taking->start, &taking->rest);
        take->unpaid += !taking->is_paid;
    }
}

/* Puts back what was paid. */
static void unspend_all(take_t *take)
{
    for (unsigned i = 0; i < take->count; i++) {
        taking_t *taking = &take->takings[i];

        if (taking->is_paid && !aq_slice_unspend(&taking->place, taking->start, take->cost, AQ_SLICE_REST_MAX)) {
            units_return_of(take->store, taking->counter, taking->start, take->cost, take->now_ms);
        }
        taking->is_paid = 0;
    }
}

/* 1 where Redis refused just now, and by what it said this cost does not fit yet. */
static int is_refused(const take_t *take, const taking_t *taking)
{
    const aq_limit_t *limit = taking->counter->limit;
    const aq_time_ms_t redis_ms = redis_now(take->store, take->now_ms);
    uint64_t words[AQ_WINDOW_WORDS];
    aq_window_look_t look;

    if (take->boot_ms >= atomic_load(&taking->place.slot->refused_ms) ||
        !words_find(&taking->place, taking->counter, words)) {
        return 0;
    }
    aq_window_look(&limit->window, words, redis_ms, &look);
    return !aq_limit_admits(limit, look.used, take->cost);
}

/* 1 where the request is refused without asking: all that is not paid is known to refuse. */
static int refuse_here(take_t *take)
{
    unsigned refused = 0;

    for (unsigned i = 0; i < take->count; i++) {
        const taking_t *taking = &take->takings[i];

        if (taking->place.slot == NULL || (!taking->is_paid && !is_refused(take, taking))) {
            return 0;
        }
        refused |= (unsigned)!taking->is_paid << i;
    }
    unspend_all(take);
    for (unsigned i = 0; i < take->count; i++) {
        answer(take->store, &take->takings[i].place, take->takings[i].counter, take->now_ms,
               (refused >> i & 1) != 0 ? take->cost : 0);
    }
    return 1;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

static int ask_begin(const take_t *take, taking_t *taking)
{
    const int64_t budget_ms = aq_redis_link_address(take->store->link)->budget_ms;

    taking->is_asking =
        aq_slice_ask_begin(&taking->place, take->cost, take->boot_ms, FAILED_MS + budget_ms, &taking->want);
    return taking->is_asking;
}

/* 1 where the next slice is to be taken already, and it is for this request to do so. */
static int is_due(const take_t *take, taking_t *taking)
{
    const uint32_t granted = atomic_load_explicit(&taking->place.slot->granted, memory_order_relaxed);

    return granted >= AHEAD_MIN && taking->rest <= granted / 2 && !aq_redis_link_is_down(take->store->link) &&
           ask_begin(take, taking);
}

/* A counter that is not paid gets a place, and where it may ask, what is left there goes back first. */
static void unpaid_prepare(const take_t *take, taking_t *taking)
{
    aq_slice_rest_t rest;

    if (!is_leased(take->store, taking->counter->limit)) {
        return;
    }
    if (taking->place.slot == NULL) {
        char home[AQ_REDIS_HOME_SIZE];

        aq_redis_home_write(taking->counter, home);
        taking->place = aq_slice_insert(take->store->slices, taking->counter, home, take->boot_ms);
    }
    if (taking->place.slot != NULL && ask_begin(take, taking) &&
        aq_slice_take_out(&taking->place, take->boot_ms, &rest)) {
        /* On the connection that asks next, so that Redis knows of it by then. */
        units_return(take->store, &rest, take->now_ms, 0);
    }
}

static void asked_collect(take_t *take, asked_t *asked)
{
    asked->count = 0;
    for (unsigned i = 0; i < take->count; i++) {
        taking_t *taking = &take->takings[i];

        if (!taking->is_paid) {
            unpaid_prepare(take, taking);
        } else if (!is_due(take, taking)) {
            continue;
        }
        asked->of[asked->count] = taking;
        asked->counters[asked->count] = *taking->counter;
        taking->said = taking->is_paid ? NULL : &asked->counters[asked->count];
        taking->slice = &asked->slices[asked->count];
        asked->slices[asked->count++] = (aq_redis_slice_t){
            .need = taking->is_paid ? 0 : take->cost,
            .want = taking->is_asking            ? taking->want
                    : taking->place.slot != NULL ? take->cost
                                                 : 0,
        };
    }
}

/* Puts a slice that was granted into its place. */
static void slice_keep(const take_t *take, const taking_t *taking, const aq_redis_slice_t *slice)
{
    const int64_t left_ms = slice->left_ms - 1; /* Redis's clock, and ours, are cut to whole milliseconds */
    const int has_end = slice->left_ms != 0 && left_ms < AQ_LEASED_LIFE_MS;
    const aq_time_ms_t dies_ms = take->boot_ms + (has_end ? left_ms : AQ_LEASED_LIFE_MS);
    const uint32_t units = slice->granted > slice->need ? slice->granted - slice->need : 0;
    const int is_all_given = units == 0 && slice->want > slice->need;

    if (units != 0) {
        aq_slices_count(AQ_SLICE_TAKEN, slice->granted);
    }
    /* Also where there are none: the place names this window from now on, and a free answer can go back there. */
    if (slice->granted != 0 && !aq_slice_put(&taking->place, slice->start, units, dies_ms, take->boot_ms) &&
        units != 0) {
        units_return_of(take->store, taking->counter, slice->start, units, take->now_ms);
    }
    aq_slice_ask_end(&taking->place, slice->granted, take->boot_ms,
                     is_all_given ? take->boot_ms + AQ_SLICE_REFUSED_MS : 0);
}

/* Notes what Redis said of the counters that it was asked for, and ends the asking. */
static void asked_note(const take_t *take, const asked_t *asked, int is_denied)
{
    for (unsigned i = 0; i < asked->count; i++) {
        taking_t *taking = asked->of[i];
        const aq_counter_t *said = &asked->counters[i];

        if (taking->place.slot == NULL) {
            continue;
        }
        aq_slice_words_note(&taking->place, asked->words[i]);
        if (is_denied && said->is_denied) {
            atomic_store(&taking->place.slot->refused_ms, take->boot_ms + AQ_SLICE_REFUSED_MS);
        }
        if (taking->is_asking && !is_denied) {
            slice_keep(take, taking, &asked->slices[i]);
        } else if (taking->is_asking) {
            aq_slice_ask_end(&taking->place, 0, take->boot_ms, 0);
        }
    }
}

/* Redis gave no answer: who asked does not ask again for a while, since each time a slice may have been charged. */
static void asked_fail(const take_t *take, const asked_t *asked)
{
    for (unsigned i = 0; i < asked->count; i++) {
        if (asked->of[i]->is_asking) {
            aq_slice_ask_end(&asked->of[i]->place, 0, take->boot_ms, take->boot_ms + FAILED_MS);
        }
    }
}

/* The answers and receipts of a take that all admitted, or that one refused. */
static void answer_all(const take_t *take, int is_denied)
{
    for (unsigned i = 0; i < take->count; i++) {
        const taking_t *taking = &take->takings[i];
        const int is_refusing = is_denied && taking->said != NULL && taking->said->is_denied;

        if (taking->said != NULL) {
            *taking->counter = *taking->said;
        }
        if (taking->place.slot != NULL) {
            const uint32_t start = taking->said != NULL ? taking->slice->start : taking->start;

            taking->counter->receipt =
                (aq_receipt_t){.word = (uint64_t)start << 32, .cost = is_denied ? 0 : take->cost, .index = LEASED};
            answer(take->store, &taking->place, taking->counter, take->now_ms, is_refusing ? take->cost : 0);
        }
    }
}

/* Asks Redis for what is not paid, and for slices. */
static apr_status_t ask_all(take_t *take, int *is_denied)
{
    asked_t asked;
    apr_status_t rv = APR_SUCCESS;

    asked_collect(take, &asked);
    if (asked.count != 0) {
        rv = aq_redis_count_take(take->store, asked.counters, asked.count, take->cost, take->now_ms, asked.slices,
                                 asked.words, is_denied);
    }
    if (rv == APR_SUCCESS) {
        asked_note(take, &asked, *is_denied);
    } else {
        asked_fail(take, &asked);
    }
    if (rv != APR_SUCCESS && take->unpaid == 0) {
        rv = APR_SUCCESS; /* only the next slice failed to come */
    }
    if (rv != APR_SUCCESS || *is_denied) {
        unspend_all(take);
    }
    if (rv == APR_SUCCESS) {
        answer_all(take, *is_denied);
    }
    return rv;
}

/* ---- the store's functions -------------------------------------------------------------------------------------- */

apr_status_t aq_redis_leased_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                                  aq_time_ms_t now_ms, int *is_denied)
{
    take_t take = {.store = aq_redis_store(base), .count = count, .cost = cost, .now_ms = now_ms};

    *is_denied = 0;
    if (count > AQ_LIMITS_MAX || cost == 0) {
        return APR_EINVAL;
    }
    take.boot_ms = boot_now(take.store, now_ms);
    spend_all(&take, counters);
    if (take.unpaid != 0 && refuse_here(&take)) {
        *is_denied = 1;
        return APR_SUCCESS;
    }
    return ask_all(&take, is_denied);
}

/* Puts one charge back into the slice that it was spent from; where that is gone, says which window it is Redis's to mend. */
static void give_back_here(const aq_redis_store_t *store, aq_counter_t *counter, aq_time_ms_t now_ms)
{
    const aq_window_t *window = &counter->limit->window;
    const aq_slice_place_t place = aq_slice_find(store->slices, counter);
    const uint32_t start = (uint32_t)(counter->receipt.word >> 32);
    const int is_spent = (counter->receipt.index & LEASED) != 0;

    if (place.slot != NULL) {
        atomic_store(&place.slot->refused_ms, 0);
    }
    if (is_spent && place.slot != NULL &&
        aq_slice_unspend(&place, start, counter->receipt.cost, atomic_load(&place.slot->granted))) {
        counter->receipt.cost = 0;
        answer(store, &place, counter, now_ms, 0);
        return;
    }
    if (place.slot != NULL) {
        aq_slice_words_less(&place, start, counter->receipt.cost);
    }
    if (is_spent) {
        counter->receipt.slot = mark_of(window->algorithm, window->period_s, start, redis_now(store, now_ms));
    }
}

apr_status_t aq_redis_leased_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                       aq_time_ms_t now_ms)
{
    aq_redis_store_t *store = aq_redis_store(base);
    apr_status_t rv;

    for (unsigned i = 0; i < count; i++) {
        if (counters[i].receipt.cost != 0 && is_leased(store, counters[i].limit)) {
            give_back_here(store, &counters[i], now_ms);
        }
    }
    rv = aq_redis_count_back(store, counters, count, now_ms);
    return rv == APR_SUCCESS && store->options.waits_to_settle ? aq_redis_leased_look(base, counters, count, now_ms)
                                                               : rv;
}

apr_status_t aq_redis_leased_look(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    aq_redis_store_t *store = aq_redis_store(base);
    uint64_t words[AQ_LIMITS_MAX][AQ_WINDOW_WORDS];
    const apr_status_t rv = aq_redis_count_look(store, counters, count, now_ms, words);

    for (unsigned i = 0; rv == APR_SUCCESS && i < count; i++) {
        const aq_slice_place_t place = aq_slice_find(store->slices, &counters[i]);

        if (place.slot != NULL) {
            aq_slice_words_note(&place, words[i]);
            answer(store, &place, &counters[i], now_ms, 0);
        }
    }
    return rv;
}

void aq_redis_leased_forget(aq_counter_store_t *base, const aq_counter_t *counters, unsigned count)
{
    aq_redis_store_t *store = aq_redis_store(base);

    for (unsigned i = 0; i < count; i++) {
        const aq_slice_place_t place = aq_slice_find(store->slices, &counters[i]);
        aq_slice_rest_t rest;

        if (place.slot != NULL) {
            (void)aq_slice_take_out(&place, 0, &rest);
            atomic_store(&place.slot->refused_ms, 0);
        }
    }
}

/*
 * Redis's answers to what is only sent are read when something is asked: so the last one is. While it is away living slices
 * stay where they are, to be spent.
 */
void aq_redis_leased_sweep(aq_counter_store_t *base, aq_time_ms_t now_ms, int is_end)
{
    aq_redis_store_t *store = aq_redis_store(base);
    const aq_time_ms_t boot_ms = boot_now(store, now_ms);
    const int is_down = aq_redis_link_is_down(store->link);
    const int64_t idle_ms = is_end ? INT64_MIN : is_down ? INT64_MAX : AQ_LEASED_IDLE_MS;
    aq_slice_rest_t found[2];
    unsigned count = 0;
    uint32_t at = 0;

    if (!is_end && !aq_slice_sweep_is_due(store->slices, boot_ms, SWEEP_PAUSE_MS)) {
        return;
    }
    while (aq_slice_sweep(store->slices, &at, boot_ms, idle_ms, &found[count % 2])) {
        if (count++ != 0) {
            units_return(store, &found[count % 2], now_ms, is_end);
        }
    }
    if (count != 0) {
        units_return(store, &found[(count - 1) % 2], now_ms, 1);
    }
}
