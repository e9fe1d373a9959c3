/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the queue that a configuration names, whichever kind it is: for httpd's children, the worker and apiquotactl. */
#ifndef AQ_QUEUE_OPEN_H
#define AQ_QUEUE_OPEN_H

#include "batch/batch_config.h"
#include "batch/queue.h"

/*
 * Opens it for this process, after any fork. `wait_ms` is how long a write may wait for SQLite's lock. Closed by
 * aq_queue_close, or with `p`. `*error` in `p` says what is wrong.
 */
apr_status_t aq_queue_open(apr_pool_t *p, const aq_batch_config_t *config, int wait_ms, aq_queue_t **queue,
                           const char **error);

#endif
