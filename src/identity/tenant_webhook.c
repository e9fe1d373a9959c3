/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a tenant's webhook.
 */
#include "identity/tenant_webhook.h"

#include "base/aq_hash.h"

#include <apr_cstr.h>
#include <apr_encode.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <string.h>

#define SECRET_PREFIX_LENGTH (sizeof AQ_WEBHOOK_SECRET_PREFIX - 1)
#define SECRET_BASE64_MAX 88 /* of AQ_WEBHOOK_SECRET_BYTES_MAX bytes */
#define SECRET_FORM                                                                                                    \
    "is no \"" AQ_WEBHOOK_SECRET_PREFIX "\" and the base64 of 24 to 64 bytes; apiquotactl webhook rotate makes one"

/* ---- URL -------------------------------------------------------------------------------------------------------- */

static int is_visible_ascii(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~') {
            return 0;
        }
    }
    return 1;
}

static int is_https(const apr_uri_t *uri)
{
    return uri->scheme != NULL && apr_cstr_casecmp(uri->scheme, "https") == 0;
}

/* apr_uri keeps the last 16 bits of a port, whatever was written. */
static int is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    apr_int64_t port = apr_atoi64(text);

    return digits > 0 && digits <= 5 && text[digits] == '\0' && port >= 1 && port <= 65535;
}

/* Parses what is wholly sound; NULL or what is wrong with it. */
static const char *url_parse(apr_pool_t *p, const char *url, apr_uri_t *uri)
{
    if (strlen(url) > AQ_WEBHOOK_URL_MAX || !is_visible_ascii(url)) {
        return apr_psprintf(p, "is longer than %d characters, or not of visible ASCII", AQ_WEBHOOK_URL_MAX);
    }
    if (apr_uri_parse(p, url, uri) != APR_SUCCESS || uri->scheme == NULL ||
        (!is_https(uri) && apr_cstr_casecmp(uri->scheme, "http") != 0)) {
        return "is no URL https://HOST[:PORT]/PATH";
    }
    if (uri->hostname == NULL || uri->hostname[0] == '\0' || (uri->port_str != NULL && !is_port(uri->port_str))) {
        return "names no host, or a port that is none";
    }
    return uri->user != NULL || uri->password != NULL || uri->fragment != NULL || strchr(uri->hostinfo, '@') != NULL
               ? "has a user, a password or a fragment"
               : NULL;
}

const char *aq_tenant_webhook_url_check(apr_pool_t *p, const char *url)
{
    apr_uri_t uri = {.scheme = NULL};
    const char *wrong = url_parse(p, url, &uri);

    return wrong != NULL ? apr_pstrcat(p, "its URL ", wrong, NULL) : NULL;
}

/* ---- secrets ---------------------------------------------------------------------------------------------------- */

/* 0 where it is no secret. Base64 is read back, so that each secret has one spelling. */
static int secret_parse(const char *text, aq_webhook_secret_t *secret)
{
    const char *base64 = text + SECRET_PREFIX_LENGTH;
    char again[SECRET_BASE64_MAX + 1];
    apr_size_t size = 0;

    if (strncmp(text, AQ_WEBHOOK_SECRET_PREFIX, SECRET_PREFIX_LENGTH) != 0 || strlen(base64) > SECRET_BASE64_MAX ||
        apr_decode_base64_binary(NULL, base64, APR_ENCODE_STRING, APR_ENCODE_NONE, &size) != APR_SUCCESS ||
        size < AQ_WEBHOOK_SECRET_BYTES_MIN || size > AQ_WEBHOOK_SECRET_BYTES_MAX ||
        apr_decode_base64_binary(secret->bytes, base64, APR_ENCODE_STRING, APR_ENCODE_NONE, &size) != APR_SUCCESS ||
        apr_encode_base64_binary(again, secret->bytes, (apr_ssize_t)size, APR_ENCODE_NONE, NULL) != APR_SUCCESS) {
        return 0;
    }
    secret->size = size;
    return strcmp(again, base64) == 0;
}

