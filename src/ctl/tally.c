/* SPDX-License-Identifier: Apache-2.0 */
/* Tallies. See tally.h. */
#include "ctl/tally.h"

#define CHUNK_BITS 11 /* 2,048 places a chunk */
#define CHUNK_PLACES ((uint64_t)1 << CHUNK_BITS)
#define MS_PER_MINUTE (AQ_S_PER_MIN * AQ_MS_PER_S)

void aq_tally_refuse(aq_tally_t *tally, aq_time_ms_t now_ms)
{
    aq_time_ms_t minute_ms = now_ms - now_ms % MS_PER_MINUTE;

    if (tally->refused == 0 || minute_ms != tally->minute_ms) {
        tally->minute_ms = minute_ms;
        tally->minute_refused = 0;
    }
    tally->first_ms = tally->refused == 0 ? now_ms : tally->first_ms;
    tally->last_ms = now_ms;
    tally->refused++;
    tally->minute_refused++;
    if (tally->minute_refused > tally->worst_minute_refused) {
        tally->worst_minute_refused = tally->minute_refused;
        tally->worst_minute_ms = minute_ms;
    }
}

/* ---- needs ------------------------------------------------------------------------------------------------------ */

/*
 * Needs are kept less one. Chunk 0 has 0 to 2,047, chunk 1 has 2,048 to 4,095, each as they are; chunk c above has 2^(c +
 * 10) to 2^(c + 11) - 1 in steps of 2^(c - 1).
 */
static unsigned chunk_of(uint64_t value)
{
    unsigned chunk = 0;

    for (uint64_t rest = value >> CHUNK_BITS; rest > 0; rest >>= 1) {
        chunk++;
    }
    return chunk < AQ_NEED_CHUNKS ? chunk : AQ_NEED_CHUNKS - 1;
}

static unsigned step_bits(unsigned chunk)
{
    return chunk > 0 ? chunk - 1 : 0;
}

/* The largest need of a place. */
static uint64_t place_end(unsigned chunk, uint64_t place)
{
    uint64_t begin = chunk > 0 ? CHUNK_PLACES << (chunk - 1) : 0;

    return begin + ((place + 1) << step_bits(chunk));
}

void aq_needs_add(aq_needs_t *needs, uint64_t need)
{
    uint64_t value = need > 0 ? need - 1 : 0;
    unsigned chunk = chunk_of(value);
    uint64_t begin = chunk > 0 ? CHUNK_PLACES << (chunk - 1) : 0, place = (value - begin) >> step_bits(chunk);

    if (!needs->chunks[chunk]) {
        needs->chunks[chunk] = apr_pcalloc(needs->p, CHUNK_PLACES * sizeof(uint64_t));
    }
    needs->chunks[chunk][place < CHUNK_PLACES ? place : CHUNK_PLACES - 1]++;
    needs->count++;
    needs->most = need > needs->most ? need : needs->most;
}

uint64_t aq_needs_limit(const aq_needs_t *needs, unsigned per_mille, int *is_exact)
{
    /* A product of 128 bits is not needed: 2^64 / 1,000 lines will not be read. */
    uint64_t allowed = needs->count * per_mille / 1000, above = needs->count;

    *is_exact = 1;
    for (unsigned chunk = 0; above > 0 && chunk < AQ_NEED_CHUNKS; chunk++) {
        for (uint64_t place = 0; needs->chunks[chunk] && place < CHUNK_PLACES; place++) {
            above -= needs->chunks[chunk][place];
            if (above <= allowed) {
                uint64_t end = place_end(chunk, place);
                *is_exact = step_bits(chunk) == 0 || end >= needs->most;
                return end < needs->most ? end : needs->most;
            }
        }
    }
    return 0;
}
