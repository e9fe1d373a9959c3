/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch upload: from a request to a batch on disk, then 202.
 *
 * What can be refused without the body is refused before it is read. The body passes to the spool in pieces of 64 kB;
 * its file is removed on every way out but the last. Order: body durable, row durable, answer.
 */
#include "httpd/batch_handler.h"

#include "base/aq_hash.h"
#include "batch/items.h"
#include "httpd/batch_headers.h"
#include "httpd/batch_repeat.h"
#include "httpd/httpd_log.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_core.h>
#include <http_protocol.h>
#include <string.h>
#include <util_filter.h>

#define READ_BYTES 65536
#define TENANT_RETRY_AFTER_S 10 /* until some of the tenant's batches may be done */

typedef struct {
    request_rec *r;
    apr_pool_t *pool; /* of the file and of the key's lock: destroyed before the commit, the file is removed */
    aq_spool_t *spool;
    aq_queue_t *queue;
    aq_spool_file_t *file;
    int64_t max_bytes;
    int64_t bytes;
    int64_t max_items; /* 0: the body is one request */
    aq_items_count_t items;
    aq_queue_bounds_t bounds;
    aq_spool_owner_t owner;
} upload_t;

static int refuse(request_rec *r, int status, const char *code, const char *detail)
{
    return aq_problem_refuse(r, &(aq_problem_t){.status = status, .code = code, .detail = detail});
}

static int refuse_too_large(const upload_t *upload)
{
    return refuse(
        upload->r, HTTP_REQUEST_ENTITY_TOO_LARGE, "body-too-large",
        apr_psprintf(upload->r->pool, "The body may have at most %" APR_INT64_T_FMT " bytes.", upload->max_bytes));
}

static int refuse_tenant(const upload_t *upload, int is_bytes);

static int refuse_too_many_items(const upload_t *upload)
{
    return refuse(
        upload->r, HTTP_REQUEST_ENTITY_TOO_LARGE, "too-many-items",
        apr_psprintf(upload->r->pool, "The body may have at most %" APR_INT64_T_FMT " lines.", upload->max_items));
}

/* Lines are to be sent one by one: the body must say that it has some. */
static int items_type_check(request_rec *r)
{
    static const char *const TYPES[] = {"application/x-ndjson", "application/ndjson", "application/jsonl"};
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    const char *coding = apr_table_get(r->headers_in, "Content-Encoding");

    if (coding && ap_cstr_casecmp(coding, "identity") != 0) {
        return refuse(r, HTTP_UNSUPPORTED_MEDIA_TYPE, "encoded-items", "The body must come without Content-Encoding.");
    }
    for (size_t i = 0; type && i < sizeof TYPES / sizeof TYPES[0]; i++) {
        size_t size = strlen(TYPES[i]);
        if (ap_cstr_casecmpn(type, TYPES[i], size) == 0 && strchr("; \t", type[size])) {
            return OK;
        }
    }
    return refuse(r, HTTP_UNSUPPORTED_MEDIA_TYPE, "not-ndjson",
                  "The body must be NDJSON, one JSON value a line, sent as application/x-ndjson, application/ndjson or "
                  "application/jsonl.");
}

/* A full spool or disk is the client's to know, and so is a tenant's own bound; anything else is the operator's. */
static int refuse_spool(const upload_t *upload, apr_status_t rv)
{
    request_rec *r = upload->r;

    if (rv == EDQUOT) {
        return refuse_tenant(upload, 1);
    }
    if (APR_STATUS_IS_ENOSPC(rv)) {
        AQ_PACED_LOG(AQ_LOG_WARNING, 1220, rv, "the spool or its disk is full: a batch was refused");
        return refuse(r, HTTP_INSUFFICIENT_STORAGE, "spool-full", "There is no room for this body now.");
    }
    AQ_PACED_LOG(AQ_LOG_ERROR, 1221, rv, "a body cannot be written to the spool");
    return aq_batch_refuse_unavailable(r, "The body cannot be stored now.");
}

/* The tenant has too many batches queued, or too many bytes on the spool. */
static int refuse_tenant(const upload_t *upload, int is_bytes)
{
    request_rec *r = upload->r;

    if (is_bytes) {
        return refuse(r, HTTP_INSUFFICIENT_STORAGE, "tenant-spool-full",
                      apr_psprintf(r->pool,
                                   "Your batches and their results may take %" APR_INT64_T_FMT
                                   " bytes together; delete some that you no longer need.",
                                   upload->bounds.bytes_most));
    }
    return aq_problem_refuse(
        r,
        &(aq_problem_t){.status = HTTP_TOO_MANY_REQUESTS,
                        .code = "too-many-queued",
                        .detail = apr_psprintf(r->pool, "You may have %" APR_INT64_T_FMT " batches queued at a time.",
                                               upload->bounds.queued_most),
                        .retry_after_s = TENANT_RETRY_AFTER_S});
}

