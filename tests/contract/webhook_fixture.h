/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of messages to webhooks share, beside the fixture of queues. */
#ifndef WEBHOOK_FIXTURE_H
#define WEBHOOK_FIXTURE_H

#include "contract/queue_fixture.h"

/* How many messages of a tenant webhook_claim lets be claimed at a time. */
#define WEBHOOKS_OF_TENANT 3

/* Submits the n-th batch of a tenant, which wants a webhook; its ID. */
const char *webhook_submit(aq_queue_t *q, const char *tenant, int n);

/* Messages of a tenant (NULL: all) in a state (-1: any), newest first; and the i-th of them. */
apr_array_header_t *webhook_list(aq_queue_t *q, const char *tenant, int state);
const aq_webhook_t *webhook_nth(const apr_array_header_t *webhooks, int i);

/* Claims, and asserts that there is a message, or that there is none. */
aq_delivery_t webhook_claim(aq_queue_t *q, int64_t ms);
void webhook_claim_none(aq_queue_t *q, int64_t ms);

/* Recovers; `dead_worker` NULL: nobody is known to be dead. */
void webhook_recover(aq_queue_t *q, const char *dead_worker, int64_t ms);

#endif
