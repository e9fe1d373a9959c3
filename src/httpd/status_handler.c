/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler apiquota-status: the page, or the same as JSON for who asks for that. It may show names that clients chose, so
 * nothing runs in it but its own script: the policy names style and script by their hashes, and allows nothing else.
 */
#include "httpd/pages.h"
#include "httpd/status_assets.h"
#include "httpd/status_data.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <string.h>

/* 'sha256-…' of a text. */
static const char *source_of(apr_pool_t *p, const char *text)
{
    unsigned char digest[AQ_SHA256_BYTES];
    char *base64;

    if (aq_hash_sha256(text, strlen(text), digest) != APR_SUCCESS) {
        return "'none'";
    }
    base64 = apr_palloc(p, (apr_size_t)apr_base64_encode_len(sizeof(digest)));
    (void)apr_base64_encode_binary(base64, digest, sizeof(digest));
    return apr_pstrcat(p, "'sha256-", base64, "'", NULL);
}

static const char *policy(apr_pool_t *p)
{
    return apr_pstrcat(p, "default-src 'none'; style-src ", source_of(p, aq_status_css), "; script-src ",
                       source_of(p, aq_status_js),
                       "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", NULL);
}

int aq_status_answer(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    const aq_status_t *status = aq_status_gather(r);

    if (!status) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (accept && strstr(accept, "application/json")) {
        return aq_page_send(r, "application/json", aq_status_json(r->pool, status));
    }
    apr_table_setn(r->headers_out, "Content-Security-Policy", policy(r->pool));
    apr_table_setn(r->headers_out, "Referrer-Policy", "no-referrer");
    return aq_page_send(r, "text/html; charset=utf-8", aq_status_html(r->pool, status, ap_get_server_name(r)));
}
