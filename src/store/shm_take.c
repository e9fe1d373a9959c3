/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charging counters in shared memory. See shm_counters.h; how slots are found and given is told in shm_table.c.
 *
 * A take looks at all counters, then charges them one by one, in the order of their slots, and gives back what it has
 * charged if one fails after all. A charge is one compare-and-swap on the word of the present (sub-)window, from exactly
 * the value that was looked at. Then
 *
 *   - it looks at the slot's tag again. If that changed, the slot was reclaimed while this process slept: the charge is
 *     given back, and the take begins anew.
 *   - in a sliding window it looks at the other words again. Two processes whose moments lie on either side of the edge
 *     between two sub-windows swap different words, and neither swap disturbs the other. But both look after their own
 *     swap, and all operations have one order (they are sequentially consistent), so the one who swapped last sees both
 *     charges. Who sees more than the limit gives its own charge back and asks again.
 *
 * A fixed window has one word, and so has a token bucket, but for one that changes with its COUNT: there the swap alone
 * decides.
 *
 * What runs at once is charged otherwise: see shm_members.h.
 *
 * All tries are bounded. A process that is in the way of others all the time (none was ever seen) is denied for a second
 * rather than held.
 */
#include "store/shm_members.h"

#include "base/aq_log.h"

/* Kept apart from others, so that each pays for the registers that it needs itself. */
#define APART __attribute__((noinline))
#define TAKE_TRIES 100
#define CHARGE_TRIES 1000
/* A moment so much older than the clock is no present. */
#define STALE_MS 1000

/*
 * What came of a charge of one counter, or of all. REPEAT: of this counter once more; AGAIN: the take from its start;
 * FAILED: this process could not be made an owner.
 */
typedef enum { CHARGE_DONE, CHARGE_DENIED, CHARGE_REPEAT, CHARGE_AGAIN, CHARGE_FAILED } charge_t;

/* 1 where all seven words are as they were when they were loaded, or swapped by us. */
static int words_are_unchanged(const aq_shm_taking_t *taking)
{
    const _Atomic uint64_t *now = taking->place.slot->words;
    const uint64_t *then = taking->words;

    return ((atomic_load(&now[0]) ^ then[0]) | (atomic_load(&now[1]) ^ then[1]) | (atomic_load(&now[2]) ^ then[2]) |
            (atomic_load(&now[3]) ^ then[3]) | (atomic_load(&now[4]) ^ then[4]) | (atomic_load(&now[5]) ^ then[5]) |
            (atomic_load(&now[6]) ^ then[6])) == 0;
}

static int admits(const aq_shm_taking_t *taking, uint32_t cost)
{
    return aq_limit_admits(taking->counter->limit, taking->look.used, cost);
}

uint64_t aq_shm_overflow_tag(const aq_shm_store_t *store, const aq_counter_t *counter)
{
    static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    const uint64_t number = 1 + counter->key.high % store->overflow_count;
    const aq_hash128_t key = {.low = (counter->limit->identity.low ^ counter->limit->identity.high) + number * golden};

    return aq_shm_tag(&key, counter->limit->life, 0);
}

/* Says that the table is full, once a second, whichever process finds it so. */
static void full_report(const aq_shm_store_t *store, int is_shared, int64_t now_s)
{
    aq_shm_header_t *header = store->file->header;
    uint64_t alerted_at_s = atomic_load(&header->alerted_at_s);
    const uint64_t overflows = atomic_fetch_add(&header->overflows, 1) + 1;

    if (alerted_at_s == (uint64_t)now_s ||
        !atomic_compare_exchange_strong(&header->alerted_at_s, &alerted_at_s, (uint64_t)now_s)) {
        return;
    }
    if (is_shared) {
        AQ_LOG(AQ_LOG_WARNING, 303, APR_SUCCESS,
               "counter file %s: the part for subjects that anyone can invent is full, new ones share counters "
               "(%" APR_UINT64_T_FMT " takes so far): give it a larger size",
               store->file->path, overflows);
    } else {
        AQ_LOG(AQ_LOG_CRIT, 304, APR_ENOSPC,
               "counter file %s: it is full of live counters, a new one found no place (%" APR_UINT64_T_FMT
               " takes so far): give it a larger size",
               store->file->path, overflows);
    }
}

