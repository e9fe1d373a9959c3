/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading runtime.json. Attempts take copies of their location, so a reading may replace the old one at any time.
 */
#include "worker/settings.h"

#include "base/aq_log.h"
#include "batch/webhook_address.h"

#include <apr_strings.h>
#include <string.h>

static apr_status_t read_config(apr_pool_t *p, const char *file, aq_batch_config_t **config, const char **error)
{
    json_t *json;

    apr_status_t rv = aq_json_file_load(p, file, AQ_JSON_FILE_MAX_BYTES, &json, error);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    const json_t *member = json_object_get(json, "worker");
    if (member == NULL) {
        *error = apr_psprintf(p, "%s has no member \"worker\"", file);
        rv = APR_EGENERAL;
    } else if ((rv = aq_batch_config_parse(p, member, config, error)) != APR_SUCCESS) {
        *error = apr_psprintf(p, "%s: %s", file, *error);
    }
    json_decref(json);
    return rv;
}

apr_status_t aq_settings_load(aq_settings_t *settings, apr_pool_t *p, const char *file, const char **error)
{
    aq_batch_config_t *config;
    apr_pool_t *pool;
    apr_status_t rv;

    *error = "out of memory";
    *settings = (aq_settings_t){.config = NULL};
    if ((rv = pthread_mutex_init(&settings->mutex, NULL)) != 0 || (rv = apr_pool_create(&pool, p)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = read_config(pool, file, &config, error)) != APR_SUCCESS) {
        *error = apr_pstrdup(p, *error);
        apr_pool_destroy(pool);
        return rv;
    }
    settings->pool = pool;
    settings->config = config;
    return APR_SUCCESS;
}

static int is_same_place(apr_pool_t *p, const aq_batch_config_t *a, const aq_batch_config_t *b)
{
    return strcmp(aq_batch_config_queue(p, a), aq_batch_config_queue(p, b)) == 0 &&
           strcmp(a->worker_files, b->worker_files) == 0 && strcmp(a->spool_folder, b->spool_folder) == 0 &&
           a->spool_is_shared == b->spool_is_shared && a->spool_max_bytes == b->spool_max_bytes &&
           a->threads == b->threads;
}

aq_settings_change_t aq_settings_reload(aq_settings_t *settings, const char *file)
{
    aq_settings_change_t change = AQ_SETTINGS_IN_FORCE;
    aq_batch_config_t *config;
    const char *error;
    apr_pool_t *pool;

    apr_status_t rv = apr_pool_create(&pool, apr_pool_parent_get(settings->pool));
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 601, rv, "the configuration cannot be read again");
        return change;
    }
    if (read_config(pool, file, &config, &error) != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 602, APR_SUCCESS, "the configuration stays as it was: %s", error);
        apr_pool_destroy(pool);
        return change;
    }
    (void)pthread_mutex_lock(&settings->mutex);
    if (!is_same_place(pool, settings->config, config)) {
        change = AQ_SETTINGS_RESTART;
    }
    apr_pool_t *old = settings->pool;
    settings->pool = pool;
    settings->config = config;
    (void)pthread_mutex_unlock(&settings->mutex);
    apr_pool_destroy(old);
    AQ_LOG(AQ_LOG_NOTICE, 603, APR_SUCCESS, "configuration read again: %u batch locations",
           apr_hash_count(config->locations));
    return change;
}

const aq_batch_location_t *aq_settings_location(aq_settings_t *settings, apr_pool_t *p, const char *name)
{
    aq_batch_location_t *copy = NULL;

    (void)pthread_mutex_lock(&settings->mutex);
    const aq_batch_location_t *location = apr_hash_get(settings->config->locations, name, APR_HASH_KEY_STRING);
    if (location != NULL) {
        copy = apr_pmemdup(p, location, sizeof(*location));
        copy->name = apr_pstrdup(p, location->name);
        copy->target = apr_pstrdup(p, location->target);
    }
    (void)pthread_mutex_unlock(&settings->mutex);
    return copy;
}

int64_t aq_settings_keep_bytes(aq_settings_t *settings)
{
    (void)pthread_mutex_lock(&settings->mutex);
    int64_t percent = settings->config->spool_keep_percent;
    int64_t max_bytes = settings->config->spool_max_bytes;
    (void)pthread_mutex_unlock(&settings->mutex);
    return percent < 100 ? max_bytes / 100 * percent + max_bytes % 100 * percent / 100 : 0;
}

void aq_settings_limits(aq_settings_t *settings, apr_pool_t *p, aq_queue_limits_t *limits)
{
    *limits = (aq_queue_limits_t){.locations = apr_hash_make(p)};
    (void)pthread_mutex_lock(&settings->mutex);
    int threads = settings->config->threads;
    limits->tenant_most = threads > 1 ? threads - 1 : 1;
    for (apr_hash_index_t *i = apr_hash_first(p, settings->config->locations); i != NULL; i = apr_hash_next(i)) {
        const aq_batch_location_t *location = apr_hash_this_val(i);
        if (location->concurrency > 0) {
            aq_concurrency_t *set = apr_palloc(p, sizeof(*set));
            *set = (aq_concurrency_t){.most = location->concurrency, .per_endpoint = location->concurrency_is_of_all};
            apr_hash_set(limits->locations, apr_pstrdup(p, location->name), APR_HASH_KEY_STRING, set);
        }
    }
    (void)pthread_mutex_unlock(&settings->mutex);
}

void aq_settings_webhooks(aq_settings_t *settings, apr_pool_t *p, const char **key_file,
                          const apr_array_header_t **allowed)
{
    apr_array_header_t *networks = apr_array_make(p, 4, sizeof(aq_webhook_network_t));

    (void)pthread_mutex_lock(&settings->mutex);
    const apr_array_header_t *texts = settings->config->webhook_allow;
    *key_file = apr_pstrdup(p, settings->config->key_file);
    for (int i = 0; i < texts->nelts; i++) {
        /* They were parsed when the configuration was read. */
        (void)aq_webhook_network_parse(APR_ARRAY_IDX(texts, i, const char *), apr_array_push(networks));
    }
    (void)pthread_mutex_unlock(&settings->mutex);
    *allowed = networks;
}
