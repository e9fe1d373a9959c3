/* SPDX-License-Identifier: Apache-2.0 */
/* What httpd's parent does for the queue that APIQuotaQueue names, before any child or worker opens it. */
#ifndef AQ_QUEUE_SETUP_H
#define AQ_QUEUE_SETUP_H

#include "httpd/config.h"

/*
 * Completes server->batch: where the queue is, this machine's name, and where the worker's own files go. A Redis that is not
 * as durable as it must be is an error; one that does not answer is not: uploads are answered 503 until it does. `*error`, in
 * `ptemp`, says what is wrong.
 */
apr_status_t aq_queue_setup(aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp, const char **error);

/* Which queue it is, for runtime.json: a new reference. */
json_t *aq_queue_json(const aq_server_config_t *server);

#endif
