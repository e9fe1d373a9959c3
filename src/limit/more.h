/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More: when a counter will have more left than it has now, as the IETF's `t` says it.
 *
 * X-RateLimit-Reset shows the end of the window. A sliding window gives room back long before it, sub-window by
 * sub-window, and a token bucket token by token; the store is asked once more for it, so this is for callers that show it.
 */
#ifndef AQ_MORE_H
#define AQ_MORE_H

#include "limit/charge.h"

/*
 * Fills `more_at_ms` (room for charge->count) with when each counter will have more left than now if nobody charges
 * meanwhile: AQ_TIME_NEVER where it never will. Nothing is counted. Where the store fails, the windows' ends stand in.
 */
void aq_charge_more_at(const aq_charge_t *charge, aq_counter_store_t *store, aq_time_ms_t now_ms,
                       aq_time_ms_t more_at_ms[]);

#endif
