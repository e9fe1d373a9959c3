/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and making the state of a client's request. See request.h. */
#include "httpd/request.h"

#include <apr_strings.h>
#include <http_request.h>

#define REQUEST_ID_MAX 128

aq_request_t *aq_request_state(request_rec *r)
{
    request_rec *initial = aq_request_initial(r);
    aq_request_t *request = aq_request_own(initial);

    if (!request) {
        request = apr_palloc(initial->pool, sizeof(*request));
        *request = (aq_request_t){.pool = initial->pool, .now_ms = aq_clock_now_ms()};
        ap_set_module_config(initial->request_config, &apiquota_module, request);
    }
    return request;
}

const aq_principal_t *aq_request_principal(request_rec *r)
{
    const aq_request_t *request = aq_request_find(r);

    return request ? request->principal : NULL;
}

apr_status_t aq_request_key_set_drop(void *set)
{
    aq_key_set_release(set);
    return APR_SUCCESS;
}

void aq_request_key_set_keep(const aq_request_t *request, const aq_key_set_t *set)
{
    if (set) {
        apr_pool_cleanup_register(request->pool, set, aq_request_key_set_drop, apr_pool_cleanup_null);
    }
}

/* Letters, digits and what ids are joined with: nothing that could end a header, a log line or a JSON string. */
static int is_sane_id(const char *id)
{
    size_t size = strlen(id);

    return size > 0 && size <= REQUEST_ID_MAX &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+=@") == size;
}

const char *aq_request_id(request_rec *r)
{
    const char *id = apr_table_get(r->headers_in, "X-Request-Id");

    if (id && is_sane_id(id)) {
        return id;
    }
    id = apr_table_get(r->subprocess_env, "UNIQUE_ID");
    if (!id && r->prev) {
        id = apr_table_get(r->subprocess_env, "REDIRECT_UNIQUE_ID");
    }
    return id ? id : "";
}
