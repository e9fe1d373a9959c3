/* SPDX-License-Identifier: Apache-2.0 */
/* The request's id, and what a browser may show its scripts. See answer_headers.h. */
#include "httpd/answer_headers.h"

#include "httpd/options.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <string.h>

#define EXPOSE "Access-Control-Expose-Headers"
#define RATE_PREFIX "X-RateLimit-"

void aq_answer_header_replace(request_rec *r, const char *name, const char *value)
{
    apr_table_setn(r->headers_out, name, value);
    if (!apr_is_empty_table(r->err_headers_out)) {
        apr_table_unset(r->err_headers_out, name);
    }
}

static int is_ours(const char *name)
{
    static const char *const others[] = {"RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"};

    if (ap_cstr_casecmpn(name, RATE_PREFIX, sizeof(RATE_PREFIX) - 1) == 0) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        if (ap_cstr_casecmp(name, others[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What the operator or the backend exposes already, from both tables; NULL: nothing. */
static const char *exposed_find(request_rec *r)
{
    const char *set = apr_table_getm(r->pool, r->headers_out, EXPOSE);
    const char *always = apr_table_getm(r->pool, r->err_headers_out, EXPOSE);

    return set && always ? apr_pstrcat(r->pool, set, ", ", always, NULL) : set ? set : always;
}

static void exposed_set(request_rec *r)
{
    const apr_array_header_t *headers = apr_table_elts(r->headers_out);
    const char *exposed = exposed_find(r);

    if (exposed && ap_find_list_item(r->pool, exposed, "*")) {
        return;
    }
    for (int i = 0; i < headers->nelts; i++) {
        const char *name = APR_ARRAY_IDX(headers, i, apr_table_entry_t).key;
        if (is_ours(name) && !(exposed && ap_find_list_item(r->pool, exposed, name))) {
            exposed = exposed && *exposed ? apr_pstrcat(r->pool, exposed, ", ", name, NULL) : name;
        }
    }
    if (exposed) {
        aq_answer_header_replace(r, EXPOSE, exposed);
    }
}

/* So that a shared cache in front gives an answer to one key to no other, and to nobody without. */
AQ_APART static void vary_set(request_rec *r, const char *header)
{
    const char *vary = apr_table_get(r->headers_out, "Vary");

    if (!vary || !(ap_find_list_item(r->pool, vary, header) || ap_find_list_item(r->pool, vary, "*"))) {
        apr_table_mergen(r->headers_out, "Vary", header);
    }
}

void aq_answer_headers_set(request_rec *r, const aq_request_t *request)
{
    const char *id = aq_request_id(r);

    if (*id) {
        aq_answer_header_replace(r, "X-Request-Id", id);
    }
    if (request->vary) {
        vary_set(r, request->vary);
    }
    if (request->charge && aq_options_headers(request->location->options) & AQ_HEADERS_IETF) {
        aq_ietf_headers_set(r, request);
    }
    if (apr_table_get(r->headers_in, "Origin")) {
        exposed_set(r);
    }
}
