/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis queue, for workers: claim, renew, and the ways a job ends; and what becomes of a claim or an end whose answer was
 * lost (redis_queue.h says why). Recovery is in redis_queue_recover.c.
 */
#include "store/redis_queue_private.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

/* Ends that were given up, since their lease was lost meanwhile, are never asked about again. */
#define DOUBTS_MAX 1024

/* ---- doubts ----------------------------------------------------------------------------------------------------- */

/* Forgets the oldest where there are too many. */
static void doubts_bound(aq_redis_queue_t *queue)
{
    aq_redis_doubt_t **at = &queue->doubts;
    int count = 0;

    while (*at != NULL && count < DOUBTS_MAX) {
        at = &(*at)->next;
        count++;
    }
    if (*at != NULL) {
        free(*at);
        *at = NULL;
    }
}

/* Where memory runs out, a claim is left to its worker's end, and an end that was done is taken for a lost lease. */
static void doubt_add(aq_redis_queue_t *queue, const char *id, int64_t token, const char *name)
{
    aq_redis_doubt_t *doubt = calloc(1, sizeof(*doubt));

    if (doubt == NULL) {
        return;
    }
    apr_cpystrn(doubt->id, id, sizeof(doubt->id));
    apr_cpystrn(doubt->name, name, sizeof(doubt->name));
    doubt->token = token;
    (void)pthread_mutex_lock(&queue->mutex);
    doubt->next = queue->doubts;
    queue->doubts = doubt;
    doubts_bound(queue);
    (void)pthread_mutex_unlock(&queue->mutex);
}

