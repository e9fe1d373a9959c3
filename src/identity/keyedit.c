/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Editing keys and tenants of a keys file.
 */
#include "identity/keyedit.h"

#include "base/aq_names.h"
#include "identity/keyedit_private.h"

#include <apr_encode.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define ID_RANDOM_BYTES 6

/* ---- keys ------------------------------------------------------------------------------------------------------- */

/* Index of the key of that id, or -1. */
static ssize_t key_index(const json_t *keys, const char *id)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(keys, i, entry)
    {
        const char *other = aq_json_string(entry, "id");
        if (other && strcmp(other, id) == 0) {
            return (ssize_t)i;
        }
    }
    return -1;
}

static json_int_t tenant_key_count(const json_t *keys, const char *tenant)
{
    const json_t *entry;
    json_int_t count = 0;
    size_t i;

    json_array_foreach(keys, i, entry)
    {
        const char *other = aq_json_string(entry, "tenant");
        count += other && strcmp(other, tenant) == 0;
    }
    return count;
}

/* Whether the tenant may have one more key. */
static apr_status_t room_check(aq_keyedit_t *edit, const char *name)
{
    const json_t *tenant = name ? json_object_get(edit->tenants, name) : NULL;
    const json_t *max = json_object_get(tenant, "max_keys");
    json_int_t max_keys = json_is_integer(max) ? json_integer_value(max) : AQ_KEYS_PER_TENANT_DEFAULT;

    if (!tenant) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the tenant \"%s\" is unknown", name ? name : "");
    }
    if (tenant_key_count(edit->keys, name) >= max_keys) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the tenant \"%s\" has %d keys already, as many as it may", name,
                               (int)max_keys);
    }
    return APR_SUCCESS;
}

static apr_status_t spec_check(aq_keyedit_t *edit, const aq_key_spec_t *spec)
{
    apr_status_t rv = room_check(edit, spec->tenant);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (spec->id && !aq_principal_name_is_valid(spec->id)) {
        return aq_keyedit_fail(edit, APR_EGENERAL,
                               "an id is visible ASCII without spaces, \" and \\, at most %d characters",
                               AQ_PRINCIPAL_NAME_MAX);
    }
    if (spec->id && key_index(edit->keys, spec->id) >= 0) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "a key of id \"%s\" exists", spec->id);
    }
    if (spec->scope_count > AQ_SCOPES_PER_KEY_MAX) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "a key has at most %d scopes", AQ_SCOPES_PER_KEY_MAX);
    }
    for (unsigned i = 0; i < spec->scope_count; i++) {
        if (!aq_principal_name_is_valid(spec->scopes[i])) {
            return aq_keyedit_fail(edit, APR_EGENERAL,
                                   "the scope \"%s\" is not visible ASCII without spaces, \" and \\", spec->scopes[i]);
        }
    }
    return APR_SUCCESS;
}

