/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl key: create, list, rotate and revoke. They work on the keys file alone, so also while no server runs.
 */
#include "ctl/ctl.h"

#include "base/aq_units.h"
#include "identity/keyedit.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

/* A time, or a duration from now. */
static aq_ctl_exit_t expiry_parse(const aq_ctl_t *ctl, aq_time_ms_t *expires_at_ms)
{
    int64_t duration_ms;

    *expires_at_ms = 0;
    if (!ctl->expires) {
        return AQ_CTL_DONE;
    }
    if (aq_units_duration_parse(ctl->expires, &duration_ms) == APR_SUCCESS && duration_ms < INT64_MAX - ctl->now_ms) {
        *expires_at_ms = ctl->now_ms + duration_ms;
    } else if (aq_clock_rfc3339_parse(ctl->expires, expires_at_ms) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_USAGE, "--expires %s: is neither a time like 2027-01-01T00:00:00Z nor a duration: %s",
                           ctl->expires, AQ_UNITS_DURATION_FORM);
    }
    if (*expires_at_ms <= ctl->now_ms) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "--expires %s: is over already", ctl->expires);
    }
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_key_create(aq_ctl_t *ctl)
{
    char text[AQ_KEY_TEXT_SIZE];
    const char *id, *error;
    aq_key_spec_t spec = {.id = ctl->id, .tenant = ctl->tenant};

    if (!ctl->tenant) {
        return aq_ctl_fail(AQ_CTL_USAGE, "a key needs --tenant NAME");
    }
    aq_ctl_exit_t code = expiry_parse(ctl, &spec.expires_at_ms);
    if (code == AQ_CTL_DONE) {
        code = aq_ctl_keys_find(ctl);
    }
    if (code != AQ_CTL_DONE) {
        return code;
    }
    spec.scopes = (const char *const *)(const void *)ctl->scopes->elts;
    spec.scope_count = (unsigned)ctl->scopes->nelts;
    if (aq_keyedit_key_create(ctl->p, ctl->keys_place, &spec, text, &id, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    json_t *answer = json_pack("{s:s, s:s, s:s}", "id", id, "key", text, "tenant", spec.tenant);
    if (answer && spec.expires_at_ms != 0 &&
        json_object_set_new(answer, "expires_at", aq_json_time(spec.expires_at_ms)) != 0) {
        json_decref(answer);
        answer = NULL;
    }
    if (!ctl->is_json) {
        (void)fprintf(stderr, "Key %s of tenant %s. It is shown this once and stored nowhere:\n", id, spec.tenant);
    }
    return aq_ctl_answer_print(ctl, answer, text);
}

aq_ctl_exit_t aq_ctl_key_revoke(aq_ctl_t *ctl)
{
    const char *error;
    aq_ctl_exit_t code = aq_ctl_keys_find(ctl);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (aq_keyedit_key_revoke(ctl->p, ctl->keys_place, ctl->argument, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    return aq_ctl_answer_print(ctl, json_pack("{s:s}", "revoked", ctl->argument),
                               apr_pstrcat(ctl->p, "Revoked ", ctl->argument, ".", NULL));
}

#define OVERLAP_DEFAULT "24h"

/* When the old key ends; 0: at once. */
aq_ctl_exit_t aq_ctl_overlap_read(const aq_ctl_t *ctl, aq_time_ms_t *retires_at_ms)
{
    const char *overlap = ctl->overlap ? ctl->overlap : OVERLAP_DEFAULT;
    int64_t duration_ms;

    *retires_at_ms = 0;
    if (strcmp(overlap, "0") == 0) {
        return AQ_CTL_DONE;
    }
    if (aq_units_duration_parse(overlap, &duration_ms) != APR_SUCCESS || duration_ms >= INT64_MAX - ctl->now_ms) {
        return aq_ctl_fail(AQ_CTL_USAGE, "--overlap %s: is neither 0 nor a duration: %s", overlap,
                           AQ_UNITS_DURATION_FORM);
    }
    *retires_at_ms = ctl->now_ms + duration_ms;
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_key_rotate(aq_ctl_t *ctl)
{
    char text[AQ_KEY_TEXT_SIZE];
    const char *id, *error;
    aq_time_ms_t retires_at_ms;
    aq_ctl_exit_t code = aq_ctl_overlap_read(ctl, &retires_at_ms);

    if (code == AQ_CTL_DONE) {
        code = aq_ctl_keys_find(ctl);
    }
    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (aq_keyedit_key_rotate(ctl->p, ctl->keys_place, ctl->argument, retires_at_ms, text, &id, &error) !=
        APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    json_t *answer = json_pack("{s:s, s:s, s:s}", "id", id, "key", text, "replaces", ctl->argument);
    if (answer && retires_at_ms != 0 && json_object_set_new(answer, "retires_at", aq_json_time(retires_at_ms)) != 0) {
        json_decref(answer);
        answer = NULL;
    }
    if (!ctl->is_json) {
        (void)fprintf(stderr, "Key %s, in place of %s. It is shown this once and stored nowhere:\n", id, ctl->argument);
    }
    return aq_ctl_answer_print(ctl, answer, text);
}

/* The ids of the keys that the server lets in, were it not for their dates; NULL: nobody knows. */
static aq_ctl_exit_t ids_in_force(aq_ctl_t *ctl, json_t *file, apr_hash_t **ids)
{
    aq_keys_report_t report;
    const aq_key_set_t *set;
    aq_ctl_exit_t code = aq_ctl_keys_judge(ctl, ctl->keys_place->name, file, &set, &report);

    *ids = code == AQ_CTL_DONE && set ? apr_hash_make(ctl->p) : NULL;
    for (unsigned i = 0; *ids && i < aq_key_set_count(set); i++) {
        const char *id = aq_key_set_at(set, i)->key_id;
        apr_hash_set(*ids, id, APR_HASH_KEY_STRING, id);
    }
    return code;
}

static const char *key_state(const aq_ctl_t *ctl, const json_t *key, apr_hash_t *ids)
{
    const char *expires = aq_json_string(key, "expires_at"), *id = aq_json_string(key, "id");
    aq_time_ms_t expires_at_ms;

    if (ids && (!id || !apr_hash_get(ids, id, APR_HASH_KEY_STRING))) {
        return "refused";
    }
    if (json_is_true(json_object_get(key, "disabled"))) {
        return "disabled";
    }
    if (expires && aq_clock_rfc3339_parse(expires, &expires_at_ms) == APR_SUCCESS && expires_at_ms <= ctl->now_ms) {
        return "expired";
    }
    return "active";
}

/* What of a key is shown: never its hash. */
static json_t *key_row(const aq_ctl_t *ctl, const json_t *key, const json_t *tenants, apr_hash_t *ids)
{
    const char *tenant = aq_json_string(key, "tenant");
    const json_t *of = tenant ? json_object_get(tenants, tenant) : NULL;

    return json_pack("{s:s?, s:s?, s:s?, s:O?, s:O?, s:s}", "id", aq_json_string(key, "id"), "tenant", tenant, "plan",
                     aq_json_string(of, "plan"), "scopes", json_object_get(key, "scopes"), "expires_at",
                     json_object_get(key, "expires_at"), "state", key_state(ctl, key, ids));
}

aq_ctl_exit_t aq_ctl_key_list(aq_ctl_t *ctl)
{
    static const aq_ctl_column_t columns[] = {{"ID", "id"},       {"TENANT", "tenant"},      {"PLAN", "plan"},
                                              {"STATE", "state"}, {"EXPIRES", "expires_at"}, {"SCOPES", "scopes"},
                                              {.heading = NULL}};
    apr_hash_t *ids;
    json_t *file;
    const json_t *key;
    size_t i;

    aq_ctl_exit_t code = aq_ctl_keys_read(ctl, &file);
    if (code != AQ_CTL_DONE || (code = ids_in_force(ctl, file, &ids)) != AQ_CTL_DONE) {
        return code;
    }
    const json_t *tenants = json_object_get(file, "tenants");
    if (ctl->tenant && !json_object_get(tenants, ctl->tenant)) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "the tenant \"%s\" is unknown", ctl->tenant);
    }
    json_t *rows = json_array();
    json_array_foreach(json_object_get(file, "keys"), i, key)
    {
        const char *tenant = aq_json_string(key, "tenant");
        if (!ctl->tenant || (tenant && strcmp(tenant, ctl->tenant) == 0)) {
            (void)json_array_append_new(rows, key_row(ctl, key, tenants, ids));
        }
    }
    return aq_ctl_rows_print(ctl, json_pack("{s:o}", "keys", rows), "keys", columns);
}
