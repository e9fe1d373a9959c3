/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared-memory counters: charging. See shm_counters.h; the table of slots is in shm_table.c.
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
 * A fixed window has one word, so the swap alone decides.
 *
 * All tries are bounded. A process that is in the way of others all the time (none was ever seen) is denied for a second
 * rather than held.
 */
#include "store/shm_counters.h"

#include "base/aq_log.h"
#include "store/shm_file.h"

#include <apr_strings.h>
#include <string.h>

#define TAKE_TRIES 100
#define CHARGE_TRIES 1000
/* A moment so much older than the clock is no present. */
#define STALE_MS 1000
/* Of so many slots, one is an overflow counter of a limit; at most so many a limit. */
#define SLOTS_PER_OVERFLOW 4096
#define OVERFLOWS_MAX 256

typedef struct {
    aq_counter_store_t base;
    aq_shm_file_t *file;
    uint64_t overflow_count; /* overflow counters of a limit */
} shm_store_t;

/* One counter while it is looked at and charged. */
typedef struct {
    aq_shm_place_t place;
    uint64_t words[AQ_WINDOW_WORDS]; /* a sliding window's seven, else the first alone */
    aq_window_look_t look;
} taking_t;

/* What came of a charge of one counter, or of all. REPEAT: of this counter once more; AGAIN: the take from its start. */
typedef enum { CHARGE_DONE, CHARGE_DENIED, CHARGE_REPEAT, CHARGE_AGAIN } charge_t;

static shm_store_t *shm_store(aq_counter_store_t *store)
{
    return (shm_store_t *)store;
}

static const aq_shm_table_t *table_of(const shm_store_t *store)
{
    return &store->file->table;
}

static uint64_t tag_of(const aq_counter_t *counter)
{
    return aq_shm_tag(&counter->key, aq_window_life_s(&counter->limit->window),
                      aq_per_is_invented(counter->limit->per));
}

/* The tag of the overflow counter that this one shares with others of its limit. */
static uint64_t overflow_tag_of(const shm_store_t *store, const aq_counter_t *counter)
{
    static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    const uint64_t number = 1 + counter->key.high % store->overflow_count;
    const aq_hash128_t key = {.low = (counter->limit->identity.low ^ counter->limit->identity.high) + number * golden};

    return aq_shm_tag(&key, aq_window_life_s(&counter->limit->window), 0);
}

static unsigned words_used(const aq_window_t *window)
{
    return window->algorithm == AQ_ALGORITHM_SLIDING ? AQ_WINDOW_WORDS : 1;
}

static void words_load(const aq_shm_slot_t *slot, const aq_window_t *window, uint64_t words[AQ_WINDOW_WORDS])
{
    const unsigned count = words_used(window);

    for (unsigned i = 0; i < count; i++) {
        words[i] = atomic_load(&slot->words[i]);
    }
}

/* Loads the words of `taking` and looks at them; where there is no slot they are empty. */
static void look(const aq_counter_t *counter, taking_t *taking, aq_time_ms_t now_ms)
{
    const aq_window_t *window = &counter->limit->window;

    if (taking->place.slot != NULL) {
        words_load(taking->place.slot, window, taking->words);
    } else {
        memset(taking->words, 0, sizeof(taking->words));
    }
    aq_window_look(window, taking->words, now_ms, &taking->look);
}

/* 1 where all seven words are as they were when they were loaded, or swapped by us. */
static int words_are_unchanged(const taking_t *taking)
{
    uint64_t changes = 0;

    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        changes |= atomic_load(&taking->place.slot->words[i]) ^ taking->words[i];
    }
    return changes == 0;
}

static int admits(const aq_counter_t *counter, const taking_t *taking, uint32_t cost)
{
    return taking->look.used + cost <= counter->limit->rate.count || counter->limit->rate.is_unlimited;
}

/* Finds a counter's slot and looks at it. To takers a dead slot is none: they begin it anew. */
static void find(const shm_store_t *store, const aq_counter_t *counter, taking_t *taking, aq_time_ms_t now_ms)
{
    taking->place = aq_shm_table_find(table_of(store), tag_of(counter));
    look(counter, taking, now_ms);
    if (taking->look.used == 0 && taking->place.slot != NULL &&
        aq_shm_slot_is_dead(taking->place.slot, taking->place.tag, now_ms / AQ_MS_PER_S, AQ_SHM_MARGIN_S / 2)) {
        taking->place.slot = NULL;
    }
}

/* Says that the table is full, once a second, whichever process finds it so. */
static void full_report(const shm_store_t *store, int is_shared, int64_t now_s)
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

