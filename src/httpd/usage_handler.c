/* SPDX-License-Identifier: Apache-2.0 */
/*
 * {"key_id": "k_7f3a9c", "tenant": "acme", "plan": "basic",
 *  "limits": [{"name": "minute", "limit": 60, "used": 3, "remaining": 57,
 *              "reset_at": "2026-11-22T00:01:00.000Z", "window": "1m", "per": "key"}]}
 *
 * limit and remaining are null where a limit is unlimited, reset_at where it never ends. See usage_handler.h.
 */
#include "httpd/usage_handler.h"

#include "base/aq_json.h"
#include "httpd/callers.h"
#include "httpd/phases.h"
#include "limit/daily.h"

#include <ap_expr.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_core.h>
#include <string.h>

#define HANDLER "apiquota-usage"

int aq_usage_is_handler(request_rec *r, const ap_expr_info_t *handler)
{
    const char *error = NULL;
    const char *name = ap_expr_str_exec(r, handler, &error);

    return !error && name && strcmp(name, HANDLER) == 0;
}

static json_t *counter_json(const aq_counter_t *counter)
{
    const aq_limit_t *limit = counter->limit;
    const int is_unlimited = limit->rate.is_unlimited;
    json_t *reset_at = counter->reset_at_ms == AQ_TIME_NEVER ? json_null() : aq_json_time(counter->reset_at_ms);

    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:s, s:s}", "name", limit->name, "limit",
                     is_unlimited ? json_null() : json_integer((json_int_t)limit->capacity), "used",
                     (json_int_t)counter->used, "remaining",
                     is_unlimited ? json_null() : json_integer((json_int_t)counter->remaining), "reset_at", reset_at,
                     "window", limit->window_text, "per", aq_per_name(limit->per));
}

static json_t *usage_json(const aq_request_t *request)
{
    json_t *limits = json_array();

    for (unsigned i = 0; request->charge && i < request->charge->count; i++) {
        const aq_counter_t *counter = &request->charge->counters[i];

        if (!aq_daily_is(counter->limit) && json_array_append_new(limits, counter_json(counter)) != 0) {
            json_decref(limits);
            return NULL;
        }
    }
    return json_pack("{s:o, s:s?, s:s, s:o}", "key_id", aq_json_any_text(request->principal->key_id), "tenant",
                     aq_caller_tenant(request->principal), "plan", request->principal->plan, "limits", limits);
}

AQ_APART static int usage_answer(request_rec *r)
{
    const char *text;
    aq_request_t *request;
    json_t *json;
    int status;

    if (r->method_number == M_OPTIONS) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_OPTIONS, -1);
        return ap_send_http_options(r);
    }
    if (r->method_number != M_GET) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    request = aq_request_state(r);
    status = aq_identify(r, request);
    if (status != OK) {
        return status;
    }
    json = usage_json(request);
    text = json ? aq_json_text(r->pool, json) : NULL;
    json_decref(json);
    if (!text) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_content_type_ex(r, "application/json", 1);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)strlen(text) + 1);
    return ap_rputs(text, r) < 0 || ap_rputc('\n', r) < 0 ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

int aq_usage_handler(request_rec *r)
{
    return strcmp(r->handler, HANDLER) == 0 ? usage_answer(r) : DECLINED;
}
