/* SPDX-License-Identifier: Apache-2.0 */
/* Redis queue: what clients, operators and the janitor ask of batches. */
#include "store/redis_queue_private.h"

#include <apr_strings.h>
#include <errno.h>
#include <string.h>

/* Rows of a list in one answer: what is asked for more than that is asked for again. */
#define PAGE_ROWS 50
/* None of a swept ID is added for so long: far longer than an upload may stand between its body and its row. */
#define SWEPT_MS (INT64_C(24) * 3600 * 1000)
/* Rows of a home that is away are removed by others then; their files go when home sweeps. */
#define AWAY_MS (INT64_C(3600) * 1000)

apr_status_t aq_redis_submit(aq_queue_t *q, const aq_batch_t *batch, const aq_queue_bounds_t *bounds, apr_pool_t *ptemp)
{
    aq_redis_call_t call;
    apr_status_t rv;

    (void)ptemp;
    if (bounds != NULL && bounds->body_check != NULL &&
        (rv = bounds->body_check(bounds->body_data, batch)) != APR_SUCCESS) {
        return rv;
    }
    aq_redis_call_begin(&call, q, "submit");
    aq_redis_call_text(&call, batch->id);
    aq_redis_call_text(&call, call.queue->home);
    aq_redis_call_number(&call, bounds != NULL ? bounds->queued_most : 0);
    aq_redis_call_number(&call, bounds != NULL ? bounds->bytes_most : 0);
    aq_redis_batch_words(&call, batch);
    rv = aq_redis_call_make(&call, NULL, NULL);
    return aq_redis_call_end(&call, call.is_doubtful ? APR_INCOMPLETE : rv);
}

/* Makes a call whose answer is a row. */
static apr_status_t row_ask(aq_redis_call_t *call, apr_pool_t *p, aq_batch_t **batch)
{
    aq_redis_row_t row = {.p = p};
    apr_status_t rv = aq_redis_call_make(call, aq_redis_batch_answer, &row);

    *batch = row.batch;
    return aq_redis_call_end(call, rv);
}

apr_status_t aq_redis_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_batch_t **batch)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "find");
    aq_redis_call_text(&call, id);
    return row_ask(&call, p, batch);
}

apr_status_t aq_redis_find_key(aq_queue_t *q, apr_pool_t *p, const char *tenant, const char *idempotency_key,
                               aq_batch_t **batch)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "find_key");
    aq_redis_call_text(&call, tenant);
    aq_redis_call_text(&call, idempotency_key);
    return row_ask(&call, p, batch);
}

/* ---- sums ------------------------------------------------------------------------------------------------------- */

/* "t" and the tenant, or "" for all: so that no name of a tenant is taken for none. */
static void tenant_word(aq_redis_call_t *call, const char *tenant)
{
    aq_redis_call_text(call, tenant != NULL && call->pool != NULL ? apr_pstrcat(call->pool, "t", tenant, NULL) : "");
}

typedef struct {
    aq_queue_counts_t counts;
    int64_t bytes;
} sums_t;

static int sums_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    sums_t *sums = data;

    (void)call;
    if (reply->elements != 2 || reply->element[1]->type != REDIS_REPLY_ARRAY ||
        reply->element[1]->elements != AQ_BATCH_STATUS_COUNT + 2) {
        return 0;
    }
    for (size_t i = 0; i < AQ_BATCH_STATUS_COUNT; i++) {
        sums->counts.by_status[i] = aq_redis_number_at(reply->element[1], i);
    }
    sums->bytes = aq_redis_number_at(reply->element[1], AQ_BATCH_STATUS_COUNT);
    sums->counts.oldest_queued_at_ms = aq_redis_number_at(reply->element[1], AQ_BATCH_STATUS_COUNT + 1);
    return 1;
}

static apr_status_t sums_ask(aq_queue_t *q, const char *tenant, sums_t *sums)
{
    aq_redis_call_t call;

    *sums = (sums_t){.bytes = 0};
    aq_redis_call_begin(&call, q, "counts");
    tenant_word(&call, tenant);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, sums_answer, sums));
}

