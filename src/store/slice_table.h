/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slice table: the slices of limits that this machine has taken from Redis in advance, in memory that all its processes
 * share. What a slice is for is told in redis_leased.h; here is how it is held, spent and taken out again.
 *
 * A place is 256 bytes and belongs to one counter at one capacity. All that decides lies in one word, changed by
 * compare-and-swap alone:
 *
 *      63            32 31         20 19              0
 *     +----------------+-------------+-----------------+    start: of the window that the slice was charged in, see window.h
 *     |     start      | generation  |      rest       |    generation: of the place, goes up with each new owner
 *     +----------------+-------------+-----------------+    rest: what is left to be spent
 *
 *     tag    64 - 13 bits of the counter's key, 1 bit: it is being given away, 12 bits: the generation
 *     dies   boot time from which on nothing of `rest` may be spent. It is set before rest is put in, while the word names
 *            that window and holds nothing, or holds what was taken from the same window. So a word of one window is never
 *            spent by the death of a later one.
 *
 * Who saw a tag and then a word of the same generation knows that the word was that counter's; who then swaps the word
 * knows that it still was. So no lock is needed, and a process may die or be stopped anywhere: what it had in its hands
 * is charged and not spent. One that dies while it gives a place to a new counter leaves that place unusable until the
 * next restart.
 *
 * The rest is for headers, and for taking the next slice at the right moment: the seven words of the counter as Redis last
 * said them, how much is wanted at a time, who is asking. It may be torn, and is only ever wrong by one answer of Redis.
 *
 * Time is an argument: boot time (aq_clock_boot_ms), the same for all processes. Thread-safe, but for creating.
 */
#ifndef AQ_SLICE_TABLE_H
#define AQ_SLICE_TABLE_H

#include "limit/counter_store.h"

#include <stdatomic.h>

#define AQ_SLICE_PLACES 16384
/* The most that a place can hold; what is more is not put in. */
#define AQ_SLICE_REST_MAX ((UINT32_C(1) << 20) - 1)
/* The most that is taken at a time. */
#define AQ_SLICE_WANT_MAX (UINT32_C(1) << 18)
#define AQ_SLICE_HOME_WORDS 6
/* A place that was idle for so long and holds nothing may go to another counter. */
#define AQ_SLICE_RECLAIM_MS INT64_C(1000)
/* `want` doubles when a slice is used up sooner than the first, and halves when it lasts longer than the second. */
#define AQ_SLICE_SHORT_MS INT64_C(100)
#define AQ_SLICE_LONG_MS INT64_C(400)
/* After a refusal, and where Redis had nothing more to give, it is not asked again for so long. */
#define AQ_SLICE_REFUSED_MS INT64_C(100)

typedef struct {
    _Alignas(64) _Atomic uint64_t tag;
    _Atomic uint64_t word;
    _Atomic int64_t dies_ms;
    _Atomic int64_t used_ms; /* when it was last asked for */
    _Atomic uint64_t key_low, key_high;
    _Atomic uint64_t capacity; /* UINT64_MAX: unlimited */
    _Atomic uint32_t want;     /* how much to ask for next */
    _Atomic uint32_t granted;  /* how much the last slice was, with what was spent of it at once */
    /* the second line: for who asks */
    _Alignas(64) _Atomic int64_t asking_ms; /* until when nobody else asks; 0: nobody does */
    _Atomic int64_t refused_ms;             /* until when Redis's last refusal stands */
    _Atomic int64_t taken_ms;               /* when the last slice was asked for; 0: never */
    _Atomic uint64_t kind;                  /* aq_algorithm_t, and the period in s above 32 bits */
    /* the third and fourth */
    _Alignas(64) _Atomic uint64_t words[AQ_WINDOW_WORDS];
    _Atomic uint64_t has_words;                              /* 0: Redis has not said anything yet */
    _Alignas(64) _Atomic uint64_t home[AQ_SLICE_HOME_WORDS]; /* of the counter, in Redis */
} aq_slice_slot_t;

typedef struct aq_slice_table_t aq_slice_table_t;

/* A place as it was found. */
typedef struct {
    aq_slice_slot_t *slot; /* NULL: none */
    uint64_t tag;
    _Atomic uint64_t *held; /* where, and by which bit, sweeps know that it may hold something */
    uint64_t bit;
} aq_slice_place_t;

