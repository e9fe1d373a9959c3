/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind shm_counters.h share; for them alone. The essay on charging is in shm_take.c. */
#ifndef AQ_SHM_STORE_H
#define AQ_SHM_STORE_H

#include "limit/counter_store.h"
#include "store/owners.h"
#include "store/shm_file.h"

#include <string.h>

typedef struct {
    aq_counter_store_t base;
    aq_shm_file_t *file;
    aq_shm_table_t table;    /* the file's */
    uint64_t overflow_count; /* overflow counters of a limit */
    aq_owners_t *owners;     /* of places that run at once; NULL: the file is looked at, and who lives cannot be told */
} aq_shm_store_t;

/* One counter while it is looked at and charged. */
typedef struct {
    aq_counter_t *counter;
    aq_shm_place_t place;
    uint64_t words[AQ_WINDOW_WORDS]; /* a sliding window's seven, else the first alone */
    aq_window_look_t look;
    unsigned chunk; /* of a concurrent limit, see shm_members.h */
} aq_shm_taking_t;

/* The store's take, see counter_store.h. */
apr_status_t aq_shm_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                         aq_time_ms_t now_ms, int *is_denied);

/* The tag of the overflow counter that this one shares with others of its limit. */
uint64_t aq_shm_overflow_tag(const aq_shm_store_t *store, const aq_counter_t *counter);

/* Gives what a counter's receipt says back to a word of its slot. */
void aq_shm_word_give_back(aq_shm_slot_t *slot, const aq_counter_t *counter, aq_time_ms_t now_ms);

/* The tag of a counter. */
static inline uint64_t aq_shm_counter_tag(const aq_counter_t *counter)
{
    return aq_shm_tag(&counter->key, counter->limit->life, aq_per_is_invented(counter->limit->per));
}

/* Loads as many words as that kind of window has. */
static inline void aq_shm_words_load(const aq_shm_slot_t *slot, const aq_window_t *window,
                                     uint64_t words[AQ_WINDOW_WORDS])
{
    words[0] = atomic_load(&slot->words[0]);
    if (window->algorithm == AQ_ALGORITHM_SLIDING) {
        words[1] = atomic_load(&slot->words[1]);
        words[2] = atomic_load(&slot->words[2]);
        words[3] = atomic_load(&slot->words[3]);
        words[4] = atomic_load(&slot->words[4]);
        words[5] = atomic_load(&slot->words[5]);
        words[6] = atomic_load(&slot->words[6]);
    } else if (window->algorithm == AQ_ALGORITHM_TOKEN_BUCKET) {
        words[1] = atomic_load(&slot->words[1]);
    }
}

/* Loads the words of `taking` and looks at them; where there is no slot they are empty. */
static inline void aq_shm_look(aq_shm_taking_t *taking, aq_time_ms_t now_ms)
{
    const aq_window_t *window = &taking->counter->limit->window;

    if (taking->place.slot != NULL) {
        aq_shm_words_load(taking->place.slot, window, taking->words);
    } else {
        memset(taking->words, 0, sizeof(taking->words));
    }
    aq_window_look(window, taking->words, now_ms, &taking->look);
}

/*
 * Finds a counter's slot and looks at it. To takers a dead slot is none: they begin it anew. Where the look says
 * AQ_LOOK_MEMBERS the counter is not found yet: see shm_members.h.
 */
static inline void aq_shm_find(const aq_shm_store_t *store, aq_counter_t *counter, aq_shm_taking_t *taking,
                               aq_time_ms_t now_ms)
{
    taking->counter = counter;
    taking->place = aq_shm_table_find(&store->table, aq_shm_counter_tag(counter));
    aq_shm_look(taking, now_ms);
    if (taking->look.used == 0 && taking->place.slot != NULL && !aq_shm_place_is_live(&taking->place, now_ms)) {
        taking->place.slot = NULL;
    }
}

#endif
