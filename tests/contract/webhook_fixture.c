/* SPDX-License-Identifier: Apache-2.0 */
#include "contract/webhook_fixture.h"

#include <apr_strings.h>

const char *webhook_submit(aq_queue_t *q, const char *tenant, int n)
{
    aq_batch_t batch = queue_batch(tenant, n);

    batch.wants_webhook = 1;
    batch.start_by_ms = queue_at(5000).wall_ms;
    batch.metadata = "{\"n\":1}";
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    return apr_pstrdup(fixture_pool, batch.id);
}

apr_array_header_t *webhook_list(aq_queue_t *q, const char *tenant, int state)
{
    aq_webhook_query_t query = {.tenant = tenant, .state = state, .limit = 1000};
    apr_array_header_t *webhooks;

    ck_assert_int_eq(aq_queue_webhook_list(q, fixture_pool, &query, &webhooks), APR_SUCCESS);
    return webhooks;
}

const aq_webhook_t *webhook_nth(const apr_array_header_t *webhooks, int i)
{
    ck_assert_int_lt(i, webhooks->nelts);
    return APR_ARRAY_IDX(webhooks, i, const aq_webhook_t *);
}

aq_delivery_t webhook_claim(aq_queue_t *q, int64_t ms)
{
    aq_queue_now_t now = queue_at(ms);
    aq_delivery_t delivery;

    ck_assert_int_eq(aq_queue_webhook_claim(q, fixture_pool, "w", &now, LEASE_MS, WEBHOOKS_OF_TENANT, &delivery),
                     APR_SUCCESS);
    ck_assert_ptr_nonnull(delivery.webhook);
    ck_assert_int_gt(delivery.token, 0);
    return delivery;
}

void webhook_claim_none(aq_queue_t *q, int64_t ms)
{
    aq_queue_now_t now = queue_at(ms);
    aq_delivery_t delivery;

    ck_assert_int_eq(aq_queue_webhook_claim(q, fixture_pool, "w", &now, LEASE_MS, WEBHOOKS_OF_TENANT, &delivery),
                     APR_NOTFOUND);
    ck_assert_ptr_null(delivery.webhook);
}

void webhook_recover(aq_queue_t *q, const char *dead_worker, int64_t ms)
{
    aq_queue_now_t now = queue_at(ms);
    unsigned recovered, failed;

    ck_assert_int_eq(aq_queue_recover(q, &now, dead_worker, &recovered, &failed), APR_SUCCESS);
}
