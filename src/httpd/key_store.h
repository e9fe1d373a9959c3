/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what APIQuotaKeyStore names: keys that live in Redis in place of a file. */
#ifndef AQ_KEY_STORE_H
#define AQ_KEY_STORE_H

#include "base/aq_json.h"
#include "httpd/config.h"

/* What the directive alone cannot know. 1, or 0 with a line in the log. Has no effect. */
int aq_key_store_check(const aq_server_config_t *server);

/* Opens it, in the parent, once the counter store is open; nothing is asked yet. 1, or 0 with a line in the log. */
int aq_key_store_open(const aq_server_config_t *server, apr_pool_t *pconf);

/*
 * All tenants and keys, in the form of a keys file: a new reference at `*document`. In the parent, which keeps no connection.
 * On failure a sentence in `ptemp` at `*error`.
 */
apr_status_t aq_key_store_read(const aq_server_config_t *server, apr_pool_t *ptemp, json_t **document,
                               const char **error);

/* What apiquotactl must know of it; no password. A new reference, or NULL. */
json_t *aq_key_store_json(const aq_server_config_t *server, apr_pool_t *ptemp);

/* A callback of mod_watchdog with the aq_runtime_t, every AQ_STORE_TEND_MS, where keys have a Redis of their own. */
apr_status_t aq_key_store_tend(int state, void *runtime, apr_pool_t *pool);

#endif
