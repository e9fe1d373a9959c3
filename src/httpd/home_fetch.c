/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking another machine for a result. See home_fetch.h.
 *
 * What comes back passes only where it is a result, or a 304: a filter ahead of all others swallows anything else, as the
 * error page of a machine that is being set up. Until then nothing was sent, so that the request can still be answered here.
 */
#include "httpd/home_fetch.h"

#include "base/aq_log.h"
#include "batch/home_signature.h"
#include "httpd/config.h"
#include "httpd/home_proxy.h"
#include "httpd/httpd_log.h"
#include "httpd/request.h"

#include <apr_strings.h>
#include <http_config.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#define FILTER_NAME "APIQUOTA_HOME"

typedef struct {
    int has_begun;
    int refused; /* home's status, where what it said was swallowed; else 0 */
} fetch_t;

/* What a fetch changes of the request. */
typedef struct {
    apr_table_t *headers_in, *headers_out;
    const char *handler;
    char *filename;
} kept_t;

static ap_filter_rec_t *filter_rec;

int aq_home_can_fetch(void)
{
    return ap_find_linked_module("mod_proxy.c") && ap_find_linked_module("mod_proxy_http.c");
}

static apr_status_t fetch_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    request_rec *r = filter->r;
    fetch_t *fetch = filter->ctx;

    if (!fetch->refused && (r->status == HTTP_NOT_MODIFIED || apr_table_get(r->headers_out, "APIQuota-Result"))) {
        fetch->has_begun = 1;
        ap_remove_output_filter(filter);
        return ap_pass_brigade(filter->next, brigade);
    }
    fetch->refused = r->status;
    return apr_brigade_cleanup(brigade);
}

void aq_home_fetch_register(void)
{
    static const char *const after[] = {"mod_proxy.c", NULL};

    ap_hook_child_init(aq_home_proxy_child_init, after, NULL, APR_HOOK_LAST);
    filter_rec = ap_register_output_filter(FILTER_NAME, fetch_filter, NULL, AP_FTYPE_RESOURCE - 1);
}

/* Neither the client's credentials nor anything else that it says, but for these. */
static apr_table_t *headers_make(request_rec *r, const char *signature)
{
    static const char *const passed[] = {"Range",         "If-Range",          "If-Match",
                                         "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"};
    apr_table_t *headers = apr_table_make(r->pool, 8);

    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        const char *value = apr_table_get(r->headers_in, passed[i]);
        if (value) {
            apr_table_setn(headers, passed[i], value);
        }
    }
    apr_table_setn(headers, "X-Request-Id", aq_request_id(r));
    apr_table_setn(headers, AQ_HOME_HEADER, signature);
    return headers;
}

/* As if nobody had been asked. */
static void answer_forget(request_rec *r, const kept_t *kept)
{
    r->headers_out = kept->headers_out;
    r->proxyreq = PROXYREQ_NONE;
    r->status = HTTP_OK;
    r->status_line = NULL;
    r->eos_sent = 0;
}

/* The handler of mod_proxy, run from within ours. The client's own body, if it sent one, is read before. */
static int proxy_run(request_rec *r, const char *url, const char *signature, fetch_t *fetch)
{
    const kept_t kept = {.headers_in = r->headers_in,
                         .headers_out = apr_table_copy(r->pool, r->headers_out),
                         .handler = r->handler,
                         .filename = r->filename};
    ap_filter_t *filter;
    int status = ap_discard_request_body(r);

    if (status != OK) {
        return status;
    }
    filter = ap_add_output_filter_handle(filter_rec, fetch, r, r->connection);
    r->headers_in = headers_make(r, signature);
    r->filename = apr_pstrcat(r->pool, "proxy:", url, NULL);
    r->handler = "proxy-server";
    r->proxyreq = PROXYREQ_REVERSE;
    const aq_home_proxy_t before = aq_home_proxy_begin(r);
    status = ap_run_handler(r);
    aq_home_proxy_end(r, &before);
    r->headers_in = kept.headers_in;
    r->handler = kept.handler;
    r->filename = kept.filename;
    if (fetch->has_begun) {
        return status;
    }
    ap_remove_output_filter(filter);
    answer_forget(r, &kept);
    return fetch->refused ? fetch->refused : status;
}

/* The refusals of a home that has read the signature are the client's to know. */
static int is_for_client(int status)
{
    return status == HTTP_GONE || status == HTTP_PRECONDITION_FAILED || status == HTTP_RANGE_NOT_SATISFIABLE;
}

static int home_ask(request_rec *r, const aq_batch_t *batch, const aq_queue_home_t *home)
{
    const char *signature =
        aq_home_signature_make(r->pool, &home->secret, batch->home, batch->id, aq_request_state(r)->now_ms);
    fetch_t *fetch = apr_pcalloc(r->pool, sizeof(*fetch));
    int status;

    if (!signature) {
        return DECLINED;
    }
    status = proxy_run(r, apr_pstrcat(r->pool, home->url, "/", batch->id, NULL), signature, fetch);
    if (fetch->has_begun || is_for_client(status)) {
        return status;
    }
    AQ_PACED_LOG(AQ_LOG_WARNING, 1277, APR_SUCCESS,
                 "the result of %s cannot be had from its machine, %s, at %s: status %d (request %s)", batch->id,
                 batch->home, home->url, status, aq_request_id(r));
    return DECLINED;
}

int aq_home_fetch(request_rec *r, const aq_batch_t *batch)
{
    aq_queue_home_t home;
    apr_status_t rv;

    if (r->main || !aq_home_can_fetch()) {
        return DECLINED;
    }
    rv = aq_queue_home(aq_config_server(r->server)->runtime->queue, r->pool, batch->home, &home);
    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_WARNING, 1278, rv, "the queue does not tell where machine %s is", batch->home);
        return DECLINED;
    }
    return home.url ? home_ask(r, batch, &home) : DECLINED;
}
