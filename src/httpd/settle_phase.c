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

#include "httpd/httpd_log.h"
#include "httpd/answer_headers.h"
#include "httpd/options.h"
#include "httpd/tally.h"

#include <apr_strings.h>
#include <endian.h>
#include <http_protocol.h>
#include <http_request.h>
#include <string.h>
#include <util_filter.h>

#define FILTER_NAME "APIQUOTA_SETTLE"
#define RATE_PREFIX "X-RateLimit-"
#define DECIMAL_SIZE 25 /* 20 digits, in eights, and the end */

static ap_filter_rec_t *settle_filter_rec;

/* Writes our headers into those of one response. */
typedef struct {
    apr_table_t *headers;
    apr_pool_t *p;
    aq_time_ms_t reset_from_ms; /* 0: resets are epoch seconds; else counted from then */
} header_writer_t;

/* A header of that family, set by a backend or by our own earlier run; NULL where there is none. */
static const char *rate_header_find(const apr_table_t *headers)
{
    const apr_array_header_t *entries = apr_table_elts(headers);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)(const void *)entries->elts;

    for (const apr_table_entry_t *end = entry + entries->nelts; entry < end; entry++) {
        if ((entry->key[0] | 0x20) == 'x' && ap_cstr_casecmpn(entry->key, RATE_PREFIX, sizeof(RATE_PREFIX) - 1) == 0) {
            return entry->key;
        }
    }
    return NULL;
}

/*
 * One set, ours: a backend's -Reset must not stay beside our -Limit where we have none to show. What is set then is known
 * to be new: apr_table_setn would search the table for each, and our names look alike to its index.
 */
static inline void rate_headers_clear(apr_table_t *headers)
{
    const char *name;

    while ((name = rate_header_find(headers))) {
        apr_table_unset(headers, name);
    }
}

/*
 * The eight digits of a number below 10^8 as bytes from 0 to 9, the first digit the lowest. All are made at once: halves of
 * four digits, each into pairs, each into digits, with the reciprocals 10486/2^20 of 100 and 103/2^10 of 10, which are
 * exact for what they divide.
 */
static inline uint64_t eight_digits(uint32_t value)
{
    const uint64_t halves = value / 10000 | (uint64_t)(value % 10000) << 32;
    const uint64_t hundreds = halves * 10486 >> 20 & UINT64_C(0x0000007f0000007f);
    const uint64_t pairs = hundreds | (halves - hundreds * 100) << 16;
    const uint64_t tens = pairs * 103 >> 10 & UINT64_C(0x000f000f000f000f);

    return tens | (pairs - tens * 10) << 8;
}

static inline char *eight_digits_write(char *end, uint64_t digits)
{
    const uint64_t text = htole64(digits | UINT64_C(0x3030303030303030));

    return memcpy(end - sizeof(text), &text, sizeof(text));
}

/* Writes `value` so that it ends before `end`, and returns its beginning. apr_psprintf costs twenty times as much. */
static char *decimal_write(char *end, uint64_t value)
{
    static const uint32_t range = 100000000;
    uint64_t digits;

    for (; value >= range; value /= range) {
        end = eight_digits_write(end, eight_digits((uint32_t)(value % range)));
    }
    digits = eight_digits((uint32_t)value);
    /* Without leading zeros, but for the last digit. */
    return eight_digits_write(end, digits) + __builtin_ctzll(digits | UINT64_C(1) << 56) / 8;
}

static const char *decimal(char text[DECIMAL_SIZE], uint64_t value)
{
    text[DECIMAL_SIZE - 1] = '\0';
    return decimal_write(text + DECIMAL_SIZE - 1, value);
}

