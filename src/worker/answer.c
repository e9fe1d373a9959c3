/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of header names. Hop-by-hop: RFC 9110, 7.6.1.
 */
#include "worker/answer.h"

#include "base/aq_json.h"

#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>
#include <strings.h>

static const char *const hop_by_hop[] = {"connection", "keep-alive",        "proxy-connection", "te",
                                         "trailer",    "transfer-encoding", "upgrade",          NULL};

static const char *const not_kept[] = {"accept-ranges",
                                       "content-length",
                                       "content-range",
                                       "set-cookie",
                                       "set-cookie2",
                                       "retry-after",
                                       "www-authenticate",
                                       "proxy-authenticate",
                                       "authentication-info",
                                       "proxy-authentication-info",
                                       "alt-svc",
                                       "clear-site-data",
                                       "strict-transport-security",
                                       "public-key-pins",
                                       "ratelimit",
                                       "x-sendfile",
                                       "x-lighttpd-send-file",
                                       NULL};
static const char *const not_kept_prefixes[] = {"x-ratelimit-", "ratelimit-", "x-accel-", "apiquota-", NULL};

static const char *const not_sent[] = {
    "host",   "content-length", "content-type",    "expect", "authorization", "proxy-authorization",
    "cookie", "cookie2",        "idempotency-key", NULL};
static const char *const not_sent_prefixes[] = {"apiquota-", NULL};

static int is_in(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(name, *names) == 0) {
            return 1;
        }
    }
    return 0;
}

static int begins_with(const char *name, const char *const *prefixes)
{
    for (; *prefixes != NULL; prefixes++) {
        if (strncasecmp(name, *prefixes, strlen(*prefixes)) == 0) {
            return 1;
        }
    }
    return 0;
}

int aq_answer_is_reserved(const char *request_header)
{
    return is_in(request_header, hop_by_hop) || is_in(request_header, not_sent) ||
           begins_with(request_header, not_sent_prefixes);
}

/* A token of RFC 9110, 5.6.2: httpd answers 500 rather than with a header of another name. */
static int is_name(const char *text)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    return text[strspn(text, token)] == '\0';
}

/* Control characters have no place in a header. */
static int is_value(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 ? *text != '\t' : *text == 0x7f) {
            return 0;
        }
    }
    return 1;
}

const char *aq_answer_content_type(const apr_table_t *headers)
{
    const char *type = apr_table_get(headers, "Content-Type");
    json_t *text = type != NULL && is_value(type) ? json_string(type) : NULL;
    int is_shown = text != NULL;

    json_decref(text);
    return is_shown ? type : NULL;
}

typedef struct {
    apr_pool_t *pool;
    apr_hash_t *named; /* by Connection */
    json_t *json;
    int failed;
} keep_t;

static int name_hop(void *data, const char *key, const char *value)
{
    const keep_t *keep = data;
    char *state, *list = apr_pstrdup(keep->pool, value);

    (void)key;
    for (char *name = apr_strtok(list, ", \t", &state); name != NULL; name = apr_strtok(NULL, ", \t", &state)) {
        for (char *c = name; *c != '\0'; c++) {
            *c = (char)apr_tolower(*c);
        }
        apr_hash_set(keep->named, name, APR_HASH_KEY_STRING, name);
    }
    return 1;
}

static int keep_header(void *data, const char *key, const char *value)
{
    keep_t *keep = data;
    char *name = apr_pstrdup(keep->pool, key);

    for (char *c = name; *c != '\0'; c++) {
        *c = (char)apr_tolower(*c);
    }
    if (is_in(name, hop_by_hop) || is_in(name, not_kept) || begins_with(name, not_kept_prefixes) ||
        apr_hash_get(keep->named, name, APR_HASH_KEY_STRING) != NULL || !is_name(name) || !is_value(value)) {
        return 1;
    }
    const char *earlier = aq_json_string(keep->json, name);
    json_t *text = json_string(earlier != NULL ? apr_pstrcat(keep->pool, earlier, ", ", value, NULL) : value);
    if (text != NULL) { /* no UTF-8: cannot be shown as JSON */
        keep->failed |= json_object_set_new(keep->json, name, text);
    }
    return 1;
}

const char *aq_answer_headers_json(apr_pool_t *p, const apr_table_t *headers)
{
    keep_t keep = {.pool = p, .named = apr_hash_make(p), .json = json_object()};
    const char *text = NULL;

    if (keep.json != NULL) {
        (void)apr_table_do(name_hop, &keep, headers, "Connection", NULL);
        (void)apr_table_do(keep_header, &keep, headers, NULL);
        text = keep.failed ? NULL : aq_json_text(p, keep.json);
    }
    json_decref(keep.json);
    return text;
}