/* "whsec_…", or an object with an end. NULL, or what is wrong with it. */
static const char *secret_read(const json_t *json, aq_webhook_secret_t *secret)
{
    const char *text = json_is_object(json) ? aq_json_string(json, "secret") : json_string_value(json);
    const json_t *expires = json_object_get(json, "expires_at");

    if (text == NULL || !secret_parse(text, secret)) {
        return SECRET_FORM;
    }
    if (expires != NULL && (!json_is_string(expires) ||
                            aq_clock_rfc3339_parse(json_string_value(expires), &secret->expires_at_ms) != APR_SUCCESS ||
                            secret->expires_at_ms <= 0)) {
        return "has an \"expires_at\" that is no time like \"2027-01-01T00:00:00Z\"";
    }
    return NULL;
}

static const char *secrets_read(apr_pool_t *p, const json_t *json, aq_tenant_webhook_t *webhook)
{
    size_t count = json_is_array(json) ? json_array_size(json) : 1;

    if (count < 1 || count > AQ_WEBHOOK_SECRETS_MAX) {
        return apr_psprintf(p, "\"secret\" is no secret and no array of 1 to %d secrets", AQ_WEBHOOK_SECRETS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(json) ? json_array_get(json, i) : json;
        const char *wrong = secret_read(item, &webhook->secrets[i]);
        if (wrong != NULL) {
            return apr_psprintf(p, "secret %d %s", (int)i + 1, wrong);
        }
    }
    webhook->secret_count = (unsigned)count;
    return webhook->secrets[0].expires_at_ms == 0 ? NULL : "the first secret has an end: nothing would sign after it";
}

apr_status_t aq_tenant_webhook_secret_make(char text[AQ_WEBHOOK_SECRET_TEXT_SIZE])
{
    unsigned char bytes[AQ_WEBHOOK_SECRET_MADE_BYTES];

    memcpy(text, AQ_WEBHOOK_SECRET_PREFIX, SECRET_PREFIX_LENGTH + 1);
    apr_status_t rv = aq_hash_random(bytes, sizeof bytes);
    return rv == APR_SUCCESS
               ? apr_encode_base64_binary(text + SECRET_PREFIX_LENGTH, bytes, sizeof bytes, APR_ENCODE_NONE, NULL)
               : rv;
}

/* ---- the webhook ------------------------------------------------------------------------------------------------ */

apr_status_t aq_tenant_webhook_parse(apr_pool_t *p, const json_t *json, aq_tenant_webhook_t **webhook,
                                     const char **error)
{
    aq_tenant_webhook_t *parsed = apr_pcalloc(p, sizeof(*parsed));
    const char *url = aq_json_string(json, "url");
    apr_uri_t uri = {.scheme = NULL};

    *webhook = NULL;
    *error = "a webhook is an object with a \"url\" and a \"secret\"";
    if (url == NULL || json_object_get(json, "secret") == NULL) {
        return APR_EGENERAL;
    }
    const char *wrong = url_parse(p, url, &uri);
    *error = wrong != NULL ? apr_pstrcat(p, "its URL ", wrong, NULL)
                           : secrets_read(p, json_object_get(json, "secret"), parsed);
    if (*error != NULL) {
        return APR_EGENERAL;
    }
    parsed->url = apr_pstrdup(p, url);
    parsed->is_https = is_https(&uri);
    *webhook = parsed;
    return APR_SUCCESS;
}

apr_status_t aq_tenant_webhooks_load(apr_pool_t *p, const char *path, apr_hash_t **webhooks, const char **error)
{
    json_t *file, *tenant;
    const char *name, *reason;

    *webhooks = apr_hash_make(p);
    apr_status_t rv = aq_json_file_load(p, path, AQ_JSON_FILE_MAX_BYTES, &file, error);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    json_object_foreach(json_object_get(file, "tenants"), name, tenant)
    {
        const json_t *member = json_object_get(tenant, "webhook");
        aq_tenant_webhook_t *webhook;
        if (member != NULL && aq_tenant_webhook_parse(p, member, &webhook, &reason) == APR_SUCCESS) {
            apr_hash_set(*webhooks, apr_pstrdup(p, name), APR_HASH_KEY_STRING, webhook);
        }
    }
    json_decref(file);
    return APR_SUCCESS;
}
