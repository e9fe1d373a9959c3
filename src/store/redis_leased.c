/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters in Redis, leased: what is spent here, and what goes back. See redis_leased.h; how Redis is asked for slices is in
 * redis_leased_ask.c, how they are held in slice_table.c.
 */
#include "store/redis_leased_private.h"

#include "base/aq_metrics.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(((aq_slice_rest_t *)0)->home) == AQ_REDIS_HOME_SIZE, "a place holds the name of a home");

#define TICKS_PER_S 6
/* One process of all sweeps, each time that this has passed: just less than the pause of their timers. */
#define SWEEP_PAUSE_MS INT64_C(90)

int aq_leased_applies(const aq_redis_store_t *store, const aq_limit_t *limit)
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

void aq_leased_units_return(aq_redis_store_t *store, const aq_slice_rest_t *rest, aq_time_ms_t now_ms, int is_waiting)
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

void aq_leased_units_return_of(aq_redis_store_t *store, const aq_counter_t *counter, uint32_t start, uint32_t units,
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
    aq_leased_units_return(store, &rest, now_ms, 0);
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

void aq_leased_answer(const aq_redis_store_t *store, const aq_slice_place_t *place, aq_counter_t *counter,
                      aq_time_ms_t now_ms, uint32_t denied_cost)
{
    const aq_time_ms_t redis_ms = redis_now(store, now_ms);
    uint64_t words[AQ_WINDOW_WORDS];

    (void)words_find(place, counter, words);
    aq_redis_count_answer(counter, words, redis_ms, now_ms, denied_cost);
}

/* ---- spending --------------------------------------------------------------------------------------------------- */

/* Pays what can be paid from slices, and notes the rest. */
static void spend_all(aq_leased_take_t *take, aq_counter_t *counters)
{
    for (unsigned i = 0; i < take->count; i++) {
        aq_leased_taking_t *taking = &take->takings[i];

        *taking = (aq_leased_taking_t){.counter = &counters[i]};
        counters[i].receipt.cost = 0;
        if (aq_leased_applies(take->store, counters[i].limit)) {
            taking->place = aq_slice_find(take->store->slices, &counters[i]);
        }
        taking->is_paid = taking->place.slot != NULL &&
                          aq_slice_spend(&taking->place, take->cost, take->boot_ms, &taking->start, &taking->rest);
        take->unpaid += !taking->is_paid;
    }
}

void aq_leased_unspend_all(aq_leased_take_t *take)
{
    for (unsigned i = 0; i < take->count; i++) {
        aq_leased_taking_t *taking = &take->takings[i];

        if (taking->is_paid && !aq_slice_unspend(&taking->place, taking->start, take->cost, AQ_SLICE_REST_MAX)) {
            aq_leased_units_return_of(take->store, taking->counter, taking->start, take->cost, take->now_ms);
        }
        taking->is_paid = 0;
    }
}

/* 1 where Redis refused just now, and by what it said this cost does not fit yet. */
static int is_refused(const aq_leased_take_t *take, const aq_leased_taking_t *taking)
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
static int refuse_here(aq_leased_take_t *take)
{
    unsigned refused = 0;

    for (unsigned i = 0; i < take->count; i++) {
        const aq_leased_taking_t *taking = &take->takings[i];

        if (taking->place.slot == NULL || (!taking->is_paid && !is_refused(take, taking))) {
            return 0;
        }
        refused |= (unsigned)!taking->is_paid << i;
    }
    aq_leased_unspend_all(take);
    for (unsigned i = 0; i < take->count; i++) {
        aq_leased_answer(take->store, &take->takings[i].place, take->takings[i].counter, take->now_ms,
                         (refused >> i & 1) != 0 ? take->cost : 0);
    }
    return 1;
}

/* ---- the store's functions -------------------------------------------------------------------------------------- */

apr_status_t aq_redis_leased_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                                  aq_time_ms_t now_ms, int *is_denied)
{
    aq_leased_take_t take = {.store = aq_redis_store(base), .count = count, .cost = cost, .now_ms = now_ms};

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
    return aq_leased_ask(&take, is_denied);
}

/* Puts one charge back into the slice that it was spent from; where that is gone, says which window it is Redis's to mend. */
static void give_back_here(const aq_redis_store_t *store, aq_counter_t *counter, aq_time_ms_t now_ms)
{
    const aq_window_t *window = &counter->limit->window;
    const aq_slice_place_t place = aq_slice_find(store->slices, counter);
    const uint32_t start = (uint32_t)(counter->receipt.word >> 32);
    const int is_spent = (counter->receipt.index & AQ_LEASED_RECEIPT) != 0;

    if (place.slot != NULL) {
        atomic_store(&place.slot->refused_ms, 0);
    }
    if (is_spent && place.slot != NULL &&
        aq_slice_unspend(&place, start, counter->receipt.cost, atomic_load(&place.slot->granted))) {
        counter->receipt.cost = 0;
        aq_leased_answer(store, &place, counter, now_ms, 0);
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
        if (counters[i].receipt.cost != 0 && aq_leased_applies(store, counters[i].limit)) {
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
            aq_leased_answer(store, &place, &counters[i], now_ms, 0);
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
            aq_leased_units_return(store, &found[count % 2], now_ms, is_end);
        }
    }
    if (count != 0) {
        aq_leased_units_return(store, &found[(count - 1) % 2], now_ms, 1);
    }
}