/* A new key, its digest in hex, and an id that no key has yet (unless `*id` is set already). */
static apr_status_t key_make(aq_keyedit_t *edit, char text[AQ_KEY_TEXT_SIZE], char hex[AQ_SHA256_HEX_SIZE],
                             const char **id)
{
    unsigned char secret[AQ_KEY_RANDOM_BYTES], digest[AQ_SHA256_BYTES], id_bytes[ID_RANDOM_BYTES];
    const size_t prefix = sizeof(AQ_KEY_PREFIX) - 1;

    apr_status_t rv = aq_hash_random(secret, sizeof(secret));
    memcpy(text, AQ_KEY_PREFIX, prefix);
    if (rv == APR_SUCCESS) {
        rv = apr_encode_base64_binary(text + prefix, secret, sizeof(secret), APR_ENCODE_BASE64URL, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = aq_hash_sha256(text, AQ_KEY_TEXT_SIZE - 1, digest);
    }
    while (rv == APR_SUCCESS && (!*id || key_index(edit->keys, *id) >= 0)) {
        char id_hex[2 * ID_RANDOM_BYTES + 1];
        rv = aq_hash_random(id_bytes, sizeof(id_bytes));
        aq_hash_hex_write(id_hex, id_bytes, sizeof(id_bytes));
        *id = apr_pstrcat(edit->p, "k_", id_hex, NULL);
    }
    if (rv != APR_SUCCESS) {
        return aq_keyedit_fail_system(edit, rv, "a new key");
    }
    aq_hash_hex_write(hex, digest, sizeof(digest));
    return APR_SUCCESS;
}

static apr_status_t key_append(aq_keyedit_t *edit, const aq_key_spec_t *spec, const char *id, const char *hex)
{
    json_t *scopes = json_array();
    json_t *entry =
        json_pack("{s:s, s:s, s:s, s:o}", "id", id, "sha256", hex, "tenant", spec->tenant, "scopes", scopes);
    int failed = entry == NULL;

    for (unsigned i = 0; !failed && i < spec->scope_count; i++) {
        failed = json_array_append_new(scopes, json_string(spec->scopes[i]));
    }
    if (!failed && spec->expires_at_ms != 0) {
        failed = json_object_set_new(entry, "expires_at", aq_json_time(spec->expires_at_ms));
    }
    if (failed) {
        json_decref(entry);
        return aq_keyedit_fail_system(edit, APR_ENOMEM, edit->place->name);
    }
    return json_array_append_new(edit->keys, entry) == 0 ? APR_SUCCESS
                                                         : aq_keyedit_fail_system(edit, APR_ENOMEM, edit->place->name);
}

apr_status_t aq_keyedit_key_create(apr_pool_t *p, const aq_keyedit_place_t *place, const aq_key_spec_t *spec,
                                   char text[AQ_KEY_TEXT_SIZE], const char **id, const char **error)
{
    char hex[AQ_SHA256_HEX_SIZE];
    aq_keyedit_t edit;

    *id = spec->id ? apr_pstrdup(p, spec->id) : NULL;
    memset(text, 0, AQ_KEY_TEXT_SIZE);
    apr_status_t rv = aq_keyedit_begin(&edit, p, place, 0, error);
    if (rv == APR_SUCCESS) {
        rv = spec_check(&edit, spec);
    }
    if (rv == APR_SUCCESS) {
        rv = key_make(&edit, text, hex, id);
    }
    if (rv == APR_SUCCESS) {
        rv = key_append(&edit, spec, *id, hex);
    }
    rv = aq_keyedit_end(&edit, rv);
    if (rv != APR_SUCCESS) {
        memset(text, 0, AQ_KEY_TEXT_SIZE); /* a key that is in no file must not be handed out */
    }
    return rv;
}

/* The old key ends at that time, unless it ends sooner by itself. */
static apr_status_t key_retire(aq_keyedit_t *edit, json_t *old, aq_time_ms_t retires_at_ms)
{
    const char *expires = aq_json_string(old, "expires_at");
    aq_time_ms_t expires_at_ms;

    if (expires && aq_clock_rfc3339_parse(expires, &expires_at_ms) == APR_SUCCESS && expires_at_ms <= retires_at_ms) {
        return APR_SUCCESS;
    }
    return json_object_set_new(old, "expires_at", aq_json_time(retires_at_ms)) == 0
               ? APR_SUCCESS
               : aq_keyedit_fail_system(edit, APR_ENOMEM, edit->place->name);
}

/* A copy of `old` with another id and hash; what its counters are known by goes with it. */
static json_t *key_successor(const json_t *old, const char *id, const char *hex)
{
    json_t *entry = json_deep_copy(old);

    if (!json_object_get(entry, "counts_as")) {
        (void)json_object_set(entry, "counts_as", json_object_get(old, "id"));
    }
    if (json_object_set_new(entry, "id", json_string(id)) != 0 ||
        json_object_set_new(entry, "sha256", json_string(hex)) != 0) {
        json_decref(entry);
        return NULL;
    }
    return entry;
}

static apr_status_t key_replace(aq_keyedit_t *edit, size_t index, aq_time_ms_t retires_at_ms, const char *id,
                                const char *hex)
{
    json_t *old = json_array_get(edit->keys, index);
    json_t *entry = key_successor(old, id, hex);

    if (retires_at_ms == 0) {
        return entry && json_array_set_new(edit->keys, index, entry) == 0
                   ? APR_SUCCESS
                   : aq_keyedit_fail_system(edit, APR_ENOMEM, edit->place->name);
    }
    if (!entry || json_array_append_new(edit->keys, entry) != 0) {
        return aq_keyedit_fail_system(edit, APR_ENOMEM, edit->place->name);
    }
    return key_retire(edit, old, retires_at_ms);
}

/* The index of the key to be rotated, in `*index`. */
static apr_status_t rotation_check(aq_keyedit_t *edit, const char *id, aq_time_ms_t retires_at_ms, size_t *index)
{
    ssize_t found = key_index(edit->keys, id);
    const json_t *old = found < 0 ? NULL : json_array_get(edit->keys, (size_t)found);

    if (!old) {
        return aq_keyedit_fail(edit, APR_NOTFOUND, "there is no key of id \"%s\"", id);
    }
    *index = (size_t)found;
    if (json_is_true(json_object_get(old, "disabled"))) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the key \"%s\" is disabled", id);
    }
    return retires_at_ms == 0 ? APR_SUCCESS : room_check(edit, aq_json_string(old, "tenant"));
}

