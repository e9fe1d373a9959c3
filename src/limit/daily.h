/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daily use: what each tenant has used on each of the last days, counted as one limit more of its plan.
 *
 * That limit is unlimited, per tenant, in a sliding window of six days: its seven words are the counts of seven days (UTC),
 * so who asks within six days of a day's end finds the whole of it. It refuses nobody and shows nowhere. All limits of a
 * plan are charged together, so what it has counted is what each of them was charged.
 */
#ifndef AQ_DAILY_H
#define AQ_DAILY_H

#include "limit/counter_store.h"

#define AQ_DAILY_NAME "daily-use"
#define AQ_DAILY_DAYS AQ_WINDOW_WORDS

/* What was used on the day that begins at `day_ms`. */
typedef struct {
    aq_time_ms_t day_ms;
    uint64_t used;
} aq_daily_t;

/* Adds that limit to a plan. APR_EGENERAL and a sentence in `p` at `*error` where it has no room for one more. */
apr_status_t aq_daily_add(apr_pool_t *p, aq_plan_t *plan, const char **error);

/* The limit of a plan; NULL: none. */
const aq_limit_t *aq_daily_of(const aq_plan_t *plan);

/* 1 for such a limit, which is not to be shown among the others. */
int aq_daily_is(const aq_limit_t *limit);

/* The days in `words`, the newest (that of `now_ms`) first. Pure. */
void aq_daily_read(const aq_limit_t *limit, const uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t now_ms,
                   aq_daily_t days[AQ_DAILY_DAYS]);

#endif
