/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identify: from the key in a request's headers to its principal.
 *
 * With AuthType APIKey the look-up is httpd's authentication. Without one (no Require, Satisfy Any, Require local in a
 * RequireAny) the charge asks for it. Either way it is made once a request. Who presents no valid key at a location with
 * quota is refused: 401 with WWW-Authenticate (RFC 6750), 400 where two keys were presented.
 */
#include "httpd/phases.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <string.h>

#define AUTH_TYPE "APIKey"

static const aq_key_source_t default_sources[] = {
    {.header = "Authorization", .is_bearer = 1},
    {.header = "X-API-Key", .is_bearer = 0},
};

typedef struct {
    const char *text;
    size_t size;
    const char *header;
} presented_t;

/* httpd joins repeated headers with a comma. Other schemes than Bearer have commas of their own. */
AQ_APART static aq_identified_t unreadable(const aq_key_source_t *source, const char *value)
{
    int is_of_scheme = !source->is_bearer || ap_cstr_casecmpn(value, "Bearer ", 7) == 0;

    return is_of_scheme && aq_token_is_joined(value) ? AQ_KEY_AMBIGUOUS : AQ_KEY_MISSING;
}

static aq_identified_t source_read(const aq_key_source_t *source, const apr_table_t *headers, presented_t *key)
{
    const char *value = apr_table_get(headers, source->header);
    int is_read;

    if (!value) {
        return AQ_KEY_MISSING;
    }
    key->header = source->header;
    is_read = source->is_bearer ? aq_bearer_token(value, &key->text, &key->size)
                                : aq_bare_token(value, &key->text, &key->size);
    return is_read ? AQ_IDENTIFIED : unreadable(source, value);
}

static aq_identified_t key_read(const request_rec *r, const aq_location_config_t *location, presented_t *key)
{
    const aq_key_source_t *sources = default_sources;
    int count = (int)(sizeof(default_sources) / sizeof(*default_sources));
    aq_identified_t found = AQ_KEY_MISSING;

    if (location->key_from) {
        sources = (const aq_key_source_t *)location->key_from->elts;
        count = location->key_from->nelts;
    }
    for (int i = 0; i < count; i++) {
        presented_t one;
        aq_identified_t read = source_read(&sources[i], r->headers_in, &one);
        if (read == AQ_KEY_MISSING) {
            continue;
        }
        if (read == AQ_KEY_AMBIGUOUS || found != AQ_KEY_MISSING) {
            return AQ_KEY_AMBIGUOUS;
        }
        found = AQ_IDENTIFIED;
        *key = one;
    }
    return found;
}

static apr_status_t key_set_drop(void *data)
{
    aq_key_set_release(data);
    return APR_SUCCESS;
}

/* The name of a header of that family, or NULL. */
static const char *own_family_find(const apr_table_t *headers)
{
    static const char family[] = "APIQuota-";
    const apr_array_header_t *entries = apr_table_elts(headers);

    for (int i = 0; i < entries->nelts; i++) {
        const char *name = APR_ARRAY_IDX(entries, i, apr_table_entry_t).key;
        if ((name[0] | 0x20) == 'a' && (name[1] | 0x20) == 'p' &&
            ap_cstr_casecmpn(name, family, sizeof(family) - 1) == 0) {
            return name;
        }
    }
    return NULL;
}

/* What the worker says of a batch in headers of that family, a backend must be able to believe. */
static void own_family_strip(apr_table_t *headers)
{
    const char *name;

    while ((name = own_family_find(headers)) != NULL) {
        apr_table_unset(headers, name);
    }
}

/* Besides, the backend has no use for the client's key, and could log it. */
static void headers_strip(apr_table_t *headers, const aq_location_config_t *location, const char *key_header)
{
    own_family_strip(headers);
    if (location->forward_key != 1) {
        apr_table_unset(headers, key_header);
    }
}

/* Clients keep their connections, and present one key on all their requests. */
static aq_key_memo_t *connection_memo(conn_rec *connection)
{
    aq_key_memo_t *memo = ap_get_module_config(connection->conn_config, &apiquota_module);

    if (!memo) {
        memo = apr_pcalloc(connection->pool, sizeof(*memo));
        ap_set_module_config(connection->conn_config, &apiquota_module, memo);
    }
    return memo;
}

