/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Editing a keys file.
 *
 * An edit holds the lock of PATH.lock from reading to replacing, so that two edits never undo each other. Readers need
 * no lock: they see the old file or the new one.
 */
#include "identity/keyedit.h"

#include "base/aq_file.h"
#include "base/aq_json.h"

#include <apr_encode.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_WAIT_MS 5000
#define NEW_FILE_MODE 0640
#define ID_RANDOM_BYTES 6

/* An edit between its begin and its end. */
typedef struct {
    apr_pool_t *p;
    const char *path; /* with symbolic links followed: the target is what must be replaced */
    int lock_fd;
    json_t *file;
    json_t *tenants, *keys; /* of `file` */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    const char **error;
} edit_t;

__attribute__((format(printf, 3, 4))) static apr_status_t fail(edit_t *edit, apr_status_t rv, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    *edit->error = apr_pvsprintf(edit->p, format, arguments);
    va_end(arguments);
    return rv;
}

static apr_status_t fail_system(edit_t *edit, apr_status_t rv, const char *path)
{
    char reason[128];

    return fail(edit, rv, "%s: %s", path, apr_strerror(rv, reason, sizeof(reason)));
}

/* ---- begin and end ---------------------------------------------------------------------------------------------- */

static apr_status_t lock_take(edit_t *edit)
{
    const char *path = apr_pstrcat(edit->p, edit->path, ".lock", NULL);
    apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT, 0600, &edit->lock_fd);

    if (rv == APR_SUCCESS) {
        rv = aq_file_lock(edit->lock_fd, LOCK_WAIT_MS);
    }
    if (rv == APR_EBUSY) {
        return fail(edit, rv, "%s: another edit holds the file", edit->path);
    }
    return rv == APR_SUCCESS ? rv : fail_system(edit, rv, path);
}

/* The member of that name, made where it is missing. NULL where it is of another type. */
static json_t *member_ensure(json_t *object, const char *name, json_type type)
{
    json_t *member = json_object_get(object, name);

    if (!member) {
        member = type == JSON_ARRAY ? json_array() : json_object();
        return json_object_set_new(object, name, member) == 0 ? member : NULL;
    }
    return json_typeof(member) == type ? member : NULL;
}

