/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Early phase: limits that count before anybody is asked who he is (phase=early), as a guard against guessed keys and
 * floods of free answers.
 *
 * It runs in header_parser: under Satisfy Any httpd swallows a 429 of a later hook. Every request counts, also those
 * that are denied, free or exempt, and nothing is given back. A client's request counts once, at the first location of
 * its redirects that has such limits. Nobody is known yet, so the answer says Retry-After and none of X-RateLimit-*.
 */
#include "httpd/charge_hold.h"
#include "httpd/phases.h"
#include "httpd/refusal.h"
#include "httpd/rules.h"
#include "httpd/subject.h"
#include "httpd/tally.h"

#include <http_config.h>
#include <http_protocol.h>
#include <http_request.h>

static int early_charge(request_rec *r, const aq_location_config_t *location)
{
    const apr_array_header_t *limits = location->rules->early;
    aq_request_t *request = aq_request_state(r);
    aq_charge_t *charge;
    apr_status_t rv;
    int status = OK;

    if (request->early || (r->prev && r->prev->status != HTTP_OK)) {
        return DECLINED;
    }
    if (limits->nelts > AQ_LIMITS_MAX) {
        return aq_quota_limits_refuse(r, (unsigned)limits->nelts);
    }
    request->early = charge = aq_charge_create(request->pool, (unsigned)limits->nelts);
    for (int i = 0; i < limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(limits, i, const aq_limit_t *);
        aq_charge_counter_set(charge, (unsigned)i, limit, aq_subject_find(r, request, location, limit));
    }
    aq_charge_homes_set(charge, NULL);
    rv = aq_tally_take(aq_config_server(r->server)->runtime, charge, 1, request->now_ms);
    if (rv != APR_SUCCESS) {
        status = aq_quota_store_failed(r, request, rv);
    } else if (charge->state == AQ_CHARGE_DENIED) {
        status = aq_quota_denied(r, charge);
    } else {
        aq_charge_hold(request->pool, charge, aq_config_server(r->server)->runtime->store);
    }
    if (status != OK) {
        aq_environment_set(r, request, location);
    }
    return status == OK ? DECLINED : status;
}

static int header_parser(request_rec *r)
{
    const aq_location_config_t *location = aq_config_location(r);

    if (!location->rules || !location->rules->early || location->quota <= AQ_QUOTA_OFF) {
        return DECLINED;
    }
    return early_charge(r, location);
}

/* Last, so that SetEnvIf has spoken. */
void aq_early_phase_register(void)
{
    ap_hook_header_parser(header_parser, NULL, NULL, APR_HOOK_LAST);
}