apr_status_t aq_redis_use(aq_queue_t *q, const char *tenant, aq_queue_use_t *use)
{
    sums_t sums;
    apr_status_t rv = sums_ask(q, tenant, &sums);

    *use = (aq_queue_use_t){.queued = sums.counts.by_status[AQ_BATCH_QUEUED], .bytes = sums.bytes};
    return rv;
}

apr_status_t aq_redis_counts(aq_queue_t *q, const char *tenant, aq_queue_counts_t *counts)
{
    sums_t sums;
    apr_status_t rv = sums_ask(q, tenant, &sums);

    *counts = sums.counts;
    return rv;
}

/* ---- lists ------------------------------------------------------------------------------------------------------ */

typedef struct {
    apr_pool_t *p;
    aq_queue_page_t *page;
} list_t;

static int list_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    list_t *list = data;

    if (reply->elements < 3) {
        return 0;
    }
    list->page->total = aq_redis_number_at(reply, 1);
    list->page->has_more = aq_redis_number_at(reply, 2) != 0;
    for (size_t i = 3; i < reply->elements; i++) {
        aq_batch_t *batch = aq_redis_batch_read(call->queue, reply->element[i], list->p);
        if (batch == NULL) {
            return 0;
        }
        APR_ARRAY_PUSH(list->page->batches, aq_batch_t *) = batch;
    }
    return 1;
}

apr_status_t aq_redis_list(aq_queue_t *q, apr_pool_t *p, const aq_queue_query_t *query, aq_queue_page_t *page)
{
    const char *before = query->before;
    list_t list = {.p = p, .page = page};
    aq_redis_call_t call;
    apr_status_t rv;

    *page = (aq_queue_page_t){.batches = apr_array_make(p, PAGE_ROWS, sizeof(aq_batch_t *))};
    do {
        const int got = page->batches->nelts, left = query->limit - got;
        aq_redis_call_begin(&call, q, "list");
        tenant_word(&call, query->tenant);
        aq_redis_call_text(&call, query->status >= 0 ? aq_batch_status_name((aq_batch_status_t)query->status) : NULL);
        aq_redis_call_text(&call, before);
        aq_redis_call_number(&call, left < PAGE_ROWS ? left : PAGE_ROWS);
        rv = aq_redis_call_end(&call, aq_redis_call_make(&call, list_answer, &list));
        if (rv != APR_SUCCESS || page->batches->nelts == got) {
            break;
        }
        before = APR_ARRAY_IDX(page->batches, page->batches->nelts - 1, aq_batch_t *)->id;
    } while (page->has_more && page->batches->nelts < query->limit);
    return rv;
}

/* ---- changes ---------------------------------------------------------------------------------------------------- */

apr_status_t aq_redis_cancel(aq_queue_t *q, apr_pool_t *p, const char *id, const aq_queue_now_t *now,
                             aq_batch_t **batch)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "cancel");
    aq_redis_call_text(&call, id);
    aq_redis_call_number(&call, now->wall_ms);
    aq_redis_call_number(&call, AQ_BATCH_RETENTION_MS);
    return row_ask(&call, p, batch);
}

apr_status_t aq_redis_retry(aq_queue_t *q, const char *id, const aq_queue_now_t *now, aq_expired_t *gone)
{
    aq_redis_call_t call;

    *gone = (aq_expired_t){.keeps_body = 1};
    apr_cpystrn(gone->id, id, sizeof(gone->id));
    aq_redis_call_begin(&call, q, "retry");
    aq_redis_call_text(&call, id);
    aq_redis_call_number(&call, now->wall_ms);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, aq_redis_number_answer, &gone->result_token));
}

apr_status_t aq_redis_remove(aq_queue_t *q, const char *id, aq_expired_t *gone)
{
    aq_redis_call_t call;

    *gone = (aq_expired_t){.keeps_body = 0};
    apr_cpystrn(gone->id, id, sizeof(gone->id));
    aq_redis_call_begin(&call, q, "remove");
    aq_redis_call_text(&call, id);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, aq_redis_number_answer, &gone->result_token));
}

