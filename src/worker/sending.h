/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending: one message on its way to a tenant's webhook, over libcurl.
 *
 * The URL is the tenant's, so it is not trusted: each address is judged (webhook_address.h) as it is about to be connected
 * to, by the socket that is then used; only https, and http to networks that the operator allows; no redirect is followed,
 * no proxy of the environment used, no cookie or connection kept; certificates are verified; time and answer are bounded.
 */
#ifndef AQ_SENDING_H
#define AQ_SENDING_H

#include "batch/queue.h"
#include "batch/webhook_address.h"
#include "identity/tenant_webhook.h"

#include <curl/curl.h>

#define AQ_SENDING_CONNECT_MS 5000
#define AQ_SENDING_TIMEOUT_MS 15000

typedef struct {
    CURL *curl; /* kept between messages; CURLOPT_PRIVATE is this sending while one is on its way */
    apr_pool_t *pool;
    aq_delivery_t delivery;
    const apr_array_header_t *allowed; /* of aq_webhook_network_t */
    int is_https;
    const char *refused; /* why an address was not connected to; NULL: none was refused */
    struct curl_slist *headers;
    size_t answer_bytes;
    aq_time_ms_t began_ms; /* boot time */
    char error[CURL_ERROR_SIZE];
} aq_sending_t;

/* Who may be sent to, and for how long. */
typedef struct {
    const aq_tenant_webhook_t *webhook;
    const apr_array_header_t *allowed;
    long connect_ms, timeout_ms;
    aq_time_ms_t now_ms; /* wall time: the message's timestamp, and by it which secrets sign */
} aq_sending_to_t;

/* A handle, gone with `p`. APR_ENOMEM. */
apr_status_t aq_sending_open(aq_sending_t *sending, apr_pool_t *p);

/*
 * Makes `sending->curl` ready to be performed. What it needs is copied or lies in `p`, but for `to->allowed`, which must
 * stay. To be ended with aq_sending_end, also where it fails (APR_ENOMEM).
 */
apr_status_t aq_sending_begin(aq_sending_t *sending, apr_pool_t *p, const aq_delivery_t *delivery,
                              const aq_sending_to_t *to);

/* What libcurl's result means: `attempt`, and a word about a failure at `*error`, in the sending's pool, else NULL. */
void aq_sending_end(aq_sending_t *sending, CURLcode rc, aq_webhook_attempt_t *attempt, const char **error);

#endif
