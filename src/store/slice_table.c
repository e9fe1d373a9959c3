/* SPDX-License-Identifier: Apache-2.0 */
/* Slices that this machine holds, in memory shared by its processes. See slice_table.h. */
#include "store/slice_table.h"

#include <apr_general.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* A counter lies in one of so many places behind its home. */
#define PROBES 16
#define GENERATION_BITS 12
#define GENERATION_MASK ((UINT64_C(1) << GENERATION_BITS) - 1)
#define BUSY (UINT64_C(1) << GENERATION_BITS)
#define HASH_MASK (~(BUSY | GENERATION_MASK))
#define REST_BITS 20
#define MACHINE_SIZE 17
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static_assert(AQ_SLICE_REST_MAX == (1 << REST_BITS) - 1, "the word has 20 bits for it");
static_assert(sizeof(aq_slice_slot_t) == 256, "layout");
static_assert(REST_BITS + GENERATION_BITS == 32, "layout");

typedef struct {
    _Alignas(64) _Atomic int64_t swept_ms;
    char machine[MACHINE_SIZE];
} header_t;

struct aq_slice_table_t {
    header_t *header;
    _Atomic uint64_t *held; /* a bit for each place that may hold something: what a sweep looks at */
    aq_slice_slot_t *slots;
    uint32_t mask;
    size_t size;
};

/* ---- words ------------------------------------------------------------------------------------------------------ */

static uint32_t word_rest(uint64_t word)
{
    return (uint32_t)word & AQ_SLICE_REST_MAX;
}

