/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache: which presented text led to which key, known by a keyed hash of 128 bits of the text.
 *
 * A table of pointers to entries with linear probing, at least twice as many slots as entries. The entries are given by
 * the caller, one for each thing that can be remembered, and enter the table once: so it never fills, whatever is
 * presented, and nothing ever leaves it. Reading takes no lock and waits for nobody; writing is one compare-and-swap.
 *
 * Whoever lacks the secret meets an entry of a text that he does not know with a chance of 2^-128 a try: that is why
 * the hash stands for the text. Hashes are compared without early exit.
 */
#ifndef AQ_CACHE_H
#define AQ_CACHE_H

#include "base/aq_hash.h"

#include <apr_pools.h>
#include <stdatomic.h>

/* Lies in the caller's own struct, zeroed. */
typedef struct {
    aq_hash128_t hash;
    atomic_int is_taken;
} aq_cache_entry_t;

typedef struct {
    _Atomic(aq_cache_entry_t *) *slots;
    uint64_t mask; /* slots - 1; their number is a power of two */
} aq_cache_t;

/* An empty cache for at most `entries` entries, in `p`. */
void aq_cache_init(aq_cache_t *cache, apr_pool_t *p, unsigned entries);

/* The entry remembered for `hash`, or NULL. Thread-safe. */
static inline aq_cache_entry_t *aq_cache_find(const aq_cache_t *cache, aq_hash128_t hash)
{
    aq_cache_entry_t *entry;

    for (uint64_t i = hash.low;; i++) {
        entry = atomic_load_explicit(&cache->slots[i & cache->mask], memory_order_acquire);
        if (!entry || ((entry->hash.high ^ hash.high) | (entry->hash.low ^ hash.low)) == 0) {
            return entry;
        }
    }
}

/* Remembers `entry` for `hash`, once: an entry that is in the table already stays as it is. Thread-safe. */
void aq_cache_remember(aq_cache_t *cache, aq_cache_entry_t *entry, aq_hash128_t hash);

#endif
