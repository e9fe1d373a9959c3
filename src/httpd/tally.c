/* SPDX-License-Identifier: Apache-2.0 */
/* Counting requests: see tally.h. */
#include "httpd/tally.h"

#include "base/aq_log.h"
#include "base/aq_names.h"

#include <apr_strings.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define METRICS_FILE "/metrics"

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void limit_rows(aq_metrics_t *metrics, const char *plan, const apr_array_header_t *limits, int is_own)
{
    for (int i = 0; i < limits->nelts; i++) {
        aq_limit_t *limit = APR_ARRAY_IDX(limits, i, aq_limit_t *);
        const unsigned row = aq_metrics_row(metrics, AQ_METRIC_LIMITED, plan, limit->name);

        /* Limits of a location meet callers of any plan: theirs is found by name. */
        limit->tally = is_own ? row : 0;
    }
}

/* 0 where not all plans found room. */
static int plan_rows(aq_metrics_t *metrics, const aq_server_config_t *server, apr_pool_t *ptemp)
{
    const apr_array_header_t *names = aq_names_sorted(ptemp, server->plans);
    unsigned last = 1;

    for (int i = 0; i < names->nelts; i++) {
        aq_plan_t *plan = apr_hash_get(server->plans, APR_ARRAY_IDX(names, i, const char *), APR_HASH_KEY_STRING);

        plan->tally = aq_metrics_row(metrics, AQ_METRIC_REQUESTS, plan->name, "");
        limit_rows(metrics, plan->name, plan->limits, 1);
        limit_rows(metrics, plan->name, server->location_limits, 0);
        last = aq_metrics_row(metrics, AQ_METRIC_LIMITED, plan->name, AQ_LIMIT_OTHER);
        if (plan->tally == 0 || last == 0) {
            return 0;
        }
    }
    limit_rows(metrics, AQ_PLAN_NONE, server->location_limits, 0);
    return aq_metrics_row(metrics, AQ_METRIC_LIMITED, AQ_PLAN_NONE, AQ_LIMIT_OTHER) != 0;
}

static int rows_fill(aq_tally_t *tally, const aq_server_config_t *server, apr_pool_t *ptemp)
{
    const unsigned errors = aq_metrics_row(tally->metrics, AQ_METRIC_STORE_ERRORS, "", "");

    tally->none = aq_metrics_row(tally->metrics, AQ_METRIC_REQUESTS, AQ_PLAN_NONE, "");
    tally->refused = aq_metrics_row(tally->metrics, AQ_METRIC_REFUSED, "", "");
    tally->store_seconds = aq_metrics_row(tally->metrics, AQ_METRIC_STORE_SECONDS, "", "");
    aq_store_errors_install(tally->metrics, errors);
    if (server->redis && server->redis->mode == AQ_REDIS_LEASED) {
        aq_slices_install(tally->metrics, aq_metrics_row(tally->metrics, AQ_METRIC_SLICES, "", ""),
                          aq_metrics_row(tally->metrics, AQ_METRIC_SLICE_COST, "", ""));
    }
    return plan_rows(tally->metrics, server, ptemp);
}

static void file_open(aq_tally_t *tally, const char *path, apr_pool_t *pconf)
{
    apr_status_t rv = aq_metrics_open(pconf, path, AQ_METRICS_ROWS_SERVER, &tally->metrics);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 1650, rv, "%s cannot be used: metrics are counted, and begin anew at each restart",
               path);
    }
}

void aq_tally_open(const aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp, int is_start)
{
    aq_tally_t *tally = apr_pcalloc(pconf, sizeof(*tally));
    const char *path = apr_pstrcat(pconf, server->state_dir, METRICS_FILE, NULL);
    int has_room;

    server->runtime->tally = tally;
    tally->timed_mask = server->runtime->store->ops->is_remote ? 0 : AQ_TALLY_TIMED - 1;
    file_open(tally, path, pconf);
    has_room = rows_fill(tally, server, ptemp);
    if (!has_room && is_start && remove(path) == 0) {
        /* Many configurations have left rows in it. */
        file_open(tally, path, pconf);
        has_room = rows_fill(tally, server, ptemp);
    }
    if (!has_room) {
        AQ_LOG(AQ_LOG_WARNING, 1651, APR_SUCCESS,
               "%s has no room for all plans and limits; a full stop and start makes some, by beginning anew", path);
    }
    aq_metrics_tick(tally->metrics, aq_clock_now_ms());
}

