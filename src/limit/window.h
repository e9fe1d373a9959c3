/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: the arithmetic of counters. Pure functions over seven words and a moment; no clock, no memory of its own.
 *
 * A counter is seven 64-bit words. Each names the window it counts in:
 *
 *      63            32 31             0
 *     +----------------+----------------+
 *     |     start      |     count      |     start: sixths of a second since 1970, modulo 2^32 (22.7 years)
 *     +----------------+----------------+     count: requests (cost) in that window; saturates at 2^32 - 1
 *
 * so that roll-over and increment are one compare-and-swap. A sixth of a second is the unit since a sliding window is
 * cut into six: the sub-windows of any whole number of seconds begin on it. Starts compare as serial numbers (RFC 1982).
 *
 *   fixed    word 0: the window floor(now / P), or the calendar month, or (total) the one window that starts at 0
 *   sliding  word k mod 7: sub-window k = floor(now / q), q = P / 6. Six are counted whole; the seventh slides out:
 *
 *            k-6     k-5    k-4    k-3    k-2    k-1     k
 *          |--o---|------|------|------|------|------|---n--|
 *              ^.........................................^ now      used = ceil(o * (q - e) / q) + n
 *
 *            o: count of k-6; n: the sum of the six from k-5 to k; e: time into k. Only word k ever grows.
 *
 *   token-bucket  words 0 and 1, of another make: see bucket.h
 *   concurrent    a store's own matter: what is counted is not requests made, but those that have not ended. Here word 0
 *                 holds their number, for a store that nobody else shares.
 *
 * A word of count 0 is empty whatever its start. A word whose start is no start of this window's (left by another use of
 * the slot) counts as empty.
 *
 * A clock that stepped back shows as words of the future. Within one period of now they ARE the current window; further
 * ahead the count is moved to the present (aq_window_look mends the word). So a step back never gives credit, and nobody
 * waits for more than one window longer than anybody does without it. A step forward ends windows, no more.
 */
#ifndef AQ_WINDOW_H
#define AQ_WINDOW_H

#include "limit/bucket.h"
#include "limit/rate.h"

#define AQ_WINDOW_WORDS 7
#define AQ_WINDOW_SUBS 6
#define AQ_TIME_NEVER INT64_MAX

/* The first three count in words of a start and a count; the others differ. */
typedef enum {
    AQ_ALGORITHM_FIXED,
    AQ_ALGORITHM_SLIDING,
    AQ_ALGORITHM_TOTAL,
    AQ_ALGORITHM_TOKEN_BUCKET,
    AQ_ALGORITHM_CONCURRENT
} aq_algorithm_t;

/* The day on which months begin: 1 to 31, or the tenant's billing day, which counts as the first until it is known. */
#define AQ_ANCHOR_TENANT 0

/* What kind of counter: with the limit's name and the subject, its identity (but for the bucket's T and size). */
typedef struct {
    aq_algorithm_t algorithm;
    aq_period_t period;
    uint32_t period_s;  /* for AQ_PERIOD_SECONDS */
    int anchor;         /* for AQ_PERIOD_MONTH; 29 to 31: in shorter months the last day */
    aq_bucket_t bucket; /* for AQ_ALGORITHM_TOKEN_BUCKET */
} aq_window_t;

/* The day on which a month of that window begins, 1 to 31. */
static inline int aq_window_first_day(const aq_window_t *window)
{
    return window->anchor > 1 ? window->anchor : 1;
}

/* When a concurrent limit has room again nobody knows: so long a refused client is told to wait. */
#define AQ_CONCURRENT_RETRY_MS INT64_C(1000)

/* Where a moment lies in a window. Made by aq_window_locate. */
typedef struct {
    uint32_t start;      /* of the current (sub-)window, in the unit of the words */
    uint32_t length;     /* of one (sub-)window in that unit; 0 for total */
    unsigned index;      /* which word is the current one */
    aq_time_ms_t now_ms; /* the moment, perhaps moved forward to a window that has already begun */
} aq_window_place_t;

/* Instead of bits: the counter is a concurrent one, and a store that shares it with other processes must look itself. */
#define AQ_LOOK_MEMBERS (1u << AQ_WINDOW_WORDS)

/* One counter, looked at. */
typedef struct {
    uint64_t used; /* counted at this moment, weighted for sliding windows, rounded up */
    unsigned
        mended; /* a bit for each word that was rewritten, see aq_window_look; nearly always 0; or AQ_LOOK_MEMBERS */
    aq_window_place_t place; /* where a charge would go */
} aq_window_look_t;

