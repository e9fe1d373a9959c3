/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the webhooks of the keys file again where it has changed.
 */
#include "worker/receivers.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <string.h>

void aq_receivers_init(aq_receivers_t *receivers, apr_pool_t *p)
{
    *receivers = (aq_receivers_t){.parent = p};
}

static apr_status_t load(aq_receivers_t *receivers, const char *path)
{
    apr_hash_t *webhooks;
    apr_pool_t *pool;
    const char *error;

    apr_status_t rv = apr_pool_create(&pool, receivers->parent);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = aq_tenant_webhooks_load(pool, path, &webhooks, &error)) != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 664, APR_SUCCESS, "webhooks cannot be read: %s", error);
        apr_pool_destroy(pool);
        return rv;
    }
    if (receivers->pool != NULL) {
        apr_pool_destroy(receivers->pool);
    }
    receivers->pool = pool;
    receivers->path = apr_pstrdup(pool, path);
    receivers->webhooks = webhooks;
    return APR_SUCCESS;
}

apr_status_t aq_receivers_find(aq_receivers_t *receivers, const char *path, const char *tenant, aq_time_ms_t now_ms,
                               const aq_tenant_webhook_t **webhook)
{
    *webhook = NULL;
    if (path == NULL) {
        return APR_SUCCESS;
    }
    int is_other = receivers->path == NULL || strcmp(receivers->path, path) != 0;
    aq_file_version_t version = aq_file_version(path);
    if (is_other || !receivers->is_tried || !aq_file_version_equal(&version, &receivers->version)) {
        receivers->version = version;
        receivers->is_tried = !aq_file_version_is_young(&version, now_ms);
        apr_status_t rv = load(receivers, path);
        if (rv != APR_SUCCESS && is_other) {
            return rv;
        }
    }
    *webhook = apr_hash_get(receivers->webhooks, tenant, APR_HASH_KEY_STRING);
    return APR_SUCCESS;
}
