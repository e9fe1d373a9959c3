/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tally: what this server counts of its requests, for metrics and status page.
 *
 * Each request with us is counted once: by the settle filter, when its answer begins, and by the charge phase where it is
 * exempt. (A log hook of httpd's would see the few that end without an answer too, and cost every request of every
 * location.) What was decided is known by the request's state. Where a plan is counted its principals carry, so that a
 * request costs one addition. A request without a plan is counted under "(none)", which no plan can be called.
 */
#ifndef AQ_TALLY_H
#define AQ_TALLY_H

#include "base/aq_metrics.h"
#include "httpd/request.h"

#define AQ_PLAN_NONE "(none)"
#define AQ_LIMIT_OTHER "(other)" /* that only a keys file names */

/* Of charges in a store that takes no time worth telling, one in so many is timed. */
#define AQ_TALLY_TIMED 64

typedef struct aq_tally_t {
    aq_metrics_t *metrics;
    /* first rows, see aq_metrics_row */
    unsigned none; /* of requests without a plan */
    unsigned refused;
    unsigned store_seconds;
    unsigned timed_mask; /* a charge is timed when its number has none of these bits */
} aq_tally_t;

/*
 * In post_config, when store and plans are there, and before keys are loaded: opens the metrics file of the state folder
 * and gives plans and limits their rows. `is_start`: not a restart, so that rows of plans that are gone may be given up.
 */
void aq_tally_open(const aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp, int is_start);

/* In each child. */
void aq_tally_child_init(const aq_server_config_t *server);

/*
 * Counts a request by what is decided about it now. Called again it corrects itself: a response that is seen twice, first
 * as a 200 and then as something free, has been counted as the first.
 */
void aq_tally_count_any(const aq_tally_t *tally, aq_request_t *request);

/* The same; most requests are allowed and seen once. */
static inline void aq_tally_count(const aq_tally_t *tally, aq_request_t *request)
{
    if (!request->charge || request->charge->state != AQ_CHARGE_TAKEN || request->counted ||
        !request->principal->plan_tally || request->is_dry_limited || request->is_exempt || request->early) {
        aq_tally_count_any(tally, request);
        return;
    }
    request->counted = request->principal->plan_tally + AQ_DECISION_ALLOWED;
    aq_metrics_add(tally->metrics, request->counted, 1);
}

/* The same for a request that is exempt, which no filter of ours sees. */
void aq_tally_count_exempt(request_rec *r, aq_request_t *request);

/* What was decided about a request; AQ_DECISION_COUNT: nothing. */
aq_decision_t aq_tally_decision(const aq_request_t *request);

/* aq_charge_take, timed, on the store that is in use. */
apr_status_t aq_tally_timed_take(const aq_runtime_t *runtime, aq_charge_t *charge, uint32_t cost, aq_time_ms_t now_ms);

/* aq_charge_take on the store that is in use, timed every so often. */
static inline apr_status_t aq_tally_take(const aq_runtime_t *runtime, aq_charge_t *charge, uint32_t cost,
                                         aq_time_ms_t now_ms)
{
    /* Threads may lose a step of each other: which charges are timed is of no matter. */
    static _Atomic unsigned number;
    const unsigned this_one = atomic_load_explicit(&number, memory_order_relaxed) + 1;

    atomic_store_explicit(&number, this_one, memory_order_relaxed);
    return (this_one & runtime->tally->timed_mask) == 0 ? aq_tally_timed_take(runtime, charge, cost, now_ms)
                                                        : aq_charge_take(charge, runtime->store, cost, now_ms);
}

#endif
