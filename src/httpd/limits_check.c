/* SPDX-License-Identifier: Apache-2.0 */
/* What the limits of plans and sections mean together. See limits_check.h. */
#include "httpd/limits_check.h"

#include "base/aq_log.h"
#include "base/aq_names.h"

#include <string.h>
#include <strings.h>

void aq_limits_identify(const aq_server_config_t *server, const aq_hash_secret_t *secret, apr_pool_t *ptemp)
{
    for (apr_hash_index_t *hi = apr_hash_first(ptemp, server->plans); hi; hi = apr_hash_next(hi)) {
        const aq_plan_t *plan = apr_hash_this_val(hi);
        for (int i = 0; i < plan->limits->nelts; i++) {
            aq_limit_identify(APR_ARRAY_IDX(plan->limits, i, aq_limit_t *), secret);
        }
    }
    for (int i = 0; i < server->location_limits->nelts; i++) {
        aq_limit_identify(APR_ARRAY_IDX(server->location_limits, i, aq_limit_t *), secret);
    }
}

/* 0 where a section's limits and a plan's are more than a request can be charged for. */
static int count_check(const aq_server_config_t *server, const aq_location_config_t *location, apr_pool_t *ptemp)
{
    const apr_array_header_t *names = aq_names_sorted(ptemp, server->plans);

    for (int i = 0; i < names->nelts; i++) {
        const aq_plan_t *plan = apr_hash_get(server->plans, APR_ARRAY_IDX(names, i, const char *), APR_HASH_KEY_STRING);
        int count = plan->limits->nelts;

        for (int j = 0; j < location->limits->nelts; j++) {
            count += !aq_plan_limit_find(plan, APR_ARRAY_IDX(location->limits, j, aq_limit_t *)->name);
        }
        if (count > AQ_LIMITS_MAX) {
            AQ_LOG(AQ_LOG_CRIT, 1021, 0, "APIQuotaLimit: %d limits apply to plan \"%s\" in %s; allowed: %d", count,
                   plan->name, location->section, AQ_LIMITS_MAX);
            return 0;
        }
    }
    return 1;
}

/* 1 where some limit of `limits` has the suffix of `limit`, and not its name, by which one replaces the other. */
static int has_suffix(const apr_array_header_t *limits, const aq_limit_t *limit)
{
    for (int i = 0; i < limits->nelts; i++) {
        const aq_limit_t *other = APR_ARRAY_IDX(limits, i, const aq_limit_t *);

        if (other->shown == AQ_SHOWN_SUFFIX && strcasecmp(other->header_suffix, limit->header_suffix) == 0 &&
            strcmp(other->name, limit->name) != 0) {
            return 1;
        }
    }
    return 0;
}

/* 1 where one request may be charged for two limits of one suffix: a section's beside a plan's or another section's. */
static int share_suffixes(const aq_server_config_t *server, apr_pool_t *ptemp)
{
    for (int i = 0; i < server->location_limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(server->location_limits, i, const aq_limit_t *);
        int shares = limit->shown == AQ_SHOWN_SUFFIX && has_suffix(server->location_limits, limit);

        for (apr_hash_index_t *hi = apr_hash_first(ptemp, server->plans); hi && !shares; hi = apr_hash_next(hi)) {
            shares = limit->shown == AQ_SHOWN_SUFFIX && has_suffix(((aq_plan_t *)apr_hash_this_val(hi))->limits, limit);
        }
        if (shares) {
            return 1;
        }
    }
    return 0;
}

int aq_limits_check(aq_server_config_t *server, apr_pool_t *ptemp)
{
    for (int i = 0; i < server->sections->nelts; i++) {
        const aq_location_config_t *location = APR_ARRAY_IDX(server->sections, i, aq_location_config_t *);
        if (location->limits && !count_check(server, location, ptemp)) {
            return 0;
        }
    }
    server->shares_suffixes = share_suffixes(server, ptemp);
    return 1;
}
