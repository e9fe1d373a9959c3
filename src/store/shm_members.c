/* SPDX-License-Identifier: Apache-2.0 */
/* Limits on what runs at once. See shm_members.h. */
#include "store/shm_members.h"

#define CHUNKS_MAX 143 /* of a limit of 1,000 */

uint64_t aq_shm_members_tag(const aq_counter_t *counter, unsigned chunk)
{
    static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    const aq_hash128_t key = {.high = counter->key.high, .low = counter->key.low + chunk * golden};

    return aq_shm_tag(&key, counter->limit->life, aq_per_is_invented(counter->limit->per));
}

/* A place without its member, as it was at `now`, since when the slot is idle. */
static uint64_t word_free(uint32_t now_ticks)
{
    return (uint64_t)now_ticks << 32;
}

/* 1 where a place is taken. One whose owner is dead is freed. */
static int is_taken(const aq_shm_store_t *store, _Atomic uint64_t *place, uint64_t *word,
                    const aq_window_place_t *present)
{
    const uint64_t freed = word_free(present->start);

    if ((uint32_t)*word == 0) {
        return 0;
    }
    if (store->owners == NULL || aq_owners_is_alive(store->owners, (uint32_t)*word, present->now_ms)) {
        return 1;
    }
    if (!aq_owners_is_writable(store->owners)) {
        return 0;
    }
    if (atomic_compare_exchange_strong(place, word, freed)) {
        *word = freed;
    }
    return (uint32_t)*word != 0;
}

/* Looks at the places of one slot. Returns how many are taken; `*free` is the first free one below `offered`, or -1. */
static unsigned slot_look(const aq_shm_store_t *store, aq_shm_slot_t *slot, uint64_t offered,
                          const aq_window_place_t *present, uint64_t words[AQ_WINDOW_WORDS], int *free)
{
    unsigned taken = 0;

    *free = -1;
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        words[i] = atomic_load(&slot->words[i]);
        if (is_taken(store, &slot->words[i], &words[i], present)) {
            taken++;
        } else if (*free < 0 && i < offered) {
            *free = (int)i;
        }
    }
    return taken;
}

/* Makes `taking` point to a free place. */
static void place_set(aq_shm_taking_t *taking, aq_shm_place_t place, unsigned chunk, int free,
                      const uint64_t words[AQ_WINDOW_WORDS])
{
    taking->place = place;
    taking->chunk = chunk;
    taking->look.place.index = (unsigned)free;
    memcpy(taking->words, words, sizeof(taking->words));
}

void aq_shm_members_find(const aq_shm_store_t *store, aq_shm_taking_t *taking, aq_time_ms_t now_ms)
{
    const uint64_t limit = taking->counter->limit->capacity;
    uint64_t words[AQ_WINDOW_WORDS] = {0};
    int is_found = 0;

    taking->look = (aq_window_look_t){.place = aq_window_locate(&taking->counter->limit->window, now_ms)};
    place_set(taking, (aq_shm_place_t){NULL, 0}, 0, 0, words);
    for (unsigned chunk = 0; chunk < CHUNKS_MAX; chunk++) {
        const uint64_t before = (uint64_t)chunk * AQ_WINDOW_WORDS;
        aq_shm_place_t place = aq_shm_table_find(&store->table, aq_shm_members_tag(taking->counter, chunk));
        unsigned taken = 0;
        int free = 0;

        if (place.slot != NULL) {
            taken =
                slot_look(store, place.slot, limit > before ? limit - before : 0, &taking->look.place, words, &free);
        } else if (before >= limit) {
            break;
        }
        if (taken == 0 && place.slot != NULL && !aq_shm_place_is_live(&place, now_ms)) {
            place.slot = NULL;
        }
        if (!is_found && free >= 0 && before < limit) {
            place_set(taking, place, chunk, free, words);
            is_found = 1;
        }
        taking->look.used += taken;
    }
}

void aq_shm_members_look(const aq_shm_store_t *store, aq_shm_taking_t *taking, aq_time_ms_t now_ms)
{
    const uint64_t limit = taking->counter->limit->capacity;
    const aq_shm_place_t place = taking->place;
    uint64_t words[AQ_WINDOW_WORDS];
    int free;

    if (aq_shm_tag_is_same(place.tag, aq_shm_members_tag(taking->counter, taking->chunk))) {
        aq_shm_members_find(store, taking, now_ms);
        return;
    }
    taking->look = (aq_window_look_t){.place = aq_window_locate(&taking->counter->limit->window, now_ms)};
    taking->look.used = slot_look(store, place.slot, limit, &taking->look.place, words, &free);
    place_set(taking, place, 0, free >= 0 ? free : 0, words);
    if (free < 0) {
        taking->look.used = limit;
    }
}

void aq_shm_member_release(aq_shm_slot_t *slot, const aq_receipt_t *receipt, aq_time_ms_t now_ms)
{
    const uint32_t now_ticks = (uint32_t)((uint64_t)(now_ms / AQ_MS_PER_S) * 6);
    uint64_t word = receipt->word;

    (void)atomic_compare_exchange_strong(&slot->words[receipt->index], &word, word_free(now_ticks));
}
