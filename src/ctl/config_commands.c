/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl config: check. Looks for what the server cannot or will not refuse by itself: entries of the keys file
 * that are not in force, members of it that mean nothing, files that its user cannot use, limits out of reach.
 *
 * What holds at locations is looked at in config_sections.c.
 */
#include "base/aq_names.h"
#include "ctl/access.h"
#include "ctl/config_check.h"
#include "ctl/reach.h"

#include "limit/runtime_plans.h"

#include <apr_strings.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

void aq_check_found(aq_check_t *check, const char *place, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    const char *text = apr_pvsprintf(check->ctl->p, format, arguments);
    va_end(arguments);
    json_t *finding = json_pack("{s:s, s:s}", "place", place, "finding", text);
    for (size_t i = 0; i < json_array_size(check->findings); i++) {
        if (json_equal(json_array_get(check->findings, i), finding)) {
            json_decref(finding);
            return;
        }
    }
    (void)json_array_append_new(check->findings, finding);
}

/* ---- files and folders ------------------------------------------------------------------------------------------ */

static void access_check(aq_check_t *check, const char *path, int mode, const char *wanted)
{
    const json_t *user = json_object_get(check->ctl->runtime, "user");
    const json_t *uid = json_object_get(user, "uid"), *gid = json_object_get(user, "gid");
    char reason[128];

    if (!path || !json_is_integer(uid) || !json_is_integer(gid)) {
        return;
    }
    apr_status_t rv = aq_access_check(path, mode, (uid_t)json_integer_value(uid), (gid_t)json_integer_value(gid));
    if (rv == APR_ENOTIMPL) {
        (void)aq_ctl_fail(AQ_CTL_DONE, "not checked, since that takes root: whether httpd's user can %s %s", wanted,
                          path);
    } else if (rv != APR_SUCCESS) {
        aq_check_found(check, path, "httpd's user cannot %s it: %s", wanted, apr_strerror(rv, reason, sizeof(reason)));
    }
}

/* SQLite makes files beside its database, so that the folder must be writable. */
static const char *folder_of(apr_pool_t *p, const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash && slash != path ? apr_pstrmemdup(p, path, (size_t)(slash - path)) : NULL;
}

#define EXEC "exec:"

/* Programs that batches are sent to: the worker would find out with the first batch. */
static void programs_check(aq_check_t *check)
{
    json_t *locations = json_object_get(json_object_get(check->ctl->runtime, "worker"), "locations"), *location;
    const char *name;

    json_object_foreach(locations, name, location)
    {
        const char *target = aq_json_string(location, "target");
        if (target && strncmp(target, EXEC, strlen(EXEC)) == 0) {
            access_check(check, target + strlen(EXEC), X_OK, "run");
        }
    }
}

static void files_check(aq_check_t *check)
{
    const json_t *runtime = check->ctl->runtime;
    const char *queue = aq_json_string(json_object_get(runtime, "queue"), "path");
    const char *store = aq_json_string(json_object_get(runtime, "store"), "path");

    access_check(check, check->ctl->keys_link ? NULL : check->ctl->key_file, R_OK, "read");
    access_check(check, aq_json_string(runtime, "spool"), W_OK | X_OK, "write to");
    access_check(check, folder_of(check->ctl->p, queue), W_OK | X_OK, "write to");
    programs_check(check);
    if (store && access(store, F_OK) != 0) {
        aq_check_found(check, store, "there is no counter store of that name; httpd makes it when it starts");
    }
}

/* ---- keys file -------------------------------------------------------------------------------------------------- */

static int is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (strcmp(name, *names) == 0) {
            return 1;
        }
    }
    return 0;
}

/* A misspelt "expires_at" would never expire, and nothing else would tell. */
static void members_check(aq_check_t *check, const char *place, json_t *entry, const char *const *known)
{
    const char *name;
    json_t *value;

    json_object_foreach(entry, name, value)
    {
        if (!is_one_of(name, known)) {
            aq_check_found(check, place, "the member \"%s\" means nothing (\"comment\" may hold what you like)", name);
        }
    }
}

static void key_file_members_check(aq_check_t *check, json_t *file)
{
    static const char *const of_tenant[] = {"plan", "limits", "max_keys", "webhook", "billing_day", "comment", NULL};
    static const char *const of_key[] = {"id",         "sha256",   "tenant",    "scopes",  "limits",
                                         "expires_at", "disabled", "counts_as", "comment", NULL};
    static const char *const of_file[] = {"tenants", "keys", "comment", NULL};
    const char *name;
    json_t *entry;
    size_t i;

    members_check(check, check->ctl->keys_place->name, file, of_file);
    json_object_foreach(json_object_get(file, "tenants"), name, entry)
    {
        members_check(check, apr_pstrcat(check->ctl->p, "tenants.", name, NULL), entry, of_tenant);
    }
    json_array_foreach(json_object_get(file, "keys"), i, entry)
    {
        members_check(check, apr_psprintf(check->ctl->p, "keys[%d]", (int)i), entry, of_key);
    }
}

