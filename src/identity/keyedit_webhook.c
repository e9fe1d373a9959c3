/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Editing tenants' webhooks.
 */
#include "identity/keyedit.h"

#include "identity/keyedit_private.h"

#include <apr_strings.h>
#include <string.h>

/* The tenant of that name, or NULL after a failure. */
static json_t *tenant_find(aq_keyedit_t *edit, const char *name)
{
    json_t *tenant = json_object_get(edit->tenants, name);

    if (!json_is_object(tenant)) {
        (void)aq_keyedit_fail(edit, APR_NOTFOUND, "the tenant \"%s\" is unknown", name);
        return NULL;
    }
    return tenant;
}

static apr_status_t secret_make(aq_keyedit_t *edit, char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE])
{
    apr_status_t rv = aq_tenant_webhook_secret_make(secret);

    return rv == APR_SUCCESS ? rv : aq_keyedit_fail_system(edit, rv, "a new secret");
}

/* What was made must be what the server takes; whoever wrote the rest of the webhook by hand is told what is wrong. */
static apr_status_t webhook_check(aq_keyedit_t *edit, const json_t *webhook)
{
    aq_tenant_webhook_t *parsed;
    const char *reason;

    return aq_tenant_webhook_parse(edit->p, webhook, &parsed, &reason) == APR_SUCCESS
               ? APR_SUCCESS
               : aq_keyedit_fail(edit, APR_EGENERAL, "the tenant's webhook: %s", reason);
}

static apr_status_t webhook_change(aq_keyedit_t *edit, const char *name, const char *url,
                                   char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE])
{
    json_t *tenant = tenant_find(edit, name);
    apr_status_t rv = APR_SUCCESS;

    if (!tenant) {
        return APR_NOTFOUND;
    }
    if (url[0] == '\0') {
        (void)json_object_del(tenant, "webhook"); /* removing what is not there is done already */
        return APR_SUCCESS;
    }
    json_t *webhook = aq_keyedit_member(tenant, "webhook", JSON_OBJECT);
    if (!webhook) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the tenant's \"webhook\" is no object");
    }
    if (!json_object_get(webhook, "secret")) {
        rv = secret_make(edit, secret);
    }
    if (rv == APR_SUCCESS && (json_object_set_new(webhook, "url", json_string(url)) != 0 ||
                              (secret[0] && json_object_set_new(webhook, "secret", json_string(secret)) != 0))) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "the URL is no UTF-8");
    }
    return rv == APR_SUCCESS ? webhook_check(edit, webhook) : rv;
}

apr_status_t aq_keyedit_webhook_set(apr_pool_t *p, const aq_keyedit_place_t *place, const char *tenant, const char *url,
                                    char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE], const char **error)
{
    aq_keyedit_t edit;

    memset(secret, 0, AQ_WEBHOOK_SECRET_TEXT_SIZE);
    apr_status_t rv = aq_keyedit_begin(&edit, p, place, 0, error);
    if (rv == APR_SUCCESS) {
        rv = webhook_change(&edit, tenant, url, secret);
    }
    rv = aq_keyedit_end(&edit, rv);
    if (rv != APR_SUCCESS) {
        memset(secret, 0, AQ_WEBHOOK_SECRET_TEXT_SIZE); /* a secret that is in no file must not be handed out */
    }
    return rv;
}

/* The end that an old secret has already, 0: none. */
static aq_time_ms_t end_of(const json_t *old)
{
    const char *text = aq_json_string(old, "expires_at");
    aq_time_ms_t end_ms = 0;

    return text && aq_clock_rfc3339_parse(text, &end_ms) == APR_SUCCESS ? end_ms : 0;
}

/* Adds an old secret to those that stay for a while, unless its time is over. */
static apr_status_t secret_retire(json_t *secrets, json_t *old, aq_time_ms_t now_ms, aq_time_ms_t retires_at_ms)
{
    json_t *text = json_is_object(old) ? json_object_get(old, "secret") : old;
    aq_time_ms_t end_ms = end_of(old);

    if (end_ms == 0 || end_ms > retires_at_ms) {
        end_ms = retires_at_ms;
    }
    if (end_ms <= now_ms) {
        return APR_SUCCESS;
    }
    return json_array_append_new(secrets,
                                 json_pack("{s:O, s:o}", "secret", text, "expires_at", aq_json_time(end_ms))) == 0
               ? APR_SUCCESS
               : APR_ENOMEM;
}

/* The new secret, and the old ones behind it. A new reference, NULL where memory ran out. */
static json_t *secrets_make(const char *secret, json_t *old, aq_time_ms_t now_ms, aq_time_ms_t retires_at_ms)
{
    json_t *secrets = json_pack("[s]", secret);
    size_t count = json_is_array(old) ? json_array_size(old) : 1;

    for (size_t i = 0; secrets && i < count; i++) {
        json_t *item = json_is_array(old) ? json_array_get(old, i) : old;
        if (secret_retire(secrets, item, now_ms, retires_at_ms) != APR_SUCCESS) {
            json_decref(secrets);
            return NULL;
        }
    }
    return secrets;
}

static apr_status_t webhook_rotate(aq_keyedit_t *edit, const char *name, aq_time_ms_t now_ms,
                                   aq_time_ms_t retires_at_ms, char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE])
{
    json_t *tenant = tenant_find(edit, name);
    json_t *webhook = json_object_get(tenant, "webhook");

    if (!tenant) {
        return APR_NOTFOUND;
    }
    if (!json_is_object(webhook)) {
        return aq_keyedit_fail(edit, APR_NOTFOUND, "the tenant \"%s\" has no webhook", name);
    }
    apr_status_t rv = webhook_check(edit, webhook);
    if (rv == APR_SUCCESS) {
        rv = secret_make(edit, secret);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    json_t *secrets = secrets_make(secret, json_object_get(webhook, "secret"), now_ms, retires_at_ms);
    if (json_array_size(secrets) > AQ_WEBHOOK_SECRETS_MAX) {
        json_decref(secrets);
        return aq_keyedit_fail(edit, APR_EGENERAL, "%d secrets are valid already, as many as may be: use --overlap 0",
                               AQ_WEBHOOK_SECRETS_MAX);
    }
    return json_object_set_new(webhook, "secret", secrets) == 0
               ? APR_SUCCESS
               : aq_keyedit_fail_system(edit, APR_ENOMEM, edit->place->name);
}

apr_status_t aq_keyedit_webhook_rotate(apr_pool_t *p, const aq_keyedit_place_t *place, const char *tenant,
                                       aq_time_ms_t now_ms, aq_time_ms_t retires_at_ms,
                                       char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE], const char **error)
{
    aq_keyedit_t edit;

    memset(secret, 0, AQ_WEBHOOK_SECRET_TEXT_SIZE);
    apr_status_t rv = aq_keyedit_begin(&edit, p, place, 0, error);
    if (rv == APR_SUCCESS) {
        rv = webhook_rotate(&edit, tenant, now_ms, retires_at_ms, secret);
    }
    rv = aq_keyedit_end(&edit, rv);
    if (rv != APR_SUCCESS) {
        memset(secret, 0, AQ_WEBHOOK_SECRET_TEXT_SIZE); /* as above */
    }
    return rv;
}
