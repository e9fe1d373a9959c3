/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identify: from the key in a request's headers to its principal.
 *
 * With AuthType APIKey the look-up is httpd's authentication. Without one (no Require, Satisfy Any, Require local in a
 * RequireAny) the charge asks for it. Either way it is made once a request. Who presents no valid key at a location with
 * quota is refused, by key_refusal.c.
 */
#include "httpd/callers.h"
#include "httpd/exempt.h"
#include "httpd/key_refusal.h"
#include "httpd/own_family.h"
#include "httpd/phases.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <string.h>

#define AUTH_TYPE "APIKey"

#define DEFAULT_SOURCES 2

static const aq_key_source_t default_sources[DEFAULT_SOURCES] = {
    {.header = "Authorization", .is_bearer = 1, .is_known_to_caches = 1},
    {.header = "X-API-Key", .is_bearer = 0},
};

typedef struct {
    const char *text;
    size_t size;
    const aq_key_source_t *source;
} presented_t;

/*
 * What one pass over a request's headers finds of all that identifying looks for. Asking httpd's table for each by its name
 * costs three times as much.
 */
typedef struct {
    const char *values[DEFAULT_SOURCES]; /* of the headers of default_sources; NULL: not there */
    int has_own_family;                  /* APIQuota-* */
    int has_upgrade;
} seen_t;

/* Letter by letter only where a client does not write it as everybody does. */
static int is_named(const char *name, const char *wanted)
{
    return strcmp(name, wanted) == 0 || ap_cstr_casecmp(name, wanted) == 0;
}

static void name_see(const apr_table_entry_t *entry, seen_t *seen)
{
    const char *name = entry->key;
    const int second = name[1] | 0x20;

    if (second == 'u' && is_named(name, default_sources[0].header)) {
        seen->values[0] = entry->val;
    } else if (second == '-' && is_named(name, default_sources[1].header)) {
        seen->values[1] = entry->val;
    } else if (second == 'p') {
        seen->has_own_family |= ap_cstr_casecmpn(name, AQ_OWN_FAMILY, sizeof(AQ_OWN_FAMILY) - 1) == 0;
        seen->has_upgrade |= ap_cstr_casecmp(name, "Upgrade") == 0;
    }
}

static seen_t headers_see(const apr_table_t *headers)
{
    const apr_array_header_t *entries = apr_table_elts(headers);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)(const void *)entries->elts;
    seen_t seen = {.values = {NULL}};

    for (const apr_table_entry_t *end = entry + entries->nelts; entry < end; entry++) {
        const int first = entry->key[0] | 0x20;
        if (first == 'a' || first == 'u' || first == 'x') {
            name_see(entry, &seen);
        }
    }
    return seen;
}

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
    key->source = source;
    is_read = source->is_bearer ? aq_bearer_token(value, &key->text, &key->size)
                                : aq_bare_token(value, &key->text, &key->size);
    return is_read ? AQ_IDENTIFIED : unreadable(source, value);
}

