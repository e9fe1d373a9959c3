/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhooks: delivers the messages that tell tenants of the ends of their batches.
 *
 * One thread, beside those of the jobs, with up to AQ_WEBHOOKS_AT_ONCE messages on their way at a time, of each tenant at
 * most AQ_WEBHOOKS_OF_TENANT: so neither does a slow receiver delay a job, nor one that is dead the others. A message is
 * claimed like a job, with a lease that outlasts any attempt; one whose worker dies is sent again: at least once, with the
 * same ID.
 */
#ifndef AQ_WEBHOOKS_H
#define AQ_WEBHOOKS_H

#include "worker/worker.h"

#include <apr_thread_proc.h>

#define AQ_WEBHOOKS_AT_ONCE 64
#define AQ_WEBHOOKS_OF_TENANT 4

/* The thread; `data` is the aq_worker_t. It ends soon after the worker is told to stop, having given back what it had. */
void *APR_THREAD_FUNC aq_webhooks_run(apr_thread_t *thread, void *data);

#endif