static apr_status_t insert(const shm_store_t *store, const taking_t *taking, uint64_t tag, int64_t now_s,
                           aq_shm_place_t *place)
{
    const aq_window_place_t *born = &taking->look.place;

    return aq_shm_table_insert(table_of(store), tag, (uint64_t)born->start << 32, now_s, place);
}

/* Gives a counter a slot, or the overflow counter that it shares, and looks at that. */
static apr_status_t place(const shm_store_t *store, const aq_counter_t *counter, taking_t *taking, aq_time_ms_t now_ms)
{
    const int64_t now_s = now_ms / AQ_MS_PER_S;
    const int is_invented = aq_per_is_invented(counter->limit->per);
    apr_status_t rv = insert(store, taking, tag_of(counter), now_s, &taking->place);

    if (rv == APR_ENOSPC) {
        full_report(store, is_invented, now_s);
    }
    if (rv == APR_ENOSPC && is_invented) {
        rv = insert(store, taking, overflow_tag_of(store, counter), now_s, &taking->place);
    }
    if (rv == APR_SUCCESS) {
        look(counter, taking, now_ms);
    }
    return rv;
}

/*
 * Writes back the words that the look has mended. First it makes sure that the clock did step back: if this process
 * slept instead, `*now_ms` is brought up to date and nothing written.
 */
static void mend(const shm_store_t *store, const aq_counter_t *counter, const taking_t *taking, aq_time_ms_t *now_ms)
{
    const aq_window_t *window = &counter->limit->window;
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
    words_load(taking->place.slot, window, words);
    memcpy(mended, words, sizeof(mended));
    aq_window_look(window, mended, *now_ms, &again);
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        if (again.mended & 1u << i) {
            (void)atomic_compare_exchange_strong(&taking->place.slot->words[i], &words[i], mended[i]);
        }
    }
}

/* Gives `receipt` back to a word of its slot. */
static void word_give_back(aq_shm_slot_t *slot, const aq_receipt_t *receipt)
{
    uint64_t word = atomic_load(&slot->words[receipt->index]);
    uint64_t wanted;

    do {
        wanted = aq_window_word_give_back(word, receipt->start, receipt->cost);
    } while (wanted != word && !atomic_compare_exchange_weak(&slot->words[receipt->index], &word, wanted));
}

static void uncharge(aq_counter_t *counter, const taking_t *taking)
{
    word_give_back(taking->place.slot, &counter->receipt);
    counter->receipt.cost = 0;
}

/* Whether the swap that has been done may stand; where not, it is undone. */
static charge_t charge_confirm(aq_counter_t *counter, taking_t *taking, aq_time_ms_t now_ms)
{
    if (atomic_load(&taking->place.slot->tag) != taking->place.tag) {
        uncharge(counter, taking);
        return CHARGE_AGAIN;
    }
    if (counter->limit->window.algorithm != AQ_ALGORITHM_SLIDING) {
        taking->look.used = (uint32_t)taking->words[0];
        return CHARGE_DONE;
    }
    if (words_are_unchanged(taking)) {
        taking->look.used += counter->receipt.cost;
        return CHARGE_DONE;
    }
    look(counter, taking, now_ms);
    if (admits(counter, taking, 0)) {
        return CHARGE_DONE;
    }
    uncharge(counter, taking);
    return CHARGE_REPEAT;
}

static charge_t charge_one(const shm_store_t *store, aq_counter_t *counter, taking_t *taking, uint32_t cost,
                           aq_time_ms_t now_ms)
{
    aq_shm_slot_t *slot = taking->place.slot;

    for (unsigned tries = 0; tries < CHARGE_TRIES; tries++) {
        const aq_window_place_t *at = &taking->look.place;
        uint64_t word = taking->words[at->index];
        const uint64_t wanted = aq_window_word_add(at, word, cost);

        if (taking->look.mended != 0) {
            return CHARGE_AGAIN;
        }
        if (!admits(counter, taking, cost)) {
            return CHARGE_DENIED;
        }
        if (atomic_compare_exchange_strong(&slot->words[at->index], &word, wanted)) {
            charge_t result;

            taking->words[at->index] = wanted;
            counter->receipt = (aq_receipt_t){
                .slot = (uint64_t)(slot - table_of(store)->slots),
                .start = at->start,
                .cost = cost,
                .index = (uint8_t)at->index,
            };
            result = charge_confirm(counter, taking, now_ms);
            if (result != CHARGE_REPEAT) {
                return result;
            }
        }
        look(counter, taking, now_ms);
    }
    return CHARGE_AGAIN;
}