static apr_status_t file_read(edit_t *edit, int may_create)
{
    apr_status_t rv = aq_json_file_load(edit->p, edit->path, AQ_JSON_FILE_MAX_BYTES, &edit->file, edit->error);

    if (may_create && APR_STATUS_IS_ENOENT(rv)) {
        edit->file = json_object();
        rv = APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    edit->tenants = member_ensure(edit->file, "tenants", JSON_OBJECT);
    edit->keys = member_ensure(edit->file, "keys", JSON_ARRAY);
    if (!edit->tenants || !edit->keys) {
        return fail(edit, APR_EGENERAL, "%s: is no object with an object \"tenants\" and an array \"keys\"",
                    edit->path);
    }
    return APR_SUCCESS;
}

/* Every begin is followed by an end, also when it failed. */
static apr_status_t edit_begin(edit_t *edit, apr_pool_t *p, const char *path, int may_create, const char **error)
{
    char real[PATH_MAX];
    struct stat info;

    *error = NULL;
    *edit = (edit_t){.p = p, .path = path, .lock_fd = -1, .mode = NEW_FILE_MODE, .error = error};
    edit->uid = (uid_t)-1;
    edit->gid = (gid_t)-1;
    if (realpath(path, real)) {
        edit->path = apr_pstrdup(p, real);
    } else if (!may_create || errno != ENOENT) {
        return fail_system(edit, errno, path);
    }
    apr_status_t rv = lock_take(edit);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (stat(edit->path, &info) == 0) {
        edit->mode = info.st_mode & 07777;
        edit->uid = info.st_uid;
        edit->gid = info.st_gid;
    }
    return file_read(edit, may_create);
}

static apr_status_t edit_write(edit_t *edit)
{
    char *text = json_dumps(edit->file, JSON_INDENT(2));

    if (!text) {
        return fail_system(edit, APR_ENOMEM, edit->path);
    }
    const char *line = apr_pstrcat(edit->p, text, "\n", NULL);
    free(text);
    apr_status_t rv = aq_file_replace_as(edit->path, line, strlen(line), (int)edit->mode, edit->uid, edit->gid);
    return rv == APR_SUCCESS ? rv : fail_system(edit, rv, edit->path);
}

/* Writes where `rv` is APR_SUCCESS, and lets go of everything. The result of the whole edit. */
static apr_status_t edit_end(edit_t *edit, apr_status_t rv)
{
    if (rv == APR_SUCCESS) {
        rv = edit_write(edit);
    }
    json_decref(edit->file);
    if (edit->lock_fd >= 0) {
        (void)close(edit->lock_fd); /* and with it the lock */
    }
    return rv;
}

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
static apr_status_t room_check(edit_t *edit, const char *name)
{
    const json_t *tenant = name ? json_object_get(edit->tenants, name) : NULL;
    const json_t *max = json_object_get(tenant, "max_keys");
    json_int_t max_keys = json_is_integer(max) ? json_integer_value(max) : AQ_KEYS_PER_TENANT_DEFAULT;

    if (!tenant) {
        return fail(edit, APR_EGENERAL, "the tenant \"%s\" is unknown", name ? name : "");
    }
    if (tenant_key_count(edit->keys, name) >= max_keys) {
        return fail(edit, APR_EGENERAL, "the tenant \"%s\" has %d keys already, as many as it may", name,
                    (int)max_keys);
    }
    return APR_SUCCESS;
}

static apr_status_t spec_check(edit_t *edit, const aq_key_spec_t *spec)
{
    apr_status_t rv = room_check(edit, spec->tenant);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (spec->id && !aq_principal_name_is_valid(spec->id)) {
        return fail(edit, APR_EGENERAL, "an id is visible ASCII without spaces, \" and \\, at most %d characters",
                    AQ_PRINCIPAL_NAME_MAX);
    }
    if (spec->id && key_index(edit->keys, spec->id) >= 0) {
        return fail(edit, APR_EGENERAL, "a key of id \"%s\" exists", spec->id);
    }
    if (spec->scope_count > AQ_SCOPES_PER_KEY_MAX) {
        return fail(edit, APR_EGENERAL, "a key has at most %d scopes", AQ_SCOPES_PER_KEY_MAX);
    }
    for (unsigned i = 0; i < spec->scope_count; i++) {
        if (!aq_principal_name_is_valid(spec->scopes[i])) {
            return fail(edit, APR_EGENERAL, "the scope \"%s\" is not visible ASCII without spaces, \" and \\",
                        spec->scopes[i]);
        }
    }
    return APR_SUCCESS;
}

/* A new key, its digest in hex, and an id that no key has yet (unless `*id` is set already). */
static apr_status_t key_make(edit_t *edit, char text[AQ_KEY_TEXT_SIZE], char hex[AQ_SHA256_HEX_SIZE], const char **id)
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
        return fail_system(edit, rv, "a new key");
    }
    aq_hash_hex_write(hex, digest, sizeof(digest));
    return APR_SUCCESS;
}

static apr_status_t key_append(edit_t *edit, const aq_key_spec_t *spec, const char *id, const char *hex)
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
        return fail_system(edit, APR_ENOMEM, edit->path);
    }
    return json_array_append_new(edit->keys, entry) == 0 ? APR_SUCCESS : fail_system(edit, APR_ENOMEM, edit->path);
}