static apr_status_t insert(const aq_shm_store_t *store, const aq_shm_taking_t *taking, uint64_t tag,
                           aq_time_ms_t now_ms, aq_shm_place_t *place)
{
    const aq_window_place_t *born = &taking->look.place;

    return aq_shm_table_insert(&store->table, tag, (uint64_t)born->start << 32, now_ms, place);
}

/* Gives a counter a slot, or the overflow counter that it shares, and looks at that. */
static apr_status_t place(const aq_shm_store_t *store, aq_shm_taking_t *taking, aq_time_ms_t now_ms)
{
    const aq_counter_t *counter = taking->counter;
    const int is_invented = aq_per_is_invented(counter->limit->per);
    const int is_concurrent = counter->limit->window.algorithm == AQ_ALGORITHM_CONCURRENT;
    const uint64_t tag = is_concurrent ? aq_shm_members_tag(counter, taking->chunk) : aq_shm_counter_tag(counter);
    apr_status_t rv = insert(store, taking, tag, now_ms, &taking->place);

    if (rv == APR_ENOSPC) {
        full_report(store, is_invented, now_ms / AQ_MS_PER_S);
    }
    if (rv == APR_ENOSPC && is_invented) {
        rv = insert(store, taking, aq_shm_overflow_tag(store, counter), now_ms, &taking->place);
    }
    if (rv == APR_SUCCESS && is_concurrent) {
        aq_shm_members_look(store, taking, now_ms);
    } else if (rv == APR_SUCCESS) {
        aq_shm_look(taking, now_ms);
    }
    return rv;
}

/*
 * Writes back the words that the look has mended. First it makes sure that the clock did step back: if this process
 * slept instead, `*now_ms` is brought up to date and nothing written.
 */
static void mend(const aq_shm_store_t *store, const aq_shm_taking_t *taking, aq_time_ms_t *now_ms)
{
    const aq_window_t *window = &taking->counter->limit->window;
    uint64_t words[AQ_WINDOW_WORDS];
    uint64_t mended[AQ_WINDOW_WORDS];
    aq_window_look_t again;

    if (store->base.clock != NULL) {
        const aq_time_ms_t present_ms = store->base.clock();

        if (present_ms > *now_ms + STALE_MS) {
            *now_ms = present_ms;
            return;
        }
    }
    aq_shm_words_load(taking->place.slot, window, words);
    memcpy(mended, words, sizeof(mended));
    aq_window_look(window, mended, *now_ms, &again);
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        if (again.mended & 1u << i) {
            (void)atomic_compare_exchange_strong(&taking->place.slot->words[i], &words[i], mended[i]);
        }
    }
}

void aq_shm_word_give_back(aq_shm_slot_t *slot, const aq_counter_t *counter, aq_time_ms_t now_ms)
{
    const aq_receipt_t *receipt = &counter->receipt;

    if (counter->limit->window.algorithm == AQ_ALGORITHM_CONCURRENT) {
        aq_shm_member_release(slot, receipt, now_ms);
        return;
    }
    uint64_t word = atomic_load(&slot->words[receipt->index]);
    uint64_t wanted;

    do {
        wanted = aq_window_word_uncharge(&counter->limit->window, word, atomic_load(&slot->words[1]), receipt->word,
                                         receipt->cost, now_ms);
    } while (wanted != word && !atomic_compare_exchange_weak(&slot->words[receipt->index], &word, wanted));
}

