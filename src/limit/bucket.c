/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of token buckets. See bucket.h. */
#include "limit/bucket.h"

#define TAT_BITS 54
#define CODE_BITS 10
#define CODE_MASK UINT64_C(0x3ff)
#define MANTISSA_BITS 4

__extension__ typedef unsigned __int128 uint128;

/* `time_ms` in units, rounded down. */
static int64_t units_at(aq_time_ms_t time_ms)
{
    return time_ms / AQ_MS_PER_S * AQ_BUCKET_UNITS_PER_S + time_ms % AQ_MS_PER_S * AQ_BUCKET_UNITS_PER_S / AQ_MS_PER_S;
}

/* The first millisecond that is not before `units`. */
static aq_time_ms_t time_at_ms(int64_t units)
{
    const uint128 thousandths = (uint128)units * (uint128)AQ_MS_PER_S;

    return (aq_time_ms_t)((thousandths + AQ_BUCKET_UNITS_PER_S - 1) / AQ_BUCKET_UNITS_PER_S);
}

/* T as a float, rounded down. T has more than four bits: see AQ_BUCKET_PER_S_MAX. */
static uint64_t code_of(int64_t token)
{
    const unsigned exponent = 63 - (unsigned)__builtin_clzll((uint64_t)token);
    const uint64_t mantissa = (uint64_t)token >> (exponent - MANTISSA_BITS) & ((1u << MANTISSA_BITS) - 1);

    return (uint64_t)exponent << MANTISSA_BITS | mantissa;
}

static uint64_t token_of(uint64_t code)
{
    const uint64_t exponent = code >> MANTISSA_BITS;
    const uint64_t mantissa = code & ((1u << MANTISSA_BITS) - 1);

    return exponent < MANTISSA_BITS ? 1 : (mantissa | 1u << MANTISSA_BITS) << (exponent - MANTISSA_BITS);
}

/* How far a word's TAT lies ahead of `now`; not above zero: the bucket is full, as one is that was never charged. */
static int64_t ahead(uint64_t word, int64_t now)
{
    const uint64_t difference = (word >> CODE_BITS) - (uint64_t)now;

    return (word & CODE_MASK) != 0 ? (int64_t)(difference << CODE_BITS) >> (64 - TAT_BITS) : 0;
}

static uint64_t word_make(const aq_bucket_t *bucket, int64_t tat)
{
    return (uint64_t)tat << CODE_BITS | code_of(bucket->token);
}

aq_bucket_t aq_bucket(uint64_t count, uint32_t period_s, uint64_t size)
{
    const uint64_t period = (uint64_t)period_s * (uint64_t)AQ_BUCKET_UNITS_PER_S;

    return (aq_bucket_t){.token = (int64_t)((period + count - 1) / count), .size = size};
}

static int64_t fill_units(const aq_bucket_t *bucket)
{
    return bucket->token * (int64_t)bucket->size;
}

int64_t aq_bucket_fill_s(const aq_bucket_t *bucket)
{
    return (fill_units(bucket) + AQ_BUCKET_UNITS_PER_S - 1) / AQ_BUCKET_UNITS_PER_S;
}

aq_bucket_look_t aq_bucket_look(const aq_bucket_t *bucket, uint64_t *word, aq_time_ms_t now_ms)
{
    const int64_t now = units_at(now_ms);
    const int64_t token = bucket->token;
    const int64_t full = fill_units(bucket);
    const uint64_t code = *word & CODE_MASK;
    int64_t backlog = ahead(*word, now);
    int is_mended = 0;

    if (backlog <= 0) {
        return (aq_bucket_look_t){0, 0};
    }
    if (code != code_of(token)) {
        const uint128 rescaled = ((uint128)backlog * (uint128)token + token_of(code) - 1) / token_of(code);

        backlog = rescaled < (uint128)full ? (int64_t)rescaled : full;
        is_mended = 1;
    } else if (backlog > full + AQ_BUCKET_SKEW_S * AQ_BUCKET_UNITS_PER_S) {
        backlog = full;
        is_mended = 1;
    }
    if (is_mended) {
        *word = word_make(bucket, now + backlog);
    }
    return (aq_bucket_look_t){(uint64_t)(backlog < full ? (backlog + token - 1) / token : (int64_t)bucket->size),
                              is_mended};
}

uint64_t aq_bucket_add(const aq_bucket_t *bucket, uint64_t word, uint32_t cost, aq_time_ms_t now_ms)
{
    const int64_t now = units_at(now_ms);
    const int64_t backlog = ahead(word, now);

    return word_make(bucket, now + (backlog > 0 ? backlog : 0) + (int64_t)cost * bucket->token);
}

uint64_t aq_bucket_give_back(const aq_bucket_t *bucket, uint64_t word, uint64_t after, uint32_t cost,
                             aq_time_ms_t now_ms)
{
    const int64_t now = units_at(now_ms);
    const uint64_t code = word & CODE_MASK;
    const int64_t taken = (int64_t)cost * bucket->token;
    const int64_t left = ahead(after, now);
    int64_t given = left < taken ? left : taken;

    if (given <= 0) {
        return word;
    }
    if (code != code_of(bucket->token)) {
        /* Another COUNT holds by now, and what is in the word is told in its T. */
        given = (int64_t)((uint128)given * token_of(code) / (uint128)bucket->token);
    }
    return word - ((uint64_t)given << CODE_BITS);
}

aq_time_ms_t aq_bucket_fits_at(const aq_bucket_t *bucket, uint64_t word, aq_time_ms_t now_ms, uint64_t size,
                               uint32_t cost)
{
    const int64_t now = units_at(now_ms);
    const int64_t excess = ahead(word, now) - ((int64_t)size - (int64_t)cost) * bucket->token;

    return excess > 0 ? time_at_ms(now + excess) : now_ms;
}