static aq_identified_t key_read(const request_rec *r, const aq_location_config_t *location, presented_t *key)
{
    const aq_key_source_t *sources = default_sources;
    int count = DEFAULT_SOURCES;
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

/* Besides, the backend has no use for the client's key, and could log it. */
static void headers_strip(apr_table_t *headers, const aq_location_config_t *location, const char *key_header,
                          int may_have_own_family)
{
    if (may_have_own_family) {
        aq_own_family_strip(headers);
    }
    if (location->forward_key != 1) {
        apr_table_unset(headers, key_header);
    }
}

/* Clients keep their connections, and present one key on all their requests. */
typedef struct {
    aq_key_recall_t recall; /* of keys in a keys file */
    aq_key_memo_t memo;     /* of others, and where a key is not alone in its headers */
} known_t;

static known_t *connection_known(conn_rec *connection)
{
    known_t *known = ap_get_module_config(connection->conn_config, &apiquota_module);

    if (!known) {
        known = apr_pcalloc(connection->pool, sizeof(*known));
        ap_set_module_config(connection->conn_config, &apiquota_module, known);
    }
    return known;
}

/* The value that holds the key if there is one, and `*source`, whence it is; NULL where none does, or more than one. */
static const char *only_value(const request_rec *r, const aq_location_config_t *location, const seen_t *seen,
                              const aq_key_source_t **source)
{
    const int is_default = location->key_from == NULL;
    const aq_key_source_t *sources = is_default ? default_sources : (const void *)location->key_from->elts;
    const int count = is_default ? DEFAULT_SOURCES : location->key_from->nelts;
    const char *only = NULL;

    for (int i = 0; i < count; i++) {
        const char *value = is_default ? seen->values[i] : apr_table_get(r->headers_in, sources[i].header);
        if (value && only) {
            return NULL;
        }
        if (value) {
            only = value;
            *source = &sources[i];
        }
    }
    return only;
}

/* By asking for it where keys live, if they live elsewhere. */
AQ_APART static aq_identified_t key_look_up(request_rec *r, aq_request_t *request, const presented_t *key)
{
    const aq_runtime_t *runtime = aq_config_server(r->server)->runtime;
    const aq_key_set_t *set;
    aq_identified_t found;

    if (!runtime || !runtime->key_lookup) {
        return AQ_KEY_UNKNOWN;
    }
    found = aq_key_lookup_find(runtime->key_lookup, &connection_known(r->connection)->memo, key->text, key->size,
                               request->now_ms, request->pool, &set, &request->principal);
    aq_request_key_set_keep(request, set);
    return found;
}

/* Reads the key and looks it up: the first request of a connection, or one that is not like the one before. */
AQ_APART static aq_identified_t key_read_and_find(request_rec *r, aq_request_t *request,
                                                  const aq_location_config_t *location, const aq_key_source_t **source)
{
    presented_t key = {.source = NULL};
    const aq_identified_t read = key_read(r, location, &key);

    *source = key.source;
    if (read != AQ_IDENTIFIED) {
        return read;
    }
    return aq_request_key_set(r, request)
               ? aq_key_set_find_again(request->key_set, &connection_known(r->connection)->memo, key.text, key.size,
                                       request->now_ms, &request->principal)
               : key_look_up(r, request, &key);
}

static aq_identified_t principal_find(request_rec *r, aq_request_t *request, const aq_location_config_t *location,
                                      const seen_t *seen, const aq_key_source_t **source)
{
    const char *value = only_value(r, location, seen, source);
    const aq_key_set_t *set = value ? aq_request_key_set(r, request) : NULL;
    aq_key_recall_t *recall = set ? &connection_known(r->connection)->recall : NULL;
    aq_identified_t found;

    if (set) {
        found = aq_key_set_recall(set, recall, (*source)->is_bearer, value, request->now_ms, &request->principal);
        if (found != AQ_KEY_MISSING) {
            return found;
        }
    }
    found = key_read_and_find(r, request, location, source);
    if (set && found == AQ_IDENTIFIED) {
        aq_key_set_recall_note(set, recall, (*source)->is_bearer, value, request->principal);
    }
    return found;
}

AQ_APART static aq_identified_t key_find(request_rec *r, aq_request_t *request, const aq_location_config_t *location)
{
    const seen_t seen = headers_see(r->headers_in);
    request_rec *initial = aq_request_initial(r);
    const aq_key_source_t *source = NULL;
    aq_identified_t found = principal_find(r, request, location, &seen, &source);

    if (found == AQ_IDENTIFIED) {
        request->is_by_key = 1;
        request->is_identified = 1;
        request->vary = source->is_known_to_caches ? NULL : source->header;
        headers_strip(r->headers_in, location, source->header, seen.has_own_family);
        /* A subrequest may hold a copy. */
        if (initial->headers_in != r->headers_in) {
            headers_strip(initial->headers_in, location, source->header, 1);
            aq_upgrade_decline(initial);
        } else if (seen.has_upgrade) {
            aq_upgrade_decline(initial);
        }
    }
    return found;
}

/* The ways to know a caller, in the order written; a wrong key is wrong, whatever else there is to know him by. */
AQ_APART static int callers_try(request_rec *r, aq_request_t *request, const aq_location_config_t *location)
{
    const aq_location_rules_t *rules = location->rules;
    const aq_caller_source_t keys_alone = {.caller = AQ_CALLER_KEY};
    const aq_caller_source_t *callers = rules->caller_count == AQ_UNSET ? &keys_alone : rules->callers;
    int count = rules->caller_count == AQ_UNSET ? 1 : rules->caller_count;

    request->identified = AQ_KEY_MISSING;
    for (int i = 0; i < count; i++) {
        const char *name;
        if (callers[i].caller == AQ_CALLER_KEY) {
            request->identified = key_find(r, request, location);
            if (request->identified != AQ_KEY_MISSING) {
                return OK;
            }
        } else if ((name = aq_caller_name(r, &callers[i])) != NULL) {
            aq_own_family_take_off(r);
            return aq_caller_principal(r, request, callers[i].caller, name);
        }
    }
    if (rules->anonymous_plan && *rules->anonymous_plan) {
        aq_own_family_take_off(r);
        return aq_caller_anonymous(r, request);
    }
    return OK;
}

int aq_identify(request_rec *r, aq_request_t *request)
{
    if (!request->is_identified) {
        const aq_location_config_t *location = aq_config_location(r);
        request->is_identified = 1;
        if (location->rules) {
            request->identify_status = callers_try(r, request, location);
        } else {
            request->identified = key_find(r, request, location);
        }
    }
    if (request->principal) {
        return OK;
    }
    return request->identify_status != OK ? request->identify_status : aq_unknown_refuse(r, request);
}

/* By a key and nothing else: who was known otherwise at an earlier location is not authenticated here. */
static int key_identify(request_rec *r, aq_request_t *request)
{
    if (!request->is_by_key) {
        request->identified = key_find(r, request, aq_config_location(r));
    }
    if (request->is_by_key) {
        return OK;
    }
    return aq_key_refuse(r, request->identified);
}

/* A browser sends preflights without credentials. Authorisation needs a user: nobody, until fixups takes him away. */
static int is_let_in_as_nobody(request_rec *r)
{
    if (r->method_number != M_OPTIONS || aq_config_location(r)->quota <= AQ_QUOTA_OFF || !aq_exempt_is_preflight(r)) {
        return 0;
    }
    r->user = (char *)"";
    return 1;
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
    if (is_let_in_as_nobody(r)) {
        return OK;
    }
    request = aq_request_state(r);
    status = key_identify(r, request);
    if (status == OK) {
        /* The key set is held as long as the request lives. */
        r->user = (char *)request->principal->key_id;
        r->ap_auth_type = (char *)AUTH_TYPE;
    }
    return status;
}

/* Who can be known otherwise need not present a key. */
AQ_APART static int may_come_without_key(request_rec *r, const aq_location_config_t *location)
{
    return aq_rules_know_others(location->rules) && key_find(r, aq_request_state(r), location) == AQ_KEY_MISSING;
}

AQ_APART static int force_authn(request_rec *r, const aq_location_config_t *location)
{
    if (!is_auth_type_ours(r)) {
        return DECLINED;
    }
    return location->rules && may_come_without_key(r, location) ? DECLINED : OK;
}

int aq_identify_force_authn(request_rec *r)
{
    const aq_location_config_t *location = aq_config_location(r);

    return location->quota == AQ_QUOTA_ON ? force_authn(r, location) : DECLINED;
}

int aq_identify_note_auth_failure(request_rec *r, const char *auth_type)
{
    if (ap_cstr_casecmp(auth_type, AUTH_TYPE) != 0) {
        return DECLINED;
    }
    aq_key_challenge_set(r, AQ_KEY_MISSING);
    return OK;
}