apr_status_t aq_keyedit_key_create(apr_pool_t *p, const char *path, const aq_key_spec_t *spec,
                                   char text[AQ_KEY_TEXT_SIZE], const char **id, const char **error)
{
    char hex[AQ_SHA256_HEX_SIZE];
    edit_t edit;

    *id = spec->id ? apr_pstrdup(p, spec->id) : NULL;
    memset(text, 0, AQ_KEY_TEXT_SIZE);
    apr_status_t rv = edit_begin(&edit, p, path, 0, error);
    if (rv == APR_SUCCESS) {
        rv = spec_check(&edit, spec);
    }
    if (rv == APR_SUCCESS) {
        rv = key_make(&edit, text, hex, id);
    }
    if (rv == APR_SUCCESS) {
        rv = key_append(&edit, spec, *id, hex);
    }
    rv = edit_end(&edit, rv);
    if (rv != APR_SUCCESS) {
        memset(text, 0, AQ_KEY_TEXT_SIZE); /* a key that is in no file must not be handed out */
    }
    return rv;
}

/* The old key ends at that time, unless it ends sooner by itself. */
static apr_status_t key_retire(edit_t *edit, json_t *old, aq_time_ms_t retires_at_ms)
{
    const char *expires = aq_json_string(old, "expires_at");
    aq_time_ms_t expires_at_ms;

    if (expires && aq_clock_rfc3339_parse(expires, &expires_at_ms) == APR_SUCCESS && expires_at_ms <= retires_at_ms) {
        return APR_SUCCESS;
    }
    return json_object_set_new(old, "expires_at", aq_json_time(retires_at_ms)) == 0
               ? APR_SUCCESS
               : fail_system(edit, APR_ENOMEM, edit->path);
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

static apr_status_t key_replace(edit_t *edit, size_t index, aq_time_ms_t retires_at_ms, const char *id, const char *hex)
{
    json_t *old = json_array_get(edit->keys, index);
    json_t *entry = key_successor(old, id, hex);

    if (retires_at_ms == 0) {
        return entry && json_array_set_new(edit->keys, index, entry) == 0 ? APR_SUCCESS
                                                                          : fail_system(edit, APR_ENOMEM, edit->path);
    }
    if (!entry || json_array_append_new(edit->keys, entry) != 0) {
        return fail_system(edit, APR_ENOMEM, edit->path);
    }
    return key_retire(edit, old, retires_at_ms);
}

/* The index of the key to be rotated, in `*index`. */
static apr_status_t rotation_check(edit_t *edit, const char *id, aq_time_ms_t retires_at_ms, size_t *index)
{
    ssize_t found = key_index(edit->keys, id);
    const json_t *old = found < 0 ? NULL : json_array_get(edit->keys, (size_t)found);

    if (!old) {
        return fail(edit, APR_NOTFOUND, "there is no key of id \"%s\"", id);
    }
    *index = (size_t)found;
    if (json_is_true(json_object_get(old, "disabled"))) {
        return fail(edit, APR_EGENERAL, "the key \"%s\" is disabled", id);
    }
    return retires_at_ms == 0 ? APR_SUCCESS : room_check(edit, aq_json_string(old, "tenant"));
}

apr_status_t aq_keyedit_key_rotate(apr_pool_t *p, const char *path, const char *id, aq_time_ms_t retires_at_ms,
                                   char text[AQ_KEY_TEXT_SIZE], const char **new_id, const char **error)
{
    char hex[AQ_SHA256_HEX_SIZE];
    size_t index = 0;
    edit_t edit;

    *new_id = NULL;
    memset(text, 0, AQ_KEY_TEXT_SIZE);
    apr_status_t rv = edit_begin(&edit, p, path, 0, error);
    if (rv == APR_SUCCESS) {
        rv = rotation_check(&edit, id, retires_at_ms, &index);
    }
    if (rv == APR_SUCCESS) {
        rv = key_make(&edit, text, hex, new_id);
    }
    if (rv == APR_SUCCESS) {
        rv = key_replace(&edit, index, retires_at_ms, *new_id, hex);
    }
    rv = edit_end(&edit, rv);
    if (rv != APR_SUCCESS) {
        memset(text, 0, AQ_KEY_TEXT_SIZE); /* as above */
    }
    return rv;
}

apr_status_t aq_keyedit_key_revoke(apr_pool_t *p, const char *path, const char *id, const char **error)
{
    edit_t edit;
    apr_status_t rv = edit_begin(&edit, p, path, 0, error);

    if (rv == APR_SUCCESS) {
        ssize_t index = key_index(edit.keys, id);
        if (index < 0) {
            rv = fail(&edit, APR_NOTFOUND, "there is no key of id \"%s\"", id);
        } else if (json_array_remove(edit.keys, (size_t)index) != 0) {
            rv = fail_system(&edit, APR_ENOMEM, edit.path);
        }
    }
    return edit_end(&edit, rv);
}

/* ---- tenants ---------------------------------------------------------------------------------------------------- */

/* Sets the overrides of `tenant`, each checked; an empty rate removes one. */
static apr_status_t limits_set(edit_t *edit, json_t *tenant, apr_hash_t *limits)
{
    json_t *object = member_ensure(tenant, "limits", JSON_OBJECT);

    if (!object) {
        return fail(edit, APR_EGENERAL, "the tenant's \"limits\" is no object");
    }
    for (apr_hash_index_t *i = apr_hash_first(edit->p, limits); i; i = apr_hash_next(i)) {
        const char *name = apr_hash_this_key(i), *rate_text = apr_hash_this_val(i), *reason;
        aq_limit_t *limit;

        if (rate_text[0] == '\0') {
            (void)json_object_del(object, name); /* removing what is not there is done already */
        } else if (aq_limit_parse(edit->p, (const char *const[]){name, rate_text}, 2, &limit, &reason) != APR_SUCCESS) {
            return fail(edit, APR_EGENERAL, "limit \"%s\": %s", name, reason);
        } else if (json_object_set_new(object, name, json_string(rate_text)) != 0) {
            return fail(edit, APR_EGENERAL, "limit \"%s\" is no UTF-8", name);
        }
    }
    return json_object_size(object) > 0 || json_object_del(tenant, "limits") == 0 ? APR_SUCCESS : APR_EGENERAL;
}

static apr_status_t tenant_change(edit_t *edit, const char *name, const char *plan, apr_hash_t *limits)
{
    json_t *tenant = json_object_get(edit->tenants, name);

    if (!aq_principal_name_is_valid(name)) {
        return fail(edit, APR_EGENERAL,
                    "a tenant's name is visible ASCII without spaces, \" and \\, at most %d characters",
                    AQ_PRINCIPAL_NAME_MAX);
    }
    if (!tenant && !plan) {
        return fail(edit, APR_EGENERAL, "the tenant \"%s\" is new and needs a plan", name);
    }
    if (!tenant) {
        tenant = json_object();
        if (json_object_set_new(edit->tenants, name, tenant) != 0) {
            return fail_system(edit, APR_ENOMEM, edit->path);
        }
    }
    if (!json_is_object(tenant)) {
        return fail(edit, APR_EGENERAL, "the tenant \"%s\" is no object in the file", name);
    }
    if (plan && json_object_set_new(tenant, "plan", json_string(plan)) != 0) {
        return fail(edit, APR_EGENERAL, "the plan's name is no UTF-8");
    }
    return limits ? limits_set(edit, tenant, limits) : APR_SUCCESS;
}

apr_status_t aq_keyedit_tenant_set(apr_pool_t *p, const char *path, const char *tenant, const char *plan,
                                   apr_hash_t *limits, const char **error)
{
    edit_t edit;
    apr_status_t rv = edit_begin(&edit, p, path, plan != NULL, error);

    if (rv == APR_SUCCESS) {
        rv = tenant_change(&edit, tenant, plan, limits);
    }
    return edit_end(&edit, rv);
}
