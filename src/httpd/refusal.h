/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals by the quota: by a limit, for lack of a principal or a plan, since the store failed. All of them pass
 * aq_quota_refuse, so that a dry run refuses nothing.
 */
#ifndef AQ_REFUSAL_H
#define AQ_REFUSAL_H

#include "httpd/request.h"

/*
 * The status of the refusal, for a hook to return, with its problem noted (aq_problem_refuse); in a dry run OK, with a
 * line in the log.
 */
int aq_quota_refuse(request_rec *r, const aq_problem_t *problem);

/* 1 where the request's location only tries its limits. */
static inline int aq_quota_is_dry_run(request_rec *r)
{
    return aq_config_location(r)->quota == AQ_QUOTA_DRY_RUN;
}

/*
 * The store could not be asked: what APIQuotaStoreFailure says of it. OK, or the status of the refusal. Decided here and
 * nowhere else; the log's line is written once a second at most.
 */
int aq_quota_store_failed(request_rec *r, aq_request_t *request, apr_status_t rv);

/* More limits apply than can be counted: sections that merge can add up to what no check at start-up sees. */
int aq_quota_limits_refuse(request_rec *r, unsigned count);

/* A limit denied the charge. */
int aq_quota_denied(request_rec *r, const aq_charge_t *charge);

#endif
