/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reach: whether a limit can ever refuse anything beside a stricter one.
 */
#include "ctl/reach.h"

#define MONTH_LONGEST_S (31 * AQ_S_PER_DAY)
#define MONTH_SHORTEST_S (28 * AQ_S_PER_DAY)
#define NEVER_S (INT64_MAX / 4)

static int64_t longest_s(const aq_rate_t *rate)
{
    return rate->period == AQ_PERIOD_TOTAL   ? NEVER_S
           : rate->period == AQ_PERIOD_MONTH ? MONTH_LONGEST_S
                                             : (int64_t)rate->period_s;
}

static int64_t shortest_s(const aq_rate_t *rate)
{
    return rate->period == AQ_PERIOD_MONTH ? MONTH_SHORTEST_S : longest_s(rate);
}

static int is_judged(const aq_limit_t *limit)
{
    return !limit->rate.is_unlimited && limit->window.algorithm != AQ_ALGORITHM_CONCURRENT &&
           limit->window.algorithm != AQ_ALGORITHM_TOKEN_BUCKET && limit->per <= AQ_PER_TENANT;
}

static int is_same_window(const aq_window_t *a, const aq_window_t *b)
{
    return a->algorithm == b->algorithm && a->period == b->period && a->period_s == b->period_s &&
           a->anchor == b->anchor;
}

/* A fixed window of `limit` lies wholly in one of `other`: both begin with the epoch, or the month with a day. */
static int is_nested(const aq_limit_t *limit, const aq_limit_t *other)
{
    if (limit->window.algorithm != AQ_ALGORITHM_FIXED || other->window.algorithm == AQ_ALGORITHM_SLIDING ||
        limit->rate.period != AQ_PERIOD_SECONDS) {
        return 0;
    }
    return other->rate.period == AQ_PERIOD_SECONDS ? other->rate.period_s % limit->rate.period_s == 0
                                                   : AQ_S_PER_DAY % limit->rate.period_s == 0;
}

/* How many windows of `other` a window of `limit` touches at most. */
static uint64_t windows_touched(const aq_limit_t *limit, const aq_limit_t *other)
{
    if (other->rate.period == AQ_PERIOD_TOTAL || is_same_window(&limit->window, &other->window) ||
        is_nested(limit, other)) {
        return 1;
    }
    int64_t windows = longest_s(&limit->rate) / shortest_s(&other->rate) + 2;
    return (uint64_t)windows;
}

int aq_reach_is_hidden(const aq_limit_t *limit, const aq_limit_t *other)
{
    /* A key's own counter does not hold its tenant's other keys back. */
    if (!is_judged(limit) || !is_judged(other) || (limit->per == AQ_PER_TENANT && other->per == AQ_PER_KEY)) {
        return 0;
    }
    uint64_t through = other->rate.count;
    if (other->window.algorithm == AQ_ALGORITHM_SLIDING && !is_same_window(&limit->window, &other->window)) {
        through *= 2;
    }
    return limit->rate.count / windows_touched(limit, other) >= through;
}