apr_status_t aq_redis_overdue(aq_queue_t *q, const aq_queue_now_t *now, unsigned *failed)
{
    aq_redis_call_t call;
    int64_t count = 0;

    aq_redis_call_begin(&call, q, "overdue");
    aq_redis_call_number(&call, now->wall_ms);
    aq_redis_call_number(&call, AQ_BATCH_RETENTION_MS);
    apr_status_t rv = aq_redis_call_end(&call, aq_redis_call_make(&call, aq_redis_number_answer, &count));
    *failed = (unsigned)count;
    return rv;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

typedef struct {
    apr_array_header_t *all; /* of aq_expired_t */
    int has_more;
} gone_t;

/* id, result, whether the body stays, bytes; where there may be more, that behind them */
static int gone_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    gone_t *told = data;
    apr_array_header_t *all = told->all;

    (void)call;
    if (reply->elements < 2 || reply->element[1]->type != REDIS_REPLY_ARRAY) {
        return 0;
    }
    told->has_more = aq_redis_number_at(reply, 2) != 0;
    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        const redisReply *row = reply->element[1]->element[i];
        aq_expired_t *gone = apr_array_push(all);
        if (row->type != REDIS_REPLY_ARRAY || aq_redis_text_at(row, 0) == NULL) {
            return 0;
        }
        apr_cpystrn(gone->id, aq_redis_text_at(row, 0), sizeof(gone->id));
        gone->result_token = aq_redis_number_at(row, 1);
        gone->keeps_body = (int)aq_redis_number_at(row, 2);
        gone->bytes = aq_redis_number_at(row, 3);
    }
    return 1;
}

static apr_status_t gone_ask(aq_redis_call_t *call, apr_pool_t *p, apr_array_header_t **all, int *has_more)
{
    gone_t told = {.all = apr_array_make(p, 16, sizeof(aq_expired_t))};
    apr_status_t rv = aq_redis_call_make(call, gone_answer, &told);

    if (rv != APR_SUCCESS) {
        apr_array_clear(told.all);
    }
    *all = told.all;
    *has_more = rv == APR_SUCCESS && told.has_more;
    return aq_redis_call_end(call, rv);
}

apr_status_t aq_redis_expire(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                             apr_array_header_t **expired, int *has_more)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "expire");
    aq_redis_call_number(&call, now->wall_ms);
    aq_redis_call_number(&call, most);
    aq_redis_call_text(&call, call.queue->home);
    aq_redis_call_number(&call, AWAY_MS);
    return gone_ask(&call, p, expired, has_more);
}

apr_status_t aq_redis_trim(aq_queue_t *q, apr_pool_t *p, int64_t bytes, int most, apr_array_header_t **trimmed)
{
    aq_redis_call_t call;
    int has_more;

    aq_redis_call_begin(&call, q, "trim");
    aq_redis_call_number(&call, bytes);
    aq_redis_call_number(&call, most);
    aq_redis_call_text(&call, call.queue->home);
    return gone_ask(&call, p, trimmed, &has_more);
}

apr_status_t aq_redis_forget(aq_queue_t *q, const aq_expired_t *gone)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "forget");
    aq_redis_call_text(&call, gone->id);
    aq_redis_call_number(&call, !gone->keeps_body);
    aq_redis_call_number(&call, gone->result_token);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, NULL, NULL));
}

/*
 * No lock is held: whoever looks may take its time, or die. That no row comes later is kept in Redis; what a row that is
 * there says of its files a later state of it does not take back, see is_named in janitor_spool.c.
 */
apr_status_t aq_redis_look(aq_queue_t *q, apr_pool_t *ptemp, const char *id, aq_queue_look_fn *fn, void *data)
{
    aq_redis_call_t call;
    aq_batch_t *batch;

    aq_redis_call_begin(&call, q, "look");
    aq_redis_call_text(&call, id);
    aq_redis_call_number(&call, SWEPT_MS);
    apr_status_t rv = row_ask(&call, ptemp, &batch);
    return rv == APR_SUCCESS || rv == APR_NOTFOUND ? fn(data, batch) : rv;
}
