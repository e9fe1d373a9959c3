/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over the keys of a document.
 */
#include "identity/keyedit.h"

#include "identity/keyedit_private.h"

#include <apr_cstr.h>
#include <apr_hash.h>
#include <apr_strings.h>

/* Where a key of that hash stands among `keys`, by digits in either case. */
static int is_same_key(const json_t *a, const json_t *b)
{
    const char *one = aq_json_string(a, "sha256"), *other = aq_json_string(b, "sha256");

    return one && other && apr_cstr_casecmp(one, other) == 0;
}

static const char *hash_of(apr_pool_t *p, const json_t *key)
{
    const char *hash = aq_json_string(key, "sha256");
    char *lower = hash ? apr_pstrdup(p, hash) : NULL;

    for (char *at = lower; at && *at; at++) {
        *at = (char)(*at >= 'A' && *at <= 'F' ? *at | 0x20 : *at);
    }
    return lower;
}

static apr_status_t key_take(aq_keyedit_t *edit, json_t *key, apr_hash_t *by_hash, apr_hash_t *by_id)
{
    const char *hash = hash_of(edit->p, key), *id = aq_json_string(key, "id");
    const json_t *old = hash ? apr_hash_get(by_hash, hash, APR_HASH_KEY_STRING) : NULL;
    const json_t *other = id ? apr_hash_get(by_id, id, APR_HASH_KEY_STRING) : NULL;
    json_t *copy;
    size_t i;

    if (!hash || !id) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "a key without \"id\" or \"sha256\"");
    }
    if (other && !is_same_key(other, key)) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the id \"%s\" is that of another key", id);
    }
    copy = json_deep_copy(key);
    apr_hash_set(by_hash, hash, APR_HASH_KEY_STRING, copy);
    apr_hash_set(by_id, apr_pstrdup(edit->p, id), APR_HASH_KEY_STRING, copy);
    if (!old) {
        return json_array_append_new(edit->keys, copy) == 0 ? APR_SUCCESS : APR_ENOMEM;
    }
    for (i = 0; i < json_array_size(edit->keys) && json_array_get(edit->keys, i) != old;) {
        i++;
    }
    return json_array_set_new(edit->keys, i, copy) == 0 ? APR_SUCCESS : APR_ENOMEM;
}

static apr_status_t keys_take(aq_keyedit_t *edit, const json_t *keys, unsigned *count)
{
    apr_hash_t *by_hash = apr_hash_make(edit->p), *by_id = apr_hash_make(edit->p);
    apr_status_t rv = APR_SUCCESS;
    json_t *key;
    size_t i;

    json_array_foreach(edit->keys, i, key)
    {
        const char *hash = hash_of(edit->p, key), *id = aq_json_string(key, "id");
        if (hash && id) {
            apr_hash_set(by_hash, hash, APR_HASH_KEY_STRING, key);
            apr_hash_set(by_id, apr_pstrdup(edit->p, id), APR_HASH_KEY_STRING, key);
        }
    }
    for (i = 0; rv == APR_SUCCESS && i < json_array_size(keys); i++) {
        rv = key_take(edit, json_array_get(keys, i), by_hash, by_id);
        *count += rv == APR_SUCCESS;
    }
    return rv;
}

apr_status_t aq_keyedit_import(apr_pool_t *p, const aq_keyedit_place_t *place, const json_t *document,
                               unsigned *tenants, unsigned *keys, const char **error)
{
    json_t *taken = json_object_get(document, "tenants"), *tenant;
    aq_keyedit_t edit;
    const char *name;

    *tenants = *keys = 0;
    apr_status_t rv = aq_keyedit_begin(&edit, p, place, 1, error);
    if (rv == APR_SUCCESS) {
        json_object_foreach(taken, name, tenant)
        {
            *tenants += json_object_set_new(edit.tenants, name, json_deep_copy(tenant)) == 0;
        }
        rv = keys_take(&edit, json_object_get(document, "keys"), keys);
    }
    return aq_keyedit_end(&edit, rv);
}
