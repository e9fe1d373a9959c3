/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl tenant: set and show.
 */
#include "ctl/ctl.h"

#include "identity/keyedit.h"

#include <apr_strings.h>
#include <string.h>

/* --limit NAME=RATE … as a hash for aq_keyedit_tenant_set. */
static aq_ctl_exit_t limits_parse(const aq_ctl_t *ctl, apr_hash_t **limits)
{
    *limits = apr_hash_make(ctl->p);
    for (int i = 0; i < ctl->limits->nelts; i++) {
        const char *text = APR_ARRAY_IDX(ctl->limits, i, const char *), *equals = strchr(text, '=');
        if (!equals || equals == text) {
            return aq_ctl_fail(AQ_CTL_USAGE, "--limit %s: is not LIMIT=RATE, as in day=20000/day", text);
        }
        apr_hash_set(*limits, apr_pstrmemdup(ctl->p, text, (size_t)(equals - text)), APR_HASH_KEY_STRING, equals + 1);
    }
    return AQ_CTL_DONE;
}

/* Before anything is written: an edit of the plan must not go through where that of the webhook cannot. */
static aq_ctl_exit_t webhook_check(const aq_ctl_t *ctl)
{
    const char *wrong = ctl->webhook && ctl->webhook[0] ? aq_tenant_webhook_url_check(ctl->p, ctl->webhook) : NULL;

    return wrong ? aq_ctl_fail(AQ_CTL_USAGE, "--webhook %s: %s", ctl->webhook, wrong) : AQ_CTL_DONE;
}

/* What was done, with the secret that was made for a new webhook. */
static aq_ctl_exit_t set_print(const aq_ctl_t *ctl, const char *secret)
{
    const char *done = apr_pstrcat(ctl->p, "Set tenant ", ctl->argument, ".", NULL);

    if (!secret[0]) {
        return aq_ctl_answer_print(ctl, json_pack("{s:s}", "tenant", ctl->argument), done);
    }
    return aq_ctl_answer_print(
        ctl, json_pack("{s:s, s:s}", "tenant", ctl->argument, "webhook_secret", secret),
        apr_pstrcat(ctl->p, done, "\nThe secret of its webhook, shown this once:\n\n    ", secret, "\n", NULL));
}

static const char *plan_names(apr_pool_t *p, json_t *plans)
{
    const char *name, *names = "";
    json_t *plan;

    json_object_foreach(plans, name, plan)
    {
        names = apr_pstrcat(p, names, names[0] ? ", " : "", name, NULL);
    }
    return names[0] ? names : "none";
}

/* A tenant of an unknown plan would be refused by the server, with all its keys: where we can know, we say so first. */
static aq_ctl_exit_t plan_check(aq_ctl_t *ctl)
{
    if (!ctl->plan || aq_ctl_runtime_load(ctl, 1) != AQ_CTL_DONE ||
        json_object_get(json_object_get(ctl->runtime, "plans"), ctl->plan)) {
        return AQ_CTL_DONE;
    }
    return aq_ctl_fail(AQ_CTL_REFUSED, "the plan \"%s\" is unknown to the server; it knows: %s", ctl->plan,
                       plan_names(ctl->p, json_object_get(ctl->runtime, "plans")));
}

aq_ctl_exit_t aq_ctl_tenant_set(aq_ctl_t *ctl)
{
    char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE] = "";
    const char *error;
    apr_hash_t *limits;

    if (!ctl->plan && ctl->limits->nelts == 0 && !ctl->webhook) {
        return aq_ctl_fail(AQ_CTL_USAGE, "nothing to set: give --plan PLAN, --limit LIMIT=RATE or --webhook URL");
    }
    aq_ctl_exit_t code = limits_parse(ctl, &limits);
    if (code == AQ_CTL_DONE && (code = webhook_check(ctl)) == AQ_CTL_DONE) {
        code = plan_check(ctl);
    }
    if (code == AQ_CTL_DONE) {
        code = aq_ctl_keys_find(ctl);
    }
    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (((ctl->plan || ctl->limits->nelts > 0) &&
         aq_keyedit_tenant_set(ctl->p, ctl->keys_place, ctl->argument, ctl->plan, limits, &error) != APR_SUCCESS) ||
        (ctl->webhook &&
         aq_keyedit_webhook_set(ctl->p, ctl->keys_place, ctl->argument, ctl->webhook, secret, &error) != APR_SUCCESS)) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    return set_print(ctl, secret);
}

static json_t *limits_text(const json_t *tenant)
{
    json_t *limits = json_object_get(tenant, "limits"), *rate, *texts = json_array();
    const char *name;

    json_object_foreach(limits, name, rate)
    {
        const char *text = json_string_value(rate);
        (void)json_array_append_new(texts, json_sprintf("%s=%s", name, text ? text : "?"));
    }
    return texts;
}

/* What of a tenant is shown: of its webhook the URL, never a secret. */
static json_t *tenant_row(const char *name, const json_t *tenant, const json_t *keys)
{
    json_t *max_keys = json_object_get(tenant, "max_keys");
    const json_t *key;
    json_int_t count = 0;
    size_t i;

    json_array_foreach(keys, i, key)
    {
        const char *of = aq_json_string(key, "tenant");
        count += of && strcmp(of, name) == 0;
    }
    return json_pack("{s:s, s:s?, s:I, s:o, s:o, s:s*}", "tenant", name, "plan", aq_json_string(tenant, "plan"), "keys",
                     count, "max_keys", max_keys ? json_incref(max_keys) : json_integer(AQ_KEYS_PER_TENANT_DEFAULT),
                     "limits", limits_text(tenant), "webhook",
                     aq_json_string(json_object_get(tenant, "webhook"), "url"));
}

aq_ctl_exit_t aq_ctl_tenant_show(aq_ctl_t *ctl)
{
    static const aq_ctl_column_t columns[] = {{"TENANT", "tenant"}, {"PLAN", "plan"},     {"KEYS", "keys"},
                                              {"MAX", "max_keys"},  {"LIMITS", "limits"}, {"WEBHOOK", "webhook"},
                                              {.heading = NULL}};
    json_t *file, *tenant, *rows;
    const char *name;

    aq_ctl_exit_t code = aq_ctl_keys_read(ctl, &file);
    if (code != AQ_CTL_DONE) {
        return code;
    }
    json_t *tenants = json_object_get(file, "tenants");
    if (ctl->argument && !json_object_get(tenants, ctl->argument)) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "the tenant \"%s\" is unknown", ctl->argument);
    }
    rows = json_array();
    json_object_foreach(tenants, name, tenant)
    {
        if (!ctl->argument || strcmp(name, ctl->argument) == 0) {
            (void)json_array_append_new(rows, tenant_row(name, tenant, json_object_get(file, "keys")));
        }
    }
    return aq_ctl_rows_print(ctl, json_pack("{s:o}", "tenants", rows), "tenants", columns);
}
