/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch status: what is asked of a URL below the status URL, by a table of forms and methods.
 *
 *     /v1/batches              GET, HEAD   a page of the tenant's batches (batch_list.c)
 *     /v1/batches/ID           GET, HEAD   the batch
 *                              DELETE      ends it for good, once it is over
 *     /v1/batches/ID/result    GET, HEAD   the answer of its target
 *     /v1/batches/ID/cancel    POST        asks for its end
 *
 * A batch of another tenant, an ID that is none and a path of no form are the same 404, to the byte, so that nobody
 * learns what others have. A method is refused by the form of the path alone, for the same reason.
 */
#include "httpd/batch_handler.h"

#include "httpd/httpd_log.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_core.h>
#include <string.h>

typedef struct {
    const char *id;   /* not checked yet */
    const char *rest; /* "" or "result", NULL where the path has no ID */
} status_path_t;

typedef int status_fn(request_rec *r, const aq_batch_t *batch, const char *base_url);

static status_fn batch_show, batch_delete, batch_cancel, result_show;

typedef struct {
    const char *rest;
    int method_number; /* M_GET is HEAD too */
    status_fn *run;
} operation_t;

static const operation_t operations[] = {
    {.rest = "", .method_number = M_GET, .run = batch_show},
    {.rest = "", .method_number = M_DELETE, .run = batch_delete},
    {.rest = "result", .method_number = M_GET, .run = result_show},
    {.rest = "cancel", .method_number = M_POST, .run = batch_cancel},
};

static int refuse_unknown(request_rec *r)
{
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_NOT_FOUND,
                                                .code = "batch-unknown",
                                                .detail = "There is no such batch of yours.",
                                                .hides_request_id = 1});
}

/* "/v1/batches/ID/result" behind "/v1/batches". */
static status_path_t path_split(apr_pool_t *p, const char *uri, const char *base_url)
{
    size_t size = strlen(base_url);
    status_path_t path = {0};

    if (strncmp(uri, base_url, size) == 0 && uri[size] == '/') {
        const char *id = uri + size + 1;
        const char *slash = strchr(id, '/');
        path.id = slash ? apr_pstrmemdup(p, id, (size_t)(slash - id)) : id;
        path.rest = slash ? slash + 1 : "";
    }
    return path;
}

/* The operation, or NULL with `*status` saying why there is none; 405 has the methods that there are in Allow. */
static const operation_t *operation_find(request_rec *r, const char *rest, int *status)
{
    *status = HTTP_NOT_FOUND;
    for (size_t i = 0; rest && i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operations[i].rest, rest) != 0) {
            continue;
        }
        if (operations[i].method_number == r->method_number) {
            return &operations[i];
        }
        ap_allow_standard_methods(r, MERGE_ALLOW, operations[i].method_number, -1);
        *status = HTTP_METHOD_NOT_ALLOWED;
    }
    return NULL;
}

/* Of this tenant, and kept still: by the time too, since the worker may be late with removing it. */
static int is_there(request_rec *r, const aq_batch_t *batch, const aq_principal_t *principal)
{
    return strcmp(batch->tenant, principal->tenant) == 0 && !aq_batch_has_expired(batch, aq_request_state(r)->now_ms);
}

/* OK and the batch, where there is one and this tenant owns it; else the status of the refusal. */
static int batch_find(request_rec *r, const char *id, const aq_principal_t *principal, aq_batch_t **batch)
{
    apr_status_t rv;

    if (!aq_batch_id_is_valid(id)) {
        return refuse_unknown(r);
    }
    if (aq_batch_runtime_open(r->server) != APR_SUCCESS) {
        return aq_batch_refuse_unavailable(r, "Batches cannot be looked up now.");
    }
    rv = aq_queue_find(aq_config_server(r->server)->runtime->queue, r->pool, id, batch);
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && !is_there(r, *batch, principal))) {
        return refuse_unknown(r);
    }
    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1230, rv, "a batch cannot be looked up");
        return aq_batch_refuse_unavailable(r, "Batches cannot be looked up now.");
    }
    return OK;
}

/* The status URL itself, with or without a slash. */
static int is_list(const char *uri, const char *base_url)
{
    size_t size = strlen(base_url);

    return strncmp(uri, base_url, size) == 0 && (!uri[size] || strcmp(uri + size, "/") == 0);
}

static int list_show(request_rec *r, const aq_principal_t *principal, const char *base_url)
{
    if (r->method_number != M_GET) {
        ap_allow_standard_methods(r, MERGE_ALLOW, M_GET, -1);
        return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_METHOD_NOT_ALLOWED});
    }
    return aq_batch_list(r, principal, base_url);
}

/* An unknown path is a 404; whether a batch is there is not said, since nobody is known yet. */
int aq_batch_status_options(request_rec *r, const aq_location_config_t *location)
{
    const char *base_url = location->batch.base_url;
    int status = HTTP_NOT_FOUND;

    if (base_url && is_list(r->uri, base_url)) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_OPTIONS, -1);
        return ap_send_http_options(r);
    }
    if (base_url) {
        (void)operation_find(r, path_split(r->pool, r->uri, base_url).rest, &status);
    }
    if (status == HTTP_NOT_FOUND) {
        return refuse_unknown(r);
    }
    ap_allow_standard_methods(r, MERGE_ALLOW, M_OPTIONS, -1);
    return ap_send_http_options(r);
}

