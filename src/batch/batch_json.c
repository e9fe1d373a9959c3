/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batch as its client sees it. What is not listed here (tenant, key, location, headers, spool) stays inside.
 */
#include "batch/batch.h"

#define POLL_AFTER_MAX_S 30

static int set_new(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value);
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

/* Members are set one by one so that a failure of any is seen; jansson's set_new refuses a NULL value. */
static json_t *request_json(const aq_batch_t *batch)
{
    json_t *json = json_object();

    if (set_new(json, "method", text_or_null(batch->method)) != 0 ||
        set_new(json, "path", text_or_null(batch->path)) != 0 ||
        set_new(json, "content_type", text_or_null(batch->request.content_type)) != 0 ||
        set_new(json, "bytes", json_integer(batch->request.bytes)) != 0 ||
        set_new(json, "sha256", text_or_null(batch->request.sha256)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *response_json(const aq_batch_t *batch)
{
    if (batch->response_status == 0) {
        return json_null();
    }
    json_t *json = json_object();
    if (set_new(json, "status", json_integer(batch->response_status)) != 0 ||
        set_new(json, "content_type", text_or_null(batch->response.content_type)) != 0 ||
        set_new(json, "bytes", batch->response.bytes >= 0 ? json_integer(batch->response.bytes) : json_null()) != 0 ||
        set_new(json, "sha256", text_or_null(batch->response.sha256)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *error_json(const aq_batch_t *batch)
{
    if (batch->error_code == NULL) {
        return json_null();
    }
    return json_pack("{s:s, s:s?}", "code", batch->error_code, "detail", batch->error_detail);
}

static json_t *progress_json(const aq_batch_t *batch)
{
    json_t *total = batch->progress_total > 0 ? json_integer(batch->progress_total) : json_null();

    return json_pack("{s:I, s:o, s:I}", "done", (json_int_t)batch->progress_done, "total", total, "failed",
                     (json_int_t)batch->progress_failed);
}

/* What the client sent as metadata was checked then; text that no longer parses is shown as null. */
static json_t *metadata_json(const aq_batch_t *batch)
{
    json_t *json = batch->metadata != NULL ? json_loads(batch->metadata, JSON_DECODE_ANY, NULL) : NULL;

    return json != NULL ? json : json_null();
}

static json_t *links_json(const aq_batch_t *batch, const char *base_url)
{
    json_t *json = json_object();

    int is_over = aq_batch_is_over(batch->status);

    if (set_new(json, "self", json_sprintf("%s/%s", base_url, batch->id)) != 0 ||
        set_new(json, "result", json_sprintf("%s/%s/result", base_url, batch->id)) != 0 ||
        set_new(json, "cancel", is_over ? json_null() : json_sprintf("%s/%s/cancel", base_url, batch->id)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* When the result goes: with the batch unless it has a time of its own. */
static aq_time_ms_t result_expires_at_ms(const aq_batch_t *batch)
{
    if (batch->response.bytes < 0) {
        return 0;
    }
    return batch->result_expires_at_ms > 0 && batch->result_expires_at_ms < batch->expires_at_ms
               ? batch->result_expires_at_ms
               : batch->expires_at_ms;
}

json_t *aq_batch_json(const aq_batch_t *batch, const char *base_url)
{
    const struct {
        const char *name;
        json_t *value;
    } members[] = {
        {"id", json_string(batch->id)},
        {"status", json_string(aq_batch_status_name(batch->status))},
        {"created_at", aq_json_time(batch->created_at_ms)},
        {"started_at", aq_json_time(batch->started_at_ms)},
        {"finished_at", aq_json_time(batch->finished_at_ms)},
        {"expires_at", aq_json_time(batch->expires_at_ms)},
        {"result_expires_at", aq_json_time(result_expires_at_ms(batch))},
        {"cancel_requested_at", aq_json_time(batch->cancel_requested_at_ms)},
        {"attempt", json_integer(batch->attempt)},
        {"max_attempts", json_integer(batch->max_attempts)},
        {"next_attempt_at", aq_json_time(batch->next_attempt_at_ms)},
        {"progress", progress_json(batch)},
        {"request", request_json(batch)},
        {"response", response_json(batch)},
        {"error", error_json(batch)},
        {"metadata", metadata_json(batch)},
        {"links", links_json(batch, base_url)},
    };
    json_t *json = json_object();
    int failed = 0;

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        failed |= set_new(json, members[i].name, members[i].value);
    }
    if (aq_batch_waits_for_machine(batch)) {
        failed |= set_new(json, "waiting_for", json_string("machine"));
    }
    if (failed) {
        json_decref(json);
        return NULL;
    }
    return json;
}

int aq_batch_poll_after_s(const aq_batch_t *batch, aq_time_ms_t now_ms)
{
    /* A tenth of the age: a client that polls so is late by a tenth at most, and asks less and less often. */
    aq_time_ms_t wait_ms = (now_ms - batch->created_at_ms) / 10;

    if (batch->status == AQ_BATCH_QUEUED && batch->next_attempt_at_ms > now_ms) {
        wait_ms = batch->next_attempt_at_ms - now_ms;
    }
    if (wait_ms >= POLL_AFTER_MAX_S * AQ_MS_PER_S) {
        return POLL_AFTER_MAX_S;
    }
    return wait_ms > AQ_MS_PER_S ? (int)((wait_ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S) : 1;
}
