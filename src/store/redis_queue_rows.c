/* SPDX-License-Identifier: Apache-2.0 */
/* Redis queue: batches and messages as words of a call, and from answers, by the tables of queue_columns.h. */
#include "store/redis_queue_private.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

/* Behind the columns of a batch: where its files lie, and whether nobody is at work there. */
#define HOME_AT AQ_BATCH_COLUMN_COUNT
#define HOME_DOWN_AT (AQ_BATCH_COLUMN_COUNT + 1)

const char *aq_redis_text_at(const redisReply *reply, size_t i)
{
    return i < reply->elements && reply->element[i]->type == REDIS_REPLY_STRING ? reply->element[i]->str : NULL;
}

int64_t aq_redis_number_at(const redisReply *reply, size_t i)
{
    const char *text = aq_redis_text_at(reply, i);

    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

/* What is 0 or NULL is not there, and read as such. */
void aq_redis_batch_words(aq_redis_call_t *call, const aq_batch_t *batch)
{
    for (int i = 0; i < AQ_BATCH_COLUMN_COUNT; i++) {
        const aq_column_t *column = &aq_batch_columns[i];
        const void *at = (const char *)batch + column->offset;
        switch (column->type) {
        case AQ_COLUMN_ID:
        case AQ_COLUMN_WEBHOOK_ID:
            aq_redis_call_field(call, column->name, at);
            break;
        case AQ_COLUMN_STATUS:
            aq_redis_call_field(call, column->name, aq_batch_status_name(*(const aq_batch_status_t *)at));
            break;
        case AQ_COLUMN_TEXT:
            aq_redis_call_field(call, column->name, *(const char *const *)at);
            break;
        case AQ_COLUMN_INT:
            aq_redis_call_field_number(call, column->name, *(const int *)at);
            break;
        case AQ_COLUMN_INT64:
            aq_redis_call_field_number(call, column->name, *(const int64_t *)at);
            break;
        case AQ_COLUMN_STATE:
            break; /* of messages, which the script makes */
        }
    }
}

/* 0 where a word is none of ours: it is not this program that wrote the row. */
static int column_read(const aq_column_t *column, const redisReply *row, size_t i, void *at, apr_pool_t *p)
{
    const char *text = aq_redis_text_at(row, i);
    const char *word = text != NULL ? text : "";

    switch (column->type) {
    case AQ_COLUMN_ID:
        apr_cpystrn(at, word, AQ_BATCH_ID_SIZE);
        return text != NULL;
    case AQ_COLUMN_WEBHOOK_ID:
        apr_cpystrn(at, word, AQ_WEBHOOK_ID_SIZE);
        return text != NULL;
    case AQ_COLUMN_STATUS:
        return aq_batch_status_parse(word, at) == APR_SUCCESS;
    case AQ_COLUMN_STATE:
        return aq_webhook_state_parse(word, at) == APR_SUCCESS;
    case AQ_COLUMN_TEXT:
        *(const char **)at = apr_pstrdup(p, text);
        return 1;
    case AQ_COLUMN_INT:
        *(int *)at = (int)aq_redis_number_at(row, i);
        return 1;
    case AQ_COLUMN_INT64:
        *(int64_t *)at = aq_redis_number_at(row, i);
        return 1;
    }
    return 0;
}

static int columns_read(const aq_column_t *columns, size_t count, const redisReply *row, void *into, apr_pool_t *p)
{
    if (row->type != REDIS_REPLY_ARRAY || row->elements < count) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (!column_read(&columns[i], row, i, (char *)into + columns[i].offset, p)) {
            return 0;
        }
    }
    return 1;
}

aq_batch_t *aq_redis_batch_read(const aq_redis_queue_t *queue, const redisReply *row, apr_pool_t *p)
{
    aq_batch_t *batch = apr_pcalloc(p, sizeof(*batch));

    if (!columns_read(aq_batch_columns, AQ_BATCH_COLUMN_COUNT, row, batch, p)) {
        return NULL;
    }
    batch->home = apr_pstrdup(p, aq_redis_text_at(row, HOME_AT));
    batch->is_elsewhere = batch->home != NULL && strcmp(batch->home, queue->machine) != 0;
    batch->is_home_down = aq_redis_text_at(row, HOME_DOWN_AT) != NULL;
    return batch;
}

aq_webhook_t *aq_redis_webhook_read(const redisReply *row, apr_pool_t *p)
{
    aq_webhook_t *webhook = apr_pcalloc(p, sizeof(*webhook));

    return columns_read(aq_webhook_columns, AQ_WEBHOOK_COLUMN_COUNT, row, webhook, p) ? webhook : NULL;
}

/* The row, and before it the token where there is one: a claim's answer. */
static const redisReply *row_of(const redisReply *reply, aq_redis_row_t *row)
{
    if (reply->elements == 3) {
        row->token = aq_redis_number_at(reply, 1);
    }
    return reply->elements >= 2 ? reply->element[reply->elements - 1] : NULL;
}

int aq_redis_batch_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    aq_redis_row_t *row = data;
    const redisReply *at = row_of(reply, row);

    row->batch = at != NULL ? aq_redis_batch_read(call->queue, at, row->p) : NULL;
    return row->batch != NULL;
}

int aq_redis_webhook_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    aq_redis_row_t *row = data;
    const redisReply *at = row_of(reply, row);

    (void)call;
    row->webhook = at != NULL ? aq_redis_webhook_read(at, row->p) : NULL;
    return row->webhook != NULL;
}

int aq_redis_number_answer(aq_redis_call_t *call, const redisReply *reply, void *number)
{
    (void)call;
    *(int64_t *)number = aq_redis_number_at(reply, 1);
    return reply->elements == 2;
}
