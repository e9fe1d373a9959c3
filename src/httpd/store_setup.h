/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what APIQuotaStore names: shared memory, Redis, or Redis with shared memory to fall back on. */
#ifndef AQ_STORE_SETUP_H
#define AQ_STORE_SETUP_H

#include "base/aq_json.h"
#include "httpd/config.h"

/*
 * Opens the store and sets server->runtime->store, in the parent. `is_first`: no generation of the server uses the counter
 * file yet. 1, or 0 with a line in the log.
 */
int aq_store_setup(aq_server_config_t *server, apr_pool_t *pconf, int is_first);

/* What apiquotactl must know of it; no password. A new reference, or NULL. */
json_t *aq_store_json(const aq_server_config_t *server, apr_pool_t *ptemp);

/* The same of a Redis. */
json_t *aq_redis_json(const aq_redis_address_t *address, apr_pool_t *ptemp);

/* How often aq_store_tend is to be called. */
#define AQ_STORE_TEND_MS 100

/* A callback of mod_watchdog with the aq_runtime_t: keeps the connection to Redis in order. */
apr_status_t aq_store_tend(int state, void *runtime, apr_pool_t *pool);

/* A hook of children that end: what this machine holds of limits in advance is given back. */
void aq_store_child_stopping(apr_pool_t *pchild, int is_graceful);

#endif
