/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: where the server's keys are, in a keys file or in Redis, and what they say.
 */
#include "ctl/ctl.h"

#include "limit/runtime_plans.h"
#include "store/redis_keys_edit.h"

#include <apr_strings.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KEY_FILE_DEFAULT "/etc/apiquota/keys.json"

/* A package has put the keys file there, and httpd has not told yet that it is to be another one. */
static int is_before_first_start(const aq_ctl_t *ctl)
{
    return !ctl->state_dir && !ctl->config &&
           access(apr_pstrcat(ctl->p, aq_ctl_state_dir(ctl), "/" AQ_RUNTIME_FILE, NULL), F_OK) != 0 &&
           errno == ENOENT && access(KEY_FILE_DEFAULT, F_OK) == 0;
}

static aq_ctl_exit_t redis_find(aq_ctl_t *ctl, const json_t *where)
{
    const char *error = NULL;
    aq_redis_address_t *address;
    aq_ctl_exit_t code = aq_ctl_redis_address(ctl, where, &address);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (aq_redis_link_open(ctl->p, address, &ctl->keys_link, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    ctl->keys_place = aq_redis_keys_place(ctl->p, ctl->keys_link);
    return AQ_CTL_DONE;
}

static aq_ctl_exit_t server_keys_find(aq_ctl_t *ctl)
{
    const json_t *where;
    const char *file;
    aq_ctl_exit_t code = aq_ctl_runtime_load(ctl, 0);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    where = json_object_get(ctl->runtime, "key_store");
    file = aq_json_string(ctl->runtime, "key_file");
    if (where) {
        return redis_find(ctl, where);
    }
    if (!file) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "the server has no APIQuotaKeyFile; give --key-file");
    }
    ctl->key_file = file;
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_keys_find(aq_ctl_t *ctl)
{
    aq_ctl_exit_t code = AQ_CTL_DONE;

    if (ctl->keys_place) {
        return code;
    }
    if (!ctl->key_file && is_before_first_start(ctl)) {
        ctl->key_file = KEY_FILE_DEFAULT;
    }
    if (!ctl->key_file) {
        code = server_keys_find(ctl);
    }
    if (code == AQ_CTL_DONE && ctl->key_file) {
        ctl->keys_place = aq_keyedit_file(ctl->p, ctl->key_file);
    }
    return code;
}

static apr_status_t document_release(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

/* As aq_ctl_keys_read; `refusals` as for aq_redis_keys_read_all. */
static aq_ctl_exit_t document_read(aq_ctl_t *ctl, json_t **document, apr_array_header_t *refusals)
{
    const char *error = NULL;
    aq_ctl_exit_t code = aq_ctl_keys_find(ctl);

    *document = NULL;
    if (code != AQ_CTL_DONE) {
        return code;
    }
    const apr_status_t rv = ctl->keys_link
                                ? aq_redis_keys_read_all(ctl->p, ctl->keys_link, document, refusals, &error)
                                : aq_json_file_load(ctl->p, ctl->key_file, AQ_JSON_FILE_MAX_BYTES, document, &error);
    if (rv != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    apr_pool_cleanup_register(ctl->p, *document, document_release, apr_pool_cleanup_null);
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_keys_read(aq_ctl_t *ctl, json_t **document)
{
    aq_ctl_exit_t code = document_read(ctl, document, NULL);
    const char *wrong = code == AQ_CTL_DONE ? aq_keys_document_wrong(*document) : NULL;

    return wrong ? aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", ctl->keys_place->name, wrong) : code;
}

aq_ctl_exit_t aq_ctl_keys_judge(aq_ctl_t *ctl, const char *name, json_t *document, const aq_key_set_t **set,
                                aq_keys_report_t *report)
{
    static const aq_hash_secret_t no_secret = {{0}}; /* nothing is counted here */
    const char *error = "no memory";
    aq_keys_t *keys;
    apr_hash_t *plans;

    *set = NULL;
    if (aq_ctl_runtime_load(ctl, 1) != AQ_CTL_DONE) {
        return AQ_CTL_DONE;
    }
    aq_ctl_exit_t code = aq_ctl_plans_load(ctl, &no_secret, &plans);
    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (aq_keys_create(ctl->p, name, plans, &no_secret, &keys) != APR_SUCCESS ||
        aq_keys_load_document(keys, document, ctl->p, ctl->now_ms, report, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    *set = aq_keys_acquire(keys); /* never released: it goes with the pool */
    return AQ_CTL_DONE;
}

/* What Redis holds that is no record at all is refused like an entry that breaks a rule. */
static apr_status_t redis_keys_load(aq_ctl_t *ctl, aq_keys_t *keys, aq_keys_report_t *report, const char **error)
{
    apr_array_header_t *refusals = apr_array_make(ctl->p, 0, sizeof(const char *));
    json_t *document;
    apr_status_t rv = document_read(ctl, &document, refusals) == AQ_CTL_DONE ? APR_SUCCESS : APR_EGENERAL;

    *error = "";
    if (rv == APR_SUCCESS) {
        rv = aq_keys_load_document(keys, document, ctl->p, ctl->now_ms, report, error);
    }
    if (rv == APR_SUCCESS && report) {
        apr_array_cat(report->refusals, refusals);
        report->refused += (unsigned)refusals->nelts;
    }
    return rv;
}

aq_ctl_exit_t aq_ctl_keys_load(aq_ctl_t *ctl, apr_hash_t *plans, const aq_hash_secret_t *secret,
                               const aq_key_set_t **set, aq_keys_report_t *report)
{
    const char *error = "no memory";
    aq_keys_t *keys;
    aq_ctl_exit_t code = aq_ctl_keys_find(ctl);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_keys_create(ctl->p, ctl->keys_place->name, plans, secret, &keys);
    if (rv == APR_SUCCESS) {
        rv = ctl->keys_link ? redis_keys_load(ctl, keys, report, &error)
                            : aq_keys_load(keys, ctl->p, ctl->now_ms, report, &error);
    }
    if (rv != APR_SUCCESS) {
        return *error ? aq_ctl_fail(AQ_CTL_REFUSED, "%s", error) : AQ_CTL_REFUSED;
    }
    *set = aq_keys_acquire(keys); /* never released: it goes with the pool */
    return AQ_CTL_DONE;
}
