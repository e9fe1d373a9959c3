/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a webhook's message says, its signature, and the table of what becomes of it.
 */
#include "batch/webhook.h"

#include "base/aq_hash.h"

#include <apr_encode.h>
#include <apr_strings.h>
#include <string.h>

#define MS_PER_MIN (AQ_S_PER_MIN * AQ_MS_PER_S)
#define MS_PER_HOUR (AQ_S_PER_HOUR * AQ_MS_PER_S)
#define SIGNATURE_VERSION "v1,"
#define HTTP_GONE 410
#define HTTP_TOO_MANY_REQUESTS 429
#define HTTP_SERVICE_UNAVAILABLE 503

/* Before the attempt of that number, counted from 0: the schedule that the standard gives as an example. */
static const int64_t schedule_ms[AQ_WEBHOOK_ATTEMPTS_MAX] = {
    0,
    5 * AQ_MS_PER_S,
    5 * MS_PER_MIN,
    30 * MS_PER_MIN,
    2 * MS_PER_HOUR,
    5 * MS_PER_HOUR,
    10 * MS_PER_HOUR,
    14 * MS_PER_HOUR,
    20 * MS_PER_HOUR,
    24 * MS_PER_HOUR,
};

static const char *const state_names[AQ_WEBHOOK_STATE_COUNT] = {
    [AQ_WEBHOOK_PENDING] = "pending",
    [AQ_WEBHOOK_DELIVERED] = "delivered",
    [AQ_WEBHOOK_FAILED] = "failed",
    [AQ_WEBHOOK_DROPPED] = "dropped",
};

const char *aq_webhook_state_name(aq_webhook_state_t state)
{
    return (unsigned)state < AQ_WEBHOOK_STATE_COUNT ? state_names[state] : "unknown";
}

apr_status_t aq_webhook_state_parse(const char *name, aq_webhook_state_t *state)
{
    for (int i = 0; i < AQ_WEBHOOK_STATE_COUNT; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *state = (aq_webhook_state_t)i;
            return APR_SUCCESS;
        }
    }
    *state = AQ_WEBHOOK_PENDING;
    return APR_EGENERAL;
}

const char *aq_webhook_type(const aq_webhook_t *webhook)
{
    if (webhook->batch_id == NULL) {
        return "webhook.test";
    }
    switch (webhook->status) {
    case AQ_BATCH_SUCCEEDED:
        return "batch.succeeded";
    case AQ_BATCH_CANCELED:
        return "batch.canceled";
    default:
        return "batch.failed";
    }
}

void aq_webhook_test_id_write(char id[AQ_WEBHOOK_ID_SIZE], aq_time_ms_t now_ms, const unsigned char random[10])
{
    char batch_id[AQ_BATCH_ID_SIZE];

    aq_batch_id_write(batch_id, now_ms, random);
    (void)apr_snprintf(id, AQ_WEBHOOK_ID_SIZE, AQ_WEBHOOK_ID_PREFIX "%s_0", strchr(batch_id, '_') + 1);
}

/* ---- the body --------------------------------------------------------------------------------------------------- */

static json_t *error_json(const aq_webhook_t *webhook)
{
    if (webhook->error_code == NULL) {
        return json_null();
    }
    return json_pack("{s:s, s:s?}", "code", webhook->error_code, "detail", webhook->error_detail);
}

static json_t *metadata_json(const aq_webhook_t *webhook)
{
    json_t *json = webhook->metadata != NULL ? json_loads(webhook->metadata, JSON_DECODE_ANY, NULL) : NULL;

    return json != NULL ? json : json_null();
}

static json_t *response_json(const aq_webhook_t *webhook)
{
    return webhook->response_status != 0 ? json_pack("{s:i}", "status", webhook->response_status) : json_null();
}

static json_t *progress_json(const aq_webhook_t *webhook)
{
    json_t *total = webhook->progress_total > 0 ? json_integer(webhook->progress_total) : json_null();

    return json_pack("{s:I, s:o, s:I}", "done", (json_int_t)webhook->progress_done, "total", total, "failed",
                     (json_int_t)webhook->progress_failed);
}

