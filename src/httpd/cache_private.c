/* SPDX-License-Identifier: Apache-2.0 */
/* Responses to a key are one caller's, unless they say otherwise. See cache.h. */
#include "httpd/cache.h"

#include "httpd/request.h"

#include <util_filter.h>

#define FILTER_NAME "APIQUOTA_PRIVATE"
/* What mod_cache reads is whether the header is there; the key itself must not come into its files. */
#define PLACEHOLDER "APIKey"

static ap_filter_rec_t *private_filter_rec;

/* mod_cache decides, and takes the request's headers for its file, when it sees the response for the first time. */
static apr_status_t private_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    apr_table_t *headers = filter->r->headers_in;
    ap_filter_t *next = filter->next;
    apr_status_t rv;

    ap_remove_output_filter(filter);
    if (apr_table_get(headers, "Authorization")) {
        return ap_pass_brigade(next, brigade);
    }
    apr_table_setn(headers, "Authorization", PLACEHOLDER);
    rv = ap_pass_brigade(next, brigade);
    apr_table_unset(headers, "Authorization");
    return rv;
}

void aq_cache_insert(request_rec *r)
{
    const aq_request_t *request = aq_request_find(r);

    if (request && request->is_by_key) {
        ap_add_output_filter_handle(private_filter_rec, NULL, r, r->connection);
    }
}

void aq_cache_register(void)
{
    /* Ahead of CACHE_SAVE, and of its like for subrequests, which is one ahead of AP_FTYPE_CONTENT_SET. */
    const ap_filter_type before_cache = (ap_filter_type)(AP_FTYPE_CONTENT_SET - 2);

    private_filter_rec = ap_register_output_filter(FILTER_NAME, private_filter, NULL, before_cache);
}
