/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charge: one request against all its limits, and its settling.
 *
 * aq_charge_take looks at all limits and takes all of them or none. What it leaves behind (receipts with window ids)
 * lets aq_charge_settle give the charge back to the very windows it came from, once. The charge remembers what to tell
 * the client: which limit is primary, which one refused, how long to wait.
 */
#ifndef AQ_CHARGE_H
#define AQ_CHARGE_H

#include "limit/counter_store.h"

typedef enum {
    AQ_CHARGE_OPEN,   /* not taken yet */
    AQ_CHARGE_TAKEN,  /* counted against every limit */
    AQ_CHARGE_DENIED, /* counted against none */
    AQ_CHARGE_FREE    /* was taken, and given back */
} aq_charge_state_t;

typedef struct {
    aq_charge_state_t state;
    uint32_t cost;
    unsigned count;          /* of counters */
    unsigned traits;         /* of all limits whose counters were set */
    int primary;             /* index of the counter that the unsuffixed headers show; -1: none */
    int refusing;            /* AQ_CHARGE_DENIED: index of the limit with the longest wait; else -1 */
    aq_time_ms_t now_ms;     /* when it was taken */
    aq_counter_t counters[]; /* `count` of them, in the plan's order */
} aq_charge_t;

/* A charge with room for `count` (0 to AQ_LIMITS_MAX) counters, in `p`. Each is then to be set by aq_charge_counter_set. */
static inline aq_charge_t *aq_charge_create(apr_pool_t *p, unsigned count)
{
    aq_charge_t *charge = (aq_charge_t *)apr_palloc(p, sizeof(*charge) + count * sizeof(charge->counters[0]));

    *charge = (aq_charge_t){.state = AQ_CHARGE_OPEN, .count = count, .primary = -1, .refusing = -1};
    return charge;
}

/* Names counter `index`: the limit (kept by reference) and whom it counts for. What a store answers is not set by it. */
static inline void aq_charge_counter_set(aq_charge_t *charge, unsigned index, const aq_limit_t *limit,
                                         const aq_hash128_t *subject)
{
    aq_counter_t *counter = &charge->counters[index];

    counter->limit = limit;
    counter->key = aq_hash_join(limit->identity, *subject);
    counter->receipt.cost = 0;
    charge->traits |= limit->traits;
    if (limit->shown == AQ_SHOWN_PRIMARY) {
        charge->primary = (int)index;
    }
}

/*
 * Says where the counters live, for stores with has_homes: those of the tenant and of its keys with `tenant` (kept by
 * reference; NULL: nobody is known yet), the others each with its subject.
 */
void aq_charge_homes_set(aq_charge_t *charge, const aq_hash128_t *tenant);

/*
 * Takes `cost` from every counter or none; afterwards state is TAKEN or DENIED. With no counters: TAKEN. A failure of
 * the store is returned and leaves the state OPEN; what to do then is the caller's policy.
 */
apr_status_t aq_charge_take(aq_charge_t *charge, aq_counter_store_t *store, uint32_t cost, aq_time_ms_t now_ms);

/*
 * Settles a taken charge: with `is_free` it is given back and the counters' answers are renewed (state FREE), else it
 * stays. Can be called again with another answer: a response that was first seen as 200 and then becomes 304 is given
 * back then; one that was given back is never taken again.
 */
apr_status_t aq_charge_settle(aq_charge_t *charge, aq_counter_store_t *store, int is_free, aq_time_ms_t now_ms);

/*
 * Ends what a taken charge holds of limits on what runs at once; the others stay charged. To be called once the response
 * has been sent, or the client has gone: also of a charge that was settled as free, or denied, which then hold nothing.
 */
apr_status_t aq_charge_release(aq_charge_t *charge, aq_counter_store_t *store, aq_time_ms_t now_ms);

/* 1 where there is something to release. */
static inline int aq_charge_is_held(const aq_charge_t *charge)
{
    return (charge->traits & AQ_LIMIT_IS_HELD) && charge->state == AQ_CHARGE_TAKEN;
}

/*
 * Whole seconds that the client must wait, rounded up, at least 1; -1 where waiting does not help (the cost is above
 * the limit, or a total is used up). Only for state DENIED.
 */
int64_t aq_charge_retry_after_s(const aq_charge_t *charge);

/*
 * The same moment in epoch seconds, rounded up, as X-RateLimit-Reset tells it: midnight for a day, whatever part of a second
 * it is now. To be asked only where waiting helps.
 */
int64_t aq_charge_reset_s(const aq_charge_t *charge);

#endif
