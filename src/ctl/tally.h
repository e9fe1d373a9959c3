/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tallies: what a replay keeps of refusals, and of how much room requests needed.
 *
 * A need is the count that a limit must have for a request to pass where nothing was refused before it: what its counter
 * has used, the request included. Needs are kept as a histogram, so that the memory does not grow with the requests:
 *
 *     1 … 4,096           one place each: exact
 *     each doubling above  2,048 places: a need is rounded up by at most 0.05 %
 *
 * Which limit would have refused a share of the requests is read from it. In a fixed window, and in a total, that is
 * what this limit alone would have done: the first COUNT pass, and all others, for which the counter had more already,
 * are refused. In a sliding window it is a limit that suffices: refused requests are not counted, so that a smaller one
 * might refuse as few.
 */
#ifndef AQ_TALLY_H
#define AQ_TALLY_H

#include "base/aq_clock.h"

#include <apr_pools.h>

#define AQ_NEED_CHUNKS 22

typedef struct {
    uint64_t requests, refused;
    aq_time_ms_t first_ms, last_ms; /* refusals; 0: none */
    aq_time_ms_t worst_minute_ms;   /* the first minute of the clock with the most refusals, and how many they were */
    uint64_t worst_minute_refused;
    /* the minute that is being counted */
    aq_time_ms_t minute_ms;
    uint64_t minute_refused;
} aq_tally_t;

/* Counts a refusal. `now_ms` never lies before the last one's. */
void aq_tally_refuse(aq_tally_t *tally, aq_time_ms_t now_ms);

typedef struct {
    apr_pool_t *p;
    uint64_t count, most;             /* how many needs, and the largest */
    uint64_t *chunks[AQ_NEED_CHUNKS]; /* NULL: nothing there yet */
} aq_needs_t;

/* Adds a need of 1 to 2^33. `needs->p` is set by the owner, the rest zeroed. */
void aq_needs_add(aq_needs_t *needs, uint64_t need);

/*
 * The smallest limit that at most `per_mille` of 1,000 needs exceed, rounded up as above; at least 1. `*is_exact` is 0
 * where rounding may have changed it. 0 where there are no needs.
 */
uint64_t aq_needs_limit(const aq_needs_t *needs, unsigned per_mille, int *is_exact);

#endif