static void uncharge(const aq_shm_taking_t *taking, aq_time_ms_t now_ms)
{
    aq_shm_word_give_back(taking->place.slot, taking->counter, now_ms);
    taking->counter->receipt.cost = 0;
}

/* Gives back what was charged of the first `done`, and looks at them anew. */
APART static void uncharge_all(const aq_shm_store_t *store, aq_shm_taking_t *const *takings, unsigned done,
                               aq_time_ms_t now_ms)
{
    for (unsigned i = 0; i < done; i++) {
        uncharge(takings[i], now_ms);
        aq_shm_find_any(store, takings[i]->counter, takings[i], now_ms);
    }
}

/* Whether the swap that has been done may stand; where not, it is undone. */
static charge_t charge_confirm(aq_shm_taking_t *taking, aq_time_ms_t now_ms)
{
    if (atomic_load(&taking->place.slot->tag) != taking->place.tag) {
        uncharge(taking, now_ms);
        return CHARGE_AGAIN;
    }
    if (taking->counter->limit->window.algorithm != AQ_ALGORITHM_SLIDING) {
        taking->look.used = (uint32_t)taking->words[0];
        return CHARGE_DONE;
    }
    if (words_are_unchanged(taking)) {
        taking->look.used += taking->counter->receipt.cost;
        return CHARGE_DONE;
    }
    aq_shm_look(taking, now_ms);
    if (admits(taking, 0)) {
        return CHARGE_DONE;
    }
    uncharge(taking, now_ms);
    return CHARGE_REPEAT;
}

static int swap_in(const aq_shm_store_t *store, aq_shm_taking_t *taking, uint32_t cost)
{
    const aq_window_place_t *at = &taking->look.place;
    aq_shm_slot_t *slot = taking->place.slot;
    uint64_t word = taking->words[at->index];
    const uint64_t wanted = aq_window_word_add(at, word, cost);

    if (!atomic_compare_exchange_strong(&slot->words[at->index], &word, wanted)) {
        return 0;
    }
    taking->words[at->index] = wanted;
    taking->counter->receipt = (aq_receipt_t){
        .slot = (uint64_t)(slot - store->table.slots),
        .word = wanted,
        .cost = cost,
        .index = (uint8_t)at->index,
    };
    return 1;
}

/* Notes the COUNT that the words of a token bucket are made with, unless it stands there. */
static void count_note(aq_shm_taking_t *taking)
{
    aq_shm_slot_t *slot = taking->place.slot;
    uint64_t word = taking->words[1];
    uint64_t noted = aq_bucket_count_word(&taking->counter->limit->window.bucket, word);

    taking->words[1] = noted;
    if (noted != word && atomic_compare_exchange_strong(&slot->words[1], &word, noted) &&
        atomic_load(&slot->tag) != taking->place.tag) {
        /* The slot was reclaimed: the word is another counter's. */
        (void)atomic_compare_exchange_strong(&slot->words[1], &noted, word);
    }
}

/* Charges a token bucket, as charge_one does the others. */
APART static charge_t charge_bucket(const aq_shm_store_t *store, aq_shm_taking_t *taking, uint32_t cost,
                                    aq_time_ms_t now_ms)
{
    const aq_window_t *window = &taking->counter->limit->window;
    aq_shm_slot_t *slot = taking->place.slot;

    for (unsigned tries = 0; tries < CHARGE_TRIES; tries++) {
        const uint64_t wanted = aq_window_word_charge(window, &taking->look.place, taking->words, cost);

        count_note(taking);
        if (atomic_compare_exchange_strong(&slot->words[0], &taking->words[0], wanted)) {
            taking->words[0] = wanted;
            taking->look.used += cost;
            taking->counter->receipt =
                (aq_receipt_t){.slot = (uint64_t)(slot - store->table.slots), .word = wanted, .cost = cost};
            if (atomic_load(&slot->tag) == taking->place.tag) {
                return CHARGE_DONE;
            }
            uncharge(taking, now_ms);
            return CHARGE_AGAIN;
        }
        aq_shm_look(taking, now_ms);
        if (taking->look.mended != 0) {
            return CHARGE_AGAIN;
        }
        if (!admits(taking, cost)) {
            return CHARGE_DENIED;
        }
    }
    return CHARGE_AGAIN;
}

