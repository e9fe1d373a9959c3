/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Editing keys: create and revoke keys, set a tenant's plan and webhook. Used by apiquotactl.
 *
 * Every edit is made in a place (keyedit_place.h): it waits for its turn, up to five seconds, loads all, changes, and writes
 * all or nothing. Members of the JSON that we do not know are kept. Each function sets `*error` to a sentence in `p` on
 * failure, else to NULL. Not for threads of one process at the same time.
 */
#ifndef AQ_KEYEDIT_H
#define AQ_KEYEDIT_H

#include "identity/keyedit_place.h"
#include "identity/keyfile.h"
#include "identity/tenant_webhook.h"

typedef struct {
    const char *id; /* NULL: a new one, "k_" and 12 hex digits */
    const char *tenant;
    const char *const *scopes;
    unsigned scope_count;
    aq_time_ms_t expires_at_ms; /* 0: never */
} aq_key_spec_t;

/*
 * Makes a key: `text` receives it, the only time it is seen. Refuses (APR_EGENERAL and `*error` in `p`) an unknown
 * tenant, an id that exists, too many keys or scopes; another status where the file cannot be read or written. `text`
 * is then empty. `*id` in `p`.
 */
apr_status_t aq_keyedit_key_create(apr_pool_t *p, const aq_keyedit_place_t *place, const aq_key_spec_t *spec,
                                   char text[AQ_KEY_TEXT_SIZE], const char **id, const char **error);

/* Removes the key of that id. APR_NOTFOUND where there is none. */
apr_status_t aq_keyedit_key_revoke(apr_pool_t *p, const aq_keyedit_place_t *place, const char *id, const char **error);

/*
 * Makes a key in place of the one of that id: same tenant, scopes, overrides and end, and the same counters (the member
 * "counts_as"), so that a rotation refills nothing. The old one is valid until `retires_at_ms` at most; 0 removes it at
 * once. `text` and `*new_id` as from aq_keyedit_key_create. APR_NOTFOUND where there is no such key; APR_EGENERAL where it
 * is disabled, or the tenant has no room for a second one meanwhile.
 */
apr_status_t aq_keyedit_key_rotate(apr_pool_t *p, const aq_keyedit_place_t *place, const char *id,
                                   aq_time_ms_t retires_at_ms, char text[AQ_KEY_TEXT_SIZE], const char **new_id,
                                   const char **error);

/*
 * Creates or changes a tenant. `plan` NULL leaves it. `limits` (name -> rate text, "" removes one; may be NULL) are
 * checked with aq_limit_parse. A new tenant needs a plan, which is not looked up. Creates the place where there is none (a
 * file with mode 0640).
 */
apr_status_t aq_keyedit_tenant_set(apr_pool_t *p, const aq_keyedit_place_t *place, const char *tenant, const char *plan,
                                   apr_hash_t *limits, const char **error);

/*
 * Sets where a tenant's messages go; "" takes its webhook away. Where it has none yet, `secret` receives a new secret, the
 * only time it is seen; else it is empty. APR_NOTFOUND where there is no such tenant, APR_EGENERAL for a URL that is none.
 */
apr_status_t aq_keyedit_webhook_set(apr_pool_t *p, const aq_keyedit_place_t *place, const char *tenant, const char *url,
                                    char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE], const char **error);

/*
 * Makes a secret, which `secret` receives, and puts it before the old ones; they sign until `retires_at_ms` at most, those
 * whose time is over by `now_ms` go. APR_NOTFOUND where there is no such tenant, or none with a webhook.
 */
apr_status_t aq_keyedit_webhook_rotate(apr_pool_t *p, const aq_keyedit_place_t *place, const char *tenant,
                                       aq_time_ms_t now_ms, aq_time_ms_t retires_at_ms,
                                       char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE], const char **error);

/*
 * Takes over tenants and keys of `document`, in the form of a keys file: those that the place has too (keys by their hash)
 * are replaced by it, the others stay. `*tenants` and `*keys` say how many were taken. APR_EGENERAL where a key has the id
 * of another one that stays.
 */
apr_status_t aq_keyedit_import(apr_pool_t *p, const aq_keyedit_place_t *place, const json_t *document,
                               unsigned *tenants, unsigned *keys, const char **error);

#endif
