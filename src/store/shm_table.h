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

/* A counter lies in one of so many slots: at home, or one, two, three ... steps behind. */
#define AQ_SHM_PROBES 128
/* The longest step; a power of two. */
#define AQ_SHM_STEP_MAX 64
/* Of each block of so many slots, invented counters may take three quarters. */
#define AQ_SHM_BLOCK 64
#define AQ_SHM_BLOCK_INVENTED_MAX 48
/* A slot is given to another counter so long after its own cannot matter any more. */
#define AQ_SHM_MARGIN_S 60

typedef struct {
    aq_shm_slot_t *slots;
    uint64_t slot_count;
    uint64_t step_mask; /* one less than the longest step: AQ_SHM_PROBES steps stay below slot_count */
} aq_shm_table_t;

/* A slot as it was seen: whose it was is told by comparing the tag again. */
typedef struct {
    aq_shm_slot_t *slot; /* NULL: none */
    uint64_t tag;        /* with state and generation */
} aq_shm_place_t;

/* The table over `slot_count` slots, at least AQ_SHM_PROBES. */
aq_shm_table_t aq_shm_table(aq_shm_slot_t *slots, uint64_t slot_count);

/* What the table is full of, see aq_shm_table_count. */
typedef struct {
    uint64_t live, dead;
} aq_shm_census_t;

/* The tag, live and of generation 0, of the counter with that key. `life` as in aq_limit_t. */
static inline uint64_t aq_shm_tag(const aq_hash128_t *key, unsigned life, int is_invented)
{
    return (key->low & AQ_SHM_HASH_MASK) | (uint64_t)life << AQ_SHM_LIFE_SHIFT | AQ_SHM_LIVE |
           (is_invented ? AQ_SHM_INVENTED : 0);
}

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

/*
 * How far a counter's slots lie apart. The slots of a table fill evenly when counters that share a home do not share the
 * way on: with steps of one slot a table of a million was full at 70 %, with these it is at 90 %.
 */
static inline uint64_t aq_shm_step(const aq_shm_table_t *table, uint64_t tag)
{
    return 1 + (tag >> AQ_SHM_HASH_SHIFT & table->step_mask);
}

/* The slot of a live counter, or NULL. */
static inline aq_shm_place_t aq_shm_table_find(const aq_shm_table_t *table, uint64_t tag)
{
    uint64_t index = aq_shm_home(table, tag);

    for (unsigned i = 0; i < AQ_SHM_PROBES; i++) {
        aq_shm_slot_t *slot = &table->slots[index];
        const uint64_t seen = atomic_load(&slot->tag);

        if (aq_shm_tag_is_same(seen, tag)) {
            return (aq_shm_place_t){slot, seen};
        }
        if (seen == 0) {
            break;
        }
        index += aq_shm_step(table, tag);
        index = index < table->slot_count ? index : index - table->slot_count;
    }
    return (aq_shm_place_t){NULL, 0};
}

/*
 * Finds the slot of a counter or gives it one. A slot of its own that is dead is begun anew, as the caller must not
 * charge a dead slot: it could be given to another counter at any moment. `birth` is the word that all
 * seven of a new slot begin as: the start of the present window, with the count 0. APR_SUCCESS; APR_ENOSPC where the counter
 * finds no place; APR_EAGAIN where others were in the way too often.
 */
apr_status_t aq_shm_table_insert(const aq_shm_table_t *table, uint64_t tag, uint64_t birth, aq_time_ms_t now_ms,
                                 aq_shm_place_t *place);

/*
 * 1 where takers may charge the slot: it is not dead to them, and was the same counter's all the time while that was
 * looked at. Where not, aq_shm_table_insert tells what is to be done.
 */
int aq_shm_place_is_live(const aq_shm_place_t *place, aq_time_ms_t now_ms);

/*
 * 1 where the counter in the slot, seen with `tag`, is over since more than `margin_s` seconds. To takers a slot is dead
 * after half of AQ_SHM_MARGIN_S, and they begin it anew; only after the whole of it others take it.
 */
int aq_shm_slot_is_dead(const aq_shm_slot_t *slot, uint64_t tag, aq_time_ms_t now_ms, int64_t margin_s);

/* 1 where the slot holds a counter that still matters. */
int aq_shm_slot_is_live(const aq_shm_slot_t *slot, aq_time_ms_t now_ms);

/* Puts a copy of a live slot into a table that nobody else uses yet. 0 where there is no place. */
int aq_shm_table_copy_in(const aq_shm_table_t *table, const aq_shm_slot_t *slot);

/* Walks the table. A slot that is pending or freed counts as dead. */
aq_shm_census_t aq_shm_table_count(const aq_shm_table_t *table, aq_time_ms_t now_ms);

#endif
