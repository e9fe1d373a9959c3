/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets: the arithmetic of one 64-bit word. Pure functions; window.h is what others call.
 *
 * The algorithm is GCRA (ITU-T I.371): all that is kept is TAT, the theoretical arrival time, at which the bucket is full
 * again. A token takes T, a bucket of B is empty when TAT lies B * T ahead of now. So one compare-and-swap charges it.
 *
 *      63                              32 31                    10 9        0
 *     +----------------------------------+------------------------+----------+
 *     |      TAT: sixths of a second     |  TAT: 2^-22 of those   |  T, code |     code 0: never charged
 *     +----------------------------------+------------------------+----------+
 *
 * TAT's upper half is what all words of counters begin with, so that a slot's age is told alike. Its unit is a sixth of a
 * second / 2^22 (39.7 ns), modulo 22.7 years. T is PERIOD / COUNT in that unit, rounded up: a bucket never gives faster
 * than it says, and slower by one part in T at most (at 1,000 a second: 1 in 25,166).
 *
 * The word tells what T its TAT was made with, so that another COUNT rescales what is used and has it neither forgotten
 * nor locked in: a float of 6 bits of exponent and 4 of mantissa, rounded down. What was used comes out up to a sixteenth
 * higher by that, never lower. (Two T of one code are not told apart: then what is used is a sixteenth off, either way.)
 *
 *      backlog = max(0, TAT - now)                  used = ceil(backlog / T), so that
 *      a charge of c fits where used + c <= B       is just                   backlog + c*T <= B*T
 *      and makes TAT = now + backlog + c*T
 *      given back:  TAT -= min(c*T, max(0, tau - now))    tau: TAT just after that charge
 *
 * (to one unit a token, where several charges are given back whose T was rounded.)
 *
 * Why not simply c*T: the part of a charge that has drained since is no longer in the bucket, and would be given from
 * what others have charged.
 */
#ifndef AQ_BUCKET_H
#define AQ_BUCKET_H

#include "base/aq_clock.h"

#include <stdint.h>

#define AQ_BUCKET_UNITS_PER_S (INT64_C(6) << 22)
/* A faster bucket would give 0.4 % less than it says. */
#define AQ_BUCKET_PER_S_MAX 100000
/* How long filling a bucket may take. */
#define AQ_BUCKET_FILL_S_MAX (INT64_C(366) * AQ_S_PER_DAY)
/*
 * A TAT that lies further ahead than a full bucket has it is believed for so long: the requests of a server do not agree
 * on the moment to the millisecond. Above that, the clock stepped back.
 */
#define AQ_BUCKET_SKEW_S 2

typedef struct {
    int64_t token; /* T */
    uint64_t size; /* B */
} aq_bucket_t;

/* One bucket, looked at. */
typedef struct {
    uint64_t used;
    int is_mended; /* the word was rewritten: made with another T, or too far ahead */
} aq_bucket_look_t;

/* The bucket of `count` tokens in `period_s` (both >= 1) that holds `size`. */
aq_bucket_t aq_bucket(uint64_t count, uint32_t period_s, uint64_t size);

/* How long it takes to fill, in seconds, rounded up. */
int64_t aq_bucket_fill_s(const aq_bucket_t *bucket);

aq_bucket_look_t aq_bucket_look(const aq_bucket_t *bucket, uint64_t *word, aq_time_ms_t now_ms);

/* The word after a charge of `cost`. */
uint64_t aq_bucket_add(const aq_bucket_t *bucket, uint64_t word, uint32_t cost, aq_time_ms_t now_ms);

/* The word after `cost` was given back; `after` is what the word was just after that charge. */
uint64_t aq_bucket_give_back(const aq_bucket_t *bucket, uint64_t word, uint64_t after, uint32_t cost,
                             aq_time_ms_t now_ms);

/* The first millisecond, from `now_ms` on, at which `cost` fits into a bucket of that T and of `size` >= cost. */
aq_time_ms_t aq_bucket_fits_at(const aq_bucket_t *bucket, uint64_t word, aq_time_ms_t now_ms, uint64_t size,
                               uint32_t cost);

#endif