/* Takes the doubt about this end out, with its name; 0 where there is none. */
static int doubt_take(aq_redis_queue_t *queue, const char *id, int64_t token, char name[AQ_REDIS_NAME_SIZE])
{
    (void)pthread_mutex_lock(&queue->mutex);
    aq_redis_doubt_t **at = &queue->doubts;
    while (*at != NULL && ((*at)->token != token || strcmp((*at)->id, id) != 0)) {
        at = &(*at)->next;
    }
    aq_redis_doubt_t *doubt = *at;
    if (doubt != NULL) {
        *at = doubt->next;
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    if (doubt == NULL) {
        return 0;
    }
    apr_cpystrn(name, doubt->name, AQ_REDIS_NAME_SIZE);
    free(doubt);
    return 1;
}

/* ---- claims ----------------------------------------------------------------------------------------------------- */

/* Adds the names of the claims that are in doubt, and returns how many. */
static int doubts_tell(aq_redis_queue_t *queue, aq_redis_call_t *call)
{
    int count = 0;

    (void)pthread_mutex_lock(&queue->mutex);
    for (const aq_redis_doubt_t *doubt = queue->doubts; doubt != NULL; doubt = doubt->next) {
        if (doubt->id[0] == '\0' && call->pool != NULL) {
            aq_redis_call_text(call, apr_pstrdup(call->pool, doubt->name));
            count++;
        }
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    return count;
}

/* Those told by `call`, whose words end with `count` names, are in doubt no more. */
static void doubts_end(aq_redis_queue_t *queue, const aq_redis_call_t *call, int count)
{
    (void)pthread_mutex_lock(&queue->mutex);
    for (int i = call->words->nelts - count; i < call->words->nelts; i++) {
        aq_redis_doubt_t **at = &queue->doubts;
        while (*at != NULL && strcmp((*at)->name, APR_ARRAY_IDX(call->words, i, const char *)) != 0) {
            at = &(*at)->next;
        }
        aq_redis_doubt_t *doubt = *at;
        if (doubt != NULL) {
            *at = doubt->next;
            free(doubt);
        }
    }
    (void)pthread_mutex_unlock(&queue->mutex);
}

/*
 * Takes back the claims whose answers were lost. One that Redis has not read yet comes after its epoch then, and claims
 * nothing; nor does one of another thread that was on its way: that asks again.
 */
static apr_status_t claims_settle(aq_queue_t *q, const char *worker, const aq_queue_now_t *now)
{
    aq_redis_queue_t *queue = aq_redis_queue_of(q);
    aq_redis_call_t call;
    apr_status_t rv = APR_SUCCESS;

    (void)pthread_mutex_lock(&queue->settle_mutex);
    aq_redis_call_begin(&call, q, "settle");
    aq_redis_call_text(&call, worker);
    aq_redis_call_number(&call, atomic_load(&queue->epoch) + 1);
    aq_redis_call_number(&call, now->wall_ms);
    aq_redis_call_number(&call, AQ_BATCH_RETENTION_MS);
    int count = doubts_tell(queue, &call);
    if (count > 0) {
        atomic_fetch_add(&queue->epoch, 1);
        rv = aq_redis_call_make(&call, NULL, NULL);
        if (rv == APR_SUCCESS) {
            doubts_end(queue, &call, count);
        }
    }
    (void)aq_redis_call_end(&call, rv);
    (void)pthread_mutex_unlock(&queue->settle_mutex);
    return rv;
}

static int has_claims_in_doubt(aq_redis_queue_t *queue)
{
    int has = 0;

    (void)pthread_mutex_lock(&queue->mutex);
    for (const aq_redis_doubt_t *doubt = queue->doubts; doubt != NULL; doubt = doubt->next) {
        has |= doubt->id[0] == '\0';
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    return has;
}

static void lease_words(aq_redis_call_t *call, const aq_queue_now_t *now, int lease_ms)
{
    aq_redis_call_number(call, now->boot_ms + lease_ms);
    aq_redis_call_text(call, now->boot_id);
    aq_redis_call_text(call, call->queue->machine);
    aq_redis_call_number(call, lease_ms);
}

static void limits_words(aq_redis_call_t *call, const aq_queue_limits_t *limits)
{
    aq_redis_call_number(call, limits != NULL ? limits->tenant_most : 0);
    if (limits == NULL || limits->locations == NULL || call->pool == NULL) {
        return;
    }
    for (apr_hash_index_t *i = apr_hash_first(call->pool, limits->locations); i != NULL; i = apr_hash_next(i)) {
        const aq_concurrency_t *set = apr_hash_this_val(i);
        if (set->most > 0) {
            aq_redis_call_text(call, apr_hash_this_key(i));
            aq_redis_call_number(call, set->most);
            aq_redis_call_number(call, set->per_endpoint != 0);
        }
    }
}

apr_status_t aq_redis_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                            const aq_queue_limits_t *limits, aq_job_t *job)
{
    aq_redis_queue_t *queue = aq_redis_queue_of(q);
    aq_redis_row_t row = {.p = p};
    char name[AQ_REDIS_NAME_SIZE];
    aq_redis_call_t call;
    apr_status_t rv;

    *job = (aq_job_t){.batch = NULL};
    if (has_claims_in_doubt(queue) && (rv = claims_settle(q, worker, now)) != APR_SUCCESS) {
        return rv;
    }
    aq_redis_queue_name(queue, name);
    aq_redis_call_begin(&call, q, "claim");
    aq_redis_call_text(&call, worker);
    aq_redis_call_number(&call, atomic_load(&queue->epoch));
    aq_redis_call_text(&call, name);
    aq_redis_call_number(&call, now->wall_ms);
    lease_words(&call, now, lease_ms);
    aq_redis_call_text(&call, queue->home);
    limits_words(&call, limits);
    rv = aq_redis_call_make(&call, aq_redis_batch_answer, &row);
    if (call.is_doubtful) {
        doubt_add(queue, "", 0, name);
    } else if (rv == APR_SUCCESS) {
        *job = (aq_job_t){.batch = row.batch, .token = row.token};
    }
    return aq_redis_call_end(&call, rv);
}

/* id, token, whether cancel was asked for */
static int leases_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    apr_array_header_t *leases = data;

    (void)call;
    if (reply->elements != 2 || reply->element[1]->type != REDIS_REPLY_ARRAY) {
        return 0;
    }
    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        const redisReply *row = reply->element[1]->element[i];
        aq_lease_t *lease = apr_array_push(leases);
        if (row->type != REDIS_REPLY_ARRAY || aq_redis_text_at(row, 0) == NULL) {
            return 0;
        }
        apr_cpystrn(lease->id, aq_redis_text_at(row, 0), sizeof(lease->id));
        lease->token = aq_redis_number_at(row, 1);
        lease->cancel_asked = (int)aq_redis_number_at(row, 2);
    }
    return 1;
}

static apr_status_t leases_ask(aq_redis_call_t *call, apr_pool_t *p, apr_array_header_t **leases)
{
    *leases = apr_array_make(p, 8, sizeof(aq_lease_t));
    apr_status_t rv = aq_redis_call_make(call, leases_answer, *leases);
    if (rv != APR_SUCCESS) {
        apr_array_clear(*leases);
    }
    return aq_redis_call_end(call, rv);
}

