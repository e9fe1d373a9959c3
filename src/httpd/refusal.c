/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals by the quota: see refusal.h. */
#include "httpd/refusal.h"

#include "httpd/httpd_log.h"
#include "base/aq_metrics.h"

int aq_quota_refuse(request_rec *r, const aq_problem_t *problem)
{
    if (!aq_quota_is_dry_run(r)) {
        return aq_problem_refuse(r, problem);
    }
    aq_request_state(r)->is_dry_limited = 1;
    if (problem->status != HTTP_TOO_MANY_REQUESTS) {
        AQ_LOG(AQ_LOG_INFO, 1510, 0, "dry run: %s would be refused with %d, %s (request %s)", r->uri, problem->status,
               problem->code, aq_request_id(r));
    }
    return OK;
}

int aq_quota_store_failed(request_rec *r, aq_request_t *request, apr_status_t rv)
{
    const aq_server_config_t *server = aq_config_server(r->server);

    request->has_store_failed = 1;
    if (!server->runtime->store->ops->counts_its_errors) {
        aq_store_error_count(aq_store_error_of(rv));
    }
    AQ_PACED_LOG(AQ_LOG_ERROR, 1001, rv, "the counter store failed; requests are %s (APIQuotaStoreFailure)",
                 server->store_failure == AQ_STORE_FAILURE_DENY ? "refused" : "let through uncounted");
    if (server->store_failure != AQ_STORE_FAILURE_DENY) {
        return OK;
    }
    return aq_quota_refuse(r, &(aq_problem_t){.status = HTTP_SERVICE_UNAVAILABLE,
                                              .code = "store-failure",
                                              .detail = "The request could not be counted.",
                                              .retry_after_s = 1});
}

int aq_quota_limits_refuse(request_rec *r, unsigned count)
{
    AQ_PACED_LOG(AQ_LOG_ERROR, 1020, 0, "%s: %u limits would apply, allowed are %d; the request is refused", r->uri,
                 count, AQ_LIMITS_MAX);
    return aq_quota_refuse(r, &(aq_problem_t){.status = HTTP_INTERNAL_SERVER_ERROR,
                                              .code = "too-many-limits",
                                              .detail = "More limits apply to the request than can be counted."});
}

int aq_quota_denied(request_rec *r, const aq_charge_t *charge)
{
    const aq_principal_t *principal = aq_request_principal(r);

    if (aq_quota_is_dry_run(r)) {
        AQ_LOG(AQ_LOG_INFO, 1511, 0, "dry run: %s would be refused by the limit \"%s\" to %s (request %s)", r->uri,
               charge->counters[charge->refusing].limit->name, principal ? principal->key_id : r->useragent_ip,
               aq_request_id(r));
    }
    return aq_quota_refuse(r, &(aq_problem_t){.status = HTTP_TOO_MANY_REQUESTS, .code = "quota-exceeded"});
}
