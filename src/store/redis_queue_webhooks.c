/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis queue: messages to webhooks. The script makes them when a batch is over. A claim whose answer was lost ends with its
 * lease, which no renewal lengthens.
 */
#include "store/redis_queue_private.h"

#include <apr_strings.h>
#include <string.h>

#define PAGE_ROWS 50

apr_status_t aq_redis_webhook_test(aq_queue_t *q, const char *id, const char *tenant, const aq_queue_now_t *now)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "webhook_test");
    aq_redis_call_text(&call, id);
    aq_redis_call_text(&call, tenant);
    aq_redis_call_number(&call, now->wall_ms);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, NULL, NULL));
}

apr_status_t aq_redis_webhook_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_webhook_t **webhook)
{
    aq_redis_row_t row = {.p = p};
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "webhook_find");
    aq_redis_call_text(&call, id);
    apr_status_t rv = aq_redis_call_make(&call, aq_redis_webhook_answer, &row);
    *webhook = row.webhook;
    return aq_redis_call_end(&call, rv);
}

typedef struct {
    apr_pool_t *p;
    apr_array_header_t *webhooks;
    const char *before; /* the number to go on before; "": that was all */
} list_t;

static int list_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    list_t *list = data;

    (void)call;
    if (reply->elements < 2) {
        return 0;
    }
    list->before = aq_redis_text_at(reply, 1) != NULL ? apr_pstrdup(list->p, aq_redis_text_at(reply, 1)) : "";
    for (size_t i = 2; i < reply->elements; i++) {
        aq_webhook_t *webhook = aq_redis_webhook_read(reply->element[i], list->p);
        if (webhook == NULL) {
            return 0;
        }
        APR_ARRAY_PUSH(list->webhooks, aq_webhook_t *) = webhook;
    }
    return 1;
}

apr_status_t aq_redis_webhook_list(aq_queue_t *q, apr_pool_t *p, const aq_webhook_query_t *query,
                                   apr_array_header_t **webhooks)
{
    list_t list = {.p = p, .before = "", .webhooks = apr_array_make(p, 16, sizeof(aq_webhook_t *))};
    aq_redis_call_t call;
    apr_status_t rv;

    *webhooks = list.webhooks;
    do {
        const int left = query->limit - list.webhooks->nelts;
        aq_redis_call_begin(&call, q, "webhook_list");
        aq_redis_call_text(
            &call, query->tenant != NULL && call.pool != NULL ? apr_pstrcat(call.pool, "t", query->tenant, NULL) : "");
        aq_redis_call_text(&call, query->state >= 0 ? aq_webhook_state_name((aq_webhook_state_t)query->state) : NULL);
        aq_redis_call_text(&call, list.before);
        aq_redis_call_number(&call, left < PAGE_ROWS ? left : PAGE_ROWS);
        rv = aq_redis_call_end(&call, aq_redis_call_make(&call, list_answer, &list));
    } while (rv == APR_SUCCESS && list.before[0] != '\0' && list.webhooks->nelts < query->limit);
    return rv;
}

apr_status_t aq_redis_webhook_retry(aq_queue_t *q, const char *id)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "webhook_retry");
    aq_redis_call_text(&call, id);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, NULL, NULL));
}

apr_status_t aq_redis_webhook_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                    int lease_ms, int tenant_most, aq_delivery_t *delivery)
{
    aq_redis_row_t row = {.p = p};
    aq_redis_call_t call;

    *delivery = (aq_delivery_t){.webhook = NULL};
    aq_redis_call_begin(&call, q, "webhook_claim");
    aq_redis_call_text(&call, worker);
    aq_redis_call_number(&call, now->wall_ms);
    aq_redis_call_number(&call, now->boot_ms + lease_ms);
    aq_redis_call_text(&call, now->boot_id);
    aq_redis_call_text(&call, call.queue->machine);
    aq_redis_call_number(&call, lease_ms);
    aq_redis_call_number(&call, tenant_most);
    apr_status_t rv = aq_redis_call_make(&call, aq_redis_webhook_answer, &row);
    if (rv == APR_SUCCESS) {
        *delivery = (aq_delivery_t){.webhook = row.webhook, .token = row.token};
    }
    return aq_redis_call_end(&call, rv);
}

apr_status_t aq_redis_webhook_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                     const aq_delivery_result_t *result)
{
    const aq_webhook_state_t state = result->outcome.state;
    const int is_pending = state == AQ_WEBHOOK_PENDING;
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "webhook_finish");
    aq_redis_call_text(&call, id);
    aq_redis_call_number(&call, token);
    aq_redis_call_text(&call, aq_webhook_state_name(state));
    aq_redis_call_number(&call, result->is_uncounted != 0);
    aq_redis_call_number(&call, is_pending && result->outcome.wait_ms > 0 ? now->wall_ms + result->outcome.wait_ms : 0);
    aq_redis_call_number(&call, state == AQ_WEBHOOK_DELIVERED ? now->wall_ms : 0);
    aq_redis_call_number(&call, is_pending ? 0 : now->wall_ms + AQ_WEBHOOK_KEPT_MS);
    aq_redis_call_field_number(&call, "last_status", result->status);
    aq_redis_call_field(&call, "last_error", result->error);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, NULL, NULL));
}
