/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Environment: what was decided about a request, for LogFormat, expressions and backends (APIQuotaEnv On).
 *
 * It is set when the charge was made, so that handlers see it, and again when it was settled, for the log. Off unless
 * asked for: six variables cost a request more than its charge does.
 */
#include "httpd/phases.h"
#include "httpd/rules.h"

#include "httpd/callers.h"
#include "httpd/tally.h"

#include <apr_strings.h>
#include <string.h>

/* The limit that the unsuffixed headers show: the one that refused, else the primary one. */
static const aq_counter_t *counter_shown(const aq_request_t *request)
{
    const aq_charge_t *charge = aq_request_refusing(request);

    if (charge) {
        return &charge->counters[charge->refusing];
    }
    charge = request->charge;
    return charge && charge->primary >= 0 ? &charge->counters[charge->primary] : NULL;
}

static void caller_set(apr_table_t *variables, const aq_principal_t *principal)
{
    apr_table_setn(variables, "APIQUOTA_KEY_ID", principal->key_id);
    apr_table_setn(variables, "APIQUOTA_PLAN", principal->plan);
    if (aq_caller_tenant(principal)) {
        apr_table_setn(variables, "APIQUOTA_TENANT", aq_caller_tenant(principal));
    }
}

static void counter_set(apr_pool_t *p, apr_table_t *variables, const aq_counter_t *counter)
{
    apr_table_setn(variables, "APIQUOTA_LIMIT",
                   counter->limit->rate.is_unlimited ? "unlimited"
                                                     : apr_psprintf(p, "%" APR_UINT64_T_FMT, counter->limit->capacity));
    if (!counter->limit->rate.is_unlimited) {
        apr_table_setn(variables, "APIQUOTA_REMAINING", apr_psprintf(p, "%" APR_UINT64_T_FMT, counter->remaining));
    }
}

static void variables_set(request_rec *r, const aq_request_t *request)
{
    const aq_counter_t *counter = counter_shown(request);
    const aq_decision_t decision = aq_tally_decision(request);

    if (request->principal) {
        caller_set(r->subprocess_env, request->principal);
    }
    if (decision < AQ_DECISION_COUNT) {
        apr_table_setn(r->subprocess_env, "APIQUOTA_DECISION", aq_decision_name(decision));
    }
    if (counter) {
        counter_set(r->pool, r->subprocess_env, counter);
    }
}

void aq_environment_set(request_rec *r, const aq_request_t *request, const aq_location_config_t *location)
{
    if (!location->rules || location->rules->sets_environment != 1) {
        return;
    }
    variables_set(r, request);
    /* A subrequest's own table is not what the log reads. */
    if (r->main) {
        variables_set(aq_request_initial(r), request);
    }
}