/* What was taken out of a place, to be given back to Redis. */
typedef struct {
    aq_hash128_t key;
    char home[AQ_SLICE_HOME_WORDS * sizeof(uint64_t)];
    aq_algorithm_t algorithm;
    uint32_t period_s;
    uint32_t start; /* of the window that it was charged in */
    uint32_t rest;
    int is_dead; /* its time was over: there may be no such window any more */
} aq_slice_rest_t;

/*
 * Makes an empty table of `places` (a power of two, at least 512), shared with all processes forked from here on, in `p`.
 * `*table` is NULL where that fails.
 */
apr_status_t aq_slice_table_create(apr_pool_t *p, uint32_t places, aq_slice_table_t **table);

/* A name for all processes that share the table: 16 hex digits. A constant of the table. */
const char *aq_slice_table_machine(const aq_slice_table_t *table);

/* The place of a counter at its limit's capacity, or none. */
aq_slice_place_t aq_slice_find(const aq_slice_table_t *table, const aq_counter_t *counter);

/*
 * The same, given one where it has none. `home` is the counter's name of its home, shorter than AQ_SLICE_HOME_WORDS * 8.
 * None where all places near are in use.
 */
aq_slice_place_t aq_slice_insert(aq_slice_table_t *table, const aq_counter_t *counter, const char *home,
                                 aq_time_ms_t boot_ms);

/* 1 where `cost` was spent; `*start` is then the window's, `*rest` what is left. */
int aq_slice_spend(const aq_slice_place_t *place, uint32_t cost, aq_time_ms_t boot_ms, uint32_t *start, uint32_t *rest);

/*
 * Puts back what was spent from the window that begins at `start`, where the place still holds that window, and then no
 * more than `most`. 0: it is to be given back to Redis.
 */
int aq_slice_unspend(const aq_slice_place_t *place, uint32_t start, uint32_t cost, uint32_t most);

/*
 * Puts `units` in, which were charged in Redis in the window that begins at `start` and may be spent until `dies_ms`. 0
 * where they cannot be held: they are to be given back.
 */
int aq_slice_put(const aq_slice_place_t *place, uint32_t start, uint32_t units, aq_time_ms_t dies_ms,
                 aq_time_ms_t boot_ms);

/* What a place holds, alive or not; `*start`: of which window. */
uint32_t aq_slice_rest(const aq_slice_place_t *place, uint32_t *start);

/* Takes out all that a place holds. 0: nothing. */
int aq_slice_take_out(const aq_slice_place_t *place, aq_time_ms_t boot_ms, aq_slice_rest_t *out);

/*
 * 1 where it is now this caller's to ask Redis for the next slice of `*want`, at least `cost`, which adapts to how long
 * the last one lasted. To be ended by aq_slice_ask_end; who dies is alone with it for `hold_ms`.
 */
int aq_slice_ask_begin(const aq_slice_place_t *place, uint32_t cost, aq_time_ms_t boot_ms, int64_t hold_ms,
                       uint32_t *want);

/* Ends it: so much was granted (0: nothing), and from now on nobody asks until `until_ms` (0: whoever likes). */
void aq_slice_ask_end(const aq_slice_place_t *place, uint32_t granted, aq_time_ms_t asked_ms, aq_time_ms_t until_ms);

/* Looks for a slice that is to be given back, from number `*at` on: it has been idle for `idle_ms`, or it is dead. 0: none. */
int aq_slice_sweep(const aq_slice_table_t *table, uint32_t *at, aq_time_ms_t boot_ms, int64_t idle_ms,
                   aq_slice_rest_t *out);

/* 1 for one of all processes each `pause_ms`: it is to sweep. */
int aq_slice_sweep_is_due(aq_slice_table_t *table, aq_time_ms_t boot_ms, int64_t pause_ms);

/* Notes the words of the counter as Redis said them; loads them: 0 where there are none. */
void aq_slice_words_note(const aq_slice_place_t *place, const uint64_t words[AQ_WINDOW_WORDS]);
int aq_slice_words_load(const aq_slice_place_t *place, uint64_t words[AQ_WINDOW_WORDS]);

/* So much of the window that begins at `start` was given back to Redis. */
void aq_slice_words_less(const aq_slice_place_t *place, uint32_t start, uint32_t cost);

#endif
