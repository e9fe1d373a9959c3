/* SPDX-License-Identifier: Apache-2.0 */
/* Opening spool and queue in a child. See batch_runtime.h. */
#include "httpd/batch_runtime.h"

#include "httpd/httpd_log.h"
#include "httpd/phases.h"
#include "store/queue_open.h"

#include <apr_thread_mutex.h>

/* Of this child. Both are set before its threads start. */
static apr_pool_t *child_pool;
static apr_thread_mutex_t *child_mutex;

void aq_batch_child_init(apr_pool_t *pchild, server_rec *s)
{
    apr_status_t rv;

    if (!aq_config_server(s)->batch) {
        return;
    }
    child_pool = pchild;
    rv = apr_thread_mutex_create(&child_mutex, APR_THREAD_MUTEX_DEFAULT, pchild);
    if (rv != APR_SUCCESS) {
        child_mutex = NULL;
        AQ_LOG(AQ_LOG_CRIT, 1210, rv, "this child cannot take batches: it has no mutex");
    }
}

static apr_status_t spool_open(apr_pool_t *p, const aq_batch_config_t *batch, aq_spool_t **spool)
{
    const char *error = NULL;
    apr_status_t rv = aq_spool_open(p, batch->spool_folder, batch->spool_max_bytes, spool, &error);

    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1211, rv, "the spool cannot be opened: %s", error ? error : batch->spool_folder);
    }
    return rv;
}

static apr_status_t queue_open(apr_pool_t *p, const aq_batch_config_t *batch, aq_queue_t **queue)
{
    const char *error = NULL;
    apr_status_t rv = aq_queue_open(p, batch, AQ_BATCH_QUEUE_WAIT_MS, queue, &error);

    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1212, rv, "the queue cannot be opened: %s",
                     error ? error : aq_batch_config_queue(p, batch));
    }
    return rv;
}

/* Both or none, in a pool of their own that a failure clears. */
static apr_status_t both_open(const aq_server_config_t *server)
{
    aq_spool_t *spool = NULL;
    aq_queue_t *queue = NULL;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create(&p, child_pool);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = spool_open(p, server->batch, &spool)) != APR_SUCCESS ||
        (rv = queue_open(p, server->batch, &queue)) != APR_SUCCESS) {
        apr_pool_destroy(p);
        return rv;
    }
    server->runtime->spool = spool;
    server->runtime->queue = queue;
    return APR_SUCCESS;
}

apr_status_t aq_batch_runtime_open(const server_rec *s)
{
    const aq_server_config_t *server = aq_config_server(s);
    apr_status_t rv;

    if (!child_mutex || !server->batch || !server->runtime || server->runtime->are_batches_refused) {
        return APR_EGENERAL;
    }
    rv = apr_thread_mutex_lock(child_mutex);
    if (rv == APR_SUCCESS) {
        rv = server->runtime->queue ? APR_SUCCESS : both_open(server);
        (void)apr_thread_mutex_unlock(child_mutex);
    }
    return rv;
}