/* Claims a place of a concurrent limit. */
APART static charge_t charge_member(const aq_shm_store_t *store, aq_shm_taking_t *taking, uint32_t cost,
                                    aq_time_ms_t now_ms)
{
    uint32_t owner;

    if (store->owners == NULL || aq_owners_self(store->owners, &owner) != APR_SUCCESS) {
        return CHARGE_FAILED;
    }
    for (unsigned tries = 0; taking->place.slot != NULL && tries < CHARGE_TRIES; tries++) {
        aq_shm_slot_t *slot = taking->place.slot;
        const unsigned index = taking->look.place.index;
        const uint64_t wanted = aq_shm_member(taking, owner);

        if (atomic_compare_exchange_strong(&slot->words[index], &taking->words[index], wanted)) {
            taking->look.used++;
            taking->counter->receipt = (aq_receipt_t){
                .slot = (uint64_t)(slot - store->table.slots), .word = wanted, .cost = cost, .index = (uint8_t)index};
            if (atomic_load(&slot->tag) == taking->place.tag) {
                return CHARGE_DONE;
            }
            uncharge(taking, now_ms);
            return CHARGE_AGAIN;
        }
        aq_shm_members_look(store, taking, now_ms);
        if (!admits(taking, cost)) {
            return CHARGE_DENIED;
        }
    }
    return CHARGE_AGAIN;
}

/* Charges one counter, which has a slot and admits as far as is known. */
static inline charge_t charge_one(const aq_shm_store_t *store, aq_shm_taking_t *taking, uint32_t cost,
                                  aq_time_ms_t now_ms)
{
    if (taking->counter->limit->window.algorithm > AQ_ALGORITHM_TOTAL) {
        return taking->counter->limit->window.algorithm == AQ_ALGORITHM_TOKEN_BUCKET
                   ? charge_bucket(store, taking, cost, now_ms)
                   : charge_member(store, taking, cost, now_ms);
    }
    for (unsigned tries = 0; tries < CHARGE_TRIES; tries++) {
        const charge_t result = swap_in(store, taking, cost) ? charge_confirm(taking, now_ms) : CHARGE_REPEAT;

        if (result != CHARGE_REPEAT) {
            return result;
        }
        aq_shm_look(taking, now_ms);
        if (taking->look.mended != 0) {
            return CHARGE_AGAIN;
        }
        if (!admits(taking, cost)) {
            return CHARGE_DENIED;
        }
    }
    return CHARGE_AGAIN;
}

