/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settle phase: the output filter that keeps a charge or gives it back, and writes the headers.
 *
 * It stands right before httpd writes the status line, behind mod_cache and every body filter: only there the outcome is
 * known, and only there nobody replaces what we set. It is hung in for ordinary and for error responses, acts on the
 * first brigade and leaves. It may run twice for one response (httpd sees 200, then makes it 416), so settling can be
 * repeated. A brigade with an error bucket is not a response yet and passes untouched.
 *
 * Why headers_out, and the others cleared: httpd writes err_headers_out beside it, where a backend's or an earlier
 * phase's header of the same name may stand.
 */
#include "httpd/phases.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#define FILTER_NAME "APIQUOTA_SETTLE"
#define PROBLEM_CONTENT_TYPE "application/problem+json"
#define DECIMAL_SIZE 21

static ap_filter_rec_t *settle_filter_rec;

/* apr_psprintf costs ten times as much, three times a request. */
static const char *decimal(apr_pool_t *p, uint64_t value)
{
    char *text = apr_palloc(p, DECIMAL_SIZE);
    char *at = text + DECIMAL_SIZE;

    *--at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return at;
}

/* Replaces a backend's header of that name, wherever it stands. */
static void header_set(request_rec *r, const char *name, const char *value)
{
    apr_table_setn(r->headers_out, name, value);
    if (!apr_is_empty_table(r->err_headers_out)) {
        apr_table_unset(r->err_headers_out, name);
    }
}

static uint64_t seconds_up(aq_time_ms_t ms)
{
    return (uint64_t)((ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S);
}

/* Limit, remaining and reset of one counter, in headers of those names. */
static void trio_set(request_rec *r, const aq_counter_t *counter, const char *limit_name, const char *remaining_name,
                     const char *reset_name)
{
    if (counter->limit->rate.is_unlimited) {
        return;
    }
    header_set(r, limit_name, decimal(r->pool, counter->limit->rate.count));
    header_set(r, remaining_name, decimal(r->pool, counter->remaining));
    if (counter->reset_at_ms != AQ_TIME_NEVER) {
        header_set(r, reset_name, decimal(r->pool, seconds_up(counter->reset_at_ms)));
    }
}

static void suffixed_trio_set(request_rec *r, const aq_counter_t *counter)
{
    const char *suffix = counter->limit->header_suffix;

    trio_set(r, counter, apr_pstrcat(r->pool, "X-RateLimit-Limit-", suffix, NULL),
             apr_pstrcat(r->pool, "X-RateLimit-Remaining-", suffix, NULL),
             apr_pstrcat(r->pool, "X-RateLimit-Reset-", suffix, NULL));
}

/* The unsuffixed trio shows the primary limit; on a refusal the one that refused. */
static void charge_headers_set(request_rec *r, const aq_charge_t *charge)
{
    int shown = charge->refusing >= 0 && charge->primary >= 0 ? charge->refusing : charge->primary;

    if (shown >= 0) {
        trio_set(r, &charge->counters[shown], "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset");
    }
    for (unsigned i = 0; i < charge->count; i++) {
        if (charge->counters[i].limit->shown == AQ_SHOWN_SUFFIX) {
            suffixed_trio_set(r, &charge->counters[i]);
        }
    }
}

static void refusal_headers_set(request_rec *r, const aq_request_t *request)
{
    int64_t wait_s = 0;

    if (request->charge && request->charge->state == AQ_CHARGE_DENIED) {
        wait_s = aq_charge_retry_after_s(request->charge);
    } else if (request->problem && request->problem->status == r->status) {
        wait_s = request->problem->retry_after_s;
    }
    if (wait_s > 0) {
        header_set(r, "Retry-After", decimal(r->pool, (uint64_t)wait_s));
    }
    if (request->problem_status == r->status) {
        ap_set_content_type_ex(r, PROBLEM_CONTENT_TYPE, 1);
    }
}

static void charge_settle(request_rec *r, aq_request_t *request)
{
    int is_free = aq_config_is_free(request->location, r->status);
    apr_status_t rv =
        aq_charge_settle(request->charge, aq_config_server(r->server)->runtime->store, is_free, request->now_ms);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 1002, rv, "a free response could not be given back");
    }
}

static int has_error_bucket(const apr_bucket_brigade *brigade)
{
    for (const apr_bucket *b = APR_BRIGADE_FIRST(brigade); b != APR_BRIGADE_SENTINEL(brigade); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b)) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t settle_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    request_rec *r = filter->r;
    aq_request_t *request = filter->ctx;

    if (has_error_bucket(brigade)) {
        return ap_pass_brigade(filter->next, brigade);
    }
    if (request->charge) {
        charge_settle(r, request);
        charge_headers_set(r, request->charge);
    }
    if (ap_is_HTTP_ERROR(r->status)) {
        refusal_headers_set(r, request);
    }
    ap_remove_output_filter(filter);
    return ap_pass_brigade(filter->next, brigade);
}

void aq_settle_phase_register(void)
{
    settle_filter_rec =
        ap_register_output_filter(FILTER_NAME, settle_filter, NULL, (ap_filter_type)(AP_FTYPE_PROTOCOL - 1));
}

void aq_settle_phase_insert(request_rec *r)
{
    aq_request_t *request;

    if (r->main) {
        return;
    }
    request = aq_request_find(r);
    if (request && (request->charge || request->problem_status)) {
        ap_add_output_filter_handle(settle_filter_rec, request, r, r->connection);
    }
}
