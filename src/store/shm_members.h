/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members: limits on what runs at once, in shared memory.
 *
 * A limit of N has N places; a request that runs is the member of one. A place is a word:
 *
 *      63            32 31             0
 *     +----------------+----------------+
 *     |     since      |     owner      |     since: sixths of a second, as in all words; owner: see owners.h; 0: free
 *     +----------------+----------------+
 *
 * claimed and released by compare-and-swap. There is no count that a killed process could leave wrong: a place whose owner
 * is dead is free, and whoever looks frees it. Since each of the N places holds one member, there are never more.
 *
 * Seven places lie in a slot. A limit above seven has as many slots as it takes: chunk i is the counter whose key is the
 * limit's with i mixed in. Places are taken from the first chunk on, so that the last ones are there only while they are
 * needed. Where the limit was lowered, those who run beyond its last place are counted until they end.
 */
#ifndef AQ_SHM_MEMBERS_H
#define AQ_SHM_MEMBERS_H

#include "store/shm_store.h"

/*
 * Looks at a concurrent limit. `taking->place` and `taking->look.place` become the first free place, the slot NULL where it
 * has none yet (`taking->chunk` tells which chunk's it would be).
 */
void aq_shm_members_find(const aq_shm_store_t *store, aq_shm_taking_t *taking, aq_time_ms_t now_ms);

/* Finds and looks at a counter of any kind. */
static inline void aq_shm_find_any(const aq_shm_store_t *store, aq_counter_t *counter, aq_shm_taking_t *taking,
                                   aq_time_ms_t now_ms)
{
    aq_shm_find(store, counter, taking, now_ms);
    if (taking->look.mended == AQ_LOOK_MEMBERS) {
        aq_shm_members_find(store, taking, now_ms);
    }
}

/* The same for a taking that has just been given a slot; one that it shares with others has seven places, and no more. */
void aq_shm_members_look(const aq_shm_store_t *store, aq_shm_taking_t *taking, aq_time_ms_t now_ms);

/* The tag of the chunk in which `taking` would lie. */
uint64_t aq_shm_members_tag(const aq_counter_t *counter, unsigned chunk);

/* The word of a member that begins now. */
static inline uint64_t aq_shm_member(const aq_shm_taking_t *taking, uint32_t owner)
{
    return (uint64_t)taking->look.place.start << 32 | owner;
}

/* Frees the place that the receipt names, if it is still its member's. */
void aq_shm_member_release(aq_shm_slot_t *slot, const aq_receipt_t *receipt, aq_time_ms_t now_ms);

#endif
