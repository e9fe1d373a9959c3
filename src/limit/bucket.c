/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of token buckets. See bucket.h. */
#include "limit/bucket.h"

#define SIXTHS_PER_S 6
#define FRACTION_MAX (UINT32_C(1) << 22)
/* 500 F-ths of a sixth of a second are three milliseconds' worth: a multiple of it tells milliseconds exactly. */
#define MS_DIVISOR 500
/* What rounds a quotient of milliseconds up. */
#define MS_UP ((uint128)AQ_MS_PER_S - 1)
#define CODE_BITS 10
#define CODE_MASK UINT64_C(0x3ff)
#define MANTISSA_BITS 4
#define BOTH_WORDS 3u

__extension__ typedef unsigned __int128 uint128;

/* ---- rates --------------------------------------------------------------------------------------------------------- */

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* F: a multiple of what T needs, and of what milliseconds need if both fit; else of the first, or none. */
static uint32_t fraction_of(uint64_t count, uint64_t period_sixths)
{
    const uint64_t of_token = count / common_divisor(count, period_sixths);
    const uint64_t of_both = of_token / common_divisor(of_token, MS_DIVISOR) * MS_DIVISOR;
    const uint64_t needed = of_both <= FRACTION_MAX ? of_both : of_token <= FRACTION_MAX ? of_token : 1;

    return (uint32_t)(FRACTION_MAX / needed * needed);
}

static uint64_t token_units(uint64_t count, uint64_t period_sixths, uint32_t fraction)
{
    return (period_sixths * fraction + count - 1) / count;
}

/* T as a float, rounded down. It has more than four bits: see AQ_BUCKET_PER_S_MAX. */
static uint32_t code_of(uint64_t token)
{
    const unsigned exponent = 63 - (unsigned)__builtin_clzll(token);
    const uint64_t mantissa = token >> (exponent - MANTISSA_BITS) & ((1u << MANTISSA_BITS) - 1);

    return (uint32_t)((uint64_t)exponent << MANTISSA_BITS | mantissa);
}

static uint64_t token_of(uint64_t code)
{
    const uint64_t exponent = code >> MANTISSA_BITS;
    const uint64_t mantissa = code & ((1u << MANTISSA_BITS) - 1);

    return exponent < MANTISSA_BITS ? 1 : (mantissa | 1u << MANTISSA_BITS) << (exponent - MANTISSA_BITS);
}

aq_bucket_t aq_bucket(uint64_t count, uint32_t period_s, uint64_t size)
{
    const uint64_t period_sixths = (uint64_t)period_s * SIXTHS_PER_S;
    const uint32_t fraction = fraction_of(count, period_sixths);

    return (aq_bucket_t){
        .token = (int64_t)token_units(count, period_sixths, fraction),
        .size = size,
        .count = count,
        .period_s = period_s,
        .fraction = fraction,
        .code = code_of(token_units(count, period_sixths, FRACTION_MAX)),
    };
}

static int64_t fill_units(const aq_bucket_t *bucket)
{
    return bucket->token * (int64_t)bucket->size;
}

int64_t aq_bucket_fill_s(const aq_bucket_t *bucket)
{
    return (fill_units(bucket) + aq_bucket_units_per_s(bucket) - 1) / aq_bucket_units_per_s(bucket);
}

int aq_bucket_is_too_large(const aq_bucket_t *bucket)
{
    return (uint64_t)(AQ_BUCKET_FILL_S_MAX * aq_bucket_units_per_s(bucket) / bucket->token) < bucket->size;
}

/* ---- moments ------------------------------------------------------------------------------------------------------- */

/* `time_ms` in units, rounded down, or up. */
static int64_t units_at(const aq_bucket_t *bucket, aq_time_ms_t time_ms, int is_up)
{
    const uint128 thousandths = (uint128)time_ms * (uint128)aq_bucket_units_per_s(bucket);

    return (int64_t)((thousandths + (is_up ? MS_UP : 0)) / (uint128)AQ_MS_PER_S);
}

/* The first millisecond that is not before `units`. */
static aq_time_ms_t time_at_ms(const aq_bucket_t *bucket, int64_t units)
{
    const uint128 thousandths = (uint128)units * (uint128)AQ_MS_PER_S;
    const uint128 per_s = (uint128)aq_bucket_units_per_s(bucket);

    return (aq_time_ms_t)((thousandths + per_s - 1) / per_s);
}

/* ---- words --------------------------------------------------------------------------------------------------------- */

/* How far a word's TAT lies ahead of `now`; not above zero: the bucket is full, as one is that was never charged. */
static int64_t ahead(const aq_bucket_t *bucket, uint64_t word, int64_t now)
{
    const int64_t fraction = bucket->fraction;
    const int32_t sixths = (int32_t)((uint32_t)(word >> 32) - (uint32_t)(now / fraction));

    return (word & CODE_MASK) != 0 ? sixths * fraction + ((int64_t)((uint32_t)word >> CODE_BITS) - now % fraction) : 0;
}

static uint64_t word_make(const aq_bucket_t *bucket, int64_t tat)
{
    return (uint64_t)(tat / bucket->fraction) << 32 | (uint64_t)(tat % bucket->fraction) << CODE_BITS | bucket->code;
}

/* 1 where the words were made with the rate of `bucket`. */
static inline int is_own(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS])
{
    const uint32_t count = (uint32_t)words[1];

    return (words[0] & CODE_MASK) == bucket->code && (count == bucket->count || count == 0);
}

