/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charge phase: one charge for one request of a client, whichever way httpd takes it.
 *
 * ensure_charged runs from three hooks: check_authz (first, so that a refused scope is charged), fixups (for locations
 * without authentication) and the handler (for requests that reach fixups only by a subrequest, and before mod_cache).
 * The state on the initial request makes it idempotent: later calls repeat the first one's answer, unless the location
 * of an internal redirect costs more. An ErrorDocument is never charged.
 */
#include "httpd/phases.h"

#include "httpd/body_limit.h"
#include "httpd/charge_hold.h"
#include "httpd/cost.h"
#include "httpd/deadline.h"
#include "httpd/exempt.h"
#include "httpd/options.h"
#include "httpd/refusal.h"
#include "httpd/subject.h"
#include "httpd/tally.h"
#include "httpd/usage_handler.h"

#include <apr_strings.h>
#include <string.h>

/* 1 where a limit of the location takes the place of the plan's. */
static int is_replaced(const apr_array_header_t *own, const aq_limit_t *limit)
{
    for (int i = 0; own && i < own->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(own, i, const aq_limit_t *)->name, limit->name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Whose charge it is, and where. */
typedef struct {
    request_rec *r;
    aq_request_t *request;
    const aq_location_config_t *location;
} charging_t;

static const aq_hash128_t *subject_of(const charging_t *of, const aq_limit_t *limit)
{
    return limit->per <= AQ_PER_TENANT ? &of->request->principal->subject[limit->per]
                                       : aq_subject_find(of->r, of->request, of->location, limit);
}

static unsigned limits_add(aq_charge_t *charge, unsigned count, const apr_array_header_t *limits,
                           const apr_array_header_t *replacing, const charging_t *of)
{
    for (int i = 0; limits && i < limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(limits, i, const aq_limit_t *);
        if (!is_replaced(replacing, limit)) {
            aq_charge_counter_set(charge, count++, limit, subject_of(of, limit));
        }
    }
    return count;
}

/* A location's limit that took the place of the plan's primary shows where that one would have. */
static void primary_settle(aq_charge_t *charge)
{
    for (unsigned i = 0; charge->primary < 0 && i < charge->count; i++) {
        if (charge->counters[i].limit->shown == AQ_SHOWN_AUTO) {
            charge->primary = (int)i;
        }
    }
}

static aq_charge_t *charge_make(request_rec *r, aq_request_t *request, const aq_location_config_t *location)
{
    const charging_t of = {r, request, location};
    const apr_array_header_t *plan = request->principal->limits;
    unsigned most = (unsigned)plan->nelts + (location->limits ? (unsigned)location->limits->nelts : 0);
    aq_charge_t *charge = aq_charge_create(request->pool, most);

    charge->count = limits_add(charge, 0, plan, location->limits, &of);
    if (location->limits) {
        charge->count = limits_add(charge, charge->count, location->limits, NULL, &of);
    }
    primary_settle(charge);
    if (aq_config_server(r->server)->runtime->store->has_homes) {
        aq_charge_homes_set(charge, &request->principal->subject[AQ_PER_TENANT]);
    }
    return charge;
}

/* Shows the counters as they are, and costs nothing: what apiquota-usage tells, and the headers of its response. */
static int charge_look(request_rec *r, aq_request_t *request, aq_charge_t *charge)
{
    aq_counter_store_t *store = aq_config_server(r->server)->runtime->store;
    apr_status_t rv = APR_SUCCESS;

    if (charge->count != 0) {
        rv = aq_counter_store_look(store, charge->counters, charge->count, request->now_ms);
    }
    if (rv != APR_SUCCESS) {
        return aq_quota_store_failed(r, request, rv);
    }
    charge->now_ms = request->now_ms;
    charge->state = AQ_CHARGE_FREE;
    request->charge = charge;
    return OK;
}

static int charge_take(request_rec *r, aq_request_t *request, const aq_location_config_t *location, uint32_t cost)
{
    aq_counter_store_t *store = aq_config_server(r->server)->runtime->store;
    aq_charge_t *charge = charge_make(r, request, location);
    apr_status_t rv;

    if (charge->count > AQ_LIMITS_MAX) {
        return aq_quota_limits_refuse(r, charge->count);
    }
    if (aq_usage_is_asked(r)) {
        return charge_look(r, request, charge);
    }
    rv = aq_tally_take(aq_config_server(r->server)->runtime, charge, cost, request->now_ms);
    if (rv != APR_SUCCESS) {
        return aq_quota_store_failed(r, request, rv);
    }
    request->charge = charge;
    if (charge->state == AQ_CHARGE_DENIED) {
        return aq_quota_denied(r, charge);
    }
    aq_charge_hold(request->pool, charge, store);
    return OK;
}

/* The first charge of a client's request. OK, or the status of the refusal. */
static int charge_first(request_rec *r, aq_request_t *request, const aq_location_config_t *location)
{
    uint32_t cost = 1;
    int status = aq_identify(r, request);

    if (status != OK || !request->principal) {
        return status;
    }
    request->location = r->main ? aq_config_location_copy(request->pool, location) : location;
    if (location->rules) {
        status = aq_cost_of(r, location, &cost);
    }
    if (status == OK) {
        status = charge_take(r, request, location, cost);
    }
    if (status == OK && location->options) {
        status = aq_body_limit_check(r, location);
    }
    if (location->rules) {
        aq_environment_set(r, request, location);
    }
    return request->status_to_return = status;
}

/*
 * A location that an internal redirect led to, and that costs more, is paid in full: what was taken is given back and
 * the whole is taken anew, from the limits of the first one. What a page includes is not counted, so not here either.
 */
AQ_APART static int charge_more(request_rec *r, aq_request_t *request, const aq_location_config_t *location)
{
    aq_counter_store_t *store = aq_config_server(r->server)->runtime->store;
    aq_charge_t *charge = request->charge;
    uint32_t cost;
    apr_status_t rv;
    int status;

    if (!charge || charge->state != AQ_CHARGE_TAKEN || r->main) {
        return request->status_to_return;
    }
    status = aq_cost_of(r, location, &cost);
    if (status == OK && cost > charge->cost) {
        rv = aq_charge_settle(charge, store, 1, request->now_ms);
        if (rv == APR_SUCCESS) {
            rv = aq_tally_take(aq_config_server(r->server)->runtime, charge, cost, request->now_ms);
        }
        status = rv != APR_SUCCESS                   ? aq_quota_store_failed(r, request, rv)
                 : charge->state == AQ_CHARGE_DENIED ? aq_quota_denied(r, charge)
                                                     : OK;
    }
    aq_environment_set(r, request, location);
    return request->status_to_return = status;
}

/* OK, or the status of the refusal, for the hook to return. */
AQ_APART static int charge_once(request_rec *r, const aq_location_config_t *location)
{
    aq_request_t *request = aq_request_state(r);

    if (request->location) {
        return location->rules && location != request->location && request->status_to_return == OK
                   ? charge_more(r, request, location)
                   : request->status_to_return;
    }
    if (aq_exempt_may_be(r, location) && aq_exempt_is(r, location)) {
        aq_tally_count_exempt(r, request);
        aq_environment_set(r, request, location);
        return OK;
    }
    return charge_first(r, request, location);
}

/*
 * Runs in every hook of every request: where there is no quota, that is all it costs, and nearly all where the request was
 * charged here by an earlier hook.
 */
static inline int ensure_charged(request_rec *r)
{
    const aq_location_config_t *location = aq_config_location(r);
    const aq_request_t *own;

    if (location->quota <= AQ_QUOTA_OFF || (r->prev && r->prev->status != HTTP_OK)) {
        return OK;
    }
    own = aq_request_own(r);
    return own && own->location == location ? own->status_to_return : charge_once(r, location);
}

static int declined_or(int status)
{
    return status == OK ? DECLINED : status;
}

/*
 * A 403 is httpd's own, and httpd would read all of an upload before it sends one. So an upload's connection is to end
 * with the answer, until authorisation is passed.
 */
static void upload_doubt(request_rec *r)
{
    if (aq_config_location(r)->quota == AQ_QUOTA_ON && !r->main && !r->prev && aq_problem_has_unread_body(r)) {
        aq_request_state(r)->is_upload_doubted = 1;
        r->connection->keepalive = AP_CONN_CLOSE;
    }
}

static void upload_trust(request_rec *r)
{
    aq_request_t *request = r->main || r->prev ? NULL : aq_request_find(r);

    if (request && request->is_upload_doubted) {
        request->is_upload_doubted = 0;
        r->connection->keepalive = AP_CONN_UNKNOWN;
    }
}

/* The user that authorisation asked for in a preflight is none. */
static void nobody_forget(request_rec *r)
{
    if (r->user && !*r->user) {
        r->user = NULL;
    }
}

/* What a Require had to say against a request that another one let in. */
static inline void denial_forget(const request_rec *r)
{
    aq_request_t *request = aq_request_own(r);

    if (request && request->problem) {
        request->problem = NULL;
    }
}

/* OK would grant the request without asking mod_authz_core. */
int aq_charge_phase_check_authz(request_rec *r)
{
    int status = ensure_charged(r);

    if (status == OK && r->method_number != M_GET) {
        upload_doubt(r);
    }
    return declined_or(status);
}

int aq_charge_phase_fixups(request_rec *r)
{
    if (r->method_number != M_GET) {
        upload_trust(r);
        nobody_forget(r);
    }
    denial_forget(r);
    return ensure_charged(r);
}

AQ_APART static int handler_with_options(request_rec *r, const aq_location_options_t *options)
{
    int status = declined_or(ensure_charged(r));

    if (status == DECLINED && options->timeout_ms > AQ_TIMEOUT_NONE &&
        aq_config_location(r)->quota != AQ_QUOTA_DRY_RUN) {
        return aq_deadline_handler(r, options->timeout_ms);
    }
    return status;
}

/* OK would claim to have answered the request. */
int aq_charge_phase_handler(request_rec *r)
{
    const aq_location_options_t *options = aq_config_location(r)->options;

    return options ? handler_with_options(r, options) : declined_or(ensure_charged(r));
}
