/* SPDX-License-Identifier: Apache-2.0 */
/* Shared-memory counters: opening, looking, giving back. See shm_counters.h; charging is in shm_take.c. */
#include "store/shm_counters.h"

#include "store/shm_members.h"

#include <apr_strings.h>
#include <string.h>

/* Of so many slots, one is an overflow counter of a limit; at most so many a limit. */
#define SLOTS_PER_OVERFLOW 4096
#define OVERFLOWS_MAX 256
#define FINDINGS_MAX 100

static aq_shm_store_t *shm_store(aq_counter_store_t *store)
{
    return (aq_shm_store_t *)store;
}

/* Where `counter` was charged, if it is there still. */
static aq_shm_place_t receipt_place(const aq_shm_store_t *store, const aq_counter_t *counter)
{
    aq_shm_place_t place = {NULL, 0};

    if (counter->receipt.cost != 0 && counter->receipt.slot < store->table.slot_count) {
        aq_shm_slot_t *slot = &store->table.slots[counter->receipt.slot];
        const uint64_t tag = atomic_load(&slot->tag);

        /* A member's word is told from all others by itself. */
        if (counter->limit->window.algorithm == AQ_ALGORITHM_CONCURRENT ||
            aq_shm_tag_is_same(tag, aq_shm_counter_tag(counter)) ||
            (aq_per_is_invented(counter->limit->per) && aq_shm_tag_is_same(tag, aq_shm_overflow_tag(store, counter)))) {
            place = (aq_shm_place_t){slot, tag};
        }
    }
    return place;
}

/* Looks at the counter that this one may share with others. */
static void answer_shared(const aq_shm_store_t *store, aq_shm_taking_t *taking, aq_time_ms_t now_ms)
{
    const aq_shm_place_t shared = aq_shm_table_find(&store->table, aq_shm_overflow_tag(store, taking->counter));

    if (taking->counter->limit->window.algorithm != AQ_ALGORITHM_CONCURRENT) {
        taking->place = shared;
        aq_shm_look(taking, now_ms);
    } else if (shared.slot != NULL && taking->look.used == 0) {
        taking->place = shared;
        aq_shm_members_look(store, taking, now_ms);
    }
}

/* Fills the answers of one counter as it stands, without charging. */
static void answer_found(const aq_shm_store_t *store, aq_counter_t *counter, aq_time_ms_t now_ms)
{
    aq_shm_taking_t taking;

    aq_shm_find_any(store, counter, &taking, now_ms);
    if (taking.place.slot == NULL && aq_per_is_invented(counter->limit->per)) {
        answer_shared(store, &taking, now_ms);
    }
    aq_counter_answer(counter, taking.words, &taking.look, 0);
}