/* The bucket that the words, which are not those of `bucket`, were made with; its `count` is 0 where only the code tells. */
static aq_bucket_t maker_of(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS])
{
    const uint32_t count = (uint32_t)words[1];
    const uint64_t code = words[0] & CODE_MASK;

    if (count != 0) {
        const aq_bucket_t maker = aq_bucket(count, bucket->period_s, bucket->size);

        if (maker.code == code) {
            return maker;
        }
    }
    return (aq_bucket_t){.token = (int64_t)token_of(code), .fraction = FRACTION_MAX};
}

/* What is in the words, told in the T of `bucket`: rounded up. */
static int64_t backlog_rescaled(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS], aq_time_ms_t now_ms)
{
    const aq_bucket_t maker = maker_of(bucket, words);
    int64_t backlog = ahead(&maker, words[0], units_at(&maker, now_ms, 0));

    /* Of what was counted as F-ths of another F nothing is known but that it is less than a sixth of a second. */
    backlog += maker.count == 0 ? FRACTION_MAX : 0;
    if (backlog <= 0) {
        return 0;
    }
    const uint128 rescaled =
        ((uint128)backlog * (uint128)bucket->token + (uint128)maker.token - 1) / (uint128)maker.token;
    const int64_t full = fill_units(bucket);

    return rescaled < (uint128)full ? (int64_t)rescaled : full;
}

aq_bucket_look_t aq_bucket_look(const aq_bucket_t *bucket, uint64_t words[AQ_BUCKET_WORDS], aq_time_ms_t now_ms)
{
    const int64_t now = units_at(bucket, now_ms, 0);
    const int64_t token = bucket->token;
    const int64_t full = fill_units(bucket);
    const int is_others = !is_own(bucket, words) && (words[0] & CODE_MASK) != 0;
    int64_t backlog = is_others ? backlog_rescaled(bucket, words, now_ms) : ahead(bucket, words[0], now);
    int is_mended = is_others;

    if (backlog <= 0) {
        return (aq_bucket_look_t){0, 0};
    }
    if (backlog > full + AQ_BUCKET_SKEW_S * aq_bucket_units_per_s(bucket)) {
        backlog = full;
        is_mended = 1;
    }
    if (is_mended) {
        words[0] = word_make(bucket, now + backlog);
        words[1] = aq_bucket_count_word(bucket, words[1]);
    }
    return (aq_bucket_look_t){(uint64_t)(backlog < full ? (backlog + token - 1) / token : (int64_t)bucket->size),
                              is_mended ? BOTH_WORDS : 0};
}

void aq_bucket_words_make(const aq_bucket_t *bucket, uint64_t seconds, uint64_t units, uint64_t words[AQ_BUCKET_WORDS])
{
    words[0] = words[1] = 0;
    if (seconds + units != 0) {
        words[0] = word_make(bucket, (int64_t)seconds * aq_bucket_units_per_s(bucket) + (int64_t)units);
        words[1] = aq_bucket_count_word(bucket, 0);
    }
}

uint64_t aq_bucket_add(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS], uint32_t cost,
                       aq_time_ms_t now_ms)
{
    const int64_t now = units_at(bucket, now_ms, 0);
    /* What another rate made was mended, unless it had drained. */
    const int64_t backlog = is_own(bucket, words) ? ahead(bucket, words[0], now) : 0;
    const int64_t begin = backlog > 0 ? now + backlog : units_at(bucket, now_ms, 1);

    return word_make(bucket, begin + (int64_t)cost * bucket->token);
}

static uint64_t word_subtract(const aq_bucket_t *bucket, uint64_t word, int64_t units)
{
    int64_t parts = (int64_t)((uint32_t)word >> CODE_BITS) - units % bucket->fraction;
    uint32_t sixths = (uint32_t)(word >> 32) - (uint32_t)(units / bucket->fraction);

    if (parts < 0) {
        parts += bucket->fraction;
        sixths--;
    }
    return (uint64_t)sixths << 32 | (uint64_t)parts << CODE_BITS | (word & CODE_MASK);
}

uint64_t aq_bucket_give_back(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS], uint64_t after,
                             uint32_t cost, aq_time_ms_t now_ms)
{
    const int64_t taken = (int64_t)cost * bucket->token;
    const int64_t left = ahead(bucket, after, units_at(bucket, now_ms, 0));
    const int64_t given = left < taken ? left : taken;
    aq_bucket_t maker;

    if (given <= 0) {
        return words[0];
    }
    if (is_own(bucket, words)) {
        return word_subtract(bucket, words[0], given);
    }
    /* Another COUNT holds by now, and what is in the word is told in its T. */
    maker = maker_of(bucket, words);
    return maker.count != 0 ? word_subtract(&maker, words[0],
                                            (int64_t)((uint128)given * (uint128)maker.token / (uint128)bucket->token))
                            : words[0];
}

aq_time_ms_t aq_bucket_fits_at(const aq_bucket_t *bucket, const uint64_t words[AQ_BUCKET_WORDS], aq_time_ms_t now_ms,
                               uint64_t size, uint32_t cost)
{
    const int64_t now = units_at(bucket, now_ms, 0);
    const int64_t excess =
        is_own(bucket, words) ? ahead(bucket, words[0], now) - ((int64_t)size - (int64_t)cost) * bucket->token : 0;

    return excess > 0 ? time_at_ms(bucket, now + excess) : now_ms;
}
