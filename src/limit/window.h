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
 * A word of count 0 is empty whatever its start. A word whose start is no start of this window's (left by another use of
 * the slot) counts as empty.
 *
 * A clock that stepped back shows as words of the future. Within one period of now they ARE the current window; further
 * ahead the count is moved to the present (aq_window_look mends the word). So a step back never gives credit, and nobody
 * waits for more than one window longer than anybody does without it. A step forward ends windows, no more.
 */
#ifndef AQ_WINDOW_H
#define AQ_WINDOW_H

#include "base/aq_clock.h"
#include "limit/rate.h"

#define AQ_WINDOW_WORDS 7
#define AQ_WINDOW_SUBS 6
#define AQ_TIME_NEVER INT64_MAX

typedef enum { AQ_ALGORITHM_FIXED, AQ_ALGORITHM_SLIDING, AQ_ALGORITHM_TOTAL } aq_algorithm_t;

/* What kind of counter: with the limit's name and the subject, its identity. */
typedef struct {
    aq_algorithm_t algorithm;
    aq_period_t period;
    uint32_t period_s; /* for AQ_PERIOD_SECONDS */
} aq_window_t;

/* Where a moment lies in a window. Made by aq_window_locate. */
typedef struct {
    uint32_t start;      /* of the current (sub-)window, in the unit of the words */
    uint32_t length;     /* of one (sub-)window in that unit; 0 for total */
    unsigned index;      /* which word is the current one */
    aq_time_ms_t now_ms; /* the moment, perhaps moved forward to a window that has already begun */
} aq_window_place_t;

/* One counter, looked at. */
typedef struct {
    uint64_t used;           /* counted at this moment, weighted for sliding windows, rounded up */
    unsigned mended;         /* a bit for each word that was rewritten, see aq_window_look; nearly always 0 */
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

/* The word at `place->index` after `cost` more. `word` is its present value. Saturates. */
static inline uint64_t aq_window_word_add(const aq_window_place_t *place, uint64_t word, uint32_t cost)
{
    const uint64_t count = (uint32_t)(word >> 32) == place->start ? (uint64_t)(uint32_t)word + cost : cost;

    return (uint64_t)place->start << 32 | (count < UINT32_MAX ? count : UINT32_MAX);
}

/* The word after `cost` was given back: unchanged where it names another window than `start`; never below zero. */
uint64_t aq_window_word_give_back(uint64_t word, uint32_t start, uint32_t cost);

/*
 * When `cost` more will fit under `limit` if nobody else charges: place.now_ms where it fits now, AQ_TIME_NEVER where it
 * never will. Exact: one millisecond earlier it does not fit. For sliding windows a walk over at most seven sub-windows.
 * `words` as aq_window_look left them.
 */
aq_time_ms_t aq_window_fits_at(const aq_window_t *window, const uint64_t words[AQ_WINDOW_WORDS],
                               const aq_window_look_t *look, uint64_t limit, uint32_t cost);

/*
 * The end of the whole window that holds `now_ms`, as clients see it (a sliding minute ends with the minute of the
 * clock: sub-windows do not show). AQ_TIME_NEVER for total.
 */
static inline aq_time_ms_t aq_window_end_ms(const aq_window_t *window, aq_time_ms_t now_ms)
{
    const aq_time_ms_t period_ms = (aq_time_ms_t)window->period_s * AQ_MS_PER_S;

    if (window->period == AQ_PERIOD_SECONDS) {
        return now_ms - now_ms % period_ms + period_ms;
    }
    return window->period == AQ_PERIOD_MONTH ? aq_clock_month_start_ms(now_ms, 1) : AQ_TIME_NEVER;
}

/* How many seconds after the start of its newest word a counter can still matter, at most; INT64_MAX: for ever. */
int64_t aq_window_life_s(const aq_window_t *window);

#endif
