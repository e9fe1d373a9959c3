/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache: which presented text led to which key.
 */
#include "identity/cache.h"

#define SLOTS_MIN UINT64_C(8)

void aq_cache_init(aq_cache_t *cache, apr_pool_t *p, unsigned entries)
{
    uint64_t slots = SLOTS_MIN;

    while (slots < (uint64_t)entries * 2) {
        slots *= 2;
    }
    *cache = (aq_cache_t){.slots = apr_palloc(p, slots * sizeof(*cache->slots)), .mask = slots - 1};
    for (uint64_t i = 0; i < slots; i++) {
        atomic_init(&cache->slots[i], NULL);
    }
}

void aq_cache_remember(aq_cache_t *cache, aq_cache_entry_t *entry, aq_hash128_t hash)
{
    if (atomic_exchange_explicit(&entry->is_taken, 1, memory_order_relaxed)) {
        return;
    }
    entry->hash = hash;
    for (uint64_t i = hash.low;; i++) {
        aq_cache_entry_t *empty = NULL;
        /* Release: who reads the pointer reads the hash behind it. */
        if (atomic_compare_exchange_strong_explicit(&cache->slots[i & cache->mask], &empty, entry, memory_order_release,
                                                    memory_order_relaxed)) {
            return;
        }
    }
}
