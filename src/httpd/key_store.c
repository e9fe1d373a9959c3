/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that live in Redis. See key_store.h. */
#include "httpd/key_store.h"

#include "base/aq_log.h"
#include "httpd/store_setup.h"
#include "store/redis_counters.h"
#include "store/redis_keys.h"
#include "store/redis_keys_edit.h"

#include <apr_strings.h>
#include <mod_watchdog.h>

#define RECORDS_FILE "/keys.records"
/* No request waits at a start. */
#define READ_BUDGET_MS 2000

int aq_key_store_check(const aq_server_config_t *server)
{
    if (server->key_store && !server->key_store->address && !server->redis) {
        AQ_LOG(AQ_LOG_CRIT, 1631, 0,
               "APIQuotaKeyStore redis: APIQuotaStore names no Redis; name one here, as in redis://127.0.0.1");
        return 0;
    }
    return 1;
}

/* The link of the counters, or one of its own. */
static apr_status_t link_find(const aq_server_config_t *server, apr_pool_t *pconf, aq_redis_link_t **link,
                              const char **error)
{
    aq_redis_address_t *address = server->key_store->address;
    apr_status_t rv;

    if (!address) {
        *link = aq_redis_counters_link(server->runtime->redis);
        return APR_SUCCESS;
    }
    rv = aq_redis_address_complete(pconf, address, error);
    if (rv == APR_SUCCESS) {
        rv = aq_redis_link_open(pconf, address, link, error);
    }
    server->runtime->key_link = rv == APR_SUCCESS ? *link : NULL;
    return rv;
}

/* Without it, each process asks for itself, and one that is started while Redis is away knows nobody. */
static aq_shm_records_t *records_open(const aq_server_config_t *server, apr_pool_t *pconf, const char *owner)
{
    const char *path = apr_pstrcat(pconf, server->state_dir, RECORDS_FILE, NULL);
    aq_shm_records_t *records;
    const apr_status_t rv = aq_shm_records_open(pconf, path, owner, &records);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 1632, rv, "%s: what is read of keys cannot be kept there for all processes", path);
    }
    return records;
}

int aq_key_store_open(const aq_server_config_t *server, apr_pool_t *pconf)
{
    aq_redis_keys_options_t options;
    aq_key_origin_t *origin;
    aq_redis_link_t *link = NULL;
    const char *error = "no memory";
    apr_status_t rv;

    if (!server->key_store) {
        return 1;
    }
    rv = link_find(server, pconf, &link, &error);
    if (rv == APR_SUCCESS) {
        options = (aq_redis_keys_options_t){.fresh_ms = server->key_store->fresh_ms,
                                            .stale_ms = server->key_store->stale_ms,
                                            .records = records_open(server, pconf, aq_redis_link_address(link)->name)};
        rv = aq_redis_keys_create(pconf, link, &options, &origin);
    }
    if (rv == APR_SUCCESS) {
        rv = aq_key_lookup_create(pconf, origin, server->plans, &server->runtime->store->secret,
                                  &server->runtime->key_lookup);
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 1633, rv, "APIQuotaKeyStore: %s", error);
    }
    return rv == APR_SUCCESS;
}

apr_status_t aq_key_store_read(const aq_server_config_t *server, apr_pool_t *ptemp, json_t **document,
                               const char **error)
{
    aq_redis_link_t *link =
        server->runtime->key_link ? server->runtime->key_link : aq_redis_counters_link(server->runtime->redis);
    apr_status_t rv;

    aq_redis_link_budget_set(link, READ_BUDGET_MS);
    rv = aq_redis_keys_read_all(ptemp, link, document, NULL, error);
    aq_redis_link_budget_set(link, aq_redis_link_address(link)->budget_ms);
    aq_redis_link_release(link);
    return rv;
}

json_t *aq_key_store_json(const aq_server_config_t *server, apr_pool_t *ptemp)
{
    return aq_redis_json(server->key_store->address ? server->key_store->address : server->redis, ptemp);
}

apr_status_t aq_key_store_tend(int state, void *runtime, apr_pool_t *pool)
{
    (void)pool;
    if (state == AP_WATCHDOG_STATE_RUNNING) {
        (void)aq_redis_link_tend(((const aq_runtime_t *)runtime)->key_link);
    }
    return APR_SUCCESS;
}
