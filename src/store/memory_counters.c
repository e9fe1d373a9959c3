/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory counters. See memory_counters.h.
 *
 * Written to be read, not to be fast: each call holds the lock from its first look to its last answer, so that what it
 * does is right by inspection.
 */
#include "store/memory_counters.h"

#include <apr_hash.h>
#include <apr_thread_mutex.h>
#include <string.h>

typedef struct {
    aq_hash128_t key;
    uint64_t words[AQ_WINDOW_WORDS];
    int64_t dead_after_s;
} memory_counter_t;

typedef struct {
    aq_counter_store_t base;
    apr_pool_t *p;
    apr_thread_mutex_t *lock;
    apr_hash_t *counters; /* memory_counter_t by key */
    uint64_t slots;
    uint64_t overflows;
} memory_store_t;

static memory_store_t *memory_store(aq_counter_store_t *store)
{
    return (memory_store_t *)store;
}

static memory_counter_t *counter_find(const memory_store_t *store, const aq_hash128_t *key)
{
    return apr_hash_get(store->counters, key, sizeof(*key));
}

/* A counter that is over, taken out of the table; NULL where all are live. */
static memory_counter_t *counter_reclaim(memory_store_t *store, int64_t now_s)
{
    for (apr_hash_index_t *i = apr_hash_first(NULL, store->counters); i != NULL; i = apr_hash_next(i)) {
        memory_counter_t *old = apr_hash_this_val(i);

        if (old->dead_after_s < now_s) {
            apr_hash_set(store->counters, &old->key, sizeof(old->key), NULL);
            return old;
        }
    }
    return NULL;
}

/* Puts a counter into the table. NULL where it is full of live ones. */
static memory_counter_t *counter_insert(memory_store_t *store, const aq_hash128_t *key, int64_t now_s)
{
    memory_counter_t *fresh = NULL;

    if (store->slots != 0 && apr_hash_count(store->counters) >= store->slots) {
        fresh = counter_reclaim(store, now_s);
        if (fresh == NULL) {
            store->overflows++;
            return NULL;
        }
    } else {
        fresh = apr_palloc(store->p, sizeof(*fresh));
    }
    memset(fresh, 0, sizeof(*fresh));
    fresh->key = *key;
    apr_hash_set(store->counters, &fresh->key, sizeof(fresh->key), fresh);
    return fresh;
}

static int64_t dead_after_s(const aq_window_t *window, aq_time_ms_t now_ms)
{
    const int64_t life_s = aq_window_life_s(window);
    /* The start of a token bucket's word is when it is full again. */
    const int64_t ahead_s = window->algorithm == AQ_ALGORITHM_TOKEN_BUCKET ? aq_bucket_fill_s(&window->bucket) : 0;

    return life_s == INT64_MAX ? INT64_MAX : now_ms / AQ_MS_PER_S + ahead_s + life_s;
}

/* Looks at one counter, at `words` as they are after mending; a counter that is not there is an empty one. */
static aq_window_look_t counter_look(const memory_store_t *store, const aq_counter_t *counter,
                                     uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t now_ms)
{
    const memory_counter_t *found = counter_find(store, &counter->key);
    aq_window_look_t look;

    if (found != NULL) {
        memcpy(words, found->words, sizeof(found->words));
    } else {
        memset(words, 0, sizeof(found->words));
    }
    aq_window_look(&counter->limit->window, words, now_ms, &look);
    return look;
}

/* Answers for all. `cost` > 0: a charge of it is denied where it does not fit. The number of denied ones. */
static unsigned counters_answer(const memory_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost,
                                aq_time_ms_t now_ms)
{
    unsigned denied = 0;

    for (unsigned i = 0; i < count; i++) {
        uint64_t words[AQ_WINDOW_WORDS];
        const aq_window_look_t look = counter_look(store, &counters[i], words, now_ms);
        const int admits = cost == 0 || aq_limit_admits(counters[i].limit, look.used, cost);

        aq_counter_answer(&counters[i], words, &look, admits ? 0 : cost);
        denied += !admits;
    }
    return denied;
}

/* Makes sure that each counter has a place, so that taking cannot fail half way. */
static apr_status_t counters_place(memory_store_t *store, const aq_counter_t *counters, unsigned count,
                                   aq_time_ms_t now_ms)
{
    for (unsigned i = 0; i < count; i++) {
        memory_counter_t *place = counter_find(store, &counters[i].key);

        if (place == NULL) {
            place = counter_insert(store, &counters[i].key, now_ms / AQ_MS_PER_S);
        }
        if (place == NULL) {
            return APR_ENOSPC;
        }
        place->dead_after_s = dead_after_s(&counters[i].limit->window, now_ms);
    }
    return APR_SUCCESS;
}

/* Writes mended words back, also where the charge is denied: else a clock that stepped back would deny for long. */
static void counters_mend(memory_store_t *store, const aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    for (unsigned i = 0; i < count; i++) {
        memory_counter_t *found = counter_find(store, &counters[i].key);

        if (found != NULL) {
            aq_window_look_t look;

            aq_window_look(&counters[i].limit->window, found->words, now_ms, &look);
        }
    }
}

static void counter_charge(memory_store_t *store, aq_counter_t *counter, uint32_t cost, aq_time_ms_t now_ms)
{
    memory_counter_t *found = counter_find(store, &counter->key);
    aq_window_look_t look;
    uint64_t *word;

    aq_window_look(&counter->limit->window, found->words, now_ms, &look);
    word = &found->words[look.place.index];
    *word = aq_window_word_charge(&counter->limit->window, &look.place, found->words, cost);
    if (counter->limit->window.algorithm == AQ_ALGORITHM_TOKEN_BUCKET) {
        found->words[1] = aq_bucket_count_word(&counter->limit->window.bucket, found->words[1]);
    }
    counter->receipt = (aq_receipt_t){.word = *word, .cost = cost, .index = (uint8_t)look.place.index};
}

