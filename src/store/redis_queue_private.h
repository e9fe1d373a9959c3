/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the Redis queue share: the open queue, and a call of its script.
 *
 * A call is begun, told its words in the order that the script's verb says, made, and ended, whatever came of it; what it
 * holds meanwhile is its own.
 */
#ifndef AQ_REDIS_QUEUE_PRIVATE_H
#define AQ_REDIS_QUEUE_PRIVATE_H

#include "store/queue_columns.h"
#include "store/redis_queue.h"
#include "store/redis_queue_script.h"
#include "store/redis_request.h"

#include <pthread.h>
#include <stdatomic.h>

#define AQ_REDIS_NAME_SIZE 40

/* A claim, or the end of a job, of which it is not known whether it was done. */
typedef struct aq_redis_doubt_t aq_redis_doubt_t;
struct aq_redis_doubt_t {
    aq_redis_doubt_t *next;
    char id[AQ_BATCH_ID_SIZE]; /* of an end; "" for a claim */
    int64_t token;
    char name[AQ_REDIS_NAME_SIZE];
};

/* A lease of another machine, as it was first seen. */
typedef struct {
    int64_t token, beat;
    aq_time_ms_t since_ms; /* boot clock */
} aq_redis_sight_t;

typedef struct {
    aq_queue_t queue; /* first: an aq_queue_t * is also a pointer to this */
    apr_pool_t *pool;
    aq_redis_link_t *link;
    const char *machine;
    const char *home;     /* "" where the spool is shared */
    const char *home_url; /* "" where there is none */
    aq_redis_durability_t durability;
    aq_redis_script_t script;
    _Atomic uint64_t checked_place; /* of the server that was durable; 0: none, since it was last away */
    _Atomic int64_t refused_at_ms;
    pthread_mutex_t tend_mutex; /* one thread at a time tries a server that is away */
    char owner[AQ_REDIS_NAME_SIZE / 2];
    atomic_uint named;
    pthread_mutex_t mutex; /* of what follows */
    aq_redis_doubt_t *doubts;
    pthread_mutex_t settle_mutex;
    _Atomic int64_t epoch; /* of claims */
    pthread_mutex_t watch_mutex;
    apr_pool_t *watch_pool;
    apr_hash_t *watched; /* of aq_redis_sight_t, by the ID of a job or message; anew at each look */
    aq_time_ms_t watched_at_ms;
} aq_redis_queue_t;

static inline aq_redis_queue_t *aq_redis_queue_of(aq_queue_t *q)
{
    return (aq_redis_queue_t *)(void *)q;
}

typedef struct aq_redis_call_t aq_redis_call_t;

/* Reads what follows the code of an answer that is DONE; gone after the call. 0 where it is not what was asked for. */
typedef int aq_redis_answer_fn(aq_redis_call_t *call, const redisReply *reply, void *data);

struct aq_redis_call_t {
    aq_redis_queue_t *queue;
    apr_pool_t *pool; /* of the call alone */
    apr_array_header_t *words;
    aq_redis_answer_fn *read;
    void *data;
    aq_redis_code_t code;
    int is_doubtful; /* it may have been done or not */
};

/* Begins; a failure of it is told by aq_redis_call_make. */
void aq_redis_call_begin(aq_redis_call_t *call, aq_queue_t *q, const char *verb);
void aq_redis_call_text(aq_redis_call_t *call, const char *text); /* NULL: "" */
void aq_redis_call_number(aq_redis_call_t *call, int64_t number);
/* A field of a row; none where it is NULL or 0. */
void aq_redis_call_field(aq_redis_call_t *call, const char *name, const char *text);
void aq_redis_call_field_number(aq_redis_call_t *call, const char *name, int64_t number);

/* Makes it, and has the answer read (`read` NULL: there is nothing to read). What the queue's functions answer. */
apr_status_t aq_redis_call_make(aq_redis_call_t *call, aq_redis_answer_fn *read, void *data);
/* Ends it; `rv` again. */
apr_status_t aq_redis_call_end(aq_redis_call_t *call, apr_status_t rv);

/* A name that no other call has had. */
void aq_redis_queue_name(aq_redis_queue_t *queue, char name[AQ_REDIS_NAME_SIZE]);

/* ---- rows and answers (redis_queue_rows.c) ---- */

void aq_redis_batch_words(aq_redis_call_t *call, const aq_batch_t *batch);
/* A row into a new batch, or message, in `p`; NULL where it is none. */
aq_batch_t *aq_redis_batch_read(const aq_redis_queue_t *queue, const redisReply *row, apr_pool_t *p);
aq_webhook_t *aq_redis_webhook_read(const redisReply *row, apr_pool_t *p);
/* Element `i` of an answer; NULL, or 0, where there is none. */
const char *aq_redis_text_at(const redisReply *reply, size_t i);
int64_t aq_redis_number_at(const redisReply *reply, size_t i);

