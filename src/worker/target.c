/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The call, on one libcurl handle a thread, which keeps its connection for the next job.
 */
#include "worker/target.h"

#include "base/aq_log.h"
#include "worker/answer.h"
#include "worker/request.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

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

static CURLcode prepare(CURL *curl, run_t *run, const struct curl_slist *headers, char error[CURL_ERROR_SIZE])
{
    const aq_target_call_t *call = run->call;
    const aq_request_t request = {.batch = call->batch,
                                  .location = call->location,
                                  .url = aq_request_url(run->pool, call->location, call->batch),
                                  .headers = headers,
                                  .timeout_ms = call->location->timeout_ms,
                                  .body_bytes = call->batch->request.bytes,
                                  .read = send_body,
                                  .seek = rewind_body,
                                  .write = take_body,
                                  .data = run};
    CURLcode rc = aq_request_prepare(curl, &request, error);

#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(curl, (option), (value)) : rc)
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, run);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, look_for_stop);
    SET(CURLOPT_XFERINFODATA, run);
#undef SET
    return rc;
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
    struct curl_slist *headers =
        aq_request_headers(p, call->batch, call->batch->request.content_type, call->batch->id, 0);
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
        answer->end = run.is_too_large ? AQ_TARGET_TOO_LARGE : aq_request_end(target->curl, rc);
        answer->was_stopped = rc == CURLE_ABORTED_BY_CALLBACK;
        answer->detail = run.result_error == APR_SUCCESS ? aq_request_detail(answer->end)
                                                         : "the target's answer could not be stored";
        log_failure(&run, rc, error);
    }
cleanup:
    curl_easy_reset(target->curl); /* forgets the options, which point into this call; the connection stays */
    curl_slist_free_all(headers);
}