/* Locates `now_ms` (>= 0), without regard to what the words hold. */
aq_window_place_t aq_window_locate(const aq_window_t *window, aq_time_ms_t now_ms);

/*
 * Looks at a counter. Words of the near future move `place` forward to the newest window among them. `words` is the
 * caller's copy: where one lies ahead of now by more than a period, which only a clock that stepped back can leave
 * behind, it is rewritten to the present, its count kept, and its bit in `mended` set. A store writes such a word back
 * when it charges, or tries to.
 */
void aq_window_look(const aq_window_t *window, uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t now_ms,
                    aq_window_look_t *look);

/* The word of a window of a start and a count (at `place->index`) after `cost` more. Saturates. */
static inline uint64_t aq_window_word_add(const aq_window_place_t *place, uint64_t word, uint32_t cost)
{
    const uint64_t count = (uint32_t)(word >> 32) == place->start ? (uint64_t)(uint32_t)word + cost : cost;

    return (uint64_t)place->start << 32 | (count < UINT32_MAX ? count : UINT32_MAX);
}

/* The same for every algorithm: what the word at `place->index` of `words` becomes. */
uint64_t aq_window_word_charge(const aq_window_t *window, const aq_window_place_t *place,
                               const uint64_t words[AQ_WINDOW_WORDS], uint32_t cost);

/* The word after `cost` was given back: unchanged where it names another window than `start`; never below zero. */
uint64_t aq_window_word_give_back(uint64_t word, uint32_t start, uint32_t cost);

/*
 * The same for every algorithm. `after` is what the word was just after that charge; `second` is word 1, which means
 * something where `word` is a token bucket's.
 */
uint64_t aq_window_word_uncharge(const aq_window_t *window, uint64_t word, uint64_t second, uint64_t after,
                                 uint32_t cost, aq_time_ms_t now_ms);

/* The word of the same window with nothing counted in it; of a token bucket, one that is full. Not for concurrent ones. */
static inline uint64_t aq_window_word_empty(const aq_window_t *window, uint64_t word, aq_time_ms_t now_ms)
{
    return window->algorithm == AQ_ALGORITHM_TOKEN_BUCKET ? (uint64_t)aq_window_locate(window, now_ms).start << 32
                                                          : word & ~(uint64_t)UINT32_MAX;
}

/*
 * When `cost` more will fit under `limit` if nobody else charges: place.now_ms where it fits now, AQ_TIME_NEVER where it
 * never will. Exact: one millisecond earlier it does not fit. For sliding windows a walk over at most seven sub-windows.
 * For concurrent ones, which ask for one place whatever the cost, a guess: AQ_CONCURRENT_RETRY_MS from now.
 * `words` as aq_window_look left them.
 */
aq_time_ms_t aq_window_fits_at(const aq_window_t *window, const uint64_t words[AQ_WINDOW_WORDS],
                               const aq_window_look_t *look, uint64_t limit, uint32_t cost);

/*
 * The end of the whole window that holds `now_ms`, as clients see it (a sliding minute ends with the minute of the
 * clock: sub-windows do not show). AQ_TIME_NEVER where there are no such windows.
 */
static inline aq_time_ms_t aq_window_end_ms(const aq_window_t *window, aq_time_ms_t now_ms)
{
    const aq_time_ms_t period_ms = (aq_time_ms_t)window->period_s * AQ_MS_PER_S;

    if (window->period == AQ_PERIOD_SECONDS) {
        return now_ms - now_ms % period_ms + period_ms;
    }
    return window->period == AQ_PERIOD_MONTH ? aq_clock_anchored_month_start_ms(now_ms, 1, aq_window_first_day(window))
                                             : AQ_TIME_NEVER;
}

/* When a token bucket is full again; AQ_TIME_NEVER for all others. `words` and `look` as for aq_window_fits_at. */
aq_time_ms_t aq_window_full_ms(const aq_window_t *window, const uint64_t words[AQ_WINDOW_WORDS],
                               const aq_window_look_t *look);

/*
 * The length in seconds of the window that holds `now_ms`, as the IETF's `w`: for a token bucket the time in which an empty
 * one fills. 0 for total and concurrent.
 */
int64_t aq_window_length_s(const aq_window_t *window, aq_time_ms_t now_ms);

/*
 * How many seconds after the start of its newest word a counter can still matter, at most; INT64_MAX: for ever. The start
 * of a token bucket's word is when it is full again. Not for concurrent ones.
 */
int64_t aq_window_life_s(const aq_window_t *window);

#endif
