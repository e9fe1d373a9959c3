/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch result: the answer of the target, replayed with its status, headers and body.
 *
 * The body goes out as a file bucket, so that ranges and conditions work as for any file and nothing is held in memory.
 * r->status is set and OK returned: httpd then takes a stored 4xx for a page like any other, and neither ErrorDocument
 * nor a problem document takes its place.
 */
#include "httpd/batch_handler.h"

#include "httpd/httpd_log.h"
#include "httpd/home_fetch.h"

#include <apr_file_info.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#define ETAG_DIGITS 32

static int refuse(request_rec *r, int status, const char *code, const char *detail, int64_t retry_after_s)
{
    return aq_problem_refuse(
        r, &(aq_problem_t){.status = status, .code = code, .detail = detail, .retry_after_s = retry_after_s});
}

static int refuse_not_ready(request_rec *r, const aq_batch_t *batch)
{
    return refuse(r, HTTP_NOT_FOUND, "result-not-ready", "The batch is not over yet.",
                  aq_batch_poll_after_s(batch, aq_request_state(r)->now_ms));
}

/* Failed without an answer of the target, or canceled. */
static int refuse_none(request_rec *r, const aq_batch_t *batch)
{
    return refuse(r, HTTP_NOT_FOUND, "no-result",
                  batch->error_code ? apr_psprintf(r->pool, "The batch ended without a result: %s.", batch->error_code)
                                    : "The batch ended without a result.",
                  0);
}

/*
 * Opens the file and makes sure that it is one and no link: what lies at the path must be what was opened. (APR can
 * refuse to follow links only when it looks, not when it opens.) APR_ENOENT where it is gone.
 */
static apr_status_t file_open(apr_pool_t *p, const char *path, apr_file_t **file, apr_off_t *size)
{
    const apr_int32_t wanted = APR_FINFO_TYPE | APR_FINFO_IDENT;
    apr_finfo_t at_path, opened;
    apr_status_t rv = apr_stat(&at_path, path, wanted | APR_FINFO_LINK, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (at_path.filetype != APR_REG) {
        return APR_EGENERAL;
    }
    rv = apr_file_open(file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_file_info_get(&opened, wanted | APR_FINFO_SIZE, *file);
    if (rv == APR_SUCCESS && (opened.inode != at_path.inode || opened.device != at_path.device)) {
        rv = APR_EGENERAL;
    }
    *size = opened.size;
    return rv;
}

/* The worker has filtered them when it stored them. */
static void headers_replay(request_rec *r, const aq_batch_t *batch)
{
    json_t *headers = batch->response_headers ? json_loads(batch->response_headers, 0, NULL) : NULL;
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value)
    {
        if (json_is_string(value)) {
            apr_table_set(r->headers_out, name, json_string_value(value));
        }
    }
    json_decref(headers);
}

/* The validators are ours, made of what is stored; the target's spoke of its own resource. */
static void headers_set(request_rec *r, const aq_batch_t *batch)
{
    headers_replay(r, batch);
    apr_table_setn(r->headers_out, "APIQuota-Result", "replay");
    apr_table_setn(r->headers_out, "Cache-Control", "private, no-cache");
    apr_table_unset(r->headers_out, "ETag");
    if (batch->response.sha256) {
        apr_table_setn(r->headers_out, "ETag", apr_psprintf(r->pool, "\"%.*s\"", ETAG_DIGITS, batch->response.sha256));
    }
    ap_update_mtime(r, apr_time_from_msec(batch->finished_at_ms));
    ap_set_last_modified(r);
    if (batch->response.content_type) {
        ap_set_content_type(r, apr_pstrdup(r->pool, batch->response.content_type));
    }
}

/* `file` NULL: an answer without a body. */
static int body_send(request_rec *r, apr_file_t *file, apr_off_t size)
{
    apr_bucket_brigade *brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);

    ap_set_content_length(r, size);
    if (file && size > 0) {
        apr_bucket *bucket = apr_brigade_insert_file(brigade, file, 0, size, r->pool);
        /* A mapping that outlives a file cut short by a failing disk would end the whole child. */
        (void)apr_bucket_file_enable_mmap(bucket, 0);
    }
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(r->connection->bucket_alloc));
    /* A client that has gone away is no error of ours: httpd notes it on the connection. */
    (void)ap_pass_brigade(r->output_filters, brigade);
    return OK;
}

/* By the time too: the worker may be late with removing it. */
static int has_expired(request_rec *r, const aq_batch_t *batch)
{
    return batch->response.bytes >= 0 &&
           (batch->result_token == 0 ||
            (batch->result_expires_at_ms > 0 && batch->result_expires_at_ms <= aq_request_state(r)->now_ms));
}

static int refuse_expired(request_rec *r)
{
    return refuse(r, HTTP_GONE, "result-expired", "The result is no longer kept.", 0);
}

/* The file lies on the spool of the machine that took the batch. */
static int fetch(request_rec *r, const aq_batch_t *batch)
{
    const int status = aq_home_fetch(r, batch);

    if (status == HTTP_GONE) {
        return refuse_expired(r);
    }
    if (status != DECLINED) {
        return status;
    }
    return refuse(
        r, HTTP_SERVICE_UNAVAILABLE, "result-elsewhere",
        apr_psprintf(r->pool,
                     "The result lies on the machine that took the batch, %s, and this one cannot read it: ask that "
                     "machine.",
                     batch->home),
        AQ_BATCH_RETRY_AFTER_S);
}

int aq_batch_result(request_rec *r, const aq_batch_t *batch)
{
    const aq_spool_t *spool = aq_config_server(r->server)->runtime->spool;
    const char *path = aq_spool_result_path(spool, r->pool, batch->id, batch->result_token);
    apr_file_t *file = NULL;
    apr_off_t size = 0;
    apr_status_t rv = APR_SUCCESS;

    if (!aq_batch_is_over(batch->status)) {
        return refuse_not_ready(r, batch);
    }
    if (batch->response_status < 200 || batch->response_status > 599) { /* beside 0, what no worker stores any more */
        return refuse_none(r, batch);
    }
    if (has_expired(r, batch)) {
        return refuse_expired(r);
    }
    if (batch->response.bytes > 0 && batch->is_elsewhere) {
        return fetch(r, batch);
    }
    if (batch->response.bytes > 0) {
        rv = file_open(r->pool, path, &file, &size);
    }
    if (APR_STATUS_IS_ENOENT(rv)) {
        return refuse_expired(r);
    }
    if (rv != APR_SUCCESS || (file && size != batch->response.bytes)) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1240, rv, "the result of %s cannot be read, or has changed", batch->id);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    r->status = batch->response_status;
    headers_set(r, batch);
    ap_set_accept_ranges(r);
    int status = ap_meets_conditions(r);
    return status == OK ? body_send(r, file, size) : status;
}
