/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reach: whether a limit can ever refuse anything beside a stricter one.
 */
#include "ctl/reach.h"

#define MONTH_LONGEST_S ((uint64_t)31 * AQ_S_PER_DAY)
#define MONTH_SHORTEST_S ((uint64_t)28 * AQ_S_PER_DAY)

#define PARTS UINT64_C(6) /* of a sliding window; lengths are told in sixths of a second, as its parts are */

static uint64_t longest_s(const aq_limit_t *limit)
{
    return limit->rate.period == AQ_PERIOD_MONTH ? MONTH_LONGEST_S : limit->rate.period_s;
}

static uint64_t shortest_s(const aq_limit_t *limit)
{
    return limit->rate.period == AQ_PERIOD_MONTH ? MONTH_SHORTEST_S : limit->rate.period_s;
}

static int is_of(const aq_limit_t *limit, aq_algorithm_t algorithm)
{
    return limit->window.algorithm == algorithm;
}

static int is_judged(const aq_limit_t *limit)
{
    return !limit->rate.is_unlimited && !is_of(limit, AQ_ALGORITHM_CONCURRENT) && !limit->is_early &&
           limit->per <= AQ_PER_TENANT_ENDPOINT && limit->per != AQ_PER_ENDPOINT;
}

/* All that one counter of `limit` counts, one of `other` does, too. */
static int is_counted_by(const aq_limit_t *limit, const aq_limit_t *other)
{
    return other->per == AQ_PER_TENANT || (limit->per == AQ_PER_KEY && other->per == AQ_PER_KEY);
}

static int is_same_window(const aq_window_t *a, const aq_window_t *b)
{
    return a->algorithm == b->algorithm && a->period == b->period && a->period_s == b->period_s &&
           a->anchor == b->anchor;
}

/* A fixed window of `limit` lies wholly in one of `other`: both begin with the epoch, or the month with a day. */
static int is_nested(const aq_limit_t *limit, const aq_limit_t *other)
{
    if (!is_of(limit, AQ_ALGORITHM_FIXED) || !is_of(other, AQ_ALGORITHM_FIXED) ||
        limit->rate.period != AQ_PERIOD_SECONDS) {
        return 0;
    }
    return other->rate.period == AQ_PERIOD_SECONDS ? other->rate.period_s % limit->rate.period_s == 0
                                                   : AQ_S_PER_DAY % limit->rate.period_s == 0;
}

/* The most that `other` lets through within a stretch of so many sixths of a second, wherever it begins. */
static uint64_t let_through(const aq_limit_t *other, uint64_t sixths)
{
    const uint64_t count = other->rate.count, window = PARTS * shortest_s(other);
    const uint64_t known = (PARTS - 1) * shortest_s(other); /* of a sliding one: five parts are counted whole */

    switch (other->window.algorithm) {
    case AQ_ALGORITHM_FIXED:
        return count * (sixths / window + 2);
    case AQ_ALGORITHM_SLIDING:
        return count * ((sixths + known - 1) / known);
    case AQ_ALGORITHM_TOKEN_BUCKET:
        return other->capacity + (count * sixths + window - 1) / window;
    case AQ_ALGORITHM_TOTAL:
    case AQ_ALGORITHM_CONCURRENT:
        break;
    }
    return count;
}

/* A bucket refuses once more than its size and what flowed in was asked for, in a stretch of any length. */
static int is_bucket_hidden(const aq_limit_t *bucket, const aq_limit_t *other)
{
    const uint64_t sixths_s = is_of(other, AQ_ALGORITHM_SLIDING) ? PARTS - 1 : PARTS;
    const uint64_t at_once = is_of(other, AQ_ALGORITHM_TOKEN_BUCKET) ? other->capacity : let_through(other, 1);
    const int flows_faster = !is_of(other, AQ_ALGORITHM_TOTAL) && PARTS * other->rate.count * bucket->rate.period_s >
                                                                      sixths_s * bucket->rate.count * shortest_s(other);

    return at_once <= bucket->capacity && !flows_faster;
}

int aq_reach_is_hidden(const aq_limit_t *limit, const aq_limit_t *other)
{
    if (!is_judged(limit) || !is_judged(other) || !is_counted_by(limit, other)) {
        return 0;
    }
    if (is_of(other, AQ_ALGORITHM_TOTAL) && !is_of(limit, AQ_ALGORITHM_TOKEN_BUCKET)) {
        return limit->rate.count >= other->rate.count;
    }
    if (is_of(limit, AQ_ALGORITHM_TOTAL)) {
        return 0;
    }
    if (is_of(limit, AQ_ALGORITHM_TOKEN_BUCKET)) {
        return is_bucket_hidden(limit, other);
    }
    if (is_same_window(&limit->window, &other->window) || is_nested(limit, other)) {
        return limit->rate.count >= other->rate.count;
    }
    /* What slides out is still counted in part. */
    const uint64_t parts = is_of(limit, AQ_ALGORITHM_SLIDING) ? PARTS + 1 : PARTS;
    return limit->rate.count >= let_through(other, parts * longest_s(limit));
}