int aq_batch_status(request_rec *r, const aq_location_config_t *location, const aq_principal_t *principal)
{
    const char *base_url = location->batch.base_url;
    status_path_t path = base_url ? path_split(r->pool, r->uri, base_url) : (status_path_t){0};
    aq_batch_t *batch = NULL;
    int status;
    const operation_t *operation;

    if (base_url && is_list(r->uri, base_url)) {
        return list_show(r, principal, base_url);
    }
    operation = operation_find(r, path.rest, &status);

    if (!operation) {
        return status == HTTP_NOT_FOUND ? refuse_unknown(r) : aq_problem_refuse(r, &(aq_problem_t){.status = status});
    }
    status = batch_find(r, path.id, principal, &batch);
    return status == OK ? operation->run(r, batch, base_url) : status;
}

static int refuse_state(request_rec *r, const char *code, const char *detail)
{
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_CONFLICT, .code = code, .detail = detail});
}

/* What a change of a batch that cannot be made says. `verb`: "canceled". */
static int refuse_change(request_rec *r, apr_status_t rv, const char *verb)
{
    if (rv == APR_NOTFOUND) {
        return refuse_unknown(r); /* gone since it was looked up */
    }
    AQ_PACED_LOG(APR_STATUS_IS_EBUSY(rv) ? AQ_LOG_WARNING : AQ_LOG_ERROR, 1250, rv, "a batch cannot be %s", verb);
    return aq_batch_refuse_unavailable(r, apr_psprintf(r->pool, "The batch cannot be %s now.", verb));
}

/* A tenant's own, so for no shared cache; to be asked for again each time, which costs nothing while nothing changed. */
static void batch_headers_set(request_rec *r, const aq_batch_t *batch)
{
    apr_table_setn(r->headers_out, "ETag",
                   apr_psprintf(r->pool, "\"%" APR_INT64_T_FMT "%s\"", batch->version,
                                aq_batch_waits_for_machine(batch) ? "-waits" : ""));
    apr_table_setn(r->headers_out, "Cache-Control", "private, no-cache");
    if (!aq_batch_is_over(batch->status)) {
        int wait_s = aq_batch_poll_after_s(batch, aq_request_state(r)->now_ms);
        apr_table_setn(r->headers_out, "Retry-After", apr_itoa(r->pool, wait_s));
    }
}

static int batch_cancel(request_rec *r, const aq_batch_t *batch, const char *base_url)
{
    aq_queue_t *queue = aq_config_server(r->server)->runtime->queue;
    aq_queue_now_t now = {.wall_ms = aq_clock_now_ms(), .boot_ms = aq_clock_boot_ms()};
    aq_batch_t *changed;
    int status = ap_discard_request_body(r);

    if (status != OK) {
        return status;
    }
    apr_status_t rv = aq_queue_cancel(queue, r->pool, batch->id, &now, &changed);
    if (rv == APR_EINVAL) {
        return refuse_state(r, "batch-is-over", "The batch is over; there is nothing left to cancel.");
    }
    if (rv != APR_SUCCESS) {
        return refuse_change(r, rv, "canceled");
    }
    /* No conditions here: what was asked for is done. */
    const char *text = aq_batch_text(r, changed, base_url);
    batch_headers_set(r, changed);
    return text ? aq_batch_text_send(r, text) : HTTP_INTERNAL_SERVER_ERROR;
}

/* The row goes first: what a crash leaves are files that nobody names, which the worker sweeps. */
static int batch_delete(request_rec *r, const aq_batch_t *batch, const char *base_url)
{
    const aq_runtime_t *runtime = aq_config_server(r->server)->runtime;
    aq_expired_t gone;

    (void)base_url;
    apr_status_t rv = aq_queue_remove(runtime->queue, batch->id, &gone);
    if (rv == APR_EINVAL) {
        return refuse_state(r, "batch-not-over", "Only a batch that is over can be deleted; cancel it first.");
    }
    if (rv != APR_SUCCESS) {
        return refuse_change(r, rv, "deleted");
    }
    rv = aq_spool_body_remove(runtime->spool, r->pool, gone.id);
    if (rv == APR_SUCCESS && gone.result_token > 0) {
        rv = aq_spool_result_remove(runtime->spool, r->pool, gone.id, gone.result_token);
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 1251, rv, "batch %s: a file of it is left for the worker's sweep", gone.id);
    }
    r->status = HTTP_NO_CONTENT;
    return OK;
}

static int batch_show(request_rec *r, const aq_batch_t *batch, const char *base_url)
{
    const char *text = aq_batch_text(r, batch, base_url);
    int status;

    if (!text) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    batch_headers_set(r, batch);
    status = ap_meets_conditions(r);
    return status == OK ? aq_batch_text_send(r, text) : status;
}

static int result_show(request_rec *r, const aq_batch_t *batch, const char *base_url)
{
    (void)base_url;
    return aq_batch_result(r, batch);
}
