/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The call, on one libcurl handle a thread, which keeps its connection for the next job.
 *
 * What matters for the outcome is whether the request can have had an effect. So an error counts as "refused" only while
 * libcurl has sent nothing of it. A connection that is used again may turn out dead when the request is already sent;
 * libcurl then sends it once more by itself. Where a target is not idempotent each call has a connection of its own.
 */
#include "worker/target.h"

#include "base/aq_log.h"
#include "worker/answer.h"

#include <apr_strings.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 5000L
#define BUFFER_BYTES 65536L

struct aq_target_t {
    CURL *curl;
};

/* One call while it runs. */
typedef struct {
    const aq_target_call_t *call;
    apr_pool_t *pool;
    apr_table_t *headers;
    size_t header_bytes;
    int64_t result_bytes;
    int is_too_large;
    apr_status_t body_error, result_error;
} run_t;

static apr_status_t target_close(void *data)
{
    curl_easy_cleanup(data);
    return APR_SUCCESS;
}

aq_target_t *aq_target_open(apr_pool_t *p)
{
    aq_target_t *target = apr_palloc(p, sizeof(*target));

    target->curl = curl_easy_init();
    if (target->curl == NULL) {
        return NULL;
    }
    apr_pool_cleanup_register(p, target->curl, target_close, apr_pool_cleanup_null);
    return target;
}

static size_t send_body(char *buffer, size_t size, size_t count, void *data)
{
    run_t *run = data;
    ssize_t got;

    do {
        got = read(run->call->body_fd, buffer, size * count);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        run->body_error = errno;
        return CURL_READFUNC_ABORT;
    }
    return (size_t)got;
}

static int rewind_body(void *data, curl_off_t offset, int origin)
{
    const run_t *run = data;

    return lseek(run->call->body_fd, (off_t)offset, origin) >= 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* Each answer begins with a status line: the headers of an interim one (100, 103) are forgotten. */
static size_t take_header(char *line, size_t size, size_t count, void *data)
{
    size_t length = size * count;
    run_t *run = data;

    if (length >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        apr_table_clear(run->headers);
        run->header_bytes = 0;
        return length;
    }
    const char *colon = memchr(line, ':', length);
    run->header_bytes += length;
    if (colon == NULL || colon == line || run->header_bytes > AQ_ANSWER_HEADERS_MAX_BYTES) {
        return length;
    }
    char *value = apr_pstrmemdup(run->pool, colon + 1, length - (size_t)(colon + 1 - line));
    value += strspn(value, " \t");
    for (size_t end = strlen(value); end > 0 && strchr(" \t\r\n", value[end - 1]) != NULL; end--) {
        value[end - 1] = '\0';
    }
    apr_table_addn(run->headers, apr_pstrmemdup(run->pool, line, (apr_size_t)(colon - line)), value);
    return length;
}

static size_t take_body(char *piece, size_t size, size_t count, void *data)
{
    size_t length = size * count;
    run_t *run = data;

    run->result_bytes += (int64_t)length;
    if (run->result_bytes > run->call->result_max_bytes) {
        run->is_too_large = 1;
        return 0;
    }
    run->result_error = aq_spool_write(run->call->result, piece, length);
    return run->result_error == APR_SUCCESS ? length : 0;
}

static int look_for_stop(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const run_t *run = data;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(run->call->stop) != 0;
}

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

/* NULL when memory ran out. */
static struct curl_slist *headers_make(apr_pool_t *p, const aq_batch_t *batch)
{
    struct curl_slist *headers = NULL;
    const struct {
        const char *name, *value;
    } ours[] = {
        {"Content-Type", batch->request.content_type},
        {"Idempotency-Key", batch->id},
        {"APIQuota-Batch-Id", batch->id},
        {"APIQuota-Batch-Tenant", batch->tenant},
        {"APIQuota-Batch-Key-Id", batch->key_id},
        {"APIQuota-Batch-Attempt", apr_itoa(p, batch->attempt)},
    };
    /* No waiting for a 100: not every backend sends one. */
    struct curl_slist *first = curl_slist_append(NULL, "Expect:");
    int failed = first == NULL;

    headers = first;
    for (size_t i = 0; !failed && i < sizeof ours / sizeof ours[0]; i++) {
        failed = ours[i].value != NULL ? add_header(&headers, p, ours[i].name, ours[i].value) : 0;
    }
    if (failed || add_kept_headers(&headers, p, batch) != 0) {
        curl_slist_free_all(headers);
        return NULL;
    }
    return headers;
}

static const char *url_make(apr_pool_t *p, const aq_target_call_t *call)
{
    const char *target = call->location->target;

    if (call->batch->query == NULL || call->batch->query[0] == '\0') {
        return target;
    }
    return apr_pstrcat(p, target, strchr(target, '?') != NULL ? "&" : "?", call->batch->query, NULL);
}

static CURLcode prepare(CURL *curl, run_t *run, const struct curl_slist *headers, char error[CURL_ERROR_SIZE])
{
    const aq_target_call_t *call = run->call;
    const long timeout_ms = call->location->timeout_ms;
    CURLcode rc = CURLE_OK;

#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(curl, (option), (value)) : rc)
    SET(CURLOPT_URL, url_make(run->pool, call));
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS);
    SET(CURLOPT_TIMEOUT_MS, timeout_ms);
    SET(CURLOPT_FRESH_CONNECT, call->location->target_is_idempotent ? 0L : 1L);
    SET(CURLOPT_FORBID_REUSE, call->location->target_is_idempotent ? 0L : 1L);
    SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_CUSTOMREQUEST, call->batch->method);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->batch->request.bytes);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_READFUNCTION, send_body);
    SET(CURLOPT_READDATA, run);
    SET(CURLOPT_SEEKFUNCTION, rewind_body);
    SET(CURLOPT_SEEKDATA, run);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, run);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, run);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, look_for_stop);
    SET(CURLOPT_XFERINFODATA, run);
