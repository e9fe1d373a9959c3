/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch handler: whether a request is an upload to a batch location, a question about a batch, or neither.
 */
#include "httpd/batch_handler.h"

#include "httpd/phases.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>
#include <string.h>

#define STATUS_HANDLER "apiquota-batches"

int aq_batch_prefers_async(const request_rec *r)
{
    const char *preference = apr_table_get(r->headers_in, "Prefer");

    return preference && ap_find_token(r->pool, preference, AQ_BATCH_RESPOND_ASYNC);
}

static int is_wanted(const request_rec *r, const aq_location_config_t *location)
{
    return location->batch.mode == AQ_BATCH_MODE_ON ||
           (location->batch.mode == AQ_BATCH_MODE_PREFER && aq_batch_prefers_async(r));
}

/* GET, HEAD and OPTIONS ask for something that is there; what carries work has a body, or is one of these three. */
static int is_upload(request_rec *r)
{
    switch (r->method_number) {
    case M_POST:
    case M_PUT:
    case M_PATCH:
        return 1;
    case M_GET:
    case M_OPTIONS:
    case M_TRACE:
    case M_CONNECT:
        return 0;
    default:
        return ap_request_has_body(r);
    }
}

int aq_batch_is_taken(request_rec *r, const aq_location_config_t *location)
{
    return is_wanted(r, location) && is_upload(r);
}

/* A location that lets anybody in has no tenant to whom a batch could belong. */
static int refuse_unknown(request_rec *r)
{
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_UNAUTHORIZED,
                                                .code = "key-missing",
                                                .detail = "Batches belong to tenants: send a key."});
}

AQ_APART static int batch_handle(request_rec *r, const aq_location_config_t *location)
{
    int is_status = r->handler && strcmp(r->handler, STATUS_HANDLER) == 0;
    const aq_principal_t *principal;

    if (!is_status && !aq_batch_is_taken(r, location)) {
        return DECLINED;
    }
    if (is_status && r->method_number == M_OPTIONS) {
        return aq_batch_status_options(r, location);
    }
    principal = aq_request_principal(r);
    if (!principal) {
        return refuse_unknown(r);
    }
    return is_status ? aq_batch_status(r, location, principal) : aq_batch_upload(r, location, principal);
}

/* Each <Location> that takes or shows batches has a name, and no other section can. */
int aq_batch_handler(request_rec *r)
{
    const aq_location_config_t *location = aq_config_location(r);

    return location->batch.name ? batch_handle(r, location) : DECLINED;
}

AQ_APART static int is_below(const char *uri, const char *base_url)
{
    size_t size = strlen(base_url);

    return strncmp(uri, base_url, size) == 0 && (uri[size] == '/' || !uri[size]);
}

/* Asked of every request, so it is short where there are no batches. */
static inline int is_below_status_url(const request_rec *r)
{
    const char *base_url = aq_config_location(r)->batch.base_url;

    return base_url && is_below(r->uri, base_url);
}

/* httpd would look for a file of that name, and answer 403 by itself where the name is too long for one. */
static int translate(request_rec *r)
{
    if (!is_below_status_url(r)) {
        return DECLINED;
    }
    r->filename = apr_pstrdup(r->pool, STATUS_HANDLER);
    return OK;
}

/*
 * The sections of <Directory> do not apply, as with a proxied URL. httpd has put the location's settings aside by now, so
 * what translate set tells whether it was there; whatever else names a file is an absolute path.
 */
static int map_to_storage(request_rec *r)
{
    return r->filename && *r->filename != '/' && strcmp(r->filename, STATUS_HANDLER) == 0 ? OK : DECLINED;
}

const char *aq_batch_text(request_rec *r, const aq_batch_t *batch, const char *base_url)
{
    json_t *json = aq_batch_json(batch, base_url);
    const char *text = json ? aq_json_text(r->pool, json) : NULL;

    json_decref(json);
    return text;
}

int aq_batch_text_send(request_rec *r, const char *text)
{
    size_t size = strlen(text);

    ap_set_content_type(r, "application/json");
    ap_set_content_length(r, (apr_off_t)size);
    /* A client that has gone away is no error of ours: httpd notes it on the connection. */
    (void)ap_rwrite(text, (int)size, r);
    return OK;
}

int aq_batch_refuse_unavailable(request_rec *r, const char *detail)
{
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_SERVICE_UNAVAILABLE,
                                                .code = "queue-unavailable",
                                                .detail = detail,
                                                .retry_after_s = AQ_BATCH_RETRY_AFTER_S});
}

void aq_batch_hooks_register(void)
{
    ap_hook_translate_name(translate, NULL, NULL, APR_HOOK_LAST);
    ap_hook_map_to_storage(map_to_storage, NULL, NULL, APR_HOOK_LAST);
}
