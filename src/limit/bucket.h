/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets: the arithmetic of two 64-bit words. Pure functions; window.h is what others call.
 *
 * The algorithm is GCRA (ITU-T I.371): all that is kept is TAT, the theoretical arrival time, at which the bucket is full
 * again. A token takes T, a bucket of B is empty when TAT lies B * T ahead of now. So one compare-and-swap of word 0
 * charges it. Word 1 changes only where the limit's COUNT does.
 *
 *      63                              32 31                    10 9        0
 *     +----------------------------------+------------------------+----------+
 *     |      TAT: sixths of a second     |  TAT: F-ths of those   |  T, code |     code 0: never charged
 *     +----------------------------------+------------------------+----------+
 *     |      left as it is               |       COUNT that TAT was made with|     0: not told yet
 *     +----------------------------------+-----------------------------------+
 *
 * TAT's upper half is what all words of counters begin with, so that a slot's age is told alike; it wraps after 22.7 years.
 * F is chosen for the rate, between 2^21 and 2^22, so that T = PERIOD / COUNT and the milliseconds of the clock are whole
 * numbers of F-ths: nothing is rounded. Only a rate whose COUNT / gcd(COUNT, 6 * PERIOD) has no such multiple (it is above
 * 8,388 then, as of 10,007 a second) has moments rounded to the next F-th, and one above 2^22 T as well: both so that
 * nothing comes early, by less than 80 ns each.
 *
 * Another COUNT rescales what is used, so that it is neither forgotten nor locked in: exactly, since word 1 tells what TAT
 * was made with. The code, a float of T of 6 bits of exponent and 4 of mantissa, rounded down, tells whether the two words
 * belong together. They do not for the instant between their writing, at a change of COUNT, or for good where that process
 * was killed just then: T is then what the code says, and what was used comes out up to a sixteenth and a sixth of a
 * second higher, once.
 *
 *      backlog = max(0, TAT - now)                  used = ceil(backlog / T), so that
 *      a charge of c fits where used + c <= B       is just                   backlog + c*T <= B*T
 *      and makes TAT = now + backlog + c*T
 *      given back:  TAT -= min(c*T, max(0, tau - now))    tau: TAT just after that charge
 *
 * Why not simply c*T: the part of a charge that has drained since is no longer in the bucket, and would be given from
 * what others have charged.
 */
#ifndef AQ_BUCKET_H
#define AQ_BUCKET_H

#include "base/aq_clock.h"

#include <stdint.h>

#define AQ_BUCKET_WORDS 2
/* T has to be longer than the code can tell. */
#define AQ_BUCKET_PER_S_MAX 100000
/* How long filling a bucket may take. */
#define AQ_BUCKET_FILL_S_MAX (INT64_C(366) * AQ_S_PER_DAY)
/*
 * A TAT that lies further ahead than a full bucket has it is believed for so long: the requests of a server do not agree
 * on the moment to the millisecond. Above that, the clock stepped back.
 */
#define AQ_BUCKET_SKEW_S 2

/* Times are in units: sixths of a second / `fraction`. */
typedef struct {
    int64_t token;     /* T */
    uint64_t size;     /* B */
    uint64_t count;    /* COUNT */
    uint32_t period_s; /* PERIOD */
    uint32_t fraction; /* F */
    uint32_t code;     /* of T */
} aq_bucket_t;

/* One bucket, looked at. */
typedef struct {
    uint64_t used;
    unsigned mended; /* a bit for each word that was rewritten: made with another T, or too far ahead */
} aq_bucket_look_t;

/* The bucket of `count` tokens in `period_s` (both >= 1) that holds `size`. */
aq_bucket_t aq_bucket(uint64_t count, uint32_t period_s, uint64_t size);

/* How long it takes to fill, in seconds, rounded up. */
int64_t aq_bucket_fill_s(const aq_bucket_t *bucket);

/* 1 where filling it takes longer than it may. */
int aq_bucket_is_too_large(const aq_bucket_t *bucket);

aq_bucket_look_t aq_bucket_look(const aq_bucket_t *bucket, uint64_t words[AQ_BUCKET_WORDS], aq_time_ms_t now_ms);

/* Word 0 after a charge of `cost`; `words` as they were looked at, and mended where the look did so. */
uint64_t aq_bucket_add(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS], uint32_t cost,
                       aq_time_ms_t now_ms);

/* What word 1 has to be before word 0 is charged. */
static inline uint64_t aq_bucket_count_word(const aq_bucket_t *bucket, uint64_t word)
{
    return (word & ~(uint64_t)UINT32_MAX) | bucket->count;
}

/* How many of the bucket's units make a second. */
static inline int64_t aq_bucket_units_per_s(const aq_bucket_t *bucket)
{
    return INT64_C(6) * bucket->fraction;
}

/*
 * Makes the words of a TAT that is kept as numbers: `seconds` since 1970 and `units` of this bucket (less than a second of
 * them). Both zero: never charged.
 */
void aq_bucket_words_make(const aq_bucket_t *bucket, uint64_t seconds, uint64_t units, uint64_t words[AQ_BUCKET_WORDS]);

/* Word 0 after `cost` was given back; `after` is what it was just after that charge, of this bucket. */
uint64_t aq_bucket_give_back(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS], uint64_t after,
                             uint32_t cost, aq_time_ms_t now_ms);

/* The first millisecond, from `now_ms` on, at which `cost` fits into a bucket of that T and of `size` >= cost. */
aq_time_ms_t aq_bucket_fits_at(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS], aq_time_ms_t now_ms,
                               uint64_t size, uint32_t cost);

#endif