static apr_status_t take_locked(memory_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost,
                                aq_time_ms_t now_ms, int *is_denied)
{
    apr_status_t rv;

    counters_mend(store, counters, count, now_ms);
    *is_denied = counters_answer(store, counters, count, cost, now_ms) != 0;
    if (*is_denied) {
        return APR_SUCCESS;
    }
    rv = counters_place(store, counters, count, now_ms);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (unsigned i = 0; i < count; i++) {
        counter_charge(store, &counters[i], cost, now_ms);
    }
    (void)counters_answer(store, counters, count, 0, now_ms);
    return APR_SUCCESS;
}

static apr_status_t memory_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                                aq_time_ms_t now_ms, int *is_denied)
{
    memory_store_t *store = memory_store(base);
    apr_status_t rv;
    apr_status_t unlock_rv;

    *is_denied = 0;
    for (unsigned i = 0; i < count; i++) {
        counters[i].receipt.cost = 0;
    }
    rv = apr_thread_mutex_lock(store->lock);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = take_locked(store, counters, count, cost, now_ms, is_denied);
    unlock_rv = apr_thread_mutex_unlock(store->lock);
    return rv != APR_SUCCESS ? rv : unlock_rv;
}

static apr_status_t memory_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                     aq_time_ms_t now_ms)
{
    memory_store_t *store = memory_store(base);
    apr_status_t rv = apr_thread_mutex_lock(store->lock);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (unsigned i = 0; i < count; i++) {
        aq_receipt_t *receipt = &counters[i].receipt;
        memory_counter_t *found = counter_find(store, &counters[i].key);

        if (found != NULL && receipt->cost != 0) {
            uint64_t *word = &found->words[receipt->index];

            *word = aq_window_word_uncharge(&counters[i].limit->window, *word, found->words[1], receipt->word,
                                            receipt->cost, now_ms);
            if (counters[i].limit->window.algorithm == AQ_ALGORITHM_CONCURRENT && (uint32_t)*word == 0) {
                found->dead_after_s = now_ms / AQ_MS_PER_S;
            }
        }
        receipt->cost = 0;
    }
    (void)counters_answer(store, counters, count, 0, now_ms);
    return apr_thread_mutex_unlock(store->lock);
}

static apr_status_t memory_look(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    memory_store_t *store = memory_store(base);
    apr_status_t rv = apr_thread_mutex_lock(store->lock);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    (void)counters_answer(store, counters, count, 0, now_ms);
    return apr_thread_mutex_unlock(store->lock);
}

static apr_status_t memory_reset(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    const memory_store_t *store = memory_store(base);
    apr_status_t rv = apr_thread_mutex_lock(store->lock);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (unsigned i = 0; i < count; i++) {
        const aq_window_t *window = &counters[i].limit->window;
        memory_counter_t *found = counter_find(store, &counters[i].key);

        for (int w = 0; found && window->algorithm != AQ_ALGORITHM_CONCURRENT && w < AQ_WINDOW_WORDS; w++) {
            found->words[w] = aq_window_word_empty(window, found->words[w], now_ms);
        }
    }
    (void)counters_answer(store, counters, count, 0, now_ms);
    return apr_thread_mutex_unlock(store->lock);
}

static apr_status_t memory_words(aq_counter_store_t *base, const aq_counter_t *counter, uint64_t words[AQ_WINDOW_WORDS])
{
    const memory_store_t *store = memory_store(base);
    apr_status_t rv = apr_thread_mutex_lock(store->lock);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    const memory_counter_t *found = counter_find(store, &counter->key);
    for (int i = 0; i < AQ_WINDOW_WORDS; i++) {
        words[i] = found != NULL ? found->words[i] : 0;
    }
    return apr_thread_mutex_unlock(store->lock);
}

static apr_status_t memory_info(aq_counter_store_t *base, aq_time_ms_t now_ms, aq_counter_store_info_t *info)
{
    memory_store_t *store = memory_store(base);
    apr_status_t rv;

    memset(info, 0, sizeof(*info));
    rv = apr_thread_mutex_lock(store->lock);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (apr_hash_index_t *i = apr_hash_first(NULL, store->counters); i != NULL; i = apr_hash_next(i)) {
        const memory_counter_t *counter = apr_hash_this_val(i);

        if (counter->dead_after_s < now_ms / AQ_MS_PER_S) {
            info->dead++;
        } else {
            info->live++;
        }
    }
    info->slots = store->slots;
    info->overflows = store->overflows;
    info->size_bytes = (info->live + info->dead) * sizeof(memory_counter_t);
    aq_counter_store_id_write(base, info->id);
    return apr_thread_mutex_unlock(store->lock);
}

static const aq_counter_store_ops_t memory_ops = {
    .name = "memory",
    .take = memory_take,
    .give_back = memory_give_back,
    .look = memory_look,
    .info = memory_info,
    .reset = memory_reset,
    .words = memory_words,
};

apr_status_t aq_memory_counters_create(apr_pool_t *p, uint64_t slots, aq_counter_store_t **store)
{
    memory_store_t *created = apr_pcalloc(p, sizeof(*created));
    apr_status_t rv;

    *store = NULL;
    created->base.ops = &memory_ops;
    created->p = p;
    created->slots = slots;
    created->counters = apr_hash_make(p);
    rv = aq_hash_random(&created->base.secret, sizeof(created->base.secret));
    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&created->lock, APR_THREAD_MUTEX_DEFAULT, p);
    }
    if (rv == APR_SUCCESS) {
        *store = &created->base;
    }
    return rv;
}