#undef SET
    return rc;
}

/* How a call that failed ended. */
static aq_target_end_t end_of(CURL *curl, const run_t *run, CURLcode rc)
{
    long sent_bytes = 0;

    if (run->is_too_large) {
        return AQ_TARGET_TOO_LARGE;
    }
    if (curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent_bytes) == CURLE_OK && sent_bytes == 0) {
        return AQ_TARGET_REFUSED;
    }
    return rc == CURLE_OPERATION_TIMEDOUT ? AQ_TARGET_TIMED_OUT : AQ_TARGET_LOST;
}

/* What the client may know of it: no host, no port, no path of the operator's. */
static const char *detail_of(const run_t *run, aq_target_end_t end)
{
    if (run->result_error != APR_SUCCESS) {
        return "the target's answer could not be stored";
    }
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

static void log_failure(const run_t *run, CURLcode rc, const char *error)
{
    apr_status_t rv = run->result_error != APR_SUCCESS ? run->result_error : run->body_error;

    AQ_LOG(AQ_LOG_INFO, 639, rv, "batch %s: %s", run->call->batch->id,
           error[0] != '\0' ? error : curl_easy_strerror(rc));
}

static void read_answer(CURL *curl, const run_t *run, aq_target_answer_t *answer)
{
    curl_off_t retry_after_s = 0;
    long status = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    answer->end = AQ_TARGET_ANSWERED;
    answer->status = (int)status;
    answer->retry_after_s = retry_after_s;
    answer->content_type = aq_answer_content_type(run->headers);
    answer->headers = aq_answer_headers_json(run->pool, run->headers);
}

void aq_target_run(aq_target_t *target, apr_pool_t *p, const aq_target_call_t *call, aq_target_answer_t *answer)
{
    run_t run = {.call = call, .pool = p, .headers = apr_table_make(p, 16)};
    struct curl_slist *headers = headers_make(p, call->batch);
    char error[CURL_ERROR_SIZE] = "";

    *answer = (aq_target_answer_t){.end = AQ_WORKER_TROUBLE, .detail = "the request could not be prepared"};
    if (headers == NULL || prepare(target->curl, &run, headers, error) != CURLE_OK) {
        goto cleanup;
    }
    CURLcode rc = curl_easy_perform(target->curl);
    answer->detail = NULL;
    if (rc == CURLE_OK) {
        read_answer(target->curl, &run, answer);
    } else {
        answer->end = end_of(target->curl, &run, rc);
        answer->was_stopped = rc == CURLE_ABORTED_BY_CALLBACK;
        answer->detail = detail_of(&run, answer->end);
        log_failure(&run, rc, error);
    }
cleanup:
    curl_easy_reset(target->curl); /* forgets the options, which point into this call; the connection stays */
    curl_slist_free_all(headers);
}