apr_status_t aq_redis_renew(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                            apr_array_header_t **held)
{
    aq_redis_call_t call;
    apr_status_t rv;

    *held = apr_array_make(p, 0, sizeof(aq_lease_t));
    /* A claim that nobody knows of must not be kept alive. */
    if (has_claims_in_doubt(aq_redis_queue_of(q)) && (rv = claims_settle(q, worker, now)) != APR_SUCCESS) {
        return rv;
    }
    aq_redis_call_begin(&call, q, "renew");
    aq_redis_call_text(&call, worker);
    lease_words(&call, now, lease_ms);
    return leases_ask(&call, p, held);
}

apr_status_t aq_redis_cancels(aq_queue_t *q, apr_pool_t *p, const char *worker, apr_array_header_t **asked)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "cancels");
    aq_redis_call_text(&call, worker);
    return leases_ask(&call, p, asked);
}

apr_status_t aq_redis_progress(aq_queue_t *q, const char *id, int64_t token, int64_t done, int64_t total,
                               int64_t failed)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "progress");
    aq_redis_call_text(&call, id);
    aq_redis_call_number(&call, token);
    aq_redis_call_number(&call, done);
    aq_redis_call_number(&call, total);
    aq_redis_call_number(&call, failed);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, NULL, NULL));
}

/* ---- ends ------------------------------------------------------------------------------------------------------- */

/* Begins the end of a job, under the name of the same end before, where that is in doubt. */
static void end_begin(aq_redis_call_t *call, aq_queue_t *q, const char *verb, const char *id, int64_t token,
                      const char *beat, const aq_queue_now_t *now, char name[AQ_REDIS_NAME_SIZE])
{
    aq_redis_queue_t *queue = aq_redis_queue_of(q);

    if (!doubt_take(queue, id, token, name)) {
        aq_redis_queue_name(queue, name);
    }
    aq_redis_call_begin(call, q, verb);
    aq_redis_call_text(call, id);
    aq_redis_call_number(call, token);
    aq_redis_call_text(call, name);
    aq_redis_call_text(call, beat);
    aq_redis_call_number(call, now->wall_ms);
    aq_redis_call_number(call, AQ_BATCH_RETENTION_MS);
}

/* While it is not known what came of it the name is kept. */
static apr_status_t end_make(aq_redis_call_t *call, const char *id, int64_t token, const char *name)
{
    apr_status_t rv = aq_redis_call_make(call, NULL, NULL);

    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        doubt_add(call->queue, id, token, name);
    }
    return aq_redis_call_end(call, rv);
}

apr_status_t aq_redis_job_finish(aq_queue_t *q, const char *id, int64_t token, const char *beat,
                                 const aq_queue_now_t *now, const aq_job_result_t *result)
{
    char name[AQ_REDIS_NAME_SIZE];
    aq_redis_call_t call;

    end_begin(&call, q, "finish", id, token, beat, now, name);
    aq_redis_call_text(&call, aq_batch_status_name(result->status));
    aq_redis_call_number(&call, result->response.bytes);
    aq_redis_call_field_number(&call, "response_status", result->response_status);
    aq_redis_call_field(&call, "response_headers", result->response_headers);
    aq_redis_call_field(&call, "response_type", result->response.content_type);
    aq_redis_call_field(&call, "response_sha256", result->response.sha256);
    aq_redis_call_field(&call, "error_code", result->error_code);
    aq_redis_call_field(&call, "error_detail", result->error_detail);
    return end_make(&call, id, token, name);
}

apr_status_t aq_redis_job_again(aq_queue_t *q, const char *id, int64_t token, const char *beat,
                                const aq_queue_now_t *now, int64_t wait_ms, int uncount, const char *error_code,
                                const char *error_detail)
{
    char name[AQ_REDIS_NAME_SIZE];
    aq_redis_call_t call;

    end_begin(&call, q, "again", id, token, beat, now, name);
    aq_redis_call_number(&call, wait_ms > 0 ? now->wall_ms + wait_ms : 0);
    aq_redis_call_number(&call, uncount);
    aq_redis_call_field(&call, "error_code", error_code);
    aq_redis_call_field(&call, "error_detail", error_detail);
    return end_make(&call, id, token, name);
}

apr_status_t aq_redis_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                             const aq_job_result_t *result)
{
    return aq_redis_job_finish(q, id, token, NULL, now, result);
}

apr_status_t aq_redis_again(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms,
                            const char *error_code, const char *error_detail)
{
    return aq_redis_job_again(q, id, token, NULL, now, wait_ms, 0, error_code, error_detail);
}

apr_status_t aq_redis_hand_back(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                int64_t wait_ms)
{
    return aq_redis_job_again(q, id, token, NULL, now, wait_ms, 1, NULL, NULL);
}