/* The declared length of the body, -1 where it comes in chunks. httpd has refused what is no number. */
static int64_t declared_length(request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t bytes;

    if (apr_table_get(r->headers_in, "Transfer-Encoding")) {
        return -1;
    }
    return length && ap_parse_strict_length(&bytes, length) ? bytes : 0;
}

/* One brigade to the spool, bucket by bucket, each freed when written. OK, or the status of a refusal. */
static int brigade_store(upload_t *upload, apr_bucket_brigade *brigade, int *is_over)
{
    while (!APR_BRIGADE_EMPTY(brigade)) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(brigade);
        const char *data = NULL;
        apr_size_t size = 0;
        apr_status_t rv = APR_SUCCESS;

        if (APR_BUCKET_IS_EOS(bucket)) {
            *is_over = 1;
            return OK;
        }
        if (!APR_BUCKET_IS_METADATA(bucket)) {
            rv = apr_bucket_read(bucket, &data, &size, APR_BLOCK_READ);
        }
        if (rv != APR_SUCCESS) {
            return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        }
        upload->bytes += (int64_t)size;
        if (upload->bytes > upload->max_bytes) {
            return refuse_too_large(upload);
        }
        if (upload->max_items > 0) {
            aq_items_count(&upload->items, data, size);
            if (aq_items_total(&upload->items) > upload->max_items) {
                return refuse_too_many_items(upload);
            }
        }
        if (size > 0 && (rv = aq_spool_write(upload->file, data, size)) != APR_SUCCESS) {
            return refuse_spool(upload, rv);
        }
        apr_bucket_delete(bucket);
    }
    return OK;
}

static int body_store(upload_t *upload)
{
    request_rec *r = upload->r;
    apr_bucket_brigade *brigade = apr_brigade_create(upload->pool, r->connection->bucket_alloc);
    int is_over = 0;
    int status = OK;

    while (!is_over && status == OK) {
        apr_status_t rv = ap_get_brigade(r->input_filters, brigade, AP_MODE_READBYTES, APR_BLOCK_READ, READ_BYTES);
        /* AP_FILTER_ERROR comes through unchanged: httpd has answered already. */
        status = rv == APR_SUCCESS ? brigade_store(upload, brigade, &is_over)
                                   : ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        apr_brigade_cleanup(brigade);
    }
    return status;
}

static apr_status_t id_make(char id[AQ_BATCH_ID_SIZE], aq_time_ms_t now_ms)
{
    unsigned char random[10];
    apr_status_t rv = aq_hash_random(random, sizeof random);

    if (rv == APR_SUCCESS) {
        aq_batch_id_write(id, now_ms, random);
    }
    return rv;
}

/* All but what the body's commit tells. OK, or the status of a refusal. */
static int batch_describe(request_rec *r, const aq_location_config_t *location, const aq_batch_location_t *settings,
                          const aq_principal_t *principal, aq_batch_t *batch)
{
    const apr_uri_t *uri = &aq_request_initial(r)->parsed_uri;
    const char *bad;

    batch->status = AQ_BATCH_QUEUED;
    batch->tenant = principal->tenant;
    batch->key_id = principal->key_id;
    batch->location = settings->name;
    batch->max_attempts = settings->max_attempts;
    batch->never_repeat = !settings->target_is_idempotent;
    batch->wants_webhook = settings->wants_webhook;
    batch->retention_ms = settings->retention_ms;
    batch->result_retention_ms = settings->result_retention_ms;
    batch->method = r->method;
    batch->path = aq_batch_uri_escape(r->pool, uri->path ? uri->path : r->uri);
    batch->query = aq_batch_uri_escape(r->pool, uri->query);
    batch->headers = aq_batch_headers_keep(r->pool, r->headers_in, location, &bad);
    batch->request.content_type = apr_table_get(r->headers_in, "Content-Type");
    batch->response.bytes = -1;
    batch->version = 1;
    if (batch->headers) {
        return OK;
    }
    return bad ? refuse(r, HTTP_BAD_REQUEST, "header-invalid",
                        apr_psprintf(r->pool, "The header %s is not valid UTF-8.", bad))
               : HTTP_INTERNAL_SERVER_ERROR;
}

