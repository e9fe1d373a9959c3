/* SPDX-License-Identifier: Apache-2.0 */
/* Cost: see cost.h. */
#include "httpd/cost.h"

#include "httpd/httpd_log.h"
#include "httpd/refusal.h"
#include "httpd/rules.h"

#include <apr_strings.h>
#include <string.h>

int aq_cost_of(request_rec *r, const aq_location_config_t *location, uint32_t *cost)
{
    const aq_location_rules_t *rules = location->rules;
    int64_t value = 1;
    const char *text;

    if (rules && rules->cost_from) {
        text = aq_expr_text(r, rules->cost_from);
        if (aq_cost_parse(text, &value) != APR_SUCCESS) {
            AQ_PACED_LOG(AQ_LOG_ERROR, 1503, 0,
                         "APIQuotaCost: \"%.80s\" is no cost: a whole number from 1 on (request %s)", text,
                         aq_request_id(r));
            *cost = 1;
            return aq_quota_refuse(r, &(aq_problem_t){.status = HTTP_INTERNAL_SERVER_ERROR,
                                                      .code = "cost-unknown",
                                                      .detail = "What the request costs cannot be told."});
        }
    } else if (rules && rules->cost != AQ_UNSET) {
        value = rules->cost;
    }
    *cost = (uint32_t)value;
    return OK;
}