/* Members have the names and forms that they have in the batch itself (aq_batch_json). */
static json_t *data_json(const aq_webhook_t *webhook)
{
    if (webhook->batch_id == NULL) {
        return json_object();
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o}", "id", webhook->batch_id, "status",
                     aq_batch_status_name(webhook->status), "created_at", aq_json_time(webhook->created_at_ms),
                     "started_at", aq_json_time(webhook->started_at_ms), "finished_at",
                     aq_json_time(webhook->finished_at_ms), "attempt", webhook->attempt, "progress",
                     progress_json(webhook), "response", response_json(webhook), "error", error_json(webhook),
                     "metadata", metadata_json(webhook));
}

const char *aq_webhook_payload(apr_pool_t *p, const aq_webhook_t *webhook)
{
    json_t *json = json_pack("{s:s, s:o, s:o}", "type", aq_webhook_type(webhook), "timestamp",
                             aq_json_time(webhook->finished_at_ms), "data", data_json(webhook));
    const char *text = json != NULL ? aq_json_text(p, json) : NULL;

    json_decref(json);
    return text;
}

/* ---- the signature ---------------------------------------------------------------------------------------------- */

const char *aq_webhook_sign(apr_pool_t *p, const unsigned char *secret, size_t secret_size, const char *id,
                            int64_t timestamp_s, const char *body)
{
    const char *content = apr_psprintf(p, "%s.%" APR_INT64_T_FMT ".%s", id, timestamp_s, body);
    unsigned char mac[AQ_SHA256_BYTES];

    if (aq_hash_hmac_sha256(secret, secret_size, content, strlen(content), mac) != APR_SUCCESS) {
        return NULL;
    }
    return apr_pstrcat(p, SIGNATURE_VERSION, apr_pencode_base64_binary(p, mac, sizeof mac, APR_ENCODE_NONE, NULL),
                       NULL);
}

/* ---- what becomes of it ----------------------------------------------------------------------------------------- */

static int64_t wait_of(const aq_webhook_attempt_t *attempt, double random)
{
    int64_t wait_ms = (int64_t)((double)schedule_ms[attempt->attempts] * (0.9 + random / 5));
    int may_ask = attempt->end == AQ_WEBHOOK_ANSWERED &&
                  (attempt->status == HTTP_TOO_MANY_REQUESTS || attempt->status == HTTP_SERVICE_UNAVAILABLE);

    if (may_ask && attempt->retry_after_s > 0) {
        int64_t least_ms = attempt->retry_after_s < AQ_WEBHOOK_WAIT_MAX_MS / AQ_MS_PER_S
                               ? attempt->retry_after_s * AQ_MS_PER_S
                               : AQ_WEBHOOK_WAIT_MAX_MS;
        wait_ms = wait_ms > least_ms ? wait_ms : least_ms;
    }
    return wait_ms;
}

aq_webhook_outcome_t aq_webhook_decide(const aq_webhook_attempt_t *attempt, double random)
{
    int is_answered = attempt->end == AQ_WEBHOOK_ANSWERED;

    if (attempt->end == AQ_WEBHOOK_NO_RECEIVER) {
        return (aq_webhook_outcome_t){.state = AQ_WEBHOOK_DROPPED};
    }
    if (is_answered && attempt->status >= 200 && attempt->status <= 299) {
        return (aq_webhook_outcome_t){.state = AQ_WEBHOOK_DELIVERED};
    }
    if ((is_answered && attempt->status == HTTP_GONE) || attempt->attempts >= AQ_WEBHOOK_ATTEMPTS_MAX) {
        return (aq_webhook_outcome_t){.state = AQ_WEBHOOK_FAILED};
    }
    return (aq_webhook_outcome_t){.state = AQ_WEBHOOK_PENDING, .wait_ms = wait_of(attempt, random)};
}