static void accepted_headers_set(request_rec *r, const aq_batch_t *batch, const char *base_url)
{
    const char *url = apr_pstrcat(r->pool, base_url, "/", batch->id, NULL);

    apr_table_setn(r->headers_out, "Location", url);
    apr_table_setn(r->headers_out, "Operation-Location", url);
    apr_table_setn(r->headers_out, "Retry-After",
                   apr_itoa(r->pool, aq_batch_poll_after_s(batch, batch->created_at_ms)));
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (aq_batch_prefers_async(r)) {
        apr_table_setn(r->headers_out, "Preference-Applied", AQ_BATCH_RESPOND_ASYNC);
    }
}

static int accepted_send(request_rec *r, const aq_batch_t *batch, const char *base_url, const char *text)
{
    accepted_headers_set(r, batch, base_url);
    r->status = HTTP_ACCEPTED;
    return aq_batch_text_send(r, text);
}

/* Of a batch that was not queued. A file that stays is an orphan, which the worker sweeps. */
static void body_remove(const upload_t *upload, const char *id)
{
    apr_status_t rv = aq_spool_body_remove(upload->spool, upload->pool, id);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 1223, rv, "the body of %s, which was not queued, cannot be removed now", id);
    }
}

/* The tenant has used the idempotency key before: a lost answer is given again, another request is refused. */
static int repeat_answer(const upload_t *upload, const aq_batch_t *batch, const char *base_url)
{
    request_rec *r = upload->r;
    aq_batch_t *first = NULL;
    const char *text = NULL;
    apr_status_t rv = aq_queue_find_key(upload->queue, r->pool, batch->tenant, batch->idempotency_key, &first);

    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && aq_batch_has_expired(first, batch->created_at_ms))) {
        return refuse(r, HTTP_GONE, "batch-deleted", "The batch of this Idempotency-Key was deleted, or has expired.");
    }
    if (rv == APR_SUCCESS && !aq_batch_repeat_is_same(first, batch)) {
        return refuse(r, HTTP_UNPROCESSABLE_ENTITY, "idempotency-key-reused",
                      "This Idempotency-Key was used with another request.");
    }
    if (rv == APR_SUCCESS) {
        text = aq_batch_text(r, first, base_url);
        rv = text ? APR_SUCCESS : APR_ENOMEM;
    }
    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_WARNING, 1224, rv, "the batch of an idempotency key cannot be looked up");
        return aq_batch_refuse_unavailable(r, "The batch cannot be queued now.");
    }
    return accepted_send(r, first, base_url, text);
}

/* The answer is made before the row: when the row is on disk, nothing may keep the client from knowing it. */
static int row_submit(const upload_t *upload, const aq_batch_t *batch, const char *base_url)
{
    request_rec *r = upload->r;
    const char *text = aq_batch_text(r, batch, base_url);
    apr_status_t rv = text ? aq_queue_submit(upload->queue, batch, &upload->bounds, upload->pool) : APR_ENOMEM;

    if (rv == APR_SUCCESS) {
        return accepted_send(r, batch, base_url, text);
    }
    if (rv == APR_INCOMPLETE) {
        AQ_LOG(AQ_LOG_ERROR, 1271, 0, "batch %s could not be synced; its body is left for the worker's sweep",
               batch->id);
        return aq_batch_refuse_unavailable(r, "The batch cannot be queued now.");
    }
    body_remove(upload, batch->id);
    if (APR_STATUS_IS_EEXIST(rv) && batch->idempotency_key) {
        return repeat_answer(upload, batch, base_url);
    }
    if (rv == APR_EAGAIN || rv == EDQUOT) {
        return refuse_tenant(upload, rv == EDQUOT);
    }
    if (APR_STATUS_IS_ENOSPC(rv)) {
        return refuse_spool(upload, rv);
    }
    AQ_PACED_LOG(APR_STATUS_IS_EBUSY(rv) ? AQ_LOG_WARNING : AQ_LOG_ERROR, 1222, rv, "a batch cannot be queued");
    return aq_batch_refuse_unavailable(r, "The batch cannot be queued now.");
}

/*
 * What can be refused before the body is read; submitting decides. A request that repeats an earlier one is let through: it
 * needs no room of its own.
 */
static int upload_admit(upload_t *upload, const aq_batch_t *batch, int64_t declared_bytes)
{
    aq_batch_t *first;
    aq_queue_use_t use;
    int status = OK;

    if (batch->idempotency_key &&
        aq_queue_find_key(upload->queue, upload->pool, batch->tenant, batch->idempotency_key, &first) == APR_SUCCESS) {
        return OK;
    }
    if (batch->idempotency_key &&
        (status = aq_batch_repeat_lock(upload->r, upload->spool, upload->pool, batch)) != OK) {
        return status;
    }
    if (aq_queue_use(upload->queue, batch->tenant, &use) != APR_SUCCESS) {
        return OK;
    }
    upload->owner.room_bytes = upload->bounds.bytes_most - use.bytes;
    if (use.queued >= upload->bounds.queued_most) {
        return refuse_tenant(upload, 0);
    }
    return declared_bytes > 0 && use.bytes + declared_bytes > upload->bounds.bytes_most ? refuse_tenant(upload, 1) : OK;
}

