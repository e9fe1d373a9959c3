/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tenant's webhook: where its messages go, and what they are signed with. From the keys file:
 *
 *   "webhook": { "url": "https://hooks.example.com/apiquota", "secret": "whsec_…" }
 *   "webhook": { "url": …, "secret": ["whsec_NEW", {"secret": "whsec_OLD", "expires_at": "2026-12-01T00:00:00Z"}] }
 *
 * A secret is "whsec_" and the base64 of 24 to 64 bytes (Standard Webhooks 1.0). With several each message has a signature
 * by each, so that a receiver may change to the new one when it likes; the first has no end.
 *
 * Whether the address may be sent to is judged when it is connected to, not here.
 */
#ifndef AQ_TENANT_WEBHOOK_H
#define AQ_TENANT_WEBHOOK_H

#include "base/aq_clock.h"
#include "base/aq_json.h"

#include <apr_hash.h>

#define AQ_WEBHOOK_SECRET_PREFIX "whsec_"
#define AQ_WEBHOOK_SECRET_BYTES_MIN 24
#define AQ_WEBHOOK_SECRET_BYTES_MAX 64
#define AQ_WEBHOOK_SECRETS_MAX 4
#define AQ_WEBHOOK_URL_MAX 2048

/* What is made: 32 random bytes. The prefix, their base64, zero. */
#define AQ_WEBHOOK_SECRET_MADE_BYTES 32
#define AQ_WEBHOOK_SECRET_TEXT_SIZE (6 + 44 + 1)

typedef struct {
    unsigned char bytes[AQ_WEBHOOK_SECRET_BYTES_MAX];
    size_t size;
    aq_time_ms_t expires_at_ms; /* 0: never */
} aq_webhook_secret_t;

typedef struct {
    const char *url;
    int is_https;
    aq_webhook_secret_t secrets[AQ_WEBHOOK_SECRETS_MAX]; /* the newest first */
    unsigned secret_count;                               /* one at least */
} aq_tenant_webhook_t;

/*
 * NULL for a URL that may be a webhook's: http or https, a host, no user, no password, no fragment, visible ASCII, at most
 * AQ_WEBHOOK_URL_MAX characters. Else a sentence in `p` about it.
 */
const char *aq_tenant_webhook_url_check(apr_pool_t *p, const char *url);

/*
 * Parses the member "webhook" of a tenant into `p`. APR_EGENERAL and a sentence in `p` at `*error`, which never holds a
 * secret, for what breaks a rule.
 */
apr_status_t aq_tenant_webhook_parse(apr_pool_t *p, const json_t *json, aq_tenant_webhook_t **webhook,
                                     const char **error);

/*
 * The webhooks of a keys file: `*webhooks`, in `p`, name of the tenant -> aq_tenant_webhook_t *. Those that break a rule
 * are left out (the key set, which is made of the same file, tells of them). On failure a sentence at `*error`.
 */
apr_status_t aq_tenant_webhooks_load(apr_pool_t *p, const char *path, apr_hash_t **webhooks, const char **error);

/* A new secret. */
apr_status_t aq_tenant_webhook_secret_make(char text[AQ_WEBHOOK_SECRET_TEXT_SIZE]);

#endif
