/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When more becomes available. See more.h.
 *
 * A store answers when 1 will fit into a counter that is used up. So it is asked of a limit that is as large as what is
 * used: 1 fits there just when one less is used than now.
 */
#include "limit/more.h"

/* 1 where room comes back before the window's end. */
static int is_asked(const aq_counter_t *counter)
{
    const aq_algorithm_t algorithm = counter->limit->window.algorithm;

    return (algorithm == AQ_ALGORITHM_SLIDING || algorithm == AQ_ALGORITHM_TOKEN_BUCKET) &&
           !counter->limit->rate.is_unlimited && counter->used > 0;
}

void aq_charge_more_at(const aq_charge_t *charge, aq_counter_store_t *store, aq_time_ms_t now_ms,
                       aq_time_ms_t more_at_ms[])
{
    aq_limit_t limits[AQ_LIMITS_MAX];
    aq_counter_t counters[AQ_LIMITS_MAX];
    unsigned of[AQ_LIMITS_MAX];
    unsigned asked = 0;

    for (unsigned i = 0; i < charge->count; i++) {
        const aq_counter_t *counter = &charge->counters[i];

        more_at_ms[i] = counter->reset_at_ms;
        if (is_asked(counter) && asked < AQ_LIMITS_MAX) {
            limits[asked] = *counter->limit;
            limits[asked].capacity = counter->used < limits[asked].capacity ? counter->used : limits[asked].capacity;
            counters[asked] = (aq_counter_t){
                .limit = &limits[asked], .key = counter->key, .home = store->has_homes ? counter->home : NULL};
            of[asked++] = i;
        }
    }
    if (asked == 0 || aq_counter_store_look(store, counters, asked, now_ms) != APR_SUCCESS) {
        return;
    }
    for (unsigned i = 0; i < asked; i++) {
        if (counters[i].remaining == 0) {
            more_at_ms[of[i]] = counters[i].fits_at_ms;
        }
    }
}
