/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IETF's fields: draft-ietf-httpapi-ratelimit-headers-10.
 *
 *   RateLimit-Policy: "minute";q=300;w=60, "day";q=10000;w=86400
 *   RateLimit: "minute";r=297;t=42, "day";r=9811;t=3600
 *
 * Both are Lists of RFC 9651: a String, and Integers as its parameters. They hold each limit of the charge that has a
 * number, but those that the operator hides by headers=none. `t` is when more becomes available, rounded up; a total has
 * neither w nor t, and what counts requests at one time neither, but its own unit.
 */
#include "httpd/answer_headers.h"

#include "limit/more.h"

#include <apr_strings.h>

#define UNIT_CONCURRENT ";qu=\"concurrent-requests\""

/* A String of RFC 9651, section 3.3.3. What no such string can hold is left out. */
static const char *sf_string(apr_pool_t *p, const char *text)
{
    char *string = apr_palloc(p, 2 * strlen(text) + 3);
    char *at = string;

    *at++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            *at++ = '\\';
        }
        if (*text >= ' ' && *text <= '~') {
            *at++ = *text;
        }
    }
    *at++ = '"';
    *at = '\0';
    return string;
}

static int64_t seconds_up(aq_time_ms_t ms)
{
    return ms > 0 ? (ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S : 0;
}

/* The length of the window that holds `now_ms`, as a parameter; "" where it has none. */
static const char *window_parameter(apr_pool_t *p, const aq_limit_t *limit, aq_time_ms_t now_ms)
{
    const int64_t length_s = aq_window_length_s(&limit->window, now_ms);

    if (limit->rate.period == AQ_PERIOD_CONCURRENT) {
        return UNIT_CONCURRENT;
    }
    return length_s > 0 ? apr_psprintf(p, ";w=%" APR_INT64_T_FMT, length_s) : "";
}

static int has_time(const aq_limit_t *limit)
{
    return limit->rate.period == AQ_PERIOD_SECONDS || limit->rate.period == AQ_PERIOD_MONTH;
}

void aq_ietf_headers_set(request_rec *r, const aq_request_t *request)
{
    const aq_charge_t *charge = request->charge;
    aq_time_ms_t *more_at_ms = apr_palloc(r->pool, (charge->count + 1) * sizeof(*more_at_ms));
    const char *policies = "";
    const char *states = "";
    const char *comma = "";

    aq_charge_more_at(charge, aq_config_server(r->server)->runtime->store, request->now_ms, more_at_ms);
    for (unsigned i = 0; i < charge->count; i++) {
        const aq_counter_t *counter = &charge->counters[i];
        const char *name = sf_string(r->pool, counter->limit->name);
        const char *time = "";

        if (counter->limit->rate.is_unlimited || counter->limit->shown == AQ_SHOWN_NONE) {
            continue;
        }
        if (has_time(counter->limit) && more_at_ms[i] != AQ_TIME_NEVER) {
            time = apr_psprintf(r->pool, ";t=%" APR_INT64_T_FMT, seconds_up(more_at_ms[i] - request->now_ms));
        }
        policies = apr_psprintf(r->pool, "%s%s%s;q=%" APR_UINT64_T_FMT "%s", policies, comma, name,
                                counter->limit->capacity, window_parameter(r->pool, counter->limit, request->now_ms));
        states =
            apr_psprintf(r->pool, "%s%s%s;r=%" APR_UINT64_T_FMT "%s", states, comma, name, counter->remaining, time);
        comma = ", ";
    }
    if (*policies) {
        aq_answer_header_replace(r, "RateLimit-Policy", policies);
        aq_answer_header_replace(r, "RateLimit", states);
    }
}
