/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One item at the target, over a libcurl handle that serves one item after the other.
 *
 * The line is read from the body when libcurl asks for it, so a place holds no line; the answer is held, as far as it is
 * kept.
 */
#include "worker/items_private.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_FIRST_BYTES ((size_t)1024)
#define BUFFER_BYTES 16384L

apr_status_t aq_item_call_make(aq_item_call_t *call, apr_pool_t *p, const aq_items_call_t *items)
{
    *call = (aq_item_call_t){.call = items};
    apr_status_t rv = apr_pool_create(&call->pool, p);
    if (rv == APR_SUCCESS && (call->curl = curl_easy_init()) == NULL) {
        rv = APR_ENOMEM;
    }
    return rv;
}

void aq_item_call_end(aq_item_call_t *call)
{
    curl_slist_free_all(call->headers);
    curl_easy_cleanup(call->curl);
    free(call->answer);
    *call = (aq_item_call_t){.curl = NULL};
}

static size_t send_line(char *buffer, size_t size, size_t count, void *data)
{
    aq_item_call_t *call = data;
    int64_t left = call->item.bytes - call->sent_bytes;
    size_t room = size * count;
    ssize_t got;

    room = left < (int64_t)room ? (size_t)left : room;
    do {
        got = pread(call->call->body_fd, buffer, room, (off_t)(call->item.offset + call->sent_bytes));
    } while (got < 0 && errno == EINTR);
    if (got < 0 || (got == 0 && room > 0)) {
        return CURL_READFUNC_ABORT;
    }
    call->sent_bytes += got;
    return (size_t)got;
}

static int rewind_line(void *data, curl_off_t offset, int origin)
{
    aq_item_call_t *call = data;

    if (origin != SEEK_SET || offset < 0 || offset > call->item.bytes) {
        return CURL_SEEKFUNC_FAIL;
    }
    call->sent_bytes = offset;
    return CURL_SEEKFUNC_OK;
}

static int answer_room(aq_item_call_t *call, size_t bytes)
{
    size_t room = call->answer_room > 0 ? call->answer_room : ANSWER_FIRST_BYTES;

    while (room < bytes) {
        room *= 2;
    }
    if (room == call->answer_room) {
        return 1;
    }
    char *larger = realloc(call->answer, room);
    if (larger != NULL) {
        call->answer = larger;
        call->answer_room = room;
    }
    return larger != NULL;
}

static size_t take_answer(char *piece, size_t size, size_t count, void *data)
{
    aq_item_call_t *call = data;
    size_t length = size * count;

    call->is_too_large = length > AQ_ITEM_ANSWER_MAX_BYTES - call->answer_bytes;
    if (call->is_too_large || !answer_room(call, call->answer_bytes + length)) {
        return 0;
    }
    memcpy(call->answer + call->answer_bytes, piece, length);
    call->answer_bytes += length;
    return length;
}

static CURLcode prepare(aq_item_call_t *call)
{
    const aq_items_call_t *items = call->call;
    const aq_request_t request = {.batch = items->batch,
                                  .location = items->location,
                                  .url = aq_request_url(call->pool, items->location, items->batch),
                                  .headers = call->headers,
                                  .timeout_ms = items->location->items_timeout_ms,
                                  .body_bytes = call->item.bytes,
                                  .read = send_line,
                                  .seek = rewind_line,
                                  .write = take_answer,
                                  .data = call};
    CURLcode rc = aq_request_prepare(call->curl, &request, call->error);

#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(call->curl, (option), (value)) : rc)
    SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_PRIVATE, (void *)call);
#undef SET
    return rc;
}

apr_status_t aq_item_call_send(aq_item_call_t *call, CURLM *multi)
{
    const aq_batch_t *batch = call->call->batch;
    const char *key = apr_psprintf(call->pool, "%s-%" APR_INT64_T_FMT, batch->id, call->item.line);

    call->error[0] = '\0';
    call->sent_bytes = 0;
    call->answer_bytes = 0;
    call->is_too_large = 0;
    call->headers = aq_request_headers(call->pool, batch, "application/json", key, call->item.line);
    if (call->headers == NULL || prepare(call) != CURLE_OK || curl_multi_add_handle(multi, call->curl) != CURLM_OK) {
        return APR_ENOMEM;
    }
    call->is_sent = 1;
    return APR_SUCCESS;
}

static aq_target_end_t end_of(const aq_item_call_t *call, CURLcode rc)
{
    return rc == CURLE_OK       ? AQ_TARGET_ANSWERED
           : call->is_too_large ? AQ_TARGET_TOO_LARGE
                                : aq_request_end(call->curl, rc);
}

void aq_item_call_read(aq_item_call_t *call, CURLcode rc, aq_item_end_t *end)
{
    const aq_batch_t *batch = call->call->batch;
    curl_off_t retry_after_s = 0;
    const char *type = NULL;
    long status = 0;

    *end = (aq_item_end_t){
        .end = {.end = end_of(call, rc),
                .attempt = call->tries,
                .max_attempts = batch->max_attempts,
                .target_is_idempotent = call->call->location->target_is_idempotent && !batch->never_repeat},
        .result = {.line = call->item.line}};
    if (rc == CURLE_OK || call->is_too_large) {
        (void)curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
        end->end.status = end->result.status = (int)status;
    }
    if (rc != CURLE_OK) {
        end->detail = aq_request_detail(end->end.end);
        AQ_LOG(AQ_LOG_DEBUG, 650, APR_SUCCESS, "batch %s line %" APR_INT64_T_FMT ": %s", batch->id, call->item.line,
               call->error[0] != '\0' ? call->error : curl_easy_strerror(rc));
        return;
    }
    (void)curl_easy_getinfo(call->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    (void)curl_easy_getinfo(call->curl, CURLINFO_CONTENT_TYPE, &type);
    end->end.retry_after_s = retry_after_s;
    end->detail = apr_psprintf(call->pool, "the target answered %ld", status);
    end->result.content_type = type;
    end->result.body = call->answer_bytes > 0 ? call->answer : NULL;
    end->result.body_bytes = call->answer_bytes;
}

void aq_item_call_free(aq_item_call_t *call, CURLM *multi)
{
    if (call->is_sent) {
        (void)curl_multi_remove_handle(multi, call->curl);
    }
    curl_easy_reset(
        call->curl); /* forgets the options, which point into this call; connections are the multi handle's */
    curl_slist_free_all(call->headers);
    call->headers = NULL;
    call->is_taken = call->is_sent = 0;
    apr_pool_clear(call->pool);
}