static apr_status_t shm_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    const aq_shm_store_t *store = shm_store(base);

    for (unsigned i = 0; i < count; i++) {
        aq_shm_taking_t taking;

        taking.counter = &counters[i];
        taking.place = receipt_place(store, &counters[i]);
        if (taking.place.slot != NULL) {
            aq_shm_word_give_back(taking.place.slot, &counters[i], now_ms);
        }
        if (taking.place.slot != NULL && counters[i].limit->window.algorithm != AQ_ALGORITHM_CONCURRENT) {
            aq_shm_look(&taking, now_ms);
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

/* Empties a slot's words while it is that counter's: a slot that goes to another one meanwhile begins with empty words. */
static void slot_empty(const aq_shm_place_t *place, const aq_window_t *window, aq_time_ms_t now_ms)
{
    for (int i = 0; i < AQ_WINDOW_WORDS; i++) {
        uint64_t word = atomic_load(&place->slot->words[i]);

        while (
            atomic_load(&place->slot->tag) == place->tag &&
            !atomic_compare_exchange_weak(&place->slot->words[i], &word, aq_window_word_empty(window, word, now_ms))) {
        }
    }
}

static apr_status_t shm_reset(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    const aq_shm_store_t *store = shm_store(base);

    for (unsigned i = 0; i < count; i++) {
        const aq_window_t *window = &counters[i].limit->window;
        const aq_shm_place_t place = aq_shm_table_find(&store->table, aq_shm_counter_tag(&counters[i]));

        if (place.slot != NULL && window->algorithm != AQ_ALGORITHM_CONCURRENT) {
            slot_empty(&place, window, now_ms);
        }
        answer_found(store, &counters[i], now_ms);
    }
    return APR_SUCCESS;
}

void aq_shm_counters_note(aq_counter_store_t *base, const aq_counter_t *counter, const uint64_t words[AQ_WINDOW_WORDS],
                          aq_time_ms_t now_ms)
{
    const aq_shm_store_t *store = shm_store(base);
    const aq_algorithm_t algorithm = counter->limit->window.algorithm;
    const unsigned count = algorithm == AQ_ALGORITHM_SLIDING        ? AQ_WINDOW_WORDS
                           : algorithm == AQ_ALGORITHM_TOKEN_BUCKET ? AQ_BUCKET_WORDS
                                                                    : 1;
    aq_counter_t found = *counter;
    aq_shm_taking_t taking;

    aq_shm_find(store, &found, &taking, now_ms);
    if (taking.place.slot == NULL) {
        const uint64_t born = (uint64_t)taking.look.place.start << 32;

        if (aq_shm_table_insert(&store->table, aq_shm_counter_tag(counter), born, now_ms, &taking.place) !=
            APR_SUCCESS) {
            return;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (atomic_load_explicit(&taking.place.slot->words[i], memory_order_relaxed) != words[i]) {
            atomic_store(&taking.place.slot->words[i], words[i]);
        }
    }
}

static apr_status_t shm_words(aq_counter_store_t *base, const aq_counter_t *counter, uint64_t words[AQ_WINDOW_WORDS])
{
    const aq_shm_place_t place = aq_shm_table_find(&shm_store(base)->table, aq_shm_counter_tag(counter));

    for (int i = 0; i < AQ_WINDOW_WORDS; i++) {
        words[i] = place.slot != NULL ? atomic_load(&place.slot->words[i]) : 0;
    }
    return APR_SUCCESS;
}

static apr_status_t shm_info(aq_counter_store_t *base, aq_time_ms_t now_ms, aq_counter_store_info_t *info)
{
    const aq_shm_store_t *store = shm_store(base);
    const aq_shm_census_t census = aq_shm_table_count(&store->table, now_ms);

    memset(info, 0, sizeof(*info));
    info->slots = store->table.slot_count;
    info->live = census.live;
    info->dead = census.dead;
    info->overflows = atomic_load(&store->file->header->overflows);
    info->size_bytes = store->file->size_bytes;
    apr_cpystrn(info->path, store->file->path, sizeof(info->path));
    aq_counter_store_id_write(base, info->id);
    return APR_SUCCESS;
}

/* What is wrong with the live counter of a slot; NULL: nothing. */
static const char *slot_fault(const aq_shm_table_t *table, const aq_shm_slot_t *slot, aq_time_ms_t now_ms)
{
    const aq_shm_place_t found = aq_shm_table_find(table, atomic_load(&slot->tag));

    if (found.slot == NULL) {
        return "its counter is not where it is looked for";
    }
    return found.slot != slot && aq_shm_slot_is_live(found.slot, now_ms) ? "its counter is in another place as well"
                                                                         : NULL;
}

/* A server may be at work: what is wrong twice is wrong. */
static apr_status_t shm_verify(aq_counter_store_t *base, aq_time_ms_t now_ms, apr_array_header_t *findings)
{
    const aq_shm_table_t *table = &shm_store(base)->table;

    for (uint64_t i = 0; i < table->slot_count && findings->nelts < FINDINGS_MAX; i++) {
        const aq_shm_slot_t *slot = &table->slots[i];

        if (aq_shm_slot_is_live(slot, now_ms) && slot_fault(table, slot, now_ms) != NULL) {
            const char *fault = slot_fault(table, slot, now_ms);
            if (fault != NULL && aq_shm_slot_is_live(slot, now_ms)) {
                APR_ARRAY_PUSH(findings, const char *) =
                    apr_psprintf(findings->pool, "place %" APR_UINT64_T_FMT ": %s", i, fault);
            }
        }
    }
    return APR_SUCCESS;
}

static const aq_counter_store_ops_t shm_ops = {
    .name = "shm",
    .take = aq_shm_take,
    .give_back = shm_give_back,
    .look = shm_look,
    .info = shm_info,
    .words = shm_words,
    .verify = shm_verify,
    .reset = shm_reset,
};

static apr_status_t readonly_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                                  aq_time_ms_t now_ms, int *is_denied)
{
    (void)base;
    (void)counters;
    (void)count;
    (void)cost;
    (void)now_ms;
    *is_denied = 0;
    return APR_EACCES;
}

static apr_status_t readonly_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                       aq_time_ms_t now_ms)
{
    (void)base;
    (void)counters;
    (void)count;
    (void)now_ms;
    return APR_EACCES;
}

/* Of a tool beside a server. */
static const aq_counter_store_ops_t beside_ops = {
    .name = "shm",
    .take = readonly_take,
    .give_back = readonly_give_back,
    .look = shm_look,
    .info = shm_info,
    .words = shm_words,
    .verify = shm_verify,
    .reset = shm_reset,
};

static aq_counter_store_t *store_create(apr_pool_t *p, const aq_counter_store_ops_t *ops, aq_shm_file_t *file)
{
    aq_shm_store_t *store = apr_pcalloc(p, sizeof(*store));
    const uint64_t overflow_count = file->table.slot_count / SLOTS_PER_OVERFLOW;

    store->base.ops = ops;
    store->base.secret = file->header->secret;
    store->file = file;
    store->table = file->table;
    store->overflow_count = overflow_count < 1 ? 1 : overflow_count < OVERFLOWS_MAX ? overflow_count : OVERFLOWS_MAX;
    return &store->base;
}

static const char *owners_path(apr_pool_t *p, const char *path)
{
    return apr_pstrcat(p, path, ".owners", NULL);
}

apr_status_t aq_shm_counters_open(apr_pool_t *p, const char *path, uint64_t size_bytes, int may_resize,
                                  aq_time_ms_t now_ms, aq_counter_store_t **store, const char **error)
{
    aq_owners_t *owners = NULL;
    aq_shm_file_t *file;
    apr_status_t rv = aq_shm_file_open(p, path, size_bytes, may_resize, now_ms, &file, error);

    *store = NULL;
    if (rv == APR_SUCCESS) {
        rv = aq_owners_open(p, owners_path(p, path), &file->header->owners, &owners);
        *error = rv != APR_SUCCESS ? apr_pstrcat(p, "counter file ", path, ": its file .owners cannot be opened", NULL)
                                   : NULL;
    }
    if (rv == APR_SUCCESS) {
        *store = store_create(p, &shm_ops, file);
        ((aq_shm_store_t *)*store)->owners = owners;
    }
    return rv;
}

/* The store of a file that was opened beside a server. */
static aq_counter_store_t *store_beside(apr_pool_t *p, aq_shm_file_t *file, int can_reset)
{
    aq_counter_store_ops_t *ops = apr_pmemdup(p, &beside_ops, sizeof(beside_ops));
    aq_counter_store_t *store = store_create(p, ops, file);

    ops->reset = can_reset ? beside_ops.reset : NULL;
    /* Without them all count as alive. */
    (void)aq_owners_open(p, owners_path(p, file->path), NULL, &((aq_shm_store_t *)store)->owners);
    return store;
}

apr_status_t aq_shm_counters_open_readonly(apr_pool_t *p, const char *path, aq_counter_store_t **store,
                                           const char **error)
{
    aq_shm_file_t *file;
    apr_status_t rv = aq_shm_file_open_readonly(p, path, &file, error);

    *store = rv == APR_SUCCESS ? store_beside(p, file, 0) : NULL;
    return rv;
}

apr_status_t aq_shm_counters_open_to_reset(apr_pool_t *p, const char *path, aq_counter_store_t **store,
                                           const char **error)
{
    aq_shm_file_t *file;
    apr_status_t rv = aq_shm_file_open_beside(p, path, &file, error);

    *store = rv == APR_SUCCESS ? store_beside(p, file, 1) : NULL;
    return rv;
}