/* Where an answer's row, or message, goes. */
typedef struct {
    apr_pool_t *p;
    aq_batch_t *batch;
    aq_webhook_t *webhook;
    int64_t token;
} aq_redis_row_t;
int aq_redis_batch_answer(aq_redis_call_t *call, const redisReply *reply, void *row);
int aq_redis_webhook_answer(aq_redis_call_t *call, const redisReply *reply, void *row);
int aq_redis_number_answer(aq_redis_call_t *call, const redisReply *reply, void *number);

/* ---- the queue's functions ---- */

apr_status_t aq_redis_submit(aq_queue_t *q, const aq_batch_t *batch, const aq_queue_bounds_t *bounds,
                             apr_pool_t *ptemp);
apr_status_t aq_redis_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_batch_t **batch);
apr_status_t aq_redis_find_key(aq_queue_t *q, apr_pool_t *p, const char *tenant, const char *idempotency_key,
                               aq_batch_t **batch);
apr_status_t aq_redis_use(aq_queue_t *q, const char *tenant, aq_queue_use_t *use);
apr_status_t aq_redis_counts(aq_queue_t *q, const char *tenant, aq_queue_counts_t *counts);
apr_status_t aq_redis_list(aq_queue_t *q, apr_pool_t *p, const aq_queue_query_t *query, aq_queue_page_t *page);
apr_status_t aq_redis_cancel(aq_queue_t *q, apr_pool_t *p, const char *id, const aq_queue_now_t *now,
                             aq_batch_t **batch);
apr_status_t aq_redis_retry(aq_queue_t *q, const char *id, const aq_queue_now_t *now, aq_expired_t *gone);
apr_status_t aq_redis_remove(aq_queue_t *q, const char *id, aq_expired_t *gone);
apr_status_t aq_redis_overdue(aq_queue_t *q, const aq_queue_now_t *now, unsigned *failed);
apr_status_t aq_redis_expire(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                             apr_array_header_t **expired, int *has_more);
apr_status_t aq_redis_trim(aq_queue_t *q, apr_pool_t *p, int64_t bytes, int most, apr_array_header_t **trimmed);
apr_status_t aq_redis_forget(aq_queue_t *q, const aq_expired_t *gone);
apr_status_t aq_redis_look(aq_queue_t *q, apr_pool_t *ptemp, const char *id, aq_queue_look_fn *fn, void *data);
apr_status_t aq_redis_home(aq_queue_t *q, apr_pool_t *p, const char *machine, aq_queue_home_t *home);

apr_status_t aq_redis_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                            const aq_queue_limits_t *limits, aq_job_t *job);
apr_status_t aq_redis_renew(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                            apr_array_header_t **held);
apr_status_t aq_redis_cancels(aq_queue_t *q, apr_pool_t *p, const char *worker, apr_array_header_t **asked);
apr_status_t aq_redis_progress(aq_queue_t *q, const char *id, int64_t token, int64_t done, int64_t total,
                               int64_t failed);
apr_status_t aq_redis_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                             const aq_job_result_t *result);
apr_status_t aq_redis_again(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms,
                            const char *error_code, const char *error_detail);
apr_status_t aq_redis_hand_back(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                int64_t wait_ms);
apr_status_t aq_redis_recover(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker, unsigned *recovered,
                              unsigned *failed);

apr_status_t aq_redis_webhook_test(aq_queue_t *q, const char *id, const char *tenant, const aq_queue_now_t *now);
apr_status_t aq_redis_webhook_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_webhook_t **webhook);
apr_status_t aq_redis_webhook_list(aq_queue_t *q, apr_pool_t *p, const aq_webhook_query_t *query,
                                   apr_array_header_t **webhooks);
apr_status_t aq_redis_webhook_retry(aq_queue_t *q, const char *id);
apr_status_t aq_redis_webhook_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                    int lease_ms, int tenant_most, aq_delivery_t *delivery);
apr_status_t aq_redis_webhook_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                     const aq_delivery_result_t *result);

/* A job's end, by whoever writes it: `beat` NULL, or what the lease must still be at (redis_queue_jobs.c). */
apr_status_t aq_redis_job_finish(aq_queue_t *q, const char *id, int64_t token, const char *beat,
                                 const aq_queue_now_t *now, const aq_job_result_t *result);
apr_status_t aq_redis_job_again(aq_queue_t *q, const char *id, int64_t token, const char *beat,
                                const aq_queue_now_t *now, int64_t wait_ms, int uncount, const char *error_code,
                                const char *error_detail);

#endif