static uint32_t word_start(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint64_t word_generation(uint64_t word)
{
    return word >> REST_BITS & GENERATION_MASK;
}

static uint64_t word_make(uint32_t start, uint64_t generation, uint32_t rest)
{
    return (uint64_t)start << 32 | (generation & GENERATION_MASK) << REST_BITS | rest;
}

/* 1 where `word`, loaded after the place was found, is of the counter that it was found for. */
static int is_own(const aq_slice_place_t *place, uint64_t word)
{
    return word_generation(word) == (place->tag & GENERATION_MASK);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static apr_status_t table_cleanup(void *data)
{
    aq_slice_table_t *table = data;

    (void)munmap(table->header, table->size);
    return APR_SUCCESS;
}

apr_status_t aq_slice_table_create(apr_pool_t *p, uint32_t places, aq_slice_table_t **table)
{
    aq_slice_table_t *made = apr_pcalloc(p, sizeof(*made));
    uint64_t name;
    apr_status_t rv = apr_generate_random_bytes((unsigned char *)&name, sizeof(name));
    void *mapping;

    *table = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    made->size = sizeof(*made->header) + places / 8 + places * sizeof(*made->slots);
    mapping = mmap(NULL, made->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) {
        return APR_FROM_OS_ERROR(errno);
    }
    made->header = mapping;
    made->held = (_Atomic uint64_t *)((char *)mapping + sizeof(*made->header));
    made->slots = (aq_slice_slot_t *)((char *)mapping + sizeof(*made->header) + places / 8);
    made->mask = places - 1;
    (void)snprintf(made->header->machine, MACHINE_SIZE, "%016" PRIx64, name);
    apr_pool_cleanup_register(p, made, table_cleanup, apr_pool_cleanup_null);
    *table = made;
    return APR_SUCCESS;
}

const char *aq_slice_table_machine(const aq_slice_table_t *table)
{
    return table->header->machine;
}

static uint64_t capacity_of(const aq_counter_t *counter)
{
    return counter->limit->rate.is_unlimited ? UINT64_MAX : counter->limit->capacity;
}

/* What a counter's tag and its way through the table are made of; never 0. */
static uint64_t hash_of(const aq_counter_t *counter)
{
    const uint64_t hash = (counter->key.low ^ capacity_of(counter) * GOLDEN) & HASH_MASK;

    return hash != 0 ? hash : BUSY << 1;
}

static int is_of(const aq_slice_slot_t *slot, const aq_counter_t *counter)
{
    return atomic_load_explicit(&slot->key_high, memory_order_relaxed) == counter->key.high &&
           atomic_load_explicit(&slot->key_low, memory_order_relaxed) == counter->key.low &&
           atomic_load_explicit(&slot->capacity, memory_order_relaxed) == capacity_of(counter);
}

static aq_slice_slot_t *slot_at(const aq_slice_table_t *table, uint64_t hash, unsigned probe)
{
    return &table->slots[((hash >> 40) + probe) & table->mask];
}

static aq_slice_place_t place_of(const aq_slice_table_t *table, aq_slice_slot_t *slot, uint64_t tag)
{
    const size_t number = (size_t)(slot - table->slots);

    return (aq_slice_place_t){slot, tag, &table->held[number / 64], UINT64_C(1) << number % 64};
}

aq_slice_place_t aq_slice_find(const aq_slice_table_t *table, const aq_counter_t *counter)
{
    const uint64_t hash = hash_of(counter);

    for (unsigned probe = 0; probe < PROBES; probe++) {
        aq_slice_slot_t *slot = slot_at(table, hash, probe);
        const uint64_t tag = atomic_load(&slot->tag);

        if ((tag & ~GENERATION_MASK) == hash && is_of(slot, counter)) {
            return place_of(table, slot, tag);
        }
        if (tag == 0) {
            break;
        }
    }
    return (aq_slice_place_t){NULL, 0, NULL, 0};
}

/* ---- giving places ---------------------------------------------------------------------------------------------- */

/* 1 where the place may go to another counter, as far as can be seen. */
static int is_idle(const aq_slice_slot_t *slot, uint64_t tag, aq_time_ms_t boot_ms)
{
    return tag == 0 ||
           ((tag & BUSY) == 0 && word_rest(atomic_load(&slot->word)) == 0 && atomic_load(&slot->asking_ms) <= boot_ms &&
            boot_ms - atomic_load(&slot->used_ms) >= AQ_SLICE_RECLAIM_MS);
}

/* Makes a place the caller's own: from then on no swap by who found it before succeeds. 0: somebody was faster. */
static int claim(aq_slice_slot_t *slot, uint64_t tag, uint64_t generation)
{
    uint64_t word = atomic_load(&slot->word);
    uint64_t seen = tag;

    if (!atomic_compare_exchange_strong(&slot->tag, &seen, BUSY | generation)) {
        return 0;
    }
    while (word_rest(word) == 0) {
        if (atomic_compare_exchange_weak(&slot->word, &word, word_make(0, generation, 0))) {
            return 1;
        }
    }
    /* A slice was put in just before. */
    atomic_store(&slot->tag, tag);
    return 0;
}

static void fill(aq_slice_slot_t *slot, const aq_counter_t *counter, const char *home, aq_time_ms_t boot_ms)
{
    const aq_window_t *window = &counter->limit->window;
    uint64_t text[AQ_SLICE_HOME_WORDS] = {0};

    (void)memcpy(text, home, strnlen(home, sizeof(text) - 1));
    for (unsigned i = 0; i < AQ_SLICE_HOME_WORDS; i++) {
        atomic_store_explicit(&slot->home[i], text[i], memory_order_relaxed);
    }
    atomic_store_explicit(&slot->key_low, counter->key.low, memory_order_relaxed);
    atomic_store_explicit(&slot->key_high, counter->key.high, memory_order_relaxed);
    atomic_store_explicit(&slot->capacity, capacity_of(counter), memory_order_relaxed);
    atomic_store_explicit(&slot->kind, (uint64_t)window->period_s << 32 | (uint64_t)window->algorithm,
                          memory_order_relaxed);
    atomic_store_explicit(&slot->has_words, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->dies_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->used_ms, boot_ms, memory_order_relaxed);
    atomic_store_explicit(&slot->want, 1, memory_order_relaxed);
    atomic_store_explicit(&slot->granted, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->asking_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->refused_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->taken_ms, 0, memory_order_relaxed);
}

aq_slice_place_t aq_slice_insert(aq_slice_table_t *table, const aq_counter_t *counter, const char *home,
                                 aq_time_ms_t boot_ms)
{
    const aq_slice_place_t found = aq_slice_find(table, counter);
    const uint64_t hash = hash_of(counter);

    for (unsigned probe = 0; found.slot == NULL && probe < PROBES; probe++) {
        aq_slice_slot_t *slot = slot_at(table, hash, probe);
        const uint64_t tag = atomic_load(&slot->tag);
        const uint64_t generation = (tag + 1) & GENERATION_MASK;

        if (is_idle(slot, tag, boot_ms) && claim(slot, tag, generation)) {
            fill(slot, counter, home, boot_ms);
            atomic_store(&slot->tag, hash | generation);
            return place_of(table, slot, hash | generation);
        }
    }
    return found;
}

/*
 * Has sweeps look at a place that something was put into. The sweeper clears the bit of a place that it saw empty, and then
 * looks at the place again; here the place is filled first, and then the bit looked at: one of the two sees the other.
 */
static void held_mark(const aq_slice_place_t *place)
{
    if ((atomic_load(place->held) & place->bit) == 0) {
        (void)atomic_fetch_or(place->held, place->bit);
    }
}

static void held_clear(const aq_slice_place_t *place)
{
    (void)atomic_fetch_and(place->held, ~place->bit);
    if (word_rest(atomic_load(&place->slot->word)) != 0) {
        (void)atomic_fetch_or(place->held, place->bit);
    }
}

/* ---- spending --------------------------------------------------------------------------------------------------- */

int aq_slice_spend(const aq_slice_place_t *place, uint32_t cost, aq_time_ms_t boot_ms, uint32_t *start, uint32_t *rest)
{
    aq_slice_slot_t *slot = place->slot;
    uint64_t word = atomic_load(&slot->word);

    atomic_store_explicit(&slot->used_ms, boot_ms, memory_order_relaxed);
    /* The word first: what is swapped below is what its own death was looked at for. */
    while (is_own(place, word) && word_rest(word) >= cost && boot_ms < atomic_load(&slot->dies_ms)) {
        if (atomic_compare_exchange_weak(&slot->word, &word, word - cost)) {
            *start = word_start(word);
            *rest = word_rest(word) - cost;
            return 1;
        }
    }
    return 0;
}

int aq_slice_unspend(const aq_slice_place_t *place, uint32_t start, uint32_t cost, uint32_t most)
{
    uint64_t word = atomic_load(&place->slot->word);

    while (is_own(place, word) && word_start(word) == start && (uint64_t)word_rest(word) + cost <= most) {
        if (atomic_compare_exchange_weak(&place->slot->word, &word, word + cost)) {
            held_mark(place);
            return 1;
        }
    }
    return 0;
}

/* Has an empty, or dead, place name another window, in which it then holds nothing. 0: it holds a living slice. */
static int window_change(const aq_slice_place_t *place, uint64_t *word, uint32_t start, aq_time_ms_t boot_ms)
{
    aq_slice_slot_t *slot = place->slot;

    while (is_own(place, *word) && word_start(*word) != start) {
        if (word_rest(*word) != 0 && boot_ms < atomic_load(&slot->dies_ms)) {
            return 0;
        }
        if (atomic_compare_exchange_weak(&slot->word, word, word_make(start, place->tag, 0))) {
            *word = word_make(start, place->tag, 0);
        }
    }
    return is_own(place, *word);
}

int aq_slice_put(const aq_slice_place_t *place, uint32_t start, uint32_t units, aq_time_ms_t dies_ms,
                 aq_time_ms_t boot_ms)
{
    aq_slice_slot_t *slot = place->slot;
    uint64_t word = atomic_load(&slot->word);

    if (!window_change(place, &word, start, boot_ms)) {
        return 0;
    }
    atomic_store(&slot->dies_ms, dies_ms);
    while (is_own(place, word) && word_start(word) == start && (uint64_t)word_rest(word) + units <= AQ_SLICE_REST_MAX) {
        if (atomic_compare_exchange_weak(&slot->word, &word, word + units)) {
            if (units != 0) {
                held_mark(place);
            }
            return 1;
        }
    }
    if (word_start(word) != start) {
        /* The death that was just set is of another window than what lies there now. */
        atomic_store(&slot->dies_ms, 0);
    }
    return 0;
}

uint32_t aq_slice_rest(const aq_slice_place_t *place, uint32_t *start)
{
    const uint64_t word = atomic_load(&place->slot->word);

    *start = word_start(word);
    return is_own(place, word) ? word_rest(word) : 0;
}

/* ---- taking out ------------------------------------------------------------------------------------------------- */

int aq_slice_take_out(const aq_slice_place_t *place, aq_time_ms_t boot_ms, aq_slice_rest_t *out)
{
    aq_slice_slot_t *slot = place->slot;
    uint64_t word = atomic_load(&slot->word);
    const uint64_t kind = atomic_load_explicit(&slot->kind, memory_order_relaxed);
    uint64_t home[AQ_SLICE_HOME_WORDS];

    if (word_rest(word) == 0) {
        return 0;
    }
    /* All is copied before the swap, which proves that it was this counter's. */
    for (unsigned i = 0; i < AQ_SLICE_HOME_WORDS; i++) {
        home[i] = atomic_load_explicit(&slot->home[i], memory_order_relaxed);
    }
    (void)memcpy(out->home, home, sizeof(home));
    out->key.low = atomic_load_explicit(&slot->key_low, memory_order_relaxed);
    out->key.high = atomic_load_explicit(&slot->key_high, memory_order_relaxed);
    out->algorithm = (aq_algorithm_t)(uint32_t)kind;
    out->period_s = (uint32_t)(kind >> 32);
    out->is_dead = boot_ms >= atomic_load(&slot->dies_ms);
    while (is_own(place, word) && word_rest(word) != 0) {
        if (atomic_compare_exchange_weak(&slot->word, &word, word & ~(uint64_t)AQ_SLICE_REST_MAX)) {
            out->start = word_start(word);
            out->rest = word_rest(word);
            return 1;
        }
    }
    return 0;
}

/* Looks at one place that may hold something. 1: what it held is out. */
static int place_sweep(const aq_slice_place_t *place, aq_time_ms_t boot_ms, int64_t idle_ms, aq_slice_rest_t *out)
{
    const aq_slice_slot_t *slot = place->slot;
    const int64_t unused_ms = boot_ms - atomic_load(&slot->used_ms);

    if ((place->tag & BUSY) != 0) {
        return 0;
    }
    if (word_rest(atomic_load(&slot->word)) == 0) {
        if (unused_ms >= AQ_SLICE_RECLAIM_MS) {
            held_clear(place);
        }
        return 0;
    }
    return (unused_ms >= idle_ms || boot_ms >= atomic_load(&slot->dies_ms)) && aq_slice_take_out(place, boot_ms, out);
}

int aq_slice_sweep(const aq_slice_table_t *table, uint32_t *at, aq_time_ms_t boot_ms, int64_t idle_ms,
                   aq_slice_rest_t *out)
{
    while (*at <= table->mask) {
        const uint64_t held = atomic_load(&table->held[*at / 64]) >> *at % 64;
        aq_slice_slot_t *slot = &table->slots[*at];

        if (held == 0) {
            *at = (*at / 64 + 1) * 64;
            continue;
        }
        *at += 1;
        if ((held & 1) != 0) {
            const aq_slice_place_t place = place_of(table, slot, atomic_load(&slot->tag));

            if (place_sweep(&place, boot_ms, idle_ms, out)) {
                return 1;
            }
        }
    }
    return 0;
}

int aq_slice_sweep_is_due(aq_slice_table_t *table, aq_time_ms_t boot_ms, int64_t pause_ms)
{
    int64_t swept_ms = atomic_load(&table->header->swept_ms);

    return boot_ms - swept_ms >= pause_ms &&
           atomic_compare_exchange_strong(&table->header->swept_ms, &swept_ms, boot_ms);
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

/* How much to ask for, given how long the last slice lasted. */
static uint32_t want_adapted(const aq_slice_slot_t *slot, aq_time_ms_t boot_ms)
{
    const uint32_t want = atomic_load(&slot->want);
    const int64_t lasted_ms = boot_ms - atomic_load(&slot->taken_ms);
    const int was_granted = atomic_load(&slot->granted) >= want;

    if (atomic_load(&slot->taken_ms) == 0) {
        return want;
    }
    if (lasted_ms < AQ_SLICE_SHORT_MS) {
        return was_granted && want <= AQ_SLICE_WANT_MAX / 2 ? want * 2 : want;
    }
    return lasted_ms > AQ_SLICE_LONG_MS && want > 1 ? want / 2 : want;
}

int aq_slice_ask_begin(const aq_slice_place_t *place, uint32_t cost, aq_time_ms_t boot_ms, int64_t hold_ms,
                       uint32_t *want)
{
    aq_slice_slot_t *slot = place->slot;
    int64_t asking_ms = atomic_load(&slot->asking_ms);

    if (asking_ms > boot_ms || !atomic_compare_exchange_strong(&slot->asking_ms, &asking_ms, boot_ms + hold_ms)) {
        return 0;
    }
    *want = want_adapted(slot, boot_ms);
    atomic_store(&slot->want, *want);
    *want = *want > cost ? *want : cost;
    return 1;
}

void aq_slice_ask_end(const aq_slice_place_t *place, uint32_t granted, aq_time_ms_t asked_ms, aq_time_ms_t until_ms)
{
    aq_slice_slot_t *slot = place->slot;

    if (granted != 0) {
        atomic_store(&slot->granted, granted);
        atomic_store(&slot->taken_ms, asked_ms);
    }
    atomic_store(&slot->asking_ms, until_ms);
}

/* ---- what Redis said -------------------------------------------------------------------------------------------- */

void aq_slice_words_note(const aq_slice_place_t *place, const uint64_t words[AQ_WINDOW_WORDS])
{
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        atomic_store_explicit(&place->slot->words[i], words[i], memory_order_relaxed);
    }
    atomic_store(&place->slot->has_words, 1);
}

int aq_slice_words_load(const aq_slice_place_t *place, uint64_t words[AQ_WINDOW_WORDS])
{
    const int has_words = atomic_load(&place->slot->has_words) != 0;

    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        words[i] = has_words ? atomic_load_explicit(&place->slot->words[i], memory_order_relaxed) : 0;
    }
    return has_words;
}

void aq_slice_words_less(const aq_slice_place_t *place, uint32_t start, uint32_t cost)
{
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        uint64_t word = atomic_load(&place->slot->words[i]);

        while (
            word_start(word) == start && (uint32_t)word != 0 &&
            !atomic_compare_exchange_weak(&place->slot->words[i], &word, aq_window_word_give_back(word, start, cost))) {
        }
    }
}
