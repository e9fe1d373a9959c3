/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request, its signature, and the guard at the socket.
 */
#include "worker/sending.h"

#include "base/aq_clock.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES 65536
#define USER_AGENT "mod_apiquota-webhook/1"

static apr_status_t sending_close(void *data)
{
    curl_easy_cleanup(data);
    return APR_SUCCESS;
}

apr_status_t aq_sending_open(aq_sending_t *sending, apr_pool_t *p)
{
    *sending = (aq_sending_t){.curl = curl_easy_init()};
    if (sending->curl == NULL) {
        return APR_ENOMEM;
    }
    apr_pool_cleanup_register(p, sending->curl, sending_close, apr_pool_cleanup_null);
    return APR_SUCCESS;
}

/* ---- the guard -------------------------------------------------------------------------------------------------- */

static const char *address_text(apr_pool_t *p, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    const void *bytes = address->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;

    if (address->sa_family != AF_INET && address->sa_family != AF_INET6) {
        return "of no Internet protocol";
    }
    return apr_pstrdup(p, inet_ntop(address->sa_family, bytes, text, sizeof text) != NULL ? text : "");
}

/*
 * libcurl asks for the socket of each address that it is about to connect to, and connects that socket to that address: so
 * whatever was resolved, and how often, no other is reached.
 */