static uint64_t seconds_up(aq_time_ms_t ms)
{
    return (uint64_t)((ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S);
}

/* Limit, remaining and reset of one counter, in headers of those names. */
static void trio_set(const header_writer_t *writer, const aq_counter_t *counter, const char *limit_name,
                     const char *remaining_name, const char *reset_name)
{
    char(*texts)[DECIMAL_SIZE];

    if (counter->limit->rate.is_unlimited) {
        return;
    }
    texts = apr_palloc(writer->p, 2 * sizeof(*texts));
    apr_table_addn(writer->headers, limit_name, counter->limit->capacity_text);
    apr_table_addn(writer->headers, remaining_name, decimal(texts[0], counter->remaining));
    if (counter->reset_at_ms != AQ_TIME_NEVER) {
        apr_table_addn(writer->headers, reset_name,
                       decimal(texts[1], seconds_up(counter->reset_at_ms - writer->reset_from_ms)));
    }
}

/* 1 where a later limit shows in the same headers: a section's is nearer to the request than a plan's. */
AQ_APART static int is_hidden(const aq_charge_t *charge, unsigned index)
{
    for (unsigned i = index + 1; i < charge->count; i++) {
        const aq_limit_t *later = charge->counters[i].limit;

        if (later->shown == AQ_SHOWN_SUFFIX &&
            ap_cstr_casecmp(later->header_suffix, charge->counters[index].limit->header_suffix) == 0) {
            return 1;
        }
    }
    return 0;
}

AQ_APART static void suffixed_trios_set(const header_writer_t *writer, const aq_charge_t *charge, int may_share)
{
    apr_pool_t *p = writer->p;

    for (unsigned i = 0; i < charge->count; i++) {
        const char *suffix = charge->counters[i].limit->header_suffix;

        if (charge->counters[i].limit->shown == AQ_SHOWN_SUFFIX && !(may_share && is_hidden(charge, i))) {
            trio_set(writer, &charge->counters[i], apr_pstrcat(p, RATE_PREFIX "Limit-", suffix, NULL),
                     apr_pstrcat(p, RATE_PREFIX "Remaining-", suffix, NULL),
                     apr_pstrcat(p, RATE_PREFIX "Reset-", suffix, NULL));
        }
    }
}

/* The unsuffixed trio shows the primary limit; on a refusal the one that refused. */
static void charge_headers_set(request_rec *r, const aq_request_t *request)
{
    const aq_charge_t *charge = request->charge;
    const aq_location_options_t *options = request->location->options;
    int shown = charge->refusing >= 0 && charge->primary >= 0 ? charge->refusing : charge->primary;
    const header_writer_t writer = {
        .headers = r->headers_out,
        .p = r->pool,
        .reset_from_ms = options && options->reset_is_delta == 1 ? request->now_ms : 0,
    };

    if (!(aq_options_headers(options) & AQ_HEADERS_X)) {
        return;
    }
    rate_headers_clear(r->headers_out);
    rate_headers_clear(r->err_headers_out);
    if (shown >= 0) {
        trio_set(&writer, &charge->counters[shown], RATE_PREFIX "Limit", RATE_PREFIX "Remaining", RATE_PREFIX "Reset");
    }
    if (charge->traits & AQ_LIMIT_HAS_SUFFIX) {
        suffixed_trios_set(&writer, charge, aq_config_server(r->server)->shares_suffixes);
    }
}

static void refusal_headers_set(request_rec *r, const aq_request_t *request)
{
    int64_t wait_s = 0;

    if (aq_request_refusing(request)) {
        wait_s = aq_charge_retry_after_s(aq_request_refusing(request));
    } else if (request->problem && request->problem->status == r->status) {
        wait_s = request->problem->retry_after_s;
    }
    if (wait_s > 0) {
        aq_answer_header_replace(r, "Retry-After", decimal(apr_palloc(r->pool, DECIMAL_SIZE), (uint64_t)wait_s));
    }
    if (request->problem_status == r->status) {
        ap_set_content_type_ex(r, request->problem_content_type, 1);
    }
}

static void charge_settle(request_rec *r, const aq_runtime_t *runtime, aq_request_t *request)
{
    int is_free = aq_config_is_free(request->location, r->status);
    apr_status_t rv = aq_charge_settle(request->charge, runtime->store, is_free, request->now_ms);

    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1002, rv, "a free response could not be given back (request %s)", aq_request_id(r));
    }
}

int aq_settle_phase_is_error(const apr_bucket_brigade *brigade)
{
    for (const apr_bucket *b = APR_BRIGADE_FIRST(brigade); b != APR_BRIGADE_SENTINEL(brigade); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b)) {
            return 1;
        }
    }
    return 0;
}

static void headers_write(request_rec *r, const aq_request_t *request)
{
    if (request->charge) {
        charge_headers_set(r, request);
    }
    if (ap_is_HTTP_ERROR(r->status)) {
        refusal_headers_set(r, request);
    }
    aq_answer_headers_set(r, request);
}

static apr_status_t settle_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    request_rec *r = filter->r;
    aq_request_t *request = filter->ctx;
    const aq_runtime_t *runtime = aq_config_server(r->server)->runtime;

    if (aq_settle_phase_is_error(brigade)) {
        return ap_pass_brigade(filter->next, brigade);
    }
    if (request->charge) {
        charge_settle(r, runtime, request);
    }
    if (runtime) {
        aq_tally_count(runtime->tally, request);
    }
    if (!aq_request_is_silent(request)) {
        headers_write(r, request);
    } else if (request->problem_status == r->status) {
        ap_set_content_type_ex(r, request->problem_content_type, 1);
    }
    if (request->location && request->location->rules) {
        aq_environment_set(r, request, request->location);
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
    aq_request_t *request = r->main ? NULL : aq_request_find(r);

    if (request && (request->location || request->problem || request->problem_status)) {
        ap_add_output_filter_handle(settle_filter_rec, request, r, r->connection);
    }
}