/* Writes to `order` the numbers of the counters in the order of their slots, which is the same for every process. */
static void order_set(const taking_t *takings, unsigned count, uint8_t order[AQ_LIMITS_MAX])
{
    for (unsigned i = 0; i < count; i++) {
        unsigned at = i;

        for (; at > 0 && takings[order[at - 1]].place.slot > takings[i].place.slot; at--) {
            order[at] = order[at - 1];
        }
        order[at] = (uint8_t)i;
    }
}

/* Charges all, each of which has a slot and admits as far as is known; or none. */
static charge_t charge_all(const shm_store_t *store, aq_counter_t *counters, taking_t *takings, unsigned count,
                           uint32_t cost, aq_time_ms_t now_ms)
{
    uint8_t order[AQ_LIMITS_MAX];

    order_set(takings, count, order);
    for (unsigned done = 0; done < count; done++) {
        const charge_t result = charge_one(store, &counters[order[done]], &takings[order[done]], cost, now_ms);

        if (result != CHARGE_DONE) {
            while (done-- > 0) {
                uncharge(&counters[order[done]], &takings[order[done]]);
                look(&counters[order[done]], &takings[order[done]], now_ms);
            }
            return result;
        }
    }
    return CHARGE_DONE;
}

/* Looks at all. CHARGE_DONE: all admit. */
static charge_t find_all(const shm_store_t *store, const aq_counter_t *counters, taking_t *takings, unsigned count,
                         uint32_t cost, aq_time_ms_t *now_ms)
{
    charge_t result = CHARGE_DONE;

    for (unsigned i = 0; i < count; i++) {
        find(store, &counters[i], &takings[i], *now_ms);
        if (takings[i].look.mended != 0) {
            mend(store, &counters[i], &takings[i], now_ms);
            return CHARGE_AGAIN;
        }
        if (!admits(&counters[i], &takings[i], cost)) {
            result = CHARGE_DENIED;
        }
    }
    return result;
}