static curl_socket_t socket_open(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    aq_sending_t *sending = data;
    aq_webhook_address_t judged = aq_webhook_address_judge(&address->addr, sending->allowed);

    (void)purpose;
    if (judged == AQ_ADDRESS_REFUSED) {
        sending->refused = apr_psprintf(sending->pool, "its address %s is neither public nor allowed",
                                        address_text(sending->pool, &address->addr));
        return CURL_SOCKET_BAD;
    }
    if (!sending->is_https && judged != AQ_ADDRESS_ALLOWED) {
        sending->refused = apr_psprintf(sending->pool, "its address %s is not allowed for http: use https",
                                        address_text(sending->pool, &address->addr));
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- the request ------------------------------------------------------------------------------------------------ */

/* What the answer says beside its status is of no interest, at whatever length. */
static size_t take_answer(char *piece, size_t size, size_t count, void *data)
{
    aq_sending_t *sending = data;

    (void)piece;
    sending->answer_bytes += size * count;
    return sending->answer_bytes <= ANSWER_MAX_BYTES ? size * count : 0;
}

/* By each secret that is valid, the newest first. NULL where memory ran out. */
static const char *signatures(apr_pool_t *p, const aq_sending_to_t *to, const char *id, const char *body)
{
    const char *all = "";

    for (unsigned i = 0; i < to->webhook->secret_count; i++) {
        const aq_webhook_secret_t *secret = &to->webhook->secrets[i];
        if (secret->expires_at_ms != 0 && secret->expires_at_ms <= to->now_ms) {
            continue;
        }
        const char *one = aq_webhook_sign(p, secret->bytes, secret->size, id, to->now_ms / AQ_MS_PER_S, body);
        if (one == NULL) {
            return NULL;
        }
        all = apr_pstrcat(p, all, all[0] != '\0' ? " " : "", one, NULL);
    }
    return all;
}

static apr_status_t headers_make(aq_sending_t *sending, const aq_sending_to_t *to, const char *body)
{
    const char *id = sending->delivery.webhook->id;
    const char *signed_by = signatures(sending->pool, to, id, body);

    if (signed_by == NULL) {
        return APR_ENOMEM;
    }
    const char *const lines[] = {
        "Content-Type: application/json",
        "Accept: */*",
        "Expect:",
        apr_pstrcat(sending->pool, "webhook-id: ", id, NULL),
        apr_psprintf(sending->pool, "webhook-timestamp: %" APR_INT64_T_FMT, to->now_ms / AQ_MS_PER_S),
        apr_pstrcat(sending->pool, "webhook-signature: ", signed_by, NULL),
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct curl_slist *more = curl_slist_append(sending->headers, lines[i]);
        if (more == NULL) {
            return APR_ENOMEM;
        }
        sending->headers = more;
    }
    return APR_SUCCESS;
}

static CURLcode prepare(aq_sending_t *sending, const aq_sending_to_t *to, const char *body)
{
    /* As the curl program and others do, for those whose receivers have certificates of their own. */
    const char *authorities = getenv("SSL_CERT_FILE");
    CURL *curl = sending->curl;
    CURLcode rc = CURLE_OK;

#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(curl, (option), (value)) : rc)
    SET(CURLOPT_URL, to->webhook->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, to->connect_ms);
    SET(CURLOPT_TIMEOUT_MS, to->timeout_ms);
    SET(CURLOPT_FRESH_CONNECT, 1L);
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_OPENSOCKETFUNCTION, socket_open);
    SET(CURLOPT_OPENSOCKETDATA, sending);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (authorities != NULL && authorities[0] != '\0') {
        SET(CURLOPT_CAINFO, authorities);
    }
    SET(CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs is left to itself: waiting for it would hold up all others */
    SET(CURLOPT_USERAGENT, USER_AGENT);
    SET(CURLOPT_HTTPHEADER, sending->headers);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    SET(CURLOPT_POSTFIELDS, body);
    SET(CURLOPT_WRITEFUNCTION, take_answer);
    SET(CURLOPT_WRITEDATA, sending);
    SET(CURLOPT_ERRORBUFFER, sending->error);
    SET(CURLOPT_PRIVATE, sending);
#undef SET
    return rc;
}

apr_status_t aq_sending_begin(aq_sending_t *sending, apr_pool_t *p, const aq_delivery_t *delivery,
                              const aq_sending_to_t *to)
{
    CURL *curl = sending->curl;

    *sending = (aq_sending_t){.curl = curl,
                              .pool = p,
                              .delivery = *delivery,
                              .allowed = to->allowed,
                              .is_https = to->webhook->is_https,
                              .began_ms = aq_clock_boot_ms()};
    const char *body = aq_webhook_payload(p, delivery->webhook);
    apr_status_t rv = body != NULL ? headers_make(sending, to, body) : APR_ENOMEM;
    return rv != APR_SUCCESS || prepare(sending, to, body) == CURLE_OK ? rv : APR_ENOMEM;
}

/* ---- the answer ------------------------------------------------------------------------------------------------- */

/* 1 where there was an answer, also one whose body was longer than we read. */
static int is_answered(const aq_sending_t *sending, CURLcode rc, long status)
{
    return status >= 200 && (rc == CURLE_OK || (rc == CURLE_WRITE_ERROR && sending->answer_bytes > ANSWER_MAX_BYTES));
}

void aq_sending_end(aq_sending_t *sending, CURLcode rc, aq_webhook_attempt_t *attempt, const char **error)
{
    curl_off_t retry_after_s = 0;
    long status = 0;

    (void)curl_easy_getinfo(sending->curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(sending->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    *attempt = (aq_webhook_attempt_t){.end = AQ_WEBHOOK_UNREACHABLE, .attempts = sending->delivery.webhook->attempts};
    *error = NULL;
    if (is_answered(sending, rc, status)) {
        attempt->end = AQ_WEBHOOK_ANSWERED;
        attempt->status = (int)status;
        attempt->retry_after_s = retry_after_s;
        if (status > 299) {
            *error = apr_psprintf(sending->pool, "the receiver answered %ld", status);
        }
    } else if (sending->refused != NULL) {
        attempt->end = AQ_WEBHOOK_REFUSED;
        *error = sending->refused;
    } else {
        *error = apr_pstrdup(sending->pool, sending->error[0] != '\0' ? sending->error : curl_easy_strerror(rc));
    }
    curl_easy_reset(sending->curl); /* forgets the options, which point into this sending */
    curl_slist_free_all(sending->headers);
    sending->headers = NULL;
}
