/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of slots in the counter file: finding a counter's slot, giving it one, and telling the dead from the live.
 *
 * No function here takes a lock, waits, or depends on another process going on. What the slots hold is in shm_layout.h;
 * how two processes that insert one counter at once end with one slot is told in shm_table.c.
 */
#ifndef AQ_SHM_TABLE_H
#define AQ_SHM_TABLE_H

#include "store/shm_layout.h"

#include <apr_errno.h>

/* A counter lies at home or in one of the slots behind; together so many. */
#define AQ_SHM_PROBES 128
/* Of each block of so many slots, invented counters may take three quarters. */
#define AQ_SHM_BLOCK 64
#define AQ_SHM_BLOCK_INVENTED_MAX 48
/* A slot is given to another counter so long after its own cannot matter any more. */
#define AQ_SHM_MARGIN_S 60

typedef struct {
    aq_shm_slot_t *slots;
    uint64_t slot_count; /* at least AQ_SHM_PROBES */
} aq_shm_table_t;

/* A slot as it was seen: whose it was is told by comparing the tag again. */
typedef struct {
    aq_shm_slot_t *slot; /* NULL: none */
    uint64_t tag;        /* with state and generation */
} aq_shm_place_t;

/* What the table is full of, see aq_shm_table_count. */
typedef struct {
    uint64_t live, dead;
} aq_shm_census_t;

/* The tag, live and of generation 0, of the counter with that key. `life_s` as from aq_window_life_s. */
uint64_t aq_shm_tag(const aq_hash128_t *key, int64_t life_s, int is_invented);

/* 1 where both tags are those of one live counter, whatever the generation. */
static inline int aq_shm_tag_is_same(uint64_t tag, uint64_t other)
{
    return (tag ^ other) <= AQ_SHM_GENERATION_MASK;
}

/* The counter's home. */
static inline uint64_t aq_shm_home(const aq_shm_table_t *table, uint64_t tag)
{
    __extension__ typedef unsigned __int128 uint128;

    return (uint64_t)((uint128)(tag & AQ_SHM_HASH_MASK) * table->slot_count >> 64);
}

/* The slot of a live counter, or NULL. */
static inline aq_shm_place_t aq_shm_table_find(const aq_shm_table_t *table, uint64_t tag)
{
    const aq_shm_slot_t *end = table->slots + table->slot_count;
    aq_shm_slot_t *slot = table->slots + aq_shm_home(table, tag);

    for (unsigned i = 0; i < AQ_SHM_PROBES; i++) {
        uint64_t seen = atomic_load(&slot->tag);

        if (aq_shm_tag_is_same(seen, tag)) {
            return (aq_shm_place_t){slot, seen};
        }
        if (seen == 0) {
            break;
        }
        slot = slot + 1 != end ? slot + 1 : table->slots;
    }
    return (aq_shm_place_t){NULL, 0};
}

/*
 * Finds the slot of a counter or gives it one. A slot of its own that is dead is begun anew, as the caller must not
 * charge a dead slot: it could be given to another counter at any moment. `birth` is the word that all
 * seven of a new slot begin as: the start of the present window, with the count 0. APR_SUCCESS; APR_ENOSPC where the counter
 * finds no place; APR_EAGAIN where others were in the way too often.
 */
apr_status_t aq_shm_table_insert(const aq_shm_table_t *table, uint64_t tag, uint64_t birth, int64_t now_s,
                                 aq_shm_place_t *place);

/*
 * 1 where the counter in the slot, seen with `tag`, is over since more than `margin_s` seconds. Takers pass half of
 * AQ_SHM_MARGIN_S and begin such a slot anew; only after the whole of it others take it.
 */
int aq_shm_slot_is_dead(const aq_shm_slot_t *slot, uint64_t tag, int64_t now_s, int64_t margin_s);

/* 1 where the slot holds a counter that still matters. */
int aq_shm_slot_is_live(const aq_shm_slot_t *slot, int64_t now_s);

/* Puts a copy of a live slot into a table that nobody else uses yet. 0 where there is no place. */
int aq_shm_table_copy_in(const aq_shm_table_t *table, const aq_shm_slot_t *slot);

/* Walks the table. A slot that is pending or freed counts as dead. */
aq_shm_census_t aq_shm_table_count(const aq_shm_table_t *table, int64_t now_s);

#endif