/* Gives a slot to each counter that has none. CHARGE_DONE: all still admit. */
static apr_status_t place_all(const shm_store_t *store, const aq_counter_t *counters, taking_t *takings, unsigned count,
                              uint32_t cost, aq_time_ms_t now_ms, charge_t *result)
{
    *result = CHARGE_DONE;
    for (unsigned i = 0; i < count; i++) {
        apr_status_t rv = APR_SUCCESS;

        if (takings[i].place.slot == NULL) {
            rv = place(store, &counters[i], &takings[i], now_ms);
            if (rv == APR_EAGAIN) {
                *result = CHARGE_AGAIN;
                return APR_SUCCESS;
            }
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (!admits(&counters[i], &takings[i], cost)) {
            *result = CHARGE_DENIED;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t try_take(const shm_store_t *store, aq_counter_t *counters, taking_t *takings, unsigned count,
                             uint32_t cost, aq_time_ms_t *now_ms, charge_t *result)
{
    *result = find_all(store, counters, takings, count, cost, now_ms);
    if (*result == CHARGE_DONE) {
        apr_status_t rv = place_all(store, counters, takings, count, cost, *now_ms, result);

        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    if (*result == CHARGE_DONE) {
        *result = charge_all(store, counters, takings, count, cost, *now_ms);
    }
    return APR_SUCCESS;
}

/* The answers of a take that was denied; `is_held_up`: only since others were in the way all the time. */
static void answer_denied(aq_counter_t *counters, const taking_t *takings, unsigned count, uint32_t cost,
                          int is_held_up)
{
    for (unsigned i = 0; i < count; i++) {
        const int is_denied = is_held_up || !admits(&counters[i], &takings[i], cost);

        aq_counter_answer(&counters[i], takings[i].words, &takings[i].look, is_denied ? cost : 0);
    }
}

static apr_status_t shm_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                             aq_time_ms_t now_ms, int *is_denied)
{
    const shm_store_t *store = shm_store(base);
    taking_t takings[AQ_LIMITS_MAX];
    charge_t result = CHARGE_AGAIN;

    *is_denied = 0;
    if (store->file->is_readonly) {
        return APR_EACCES;
    }
    if (count > AQ_LIMITS_MAX || cost == 0) {
        return APR_EINVAL;
    }
    for (unsigned i = 0; i < count; i++) {
        counters[i].receipt.cost = 0;
    }
    for (unsigned tries = 0; result == CHARGE_AGAIN && tries < TAKE_TRIES; tries++) {
        apr_status_t rv = try_take(store, counters, takings, count, cost, &now_ms, &result);

        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    *is_denied = result != CHARGE_DONE;
    if (*is_denied) {
        answer_denied(counters, takings, count, cost, result == CHARGE_AGAIN);
        return APR_SUCCESS;
    }
    for (unsigned i = 0; i < count; i++) {
        aq_counter_answer(&counters[i], takings[i].words, &takings[i].look, 0);
    }
    return APR_SUCCESS;
}

/* Where `counter` was charged, if it is there still. */
static aq_shm_slot_t *receipt_slot(const shm_store_t *store, const aq_counter_t *counter, uint64_t *tag)
{
    aq_shm_slot_t *slot;

    if (counter->receipt.cost == 0 || counter->receipt.slot >= table_of(store)->slot_count) {
        return NULL;
    }
    slot = &table_of(store)->slots[counter->receipt.slot];
    *tag = atomic_load(&slot->tag);
    if (aq_shm_tag_is_same(*tag, tag_of(counter))) {
        return slot;
    }
    if (aq_per_is_invented(counter->limit->per) && aq_shm_tag_is_same(*tag, overflow_tag_of(store, counter))) {
        return slot;
    }
    return NULL;
}

/* Fills the answers of one counter as it stands, without charging. */
static void answer_found(const shm_store_t *store, aq_counter_t *counter, aq_time_ms_t now_ms)
{
    taking_t taking;

    find(store, counter, &taking, now_ms);
    if (taking.place.slot == NULL && aq_per_is_invented(counter->limit->per)) {
        taking.place = aq_shm_table_find(table_of(store), overflow_tag_of(store, counter));
        look(counter, &taking, now_ms);
    }
    aq_counter_answer(counter, taking.words, &taking.look, 0);
}

static apr_status_t shm_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    const shm_store_t *store = shm_store(base);

    if (store->file->is_readonly) {
        return APR_EACCES;
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t tag;
        aq_shm_slot_t *slot = receipt_slot(store, &counters[i], &tag);

        if (slot != NULL) {
            taking_t taking = {.place = {slot, tag}};

            word_give_back(slot, &counters[i].receipt);
            look(&counters[i], &taking, now_ms);
            aq_counter_answer(&counters[i], taking.words, &taking.look, 0);
        } else {
            answer_found(store, &counters[i], now_ms);
        }
        counters[i].receipt.cost = 0;
    }
    return APR_SUCCESS;
}

static apr_status_t shm_look(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    for (unsigned i = 0; i < count; i++) {
        answer_found(shm_store(base), &counters[i], now_ms);
    }
    return APR_SUCCESS;
}

static apr_status_t shm_info(aq_counter_store_t *base, aq_time_ms_t now_ms, aq_counter_store_info_t *info)
{
    const shm_store_t *store = shm_store(base);
    const aq_shm_census_t census = aq_shm_table_count(table_of(store), now_ms / AQ_MS_PER_S);

    memset(info, 0, sizeof(*info));
    info->slots = table_of(store)->slot_count;
    info->live = census.live;
    info->dead = census.dead;
    info->overflows = atomic_load(&store->file->header->overflows);
    info->size_bytes = store->file->size_bytes;
    apr_cpystrn(info->path, store->file->path, sizeof(info->path));
    aq_counter_store_id_write(base, info->id);
    return APR_SUCCESS;
}

static const aq_counter_store_ops_t shm_ops = {
    .name = "shm",
    .take = shm_take,
    .give_back = shm_give_back,
    .look = shm_look,
    .info = shm_info,
};

static aq_counter_store_t *store_create(apr_pool_t *p, aq_shm_file_t *file)
{
    shm_store_t *store = apr_pcalloc(p, sizeof(*store));
    const uint64_t overflow_count = file->table.slot_count / SLOTS_PER_OVERFLOW;

    store->base.ops = &shm_ops;
    store->base.secret = file->header->secret;
    store->file = file;
    store->overflow_count = overflow_count < 1 ? 1 : overflow_count < OVERFLOWS_MAX ? overflow_count : OVERFLOWS_MAX;
    return &store->base;
}

apr_status_t aq_shm_counters_open(apr_pool_t *p, const char *path, uint64_t size_bytes, int may_resize,
                                  aq_time_ms_t now_ms, aq_counter_store_t **store, const char **error)
{
    aq_shm_file_t *file;
    apr_status_t rv = aq_shm_file_open(p, path, size_bytes, may_resize, now_ms, &file, error);

    *store = rv == APR_SUCCESS ? store_create(p, file) : NULL;
    return rv;
}

apr_status_t aq_shm_counters_open_readonly(apr_pool_t *p, const char *path, aq_counter_store_t **store,
                                           const char **error)
{
    aq_shm_file_t *file;
    apr_status_t rv = aq_shm_file_open_readonly(p, path, &file, error);

    *store = rv == APR_SUCCESS ? store_create(p, file) : NULL;
    return rv;
}