static aq_identified_t principal_find(request_rec *r, aq_request_t *request, const aq_location_config_t *location)
{
    const aq_server_config_t *server = aq_config_server(r->server);
    presented_t key = {.text = NULL};
    aq_identified_t found = key_read(r, location, &key);

    if (found != AQ_IDENTIFIED) {
        return found;
    }
    if (!server->runtime || !server->runtime->keys) {
        return AQ_KEY_UNKNOWN;
    }
    request->key_set = aq_keys_acquire(server->runtime->keys);
    if (!request->key_set) {
        return AQ_KEY_UNKNOWN;
    }
    apr_pool_cleanup_register(request->pool, request->key_set, key_set_drop, apr_pool_cleanup_null);
    found = aq_key_set_find_again(request->key_set, connection_memo(r->connection), key.text, key.size, request->now_ms,
                                  &request->principal);
    if (found == AQ_IDENTIFIED) {
        headers_strip(r->headers_in, location, key.header);
        /* A subrequest may hold a copy. */
        if (aq_request_initial(r)->headers_in != r->headers_in) {
            headers_strip(aq_request_initial(r)->headers_in, location, key.header);
        }
    }
    return found;
}

/* RFC 6750, section 3.1: who presented nothing is not told of an error. */
static const char *const bearer_errors[] = {
    [AQ_KEY_MISSING] = "",
    [AQ_KEY_AMBIGUOUS] = ", error=\"invalid_request\"",
    [AQ_KEY_UNKNOWN] = ", error=\"invalid_token\"",
    [AQ_KEY_DISABLED] = ", error=\"invalid_token\"",
    [AQ_KEY_EXPIRED] = ", error=\"invalid_token\"",
};

static void challenge_set(request_rec *r, aq_identified_t why)
{
    const char *realm = ap_auth_name(r);

    apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                   apr_pstrcat(r->pool, "Bearer realm=\"", realm ? realm : "api", "\"", bearer_errors[why], NULL));
}

/* Why a key did not lead to a principal, as the client reads it. */
static const aq_problem_t refusals[] = {
    [AQ_KEY_MISSING] = {.status = HTTP_UNAUTHORIZED,
                        .code = "key-missing",
                        .detail = "This API needs a key. Send it as \"Authorization: Bearer <key>\" or in the header "
                                  "that the API's documentation names."},
    [AQ_KEY_AMBIGUOUS] = {.status = HTTP_BAD_REQUEST,
                          .code = "key-ambiguous",
                          .detail = "More than one key was presented. Send exactly one."},
    [AQ_KEY_UNKNOWN] = {.status = HTTP_UNAUTHORIZED, .code = "key-unknown", .detail = "The key is not known."},
    [AQ_KEY_DISABLED] = {.status = HTTP_UNAUTHORIZED, .code = "key-disabled", .detail = "The key is disabled."},
    [AQ_KEY_EXPIRED] = {.status = HTTP_UNAUTHORIZED, .code = "key-expired", .detail = "The key has expired."},
};

int aq_identify(request_rec *r, aq_request_t *request)
{
    if (!request->is_identified) {
        request->is_identified = 1;
        request->identified = principal_find(r, request, aq_config_location(r));
    }
    if (request->principal) {
        return OK;
    }
    challenge_set(r, request->identified);
    return aq_problem_refuse(r, &refusals[request->identified]);
}

static int is_auth_type_ours(request_rec *r)
{
    const char *type = ap_auth_type(r);

    /* Letter by letter only where it is not written as we write it. */
    return type && (strcmp(type, AUTH_TYPE) == 0 || ap_cstr_casecmp(type, AUTH_TYPE) == 0);
}

int aq_identify_check_authn(request_rec *r)
{
    aq_request_t *request;
    int status;

    if (!is_auth_type_ours(r)) {
        return DECLINED;
    }
    request = aq_request_state(r);
    status = aq_identify(r, request);
    if (status == OK) {
        /* The key set is held as long as the request lives. */
        r->user = (char *)request->principal->key_id;
        r->ap_auth_type = (char *)AUTH_TYPE;
    }
    return status;
}

int aq_identify_force_authn(request_rec *r)
{
    return aq_config_location(r)->quota == 1 && is_auth_type_ours(r) ? OK : DECLINED;
}

int aq_identify_note_auth_failure(request_rec *r, const char *auth_type)
{
    if (ap_cstr_casecmp(auth_type, AUTH_TYPE) != 0) {
        return DECLINED;
    }
    challenge_set(r, AQ_KEY_MISSING);
    return OK;
}
