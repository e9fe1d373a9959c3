/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what APIQuotaStore names. See store_setup.h. */
#include "httpd/store_setup.h"

#include "base/aq_log.h"
#include "store/failover_counters.h"
#include "store/redis_counters.h"
#include "store/shm_counters.h"

#include <apr_strings.h>
#include <ap_mpm.h>
#include <http_main.h>
#include <mod_watchdog.h>
#include <unistd.h>

#define COUNTERS_FILE "/counters"
#define SECRET_FILE "/redis-secret"

static int shm_open_at(aq_server_config_t *server, apr_pool_t *pconf, int is_first, aq_counter_store_t **store)
{
    const char *path =
        server->store_file ? server->store_file : apr_pstrcat(pconf, server->state_dir, COUNTERS_FILE, NULL);
    uint64_t size = (uint64_t)aq_config_value(server->store_size, AQ_STORE_SIZE_DEFAULT);
    const char *error = NULL;
    apr_status_t rv = aq_shm_counters_open(pconf, path, size, is_first, aq_clock_now_ms(), store, &error);

    server->store_file = path;
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 1013, rv, "APIQuotaStore: %s", error ? error : path);
        return 0;
    }
    /* So that a child that slept is told from a clock that was stepped back. */
    (*store)->clock = aq_clock_now_ms;
    return 1;
}

static int asks_for_leases(const apr_array_header_t *limits)
{
    for (int i = 0; i < limits->nelts; i++) {
        if (APR_ARRAY_IDX(limits, i, const aq_limit_t *)->mode == AQ_LIMIT_LEASED) {
            return 1;
        }
    }
    return 0;
}

/* 1 where some limit says store=leased. */
static int some_asks_for_leases(const aq_server_config_t *server, apr_pool_t *ptemp)
{
    int asks = asks_for_leases(server->location_limits);

    for (apr_hash_index_t *at = apr_hash_first(ptemp, server->plans); at && !asks; at = apr_hash_next(at)) {
        asks = asks_for_leases(((const aq_plan_t *)apr_hash_this_val(at))->limits);
    }
    return asks;
}

static int redis_open(aq_server_config_t *server, apr_pool_t *pconf)
{
    const aq_redis_counters_options_t options = {
        .secret_file = apr_pstrcat(pconf, server->state_dir, SECRET_FILE, NULL),
        .is_leased = server->redis->mode == AQ_REDIS_LEASED || some_asks_for_leases(server, pconf),
        .is_leased_by_name = server->redis->mode != AQ_REDIS_LEASED,
    };
    const char *error = NULL;
    apr_status_t rv;

    if (options.is_leased && server->redis->topology == AQ_REDIS_CLUSTER) {
        AQ_LOG(AQ_LOG_CRIT, 1622, APR_SUCCESS,
               "APIQuotaLimit: store=leased is not for the redis+cluster:// of APIQuotaStore; allowed: store=strict, "
               "or none");
        return 0;
    }
    rv = aq_redis_address_complete(pconf, server->redis, &error);

    if (rv == APR_SUCCESS) {
        rv = aq_redis_counters_open(pconf, server->redis, &options, &server->runtime->redis, &error);
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 1620, rv, "APIQuotaStore: %s", error ? error : server->redis->name);
    }
    return rv == APR_SUCCESS;
}

/* The one place where it is decided that this machine counts while Redis cannot be asked. */
static int is_local_while_down(const aq_server_config_t *server)
{
    return server->store_failure == AQ_UNSET || server->store_failure == AQ_STORE_FAILURE_LOCAL;
}

/* What the parent does when all its children are gone: at a stop, and at a restart that is not graceful. */
typedef struct {
    aq_counter_store_t *redis;
    pid_t parent;
} slices_t;

static apr_status_t slices_return(void *data)
{
    const slices_t *slices = data;

    /* A child that exits clears this pool, too. */
    if (getpid() == slices->parent) {
        aq_redis_counters_return(slices->redis, aq_clock_now_ms(), 1);
    }
    return APR_SUCCESS;
}

static void slices_return_at_end(apr_pool_t *pconf, aq_counter_store_t *redis)
{
    slices_t *slices = apr_palloc(pconf, sizeof(*slices));

    *slices = (slices_t){.redis = redis, .parent = getpid()};
    apr_pool_pre_cleanup_register(pconf, slices, slices_return);
}

/*
 * A graceful restart leaves children behind that have the slices of before, and of whom the parent knows nothing any more. A
 * child of prefork that is ended at once is in a signal handler here, where nothing can be asked: then the parent does it.
 * mod_watchdog's own word for the end does not come where a child ends sooner than its timer looks.
 */
void aq_store_child_stopping(apr_pool_t *pchild, int is_graceful)
{
    const aq_runtime_t *runtime = aq_config_server(ap_server_conf)->runtime;
    int is_threaded = AP_MPMQ_NOT_SUPPORTED;

    (void)pchild;
    (void)ap_mpm_query(AP_MPMQ_IS_THREADED, &is_threaded);
    if (runtime && runtime->redis && (is_graceful || is_threaded != AP_MPMQ_NOT_SUPPORTED)) {
        aq_redis_counters_return(runtime->redis, aq_clock_now_ms(), 1);
    }
}

int aq_store_setup(aq_server_config_t *server, apr_pool_t *pconf, int is_first)
{
    aq_runtime_t *runtime = server->runtime;
    aq_counter_store_t *local;

    if (!server->redis) {
        return shm_open_at(server, pconf, is_first, &runtime->store);
    }
    if (!redis_open(server, pconf)) {
        return 0;
    }
    runtime->store = runtime->redis;
    slices_return_at_end(pconf, runtime->redis);
    if (!is_local_while_down(server)) {
        return 1;
    }
    if (!shm_open_at(server, pconf, is_first, &local)) {
        return 0;
    }
    runtime->store = aq_failover_counters_create(pconf, runtime->redis, local);
    return 1;
}

json_t *aq_store_json(const aq_server_config_t *server, apr_pool_t *ptemp)
{
    return server->redis ? aq_redis_json(server->redis, ptemp)
                         : json_pack("{s:s, s:s}", "kind", "shm", "path", server->store_file);
}

json_t *aq_redis_json(const aq_redis_address_t *address, apr_pool_t *ptemp)
{
    const apr_array_header_t *words = aq_redis_address_words(ptemp, address);
    json_t *said = json_array();

    for (int i = 0; i < words->nelts; i++) {
        (void)json_array_append_new(said, json_string(APR_ARRAY_IDX(words, i, const char *)));
    }
    return json_pack("{s:s, s:s, s:o, s:b}", "kind", "redis", "name", address->name, "words", said, "needs_password",
                     address->password && !address->password_file && !address->password_env);
}

apr_status_t aq_store_tend(int state, void *runtime, apr_pool_t *pool)
{
    aq_counter_store_t *redis = ((aq_runtime_t *)runtime)->redis;

    if (state == AP_WATCHDOG_STATE_RUNNING) {
        aq_redis_counters_tend(redis, pool);
        aq_redis_counters_return(redis, aq_clock_now_ms(), 0);
    }
    return APR_SUCCESS;
}