static void refusals_check(aq_check_t *check, const aq_keys_report_t *report)
{
    for (int i = 0; i < report->refusals->nelts; i++) {
        const char *refusal = APR_ARRAY_IDX(report->refusals, i, const char *), *colon = strstr(refusal, ": ");
        aq_check_found(check, apr_pstrmemdup(check->ctl->p, refusal, colon ? (size_t)(colon - refusal) : 0),
                       "refused: %s", colon ? colon + 2 : refusal);
    }
    if (report->refused > (unsigned)report->refusals->nelts) {
        aq_check_found(check, check->ctl->keys_place->name, "%u entries more are refused",
                       report->refused - (unsigned)report->refusals->nelts);
    }
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

static void limits_check(aq_check_t *check, const char *place, const apr_array_header_t *limits)
{
    for (int i = 0; i < limits->nelts; i++) {
        for (int j = 0; j < limits->nelts; j++) {
            const aq_limit_t *limit = APR_ARRAY_IDX(limits, i, const aq_limit_t *);
            const aq_limit_t *other = APR_ARRAY_IDX(limits, j, const aq_limit_t *);
            /* Of two that hide each other, the first is the one that counts. */
            if (i != j && aq_reach_is_hidden(limit, other) && !(i < j && aq_reach_is_hidden(other, limit))) {
                aq_check_found(check, place, "the limit \"%s\" (%s) can never be reached beside \"%s\" (%s)",
                               limit->name, aq_rate_text(check->ctl->p, &limit->rate), other->name,
                               aq_rate_text(check->ctl->p, &other->rate));
            }
        }
    }
}

static void plans_check(aq_check_t *check, apr_hash_t *plans)
{
    const apr_array_header_t *names = aq_names_sorted(check->ctl->p, plans);

    for (int i = 0; i < names->nelts; i++) {
        const aq_plan_t *plan = apr_hash_get(plans, APR_ARRAY_IDX(names, i, const char *), APR_HASH_KEY_STRING);
        const char *place = apr_pstrcat(check->ctl->p, "plan ", plan->name, NULL);
        if (plan->limits->nelts == 0) {
            aq_check_found(check, place, "has no limits: its keys may do as much as they like");
        }
        limits_check(check, place, plan->limits);
    }
}

/* Overrides make limits of their own: those of a tenant are shared by its keys, and looked at once. */
static void overrides_check(aq_check_t *check, const aq_key_set_t *set, apr_hash_t *plans)
{
    const apr_array_header_t *principals = aq_key_set_list(set, check->ctl->p);
    apr_hash_t *seen = apr_hash_make(check->ctl->p);

    for (int i = 0; i < principals->nelts; i++) {
        const aq_principal_t *principal = APR_ARRAY_IDX(principals, i, const aq_principal_t *);
        const aq_plan_t *plan = apr_hash_get(plans, principal->plan, APR_HASH_KEY_STRING);
        const char *limits = apr_psprintf(check->ctl->p, "%pp", (void *)principal->limits);
        if (principal->limits != plan->limits && !apr_hash_get(seen, limits, APR_HASH_KEY_STRING)) {
            apr_hash_set(seen, limits, APR_HASH_KEY_STRING, principal);
            limits_check(check,
                         apr_psprintf(check->ctl->p, "tenants.%s (key %s)", principal->tenant, principal->key_id),
                         principal->limits);
        }
    }
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

static aq_ctl_exit_t all_check(aq_check_t *check)
{
    static const aq_hash_secret_t no_secret = {{0}}; /* nothing is counted here */
    const aq_key_set_t *set;
    aq_keys_report_t report;
    apr_hash_t *plans;
    json_t *file;

    aq_ctl_exit_t code = aq_ctl_plans_load(check->ctl, &no_secret, &plans);
    if (code != AQ_CTL_DONE) {
        return code;
    }
    plans_check(check, plans);
    code = aq_ctl_keys_read(check->ctl, &file);
    if (code == AQ_CTL_DONE) {
        code = aq_ctl_keys_load(check->ctl, plans, &no_secret, &set, &report);
    }
    if (code != AQ_CTL_DONE) {
        return code;
    }
    key_file_members_check(check, file);
    refusals_check(check, &report);
    overrides_check(check, set, plans);
    files_check(check);
    return aq_check_sections(check, plans, aq_key_set_count(set));
}

aq_ctl_exit_t aq_ctl_config_check(aq_ctl_t *ctl)
{
    static const aq_ctl_column_t columns[] = {{"PLACE", "place"}, {"FINDING", "finding"}, {.heading = NULL}};
    aq_check_t check = {.ctl = ctl, .findings = json_array()};
    aq_ctl_exit_t code = all_check(&check);
    int is_clean = json_array_size(check.findings) == 0;

    if (code != AQ_CTL_DONE) {
        json_decref(check.findings);
        return code;
    }
    json_t *answer = json_pack("{s:o}", "findings", check.findings);
    code = is_clean ? aq_ctl_answer_print(ctl, answer, "Nothing found.")
                    : aq_ctl_rows_print(ctl, answer, "findings", columns);
    return is_clean ? code : AQ_CTL_REFUSED;
}
