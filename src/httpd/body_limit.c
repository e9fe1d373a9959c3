/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter stands right above HTTP_IN, so that it counts what the client sends: after the chunks were taken apart, and
 * before anything is decompressed. See body_limit.h.
 */
#include "httpd/body_limit.h"

#include "httpd/batch_handler.h"
#include "httpd/cache.h"
#include "httpd/deadline.h"
#include "httpd/options.h"
#include "httpd/phases.h"
#include "httpd/refusal.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <util_filter.h>

#define FILTER_NAME "APIQUOTA_BODY"

static ap_filter_rec_t *body_filter_rec;

typedef struct {
    int64_t max_bytes;
    int64_t bytes; /* seen so far */
} count_t;

static int refuse(request_rec *r, int64_t max_bytes)
{
    return aq_quota_refuse(
        r, &(aq_problem_t){.status = HTTP_REQUEST_ENTITY_TOO_LARGE,
                           .code = "body-too-large",
                           .detail = apr_psprintf(aq_request_initial(r)->pool,
                                                  "The body may have at most %" APR_INT64_T_FMT " bytes.", max_bytes)});
}

/* The bound, or AQ_UNSET. An upload that becomes a batch has one of its own, APIQuotaBatchMaxBody. */
static int64_t max_bytes_of(request_rec *r, const aq_location_config_t *location)
{
    return location->quota > AQ_QUOTA_OFF && !aq_batch_is_taken(r, location) ? location->options->max_body_bytes
                                                                             : AQ_UNSET;
}

int aq_body_limit_check(request_rec *r, const aq_location_config_t *location)
{
    const int64_t max_bytes = max_bytes_of(r, location);
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t declared;

    if (max_bytes == AQ_UNSET || !length || !ap_parse_strict_length(&declared, length) || declared <= max_bytes) {
        return OK;
    }
    return refuse(r, max_bytes);
}

static apr_status_t body_filter(ap_filter_t *filter, apr_bucket_brigade *brigade, ap_input_mode_t mode,
                                apr_read_type_e block, apr_off_t bytes)
{
    count_t *count = filter->ctx;
    apr_status_t rv = ap_get_brigade(filter->next, brigade, mode, block, bytes);
    apr_off_t size = 0;

    if (rv == APR_SUCCESS && mode != AP_MODE_SPECULATIVE && mode != AP_MODE_INIT) {
        rv = apr_brigade_length(brigade, 1, &size);
        count->bytes += (int64_t)size;
    }
    if (rv != APR_SUCCESS || count->bytes <= count->max_bytes) {
        return rv;
    }
    if (refuse(filter->r, count->max_bytes) == OK) {
        count->max_bytes = INT64_MAX; /* a dry run: said once */
        return APR_SUCCESS;
    }
    apr_brigade_cleanup(brigade);
    /* What httpd and its modules answer with 413. */
    return APR_ENOSPC;
}

void aq_body_limit_register(void)
{
    body_filter_rec = ap_register_input_filter(FILTER_NAME, body_filter, NULL, (ap_filter_type)(AP_FTYPE_PROTOCOL - 1));
}

void aq_body_limit_insert(request_rec *r)
{
    const aq_location_config_t *location = aq_config_location(r);
    const int64_t max_bytes = max_bytes_of(r, location);
    count_t *count;

    if (max_bytes == AQ_UNSET || max_bytes == INT64_MAX || r->main) {
        return;
    }
    /* A dry run has judged a declared length. */
    if (location->quota == AQ_QUOTA_DRY_RUN && apr_table_get(r->headers_in, "Content-Length")) {
        return;
    }
    count = apr_pcalloc(r->pool, sizeof(*count));
    count->max_bytes = max_bytes;
    ap_add_input_filter_handle(body_filter_rec, count, r, r->connection);
}

AQ_APART static void filters_of_options_insert(request_rec *r)
{
    aq_body_limit_insert(r);
    aq_deadline_insert(r);
}

void aq_filters_insert(request_rec *r)
{
    if (aq_config_location(r)->options) {
        filters_of_options_insert(r);
    }
    if (aq_config_server(r->server)->has_cache) {
        aq_cache_insert(r);
    }
    aq_settle_phase_insert(r);
}
