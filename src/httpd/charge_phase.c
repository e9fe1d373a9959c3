/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charge phase: one charge for one request of a client, whichever way httpd takes it.
 *
 * ensure_charged runs from three hooks: check_authz (first, so that a refused scope is charged), fixups (for locations
 * without authentication) and the handler (for requests that reach fixups only by a subrequest, and before mod_cache).
 * The state on the initial request makes it idempotent: later calls repeat the first one's answer. An ErrorDocument is
 * never charged. The failure policy of the store is decided here and nowhere else.
 */
#include "httpd/phases.h"

#include "base/aq_log.h"
#include "httpd/body_limit.h"
#include "httpd/charge_hold.h"
#include "httpd/deadline.h"
#include "httpd/options.h"
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

static unsigned limits_add(aq_charge_t *charge, unsigned count, const apr_array_header_t *limits,
                           const apr_array_header_t *replacing, const aq_principal_t *principal)
{
    for (int i = 0; limits && i < limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(limits, i, const aq_limit_t *);
        if (!is_replaced(replacing, limit)) {
            aq_charge_counter_set(charge, count++, limit, &principal->subject[limit->per]);
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

static aq_charge_t *charge_make(const aq_request_t *request, const aq_location_config_t *location)
{
    const apr_array_header_t *plan = request->principal->limits;
    unsigned most = (unsigned)plan->nelts + (location->limits ? (unsigned)location->limits->nelts : 0);
    aq_charge_t *charge = aq_charge_create(request->pool, most);

    charge->count = limits_add(charge, 0, plan, location->limits, request->principal);
    charge->count = limits_add(charge, charge->count, location->limits, NULL, request->principal);
    primary_settle(charge);
    return charge;
}

/* The store could not be asked. One place decides what that means; the line is written once a second at most. */
static int store_failed(request_rec *r, apr_status_t rv)
{
    const aq_server_config_t *server = aq_config_server(r->server);
    static apr_time_t last_logged;
    apr_time_t now = apr_time_now();

    if (now - last_logged > apr_time_from_sec(1)) {
        last_logged = now;
        AQ_LOG(AQ_LOG_ERROR, 1001, rv, "the counter store failed; requests are %s (APIQuotaStoreFailure)",
               server->store_failure == AQ_STORE_FAILURE_DENY ? "refused" : "let through uncounted");
    }
    if (server->store_failure != AQ_STORE_FAILURE_DENY) {
        return OK;
    }
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_SERVICE_UNAVAILABLE,
                                                .code = "store-failure",
                                                .detail = "The request could not be counted.",
                                                .retry_after_s = 1});
}

/* Sections that merge, or overrides of a keys file, can add up to what no check at start-up sees. */
static int limits_refused(request_rec *r, unsigned count)
{
    AQ_LOG(AQ_LOG_ERROR, 1020, 0, "%s: %u limits would apply, allowed are %d; the request is refused", r->uri, count,
           AQ_LIMITS_MAX);
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_INTERNAL_SERVER_ERROR,
                                                .code = "too-many-limits",
                                                .detail = "More limits apply to the request than can be counted."});
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
        return store_failed(r, rv);
    }
    charge->now_ms = request->now_ms;
    charge->state = AQ_CHARGE_FREE;
    request->charge = charge;
    return OK;
}

static int charge_take(request_rec *r, aq_request_t *request, const aq_location_config_t *location)
{
    aq_counter_store_t *store = aq_config_server(r->server)->runtime->store;
    aq_charge_t *charge = charge_make(request, location);
    apr_status_t rv;

    if (charge->count > AQ_LIMITS_MAX) {
        return limits_refused(r, charge->count);
    }
    if (aq_usage_is_asked(r)) {
        return charge_look(r, request, charge);
    }
    rv = aq_charge_take(charge, store, 1, request->now_ms);
    if (rv != APR_SUCCESS) {
        return store_failed(r, rv);
    }
    request->charge = charge;
    if (charge->state != AQ_CHARGE_DENIED) {
        aq_charge_hold(request->pool, charge, store);
        return OK;
    }
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_TOO_MANY_REQUESTS, .code = "quota-exceeded"});
}

/* OK, or the status of the refusal, for the hook to return. */
AQ_APART static int charge_once(request_rec *r, const aq_location_config_t *location)
{
    aq_request_t *request = aq_request_state(r);
    int status;

    if (request->location) {
        return request->status_to_return;
    }
    status = aq_identify(r, request);
    if (status == OK) {
        /* A subrequest's merged settings go with its pool, before the headers are written. */
        request->location = r->main ? apr_pmemdup(request->pool, location, sizeof(*location)) : location;
        status = charge_take(r, request, location);
        if (status == OK && location->options) {
            status = aq_body_limit_check(r, location);
        }
        request->status_to_return = status;
    }
    return status;
}

/* Runs in every hook of every request: where there is no quota, that is all it costs. */
static inline int ensure_charged(request_rec *r)
{
    const aq_location_config_t *location = aq_config_location(r);

    if (location->quota != 1 || (r->prev && r->prev->status != HTTP_OK)) {
        return OK;
    }
    return charge_once(r, location);
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
    if (aq_config_location(r)->quota == 1 && !r->main && !r->prev && aq_problem_has_unread_body(r)) {
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
    }
    return ensure_charged(r);
}

AQ_APART static int handler_with_options(request_rec *r, const aq_location_options_t *options)
{
    int status = declined_or(ensure_charged(r));

    if (status == DECLINED && options->timeout_ms != AQ_UNSET) {
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
