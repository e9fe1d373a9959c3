/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request: what every request to a target has in common, whether it carries a whole batch (target.h) or one of its items
 * (items.h).
 *
 * Only http and https; no redirect is followed, no proxy of the environment used, no cookie kept. Thread-safe, on handles
 * of one's own.
 */
#ifndef AQ_REQUEST_H
#define AQ_REQUEST_H

#include "batch/batch_config.h"
#include "batch/outcome.h"

#include <curl/curl.h>

/*
 * The headers: the given type and idempotency key, what we tell of the batch, and what was kept of its own request. `line`
 * 0: it is no item. In libcurl's memory (curl_slist_free_all); NULL when memory ran out.
 */
struct curl_slist *aq_request_headers(apr_pool_t *ptemp, const aq_batch_t *batch, const char *content_type,
                                      const char *idempotency_key, int64_t line);

/* The target's URL with the query of the batch. */
const char *aq_request_url(apr_pool_t *p, const aq_batch_location_t *location, const aq_batch_t *batch);

typedef struct {
    const aq_batch_t *batch;
    const aq_batch_location_t *location;
    const char *url;
    const struct curl_slist *headers;
    long timeout_ms;
    int64_t body_bytes;
    curl_read_callback read;
    curl_seek_callback seek;
    curl_write_callback write;
    void *data; /* of the three */
} aq_request_t;

/* Sets all of it on the handle; `error` takes libcurl's words. */
CURLcode aq_request_prepare(CURL *curl, const aq_request_t *request, char error[CURL_ERROR_SIZE]);

/* How a request that libcurl could not end ended. Nothing was sent: it counts as refused. */
aq_target_end_t aq_request_end(CURL *curl, CURLcode rc);

/* What the client may know of it: no host, no port, no path of the operator's. Static text. */
const char *aq_request_detail(aq_target_end_t end);

#endif
