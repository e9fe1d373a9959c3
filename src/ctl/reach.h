/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reach: whether a limit can ever refuse anything beside a stricter one.
 *
 *      |<---------------- period of the limit ---------------->|
 *   ...|....|.........|.........|.........|.........|.........|...      windows of the other one
 *
 * A stretch of the limit's length touches so many windows of the other; each lets its count through, a sliding one,
 * which is an estimate, up to twice that, and its count alone within five of its six parts, which it knows exactly. A
 * token bucket lets its size through, and what flows in meanwhile. If all of that does not pass the limit, it can never
 * refuse. The bound is a safe one: what is said to be out of reach is; what is not said may be too.
 */
#ifndef AQ_REACH_H
#define AQ_REACH_H

#include "limit/plan.h"

/*
 * 1 when `limit` can never refuse where `other` applies as well, to each request. Unlimited and concurrent ones are never
 * judged, nor those that count by anything but key, tenant, or a tenant's use of an endpoint.
 */
int aq_reach_is_hidden(const aq_limit_t *limit, const aq_limit_t *other);

#endif