apr_status_t aq_keyedit_key_rotate(apr_pool_t *p, const aq_keyedit_place_t *place, const char *id,
                                   aq_time_ms_t retires_at_ms, char text[AQ_KEY_TEXT_SIZE], const char **new_id,
                                   const char **error)
{
    char hex[AQ_SHA256_HEX_SIZE];
    size_t index = 0;
    aq_keyedit_t edit;

    *new_id = NULL;
    memset(text, 0, AQ_KEY_TEXT_SIZE);
    apr_status_t rv = aq_keyedit_begin(&edit, p, place, 0, error);
    if (rv == APR_SUCCESS) {
        rv = rotation_check(&edit, id, retires_at_ms, &index);
    }
    if (rv == APR_SUCCESS) {
        rv = key_make(&edit, text, hex, new_id);
    }
    if (rv == APR_SUCCESS) {
        rv = key_replace(&edit, index, retires_at_ms, *new_id, hex);
    }
    rv = aq_keyedit_end(&edit, rv);
    if (rv != APR_SUCCESS) {
        memset(text, 0, AQ_KEY_TEXT_SIZE); /* as above */
    }
    return rv;
}

apr_status_t aq_keyedit_key_revoke(apr_pool_t *p, const aq_keyedit_place_t *place, const char *id, const char **error)
{
    aq_keyedit_t edit;
    apr_status_t rv = aq_keyedit_begin(&edit, p, place, 0, error);

    if (rv == APR_SUCCESS) {
        ssize_t index = key_index(edit.keys, id);
        if (index < 0) {
            rv = aq_keyedit_fail(&edit, APR_NOTFOUND, "there is no key of id \"%s\"", id);
        } else if (json_array_remove(edit.keys, (size_t)index) != 0) {
            rv = aq_keyedit_fail_system(&edit, APR_ENOMEM, edit.place->name);
        }
    }
    return aq_keyedit_end(&edit, rv);
}

/* ---- tenants ---------------------------------------------------------------------------------------------------- */

/* Sets the overrides of `tenant`, each checked; an empty rate removes one. */
static apr_status_t limits_set(aq_keyedit_t *edit, json_t *tenant, apr_hash_t *limits)
{
    json_t *object = aq_keyedit_member(tenant, "limits", JSON_OBJECT);

    if (!object) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the tenant's \"limits\" is no object");
    }
    const apr_array_header_t *names = aq_names_sorted(edit->p, limits);

    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *), *reason;
        const char *rate_text = apr_hash_get(limits, name, APR_HASH_KEY_STRING);
        aq_limit_t *limit;

        if (rate_text[0] == '\0') {
            (void)json_object_del(object, name); /* removing what is not there is done already */
        } else if (aq_limit_parse(edit->p, (const char *const[]){name, rate_text}, 2, &limit, &reason) != APR_SUCCESS) {
            return aq_keyedit_fail(edit, APR_EGENERAL, "limit \"%s\": %s", name, reason);
        } else if (json_object_set_new(object, name, json_string(rate_text)) != 0) {
            return aq_keyedit_fail(edit, APR_EGENERAL, "limit \"%s\" is no UTF-8", name);
        }
    }
    return json_object_size(object) > 0 || json_object_del(tenant, "limits") == 0 ? APR_SUCCESS : APR_EGENERAL;
}

static apr_status_t tenant_change(aq_keyedit_t *edit, const char *name, const char *plan, apr_hash_t *limits)
{
    json_t *tenant = json_object_get(edit->tenants, name);

    if (!aq_principal_name_is_valid(name)) {
        return aq_keyedit_fail(edit, APR_EGENERAL,
                               "a tenant's name is visible ASCII without spaces, \" and \\, at most %d characters",
                               AQ_PRINCIPAL_NAME_MAX);
    }
    if (!tenant && !plan) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the tenant \"%s\" is new and needs a plan", name);
    }
    if (!tenant) {
        tenant = json_object();
        if (json_object_set_new(edit->tenants, name, tenant) != 0) {
            return aq_keyedit_fail_system(edit, APR_ENOMEM, edit->place->name);
        }
    }
    if (!json_is_object(tenant)) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the tenant \"%s\" is no object in the file", name);
    }
    if (plan && json_object_set_new(tenant, "plan", json_string(plan)) != 0) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the plan's name is no UTF-8");
    }
    return limits ? limits_set(edit, tenant, limits) : APR_SUCCESS;
}

apr_status_t aq_keyedit_tenant_set(apr_pool_t *p, const aq_keyedit_place_t *place, const char *tenant, const char *plan,
                                   apr_hash_t *limits, const char **error)
{
    aq_keyedit_t edit;
    apr_status_t rv = aq_keyedit_begin(&edit, p, place, plan != NULL, error);

    if (rv == APR_SUCCESS) {
        rv = tenant_change(&edit, tenant, plan, limits);
    }
    return aq_keyedit_end(&edit, rv);
}
