/* SPDX-License-Identifier: Apache-2.0 */
/* Charge: one request against all its limits, and its settling. See charge.h. */
#include "limit/charge.h"

void aq_charge_homes_set(aq_charge_t *charge, const aq_hash128_t *tenant)
{
    for (unsigned i = 0; i < charge->count; i++) {
        aq_counter_t *counter = &charge->counters[i];

        counter->home = aq_per_is_of_tenant(counter->limit->per) ? tenant : NULL;
    }
}

/* The denied counter with the longest wait: waiting for it suffices for all. */
static int refusing_find(const aq_charge_t *charge)
{
    int longest = -1;

    for (unsigned i = 0; i < charge->count; i++) {
        const aq_counter_t *counter = &charge->counters[i];

        if (counter->is_denied && (longest < 0 || counter->fits_at_ms > charge->counters[longest].fits_at_ms)) {
            longest = (int)i;
        }
    }
    return longest;
}

apr_status_t aq_charge_take(aq_charge_t *charge, aq_counter_store_t *store, uint32_t cost, aq_time_ms_t now_ms)
{
    int is_denied = 0;

    charge->cost = cost;
    charge->now_ms = now_ms;
    if (charge->count != 0) {
        apr_status_t rv = aq_counter_store_take(store, charge->counters, charge->count, cost, now_ms, &is_denied);

        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    charge->state = is_denied ? AQ_CHARGE_DENIED : AQ_CHARGE_TAKEN;
    charge->refusing = is_denied ? refusing_find(charge) : -1;
    return APR_SUCCESS;
}

apr_status_t aq_charge_settle(aq_charge_t *charge, aq_counter_store_t *store, int is_free, aq_time_ms_t now_ms)
{
    apr_status_t rv = APR_SUCCESS;

    if (!is_free || charge->state != AQ_CHARGE_TAKEN) {
        return APR_SUCCESS;
    }
    if (charge->count != 0) {
        rv = aq_counter_store_give_back(store, charge->counters, charge->count, now_ms);
    }
    if (rv == APR_SUCCESS) {
        charge->state = AQ_CHARGE_FREE;
    }
    return rv;
}

apr_status_t aq_charge_release(aq_charge_t *charge, aq_counter_store_t *store, aq_time_ms_t now_ms)
{
    apr_status_t rv = APR_SUCCESS;

    for (unsigned i = 0; i < charge->count; i++) {
        aq_counter_t *counter = &charge->counters[i];

        if (counter->limit->window.algorithm == AQ_ALGORITHM_CONCURRENT && counter->receipt.cost != 0) {
            const apr_status_t failed = aq_counter_store_give_back(store, counter, 1, now_ms);

            rv = rv == APR_SUCCESS ? failed : rv;
        }
    }
    return rv;
}

int64_t aq_charge_retry_after_s(const aq_charge_t *charge)
{
    aq_time_ms_t fits_at_ms;
    int64_t wait_s;

    if (charge->refusing < 0) {
        return -1;
    }
    fits_at_ms = charge->counters[charge->refusing].fits_at_ms;
    if (fits_at_ms == AQ_TIME_NEVER) {
        return -1;
    }
    wait_s = (fits_at_ms - charge->now_ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S;
    return wait_s > 1 ? wait_s : 1;
}

int64_t aq_charge_reset_s(const aq_charge_t *charge)
{
    const aq_time_ms_t reset_at_ms = charge->counters[charge->refusing].reset_at_ms;

    /* When one of those that run will end nobody knows. */
    return reset_at_ms == AQ_TIME_NEVER
               ? (charge->now_ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S + aq_charge_retry_after_s(charge)
               : (reset_at_ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S;
}