void aq_tally_child_init(const aq_server_config_t *server)
{
    aq_metrics_shard_choose(server->runtime->tally->metrics, (uint64_t)getpid());
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

aq_decision_t aq_tally_decision(const aq_request_t *request)
{
    static const aq_decision_t decisions[] = {[AQ_CHARGE_OPEN] = AQ_DECISION_ALLOWED,
                                              [AQ_CHARGE_TAKEN] = AQ_DECISION_ALLOWED,
                                              [AQ_CHARGE_DENIED] = AQ_DECISION_LIMITED,
                                              [AQ_CHARGE_FREE] = AQ_DECISION_FREE};

    if (request->is_exempt) {
        return AQ_DECISION_EXEMPT;
    }
    if (request->is_dry_limited) {
        return AQ_DECISION_DRYRUN_LIMITED;
    }
    if (request->has_store_failed) {
        return AQ_DECISION_STORE_ERROR;
    }
    if (aq_request_refusing(request)) {
        return AQ_DECISION_LIMITED;
    }
    return request->charge ? decisions[request->charge->state] : AQ_DECISION_COUNT;
}

AQ_APART static void limited_count(const aq_tally_t *tally, const aq_request_t *request)
{
    const aq_charge_t *refusing = aq_request_refusing(request);
    const char *plan = request->principal && *request->principal->plan ? request->principal->plan : AQ_PLAN_NONE;
    const aq_limit_t *limit;
    unsigned row;

    if (!refusing || refusing->refusing < 0) {
        return;
    }
    limit = refusing->counters[refusing->refusing].limit;
    row = limit->tally;
    if (row == 0) {
        row = aq_metrics_row_find(tally->metrics, AQ_METRIC_LIMITED, plan, limit->name);
    }
    if (row == 0) {
        row = aq_metrics_row_find(tally->metrics, AQ_METRIC_LIMITED, plan, AQ_LIMIT_OTHER);
    }
    aq_metrics_add(tally->metrics, row, 1);
}

/* The row of a request about which nothing was decided: why its caller was not let in. 0: another reason. */
AQ_APART static unsigned refused_row(const aq_tally_t *tally, const aq_request_t *request)
{
    if (request->principal || request->identified == AQ_IDENTIFIED || !tally->refused) {
        return 0;
    }
    return tally->refused + (request->identified - AQ_KEY_MISSING);
}

/* Counted before as something else. Scrapers do not like a counter that goes down, so the new row is first. */
AQ_APART static void recount(const aq_tally_t *tally, aq_request_t *request, unsigned row)
{
    if (row != request->counted) {
        aq_metrics_add(tally->metrics, row, 1);
        aq_metrics_add(tally->metrics, request->counted, UINT64_MAX);
        request->counted = row;
    }
}

void aq_tally_count_any(const aq_tally_t *tally, aq_request_t *request)
{
    const aq_decision_t decision = aq_tally_decision(request);
    const unsigned of_plan = request->principal ? request->principal->plan_tally : 0;
    const unsigned first = of_plan ? of_plan : tally->none;
    const unsigned row = decision < AQ_DECISION_COUNT && first ? first + decision : refused_row(tally, request);

    if (request->counted) {
        recount(tally, request, row);
        return;
    }
    request->counted = row;
    aq_metrics_add(tally->metrics, row, 1);
    if (decision == AQ_DECISION_LIMITED || decision == AQ_DECISION_DRYRUN_LIMITED) {
        limited_count(tally, request);
    }
}

void aq_tally_count_exempt(request_rec *r, aq_request_t *request)
{
    const aq_runtime_t *runtime = aq_config_server(r->server)->runtime;

    /* Every phase of ours asks whether it is exempt. */
    if (runtime && !request->counted) {
        aq_tally_count(runtime->tally, request);
    }
}

static int64_t monotonic_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

apr_status_t aq_tally_timed_take(const aq_runtime_t *runtime, aq_charge_t *charge, uint32_t cost, aq_time_ms_t now_ms)
{
    const int64_t began_ns = monotonic_ns();
    apr_status_t rv = aq_charge_take(charge, runtime->store, cost, now_ms);

    aq_metrics_observe(runtime->tally->metrics, AQ_METRIC_STORE_SECONDS, runtime->tally->store_seconds,
                       monotonic_ns() - began_ns);
    return rv;
}
