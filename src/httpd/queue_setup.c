/* SPDX-License-Identifier: Apache-2.0 */
/* The queue as httpd's parent sees it. See queue_setup.h. */
#include "httpd/queue_setup.h"

#include "base/aq_log.h"
#include "httpd/home_fetch.h"
#include "store/machine.h"

#include <apr_strings.h>

#define SQLITE_FILE_DEFAULT "/batches/queue.db"
#define WORKER_FILES "/batches/queue"
#define MACHINE_FILE "/machine"

static apr_status_t redis_check(const aq_redis_queue_setting_t *setting, apr_pool_t *ptemp, const char **error)
{
    aq_redis_link_t *link;
    apr_status_t rv = aq_redis_address_complete(ptemp, setting->address, error);

    if (rv == APR_SUCCESS) {
        rv = aq_redis_link_open(ptemp, setting->address, &link, error);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_redis_durability_check(ptemp, link, setting->durability, error);
    if (rv == APR_SUCCESS) {
        aq_redis_durability_warn(link);
    } else if (rv != APR_EGENERAL) {
        AQ_LOG(AQ_LOG_WARNING, 1274, 0, "APIQuotaQueue: %s; uploads are answered 503 until it does", *error);
        rv = APR_SUCCESS;
    }
    return rv;
}

static apr_status_t redis_setup(aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp, const char **error)
{
    aq_batch_config_t *batch = server->batch;
    const char *path = apr_pstrcat(ptemp, server->state_dir, MACHINE_FILE, NULL);

    if (server->queue_redis->home_url && !aq_home_can_fetch()) {
        AQ_LOG(
            AQ_LOG_WARNING, 1276, 0,
            "APIQuotaQueue: home= is set, but mod_proxy_http is not loaded: this machine gives its results to others "
            "and cannot fetch theirs");
    }
    batch->queue_words = aq_redis_queue_setting_words(pconf, server->queue_redis);
    batch->worker_files = apr_pstrcat(pconf, server->state_dir, WORKER_FILES, NULL);
    apr_status_t rv = aq_machine_name(pconf, path, &batch->machine, error);
    return rv == APR_SUCCESS ? redis_check(server->queue_redis, ptemp, error) : rv;
}

apr_status_t aq_queue_setup(aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp, const char **error)
{
    aq_batch_config_t *batch = server->batch;

    if (server->queue_redis) {
        apr_status_t rv = redis_setup(server, pconf, ptemp, error);
        if (rv != APR_SUCCESS) {
            *error = apr_pstrcat(ptemp, "APIQuotaQueue: ", *error, NULL);
        }
        return rv;
    }
    batch->queue_file =
        server->queue_file ? server->queue_file : apr_pstrcat(pconf, server->state_dir, SQLITE_FILE_DEFAULT, NULL);
    batch->worker_files = batch->queue_file;
    return APR_SUCCESS;
}

json_t *aq_queue_json(const aq_server_config_t *server)
{
    return server->queue_redis ? json_pack("{s:s, s:s}", "kind", "redis", "name", server->queue_redis->address->name)
                               : json_pack("{s:s, s:s}", "kind", "sqlite", "path", server->batch->queue_file);
}