/* Charges all, each of which has a slot, in the order of their slots, which is the same for every process; or none. */
static inline charge_t charge_all(const aq_shm_store_t *store, aq_shm_taking_t *takings, unsigned count, uint32_t cost,
                                  aq_time_ms_t now_ms)
{
    aq_shm_taking_t *sorted[AQ_LIMITS_MAX];
    charge_t result = CHARGE_DONE;

    sorted[0] = takings;
    for (unsigned i = 1; i < count; i++) {
        unsigned at = i;

        for (; at > 0 && sorted[at - 1]->place.slot > takings[i].place.slot; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = &takings[i];
    }
    for (unsigned i = 0; i < count; i++) {
        result = charge_one(store, sorted[i], cost, now_ms);
        if (result != CHARGE_DONE) {
            uncharge_all(store, sorted, i, now_ms);
            break;
        }
    }
    return result;
}

/* Looks at all. CHARGE_DONE: all admit. `*missing` is the number of those that have no slot. */
static inline charge_t find_all(const aq_shm_store_t *store, aq_counter_t *counters, aq_shm_taking_t *takings,
                                unsigned count, uint32_t cost, aq_time_ms_t *now_ms, unsigned *missing)
{
    charge_t result = CHARGE_DONE;

    *missing = 0;
    for (unsigned i = 0; i < count; i++) {
        counters[i].receipt.cost = 0;
        aq_shm_find(store, &counters[i], &takings[i], *now_ms);
        if (takings[i].look.mended == AQ_LOOK_MEMBERS) {
            aq_shm_members_find(store, &takings[i], *now_ms);
        } else if (takings[i].look.mended != 0) {
            mend(store, &takings[i], now_ms);
            return CHARGE_AGAIN;
        }
        *missing += takings[i].place.slot == NULL;
        if (!admits(&takings[i], cost)) {
            result = CHARGE_DENIED;
        }
    }
    return result;
}

/* Gives a slot to each counter that has none. CHARGE_DONE: all still admit. */
static apr_status_t place_all(const aq_shm_store_t *store, aq_shm_taking_t *takings, unsigned count, uint32_t cost,
                              aq_time_ms_t now_ms, charge_t *result)
{
    *result = CHARGE_DONE;
    for (unsigned i = 0; i < count; i++) {
        apr_status_t rv = takings[i].place.slot == NULL ? place(store, &takings[i], now_ms) : APR_SUCCESS;

        if (rv == APR_EAGAIN) {
            *result = CHARGE_AGAIN;
            return APR_SUCCESS;
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (!admits(&takings[i], cost)) {
            *result = CHARGE_DENIED;
        }
    }
    return APR_SUCCESS;
}

static inline apr_status_t try_take(const aq_shm_store_t *store, aq_counter_t *counters, aq_shm_taking_t *takings,
                                    unsigned count, uint32_t cost, aq_time_ms_t *now_ms, charge_t *result)
{
    unsigned missing;

    *result = find_all(store, counters, takings, count, cost, now_ms, &missing);
    if (*result == CHARGE_DONE && missing != 0) {
        apr_status_t rv = place_all(store, takings, count, cost, *now_ms, result);

        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    if (*result == CHARGE_DONE) {
        *result = charge_all(store, takings, count, cost, *now_ms);
    }
    return APR_SUCCESS;
}

/* The answers of a take that was denied; `is_held_up`: only since others were in the way all the time. */
static void answer_denied(aq_counter_t *counters, const aq_shm_taking_t *takings, unsigned count, uint32_t cost,
                          int is_held_up)
{
    for (unsigned i = 0; i < count; i++) {
        const int is_denied = is_held_up || !admits(&takings[i], cost);

        aq_counter_answer(&counters[i], takings[i].words, &takings[i].look, is_denied ? cost : 0);
    }
}

apr_status_t aq_shm_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                         aq_time_ms_t now_ms, int *is_denied)
{
    const aq_shm_store_t *store = (const aq_shm_store_t *)base;
    aq_shm_taking_t takings[AQ_LIMITS_MAX];
    charge_t result = CHARGE_AGAIN;

    *is_denied = 0;
    if (count > AQ_LIMITS_MAX || cost == 0) {
        return APR_EINVAL;
    }
    for (unsigned tries = 0; result == CHARGE_AGAIN && tries < TAKE_TRIES; tries++) {
        apr_status_t rv = try_take(store, counters, takings, count, cost, &now_ms, &result);

        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    *is_denied = result != CHARGE_DONE;
    if (result == CHARGE_FAILED) {
        *is_denied = 0;
        return APR_EGENERAL;
    }
    if (*is_denied) {
        answer_denied(counters, takings, count, cost, result == CHARGE_AGAIN);
        return APR_SUCCESS;
    }
    for (unsigned i = 0; i < count; i++) {
        aq_counter_answer(&counters[i], takings[i].words, &takings[i].look, 0);
    }
    return APR_SUCCESS;
}
