/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What matters for the outcome is whether a request can have had an effect. So an error counts as "refused" only while
 * libcurl has sent nothing of it. A connection that is used again may turn out dead when the request is already sent;
 * libcurl then sends it once more by itself. Where a target is not idempotent each request has a connection of its own.
 */
#include "worker/request.h"

#include "base/aq_json.h"
#include "worker/answer.h"

#include <apr_strings.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 5000L
#define BUFFER_BYTES 65536L

/* Appends "name: value"; what a value cannot hold, or memory that ran out, leaves the header out or fails. */
static int add_header(struct curl_slist **headers, apr_pool_t *p, const char *name, const char *value)
{
    if (strpbrk(name, "\r\n:") != NULL || strpbrk(value, "\r\n") != NULL) {
        return 0;
    }
    /* libcurl's way to say a header with an empty value. */
    const char *line = value[0] != '\0' ? apr_pstrcat(p, name, ": ", value, NULL) : apr_pstrcat(p, name, ";", NULL);
    struct curl_slist *longer = curl_slist_append(*headers, line);
    if (longer == NULL) {
        return -1;
    }
    *headers = longer;
    return 0;
}

static int add_kept_headers(struct curl_slist **headers, apr_pool_t *p, const aq_batch_t *batch)
{
    json_t *kept = batch->headers != NULL ? json_loads(batch->headers, 0, NULL) : NULL;
    const char *name;
    json_t *value;
    int failed = 0;

    json_object_foreach(kept, name, value)
    {
        if (json_is_string(value) && !aq_answer_is_reserved(name)) {
            failed |= add_header(headers, p, name, json_string_value(value));
        }
    }
    json_decref(kept);
    return failed;
}

struct curl_slist *aq_request_headers(apr_pool_t *ptemp, const aq_batch_t *batch, const char *content_type,
                                      const char *idempotency_key, int64_t line)
{
    struct curl_slist *headers = NULL;
    const struct {
        const char *name, *value;
    } ours[] = {
        {"Content-Type", content_type},
        {"Idempotency-Key", idempotency_key},
        {"APIQuota-Batch-Id", batch->id},
        {"APIQuota-Batch-Tenant", batch->tenant},
        {"APIQuota-Batch-Key-Id", batch->key_id},
        {"APIQuota-Batch-Attempt", apr_itoa(ptemp, batch->attempt)},
        {"APIQuota-Batch-Line", line > 0 ? apr_psprintf(ptemp, "%" APR_INT64_T_FMT, line) : NULL},
    };
    /* No waiting for a 100: not every backend sends one. */
    struct curl_slist *first = curl_slist_append(NULL, "Expect:");
    int failed = first == NULL;

    headers = first;
    for (size_t i = 0; !failed && i < sizeof ours / sizeof ours[0]; i++) {
        failed = ours[i].value != NULL ? add_header(&headers, ptemp, ours[i].name, ours[i].value) : 0;
    }
    if (failed || add_kept_headers(&headers, ptemp, batch) != 0) {
        curl_slist_free_all(headers);
        return NULL;
    }
    return headers;
}

const char *aq_request_url(apr_pool_t *p, const aq_batch_location_t *location, const aq_batch_t *batch)
{
    const char *target = location->target;

    if (batch->query == NULL || batch->query[0] == '\0') {
        return target;
    }
    return apr_pstrcat(p, target, strchr(target, '?') != NULL ? "&" : "?", batch->query, NULL);
}

CURLcode aq_request_prepare(CURL *curl, const aq_request_t *request, char error[CURL_ERROR_SIZE])
{
    const long is_own = request->location->target_is_idempotent && !request->batch->never_repeat ? 0 : 1;
    const long timeout_ms = request->timeout_ms;
    CURLcode rc = CURLE_OK;

#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(curl, (option), (value)) : rc)
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS);
    SET(CURLOPT_TIMEOUT_MS, timeout_ms);
    SET(CURLOPT_FRESH_CONNECT, is_own);
    SET(CURLOPT_FORBID_REUSE, is_own);
    SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_CUSTOMREQUEST, request->batch->method);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_bytes);
    SET(CURLOPT_HTTPHEADER, request->headers);
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_READFUNCTION, request->read);
    SET(CURLOPT_READDATA, request->data);
    SET(CURLOPT_SEEKFUNCTION, request->seek);
    SET(CURLOPT_SEEKDATA, request->data);
    SET(CURLOPT_WRITEFUNCTION, request->write);
    SET(CURLOPT_WRITEDATA, request->data);
#undef SET
    return rc;
}

aq_target_end_t aq_request_end(CURL *curl, CURLcode rc)
{
    long sent_bytes = 0;

    if (curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent_bytes) == CURLE_OK && sent_bytes == 0) {
        return AQ_TARGET_REFUSED;
    }
    return rc == CURLE_OPERATION_TIMEDOUT ? AQ_TARGET_TIMED_OUT : AQ_TARGET_LOST;
}

const char *aq_request_detail(aq_target_end_t end)
{
    switch (end) {
    case AQ_TARGET_TOO_LARGE:
        return "the target's answer is larger than may be stored";
    case AQ_TARGET_REFUSED:
        return "the target could not be reached";
    case AQ_TARGET_TIMED_OUT:
        return "the target did not answer in time";
    default:
        return "the connection to the target broke before it had answered";
    }
}
