/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of items share: the source of lines, and the calls.
 */
#ifndef AQ_ITEMS_PRIVATE_H
#define AQ_ITEMS_PRIVATE_H

#include "batch/item_result.h"
#include "batch/items.h"
#include "worker/items.h"
#include "worker/request.h"

/* Reads the body by its own place in it: the calls read theirs from the same descriptor. */
typedef struct {
    int fd;
    const aq_items_known_t *known;
    aq_items_reader_t reader;
    char *buffer;
    size_t held, used;
    int64_t offset; /* of what comes behind the buffer */
    int is_over;
} aq_items_source_t;

void aq_items_source_open(aq_items_source_t *source, apr_pool_t *p, int fd, const aq_items_known_t *known);

/*
 * The next line that is not done. APR_EOF: there is none; APR_EAGAIN: a megabyte was passed over without one, to be called
 * again; or what went wrong in reading.
 */
apr_status_t aq_items_source_next(aq_items_source_t *source, aq_item_t *item);

/* One item at the target, in a place for calls that is used again and again. */
typedef struct {
    const aq_items_call_t *call;
    CURL *curl;
    apr_pool_t *pool; /* of this call */
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    int is_taken;
    int is_sent;
    aq_item_t item;
    int tries; /* with this one */
    int64_t sent_bytes;
    char *answer; /* malloc; grows to the longest answer of this place */
    size_t answer_bytes, answer_room;
    int is_too_large;
} aq_item_call_t;

apr_status_t aq_item_call_make(aq_item_call_t *call, apr_pool_t *p, const aq_items_call_t *items);
void aq_item_call_end(aq_item_call_t *call);

/* Begins to send it. */
apr_status_t aq_item_call_send(aq_item_call_t *call, CURLM *multi);

/* How it ended; what it left is taken apart by aq_item_call_free. Texts in the call's pool. */
typedef struct {
    aq_attempt_end_t end;
    aq_item_result_t result; /* without an error */
    const char *detail;
} aq_item_end_t;

void aq_item_call_read(aq_item_call_t *call, CURLcode rc, aq_item_end_t *end);

/* The place is free for the next. */
void aq_item_call_free(aq_item_call_t *call, CURLM *multi);

#endif
