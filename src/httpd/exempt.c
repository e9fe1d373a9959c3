/* SPDX-License-Identifier: Apache-2.0 */
/* Exempt requests: see exempt.h. */
#include "httpd/exempt.h"

#include "httpd/own_family.h"
#include "httpd/phases.h"
#include "httpd/rules.h"

int aq_exempt_is_preflight(const request_rec *r)
{
    return r->method_number == M_OPTIONS && apr_table_get(r->headers_in, "Origin") &&
           apr_table_get(r->headers_in, "Access-Control-Request-Method");
}

int aq_exempt_is(request_rec *r, const aq_location_config_t *location)
{
    const aq_location_rules_t *rules = location->rules;
    aq_request_t *request = aq_request_state(r);

    request->is_exempt = (aq_exempt_is_preflight(r) || (rules && rules->exempt && aq_expr_holds(r, rules->exempt)));
    if (request->is_exempt) {
        aq_own_family_take_off(r);
    }
    return (int)request->is_exempt;
}