static int upload_take(upload_t *upload, int64_t declared_bytes, aq_batch_t *batch, const aq_batch_location_t *settings,
                       const char *base_url)
{
    int status = upload_admit(upload, batch, declared_bytes);

    if (status != OK) {
        return status;
    }
    apr_status_t rv = aq_spool_body_begin(upload->spool, upload->pool, &upload->owner, declared_bytes, &upload->file);
    if (rv != APR_SUCCESS) {
        return refuse_spool(upload, rv);
    }
    if ((status = body_store(upload)) != OK) {
        return status;
    }
    batch->items = batch->progress_total = aq_items_total(&upload->items);
    if (upload->max_items > 0 && batch->items == 0) {
        return refuse(upload->r, HTTP_UNPROCESSABLE_ENTITY, "no-items", "The body has no lines.");
    }
    batch->created_at_ms = aq_clock_now_ms();
    batch->start_by_ms = batch->created_at_ms + settings->max_wait_ms;
    if ((rv = id_make(batch->id, batch->created_at_ms)) != APR_SUCCESS ||
        (rv = aq_spool_body_commit(upload->file, batch->id, &batch->request)) != APR_SUCCESS) {
        return refuse_spool(upload, rv);
    }
    return row_submit(upload, batch, base_url);
}

/* What the section that takes this request told the worker. NULL where an inner section made it something else. */
static const aq_batch_location_t *settings_find(const request_rec *r, const aq_location_config_t *location)
{
    const aq_batch_config_t *config = aq_config_server(r->server)->batch;

    return config && location->batch.name ? apr_hash_get(config->locations, location->batch.name, APR_HASH_KEY_STRING)
                                          : NULL;
}

/* An upload that stood still for an hour between body and row may have lost its body to the sweep. */
static apr_status_t body_check(void *data, const aq_batch_t *batch)
{
    const upload_t *upload = data;

    return aq_spool_body_check(upload->spool, upload->pool, batch->id, batch->request.bytes);
}

static aq_queue_bounds_t bounds_of(const aq_server_config_t *server, upload_t *upload)
{
    return (aq_queue_bounds_t){
        .body_check = body_check,
        .body_data = upload,
        .queued_most = aq_config_value(server->queue_tenant_max, AQ_QUEUE_TENANT_MAX_DEFAULT),
        .bytes_most = aq_config_value(server->spool_tenant_max_bytes, AQ_SPOOL_TENANT_MAX_DEFAULT),
    };
}

int aq_batch_upload(request_rec *r, const aq_location_config_t *location, const aq_principal_t *principal)
{
    upload_t upload = {.r = r, .max_bytes = aq_config_value(location->batch.max_body_bytes, AQ_BATCH_MAX_BODY_DEFAULT)};
    const aq_batch_location_t *settings = settings_find(r, location);
    int64_t declared_bytes = declared_length(r);
    aq_batch_t batch = {.id = ""};
    int status;

    if (!settings) {
        return DECLINED;
    }
    if (location->batch.is_items > 0) {
        upload.max_items = aq_config_value(location->batch.max_items, AQ_BATCH_MAX_ITEMS_DEFAULT);
    }
    if ((upload.max_items > 0 && (status = items_type_check(r)) != OK) ||
        (status = aq_batch_repeat_key(r, &batch.idempotency_key)) != OK ||
        (status = batch_describe(r, location, settings, principal, &batch)) != OK) {
        return status;
    }
    if (declared_bytes > upload.max_bytes) {
        return refuse_too_large(&upload);
    }
    if (aq_batch_runtime_open(r->server) != APR_SUCCESS) {
        return aq_batch_refuse_unavailable(r, "Batches cannot be taken now.");
    }
    upload.spool = aq_config_server(r->server)->runtime->spool;
    upload.queue = aq_config_server(r->server)->runtime->queue;
    upload.bounds = bounds_of(aq_config_server(r->server), &upload);
    upload.owner = (aq_spool_owner_t){.tenant = principal->tenant, .room_bytes = upload.bounds.bytes_most};
    if (apr_pool_create(&upload.pool, r->pool) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    status = upload_take(&upload, declared_bytes, &batch, settings, location->batch.base_url);
    apr_pool_destroy(upload.pool);
    return status;
}
