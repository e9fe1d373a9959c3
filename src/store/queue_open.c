/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the queue that a configuration names. See queue_open.h. */
#include "store/queue_open.h"

#include "store/redis_queue.h"
#include "store/redis_queue_setting.h"
#include "store/sqlite_queue.h"

#include <apr_strings.h>

static apr_status_t redis_open(apr_pool_t *p, const aq_batch_config_t *config, aq_queue_t **queue, const char **error)
{
    const apr_array_header_t *words = config->queue_words;
    aq_redis_queue_options_t options = {.machine = config->machine, .is_shared = config->spool_is_shared};
    aq_redis_queue_setting_t *setting;

    apr_status_t rv =
        aq_redis_queue_setting_parse(p, (const char *const *)(void *)words->elts, words->nelts, &setting, error);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = aq_redis_address_complete(p, setting->address, error)) != APR_SUCCESS) {
        *error = apr_pstrcat(p, *error, " (by the user that httpd's children and the worker run as)", NULL);
        return rv;
    }
    options.durability = setting->durability;
    options.home_url = setting->home_url;
    return aq_redis_queue_open(p, setting->address, &options, queue, error);
}

apr_status_t aq_queue_open(apr_pool_t *p, const aq_batch_config_t *config, int wait_ms, aq_queue_t **queue,
                           const char **error)
{
    return config->queue_words != NULL ? redis_open(p, config, queue, error)
                                       : aq_sqlite_queue_open(p, config->queue_file, wait_ms, queue, error);
}
