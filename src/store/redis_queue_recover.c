/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis queue: jobs whose workers are lost. All that run are looked at, whatever is known of their leases. The script judges
 * the leases of this machine, by its boot clock; those of others are watched here, as redis_queue.h tells.
 */
#include "store/redis_queue_private.h"

#include "base/aq_hash.h"

#include <apr_strings.h>
#include <string.h>

#define PAGE 200
/* Whoever has not looked for so long, since Redis or this process stood still, has not watched. */
#define LOOK_GAP_MS INT64_C(15000)

typedef struct {
    char id[AQ_BATCH_ID_SIZE];
    int64_t token, beat;
    int has_lapsed; /* 0: it is another machine's, to be watched */
    int64_t lease_ms;
    aq_attempt_end_t end;
    int cancel_asked;
} running_t;

typedef struct {
    apr_array_header_t *jobs; /* of running_t */
    apr_pool_t *p;
    const char *behind; /* the ID to go on behind; "": that was all */
} look_t;

static int running_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    look_t *look = data;

    (void)call;
    if (reply->elements < 2 || aq_redis_text_at(reply, 1) == NULL) {
        return 0;
    }
    look->behind = apr_pstrdup(look->p, aq_redis_text_at(reply, 1));
    for (size_t i = 2; i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        running_t *job = apr_array_push(look->jobs);
        if (row->type != REDIS_REPLY_ARRAY || aq_redis_text_at(row, 0) == NULL) {
            return 0;
        }
        *job = (running_t){.token = aq_redis_number_at(row, 1),
                           .beat = aq_redis_number_at(row, 2),
                           .has_lapsed = (int)aq_redis_number_at(row, 3),
                           .lease_ms = aq_redis_number_at(row, 4),
                           .end = {.end = AQ_WORKER_LOST,
                                   .attempt = (int)aq_redis_number_at(row, 5),
                                   .max_attempts = (int)aq_redis_number_at(row, 6),
                                   .target_is_idempotent = aq_redis_number_at(row, 7) == 0},
                           .cancel_asked = (int)aq_redis_number_at(row, 8)};
        apr_cpystrn(job->id, aq_redis_text_at(row, 0), sizeof(job->id));
    }
    return 1;
}

/* All jobs of this status that have lapsed or are to be watched. */
static apr_status_t running_look(aq_queue_t *q, const char *status, const aq_queue_now_t *now, const char *dead_worker,
                                 look_t *look)
{
    apr_status_t rv;

    look->behind = "";
    do {
        aq_redis_call_t call;
        aq_redis_call_begin(&call, q, "lapsed");
        aq_redis_call_text(&call, status);
        aq_redis_call_text(&call, look->behind);
        aq_redis_call_text(&call, call.queue->machine);
        aq_redis_call_text(&call, dead_worker);
        aq_redis_call_text(&call, now->boot_id);
        aq_redis_call_number(&call, now->boot_ms);
        aq_redis_call_text(&call, call.queue->home);
        aq_redis_call_number(&call, PAGE);
        aq_redis_call_text(&call, call.queue->home_url);
        rv = aq_redis_call_end(&call, aq_redis_call_make(&call, running_answer, look));
    } while (rv == APR_SUCCESS && look->behind[0] != '\0');
    return rv;
}

/* ---- watching --------------------------------------------------------------------------------------------------- */

/* A look: what was seen in the last one, and what is seen in this one, which takes its place. */
typedef struct {
    aq_redis_queue_t *queue;
    apr_pool_t *pool;
    apr_hash_t *seen;
    int is_anew; /* nothing that was seen before counts */
    aq_time_ms_t now_ms;
} watch_t;

static apr_status_t watch_begin(watch_t *watch, aq_redis_queue_t *queue, aq_time_ms_t now_ms)
{
    *watch = (watch_t){.queue = queue, .now_ms = now_ms};
    (void)pthread_mutex_lock(&queue->watch_mutex);
    apr_status_t rv = apr_pool_create(&watch->pool, NULL);
    if (rv != APR_SUCCESS) {
        (void)pthread_mutex_unlock(&queue->watch_mutex);
        return rv;
    }
    watch->seen = apr_hash_make(watch->pool);
    watch->is_anew =
        queue->watched == NULL || now_ms < queue->watched_at_ms || now_ms - queue->watched_at_ms > LOOK_GAP_MS;
    return rv;
}

/* 1 where this lease has been seen for one and a half times its length, and not renewed. */
static int watch_lapsed(watch_t *watch, const char *id, int64_t token, int64_t beat, int64_t lease_ms)
{
    const aq_redis_sight_t *before =
        watch->is_anew ? NULL : apr_hash_get(watch->queue->watched, id, APR_HASH_KEY_STRING);
    aq_redis_sight_t *sight = apr_palloc(watch->pool, sizeof(*sight));

    *sight = (aq_redis_sight_t){.token = token, .beat = beat, .since_ms = watch->now_ms};
    if (before != NULL && before->token == token && before->beat == beat) {
        sight->since_ms = before->since_ms;
    }
    apr_hash_set(watch->seen, apr_pstrdup(watch->pool, id), APR_HASH_KEY_STRING, sight);
    return watch->now_ms - sight->since_ms >= lease_ms + lease_ms / 2 && lease_ms > 0;
}

/* `rv`: whether the look was whole; what one that failed has not seen is not lost for that. */
static void watch_end(watch_t *watch, apr_status_t rv)
{
    aq_redis_queue_t *queue = watch->queue;

    if (rv == APR_SUCCESS) {
        if (queue->watch_pool != NULL) {
            apr_pool_destroy(queue->watch_pool);
        }
        queue->watch_pool = watch->pool;
        queue->watched = watch->seen;
        queue->watched_at_ms = watch->now_ms;
    } else {
        apr_pool_destroy(watch->pool);
    }
    (void)pthread_mutex_unlock(&queue->watch_mutex);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

/* One that was renewed, or ended, meanwhile is let be. */
static apr_status_t job_recover(aq_queue_t *q, const aq_queue_now_t *now, const running_t *job, unsigned *recovered,
                                unsigned *failed)
{
    static const char detail[] = "the worker that ran it was lost";
    const aq_outcome_t outcome = aq_outcome_decide(&job->end, aq_hash_random_fraction());
    char beat[24];
    apr_status_t rv;

    (void)apr_snprintf(beat, sizeof(beat), "%" APR_INT64_T_FMT, job->beat);
    if (outcome.status == AQ_BATCH_QUEUED || job->cancel_asked) {
        rv = aq_redis_job_again(q, job->id, job->token, beat, now, outcome.wait_ms, 0, outcome.error_code, detail);
        *recovered += rv == APR_SUCCESS;
    } else {
        const aq_job_result_t result = {.status = outcome.status,
                                        .response = {.bytes = -1},
                                        .error_code = outcome.error_code,
                                        .error_detail = detail};
        rv = aq_redis_job_finish(q, job->id, job->token, beat, now, &result);
        *failed += rv == APR_SUCCESS;
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t jobs_recover(aq_queue_t *q, watch_t *watch, const aq_queue_now_t *now, const char *dead_worker,
                                 unsigned *recovered, unsigned *failed)
{
    look_t look = {.p = watch->pool, .jobs = apr_array_make(watch->pool, 16, sizeof(running_t))};
    apr_status_t rv = running_look(q, "running", now, dead_worker, &look);

    if (rv == APR_SUCCESS) {
        rv = running_look(q, "canceling", now, dead_worker, &look);
    }
    for (int i = 0; rv == APR_SUCCESS && i < look.jobs->nelts; i++) {
        const running_t *job = &APR_ARRAY_IDX(look.jobs, i, running_t);
        if (job->has_lapsed || watch_lapsed(watch, job->id, job->token, job->beat, job->lease_ms)) {
            rv = job_recover(q, now, job, recovered, failed);
        }
    }
    return rv;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

typedef struct {
    char id[AQ_WEBHOOK_ID_SIZE];
    int64_t token, lease_ms;
} claimed_t;

static int claimed_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    apr_array_header_t *claimed = data;

    (void)call;
    for (size_t i = 1; i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        claimed_t *one = apr_array_push(claimed);
        if (row->type != REDIS_REPLY_ARRAY || aq_redis_text_at(row, 0) == NULL) {
            return 0;
        }
        apr_cpystrn(one->id, aq_redis_text_at(row, 0), sizeof(one->id));
        one->token = aq_redis_number_at(row, 1);
        one->lease_ms = aq_redis_number_at(row, 2);
    }
    return 1;
}

static apr_status_t message_end(aq_queue_t *q, const claimed_t *one, const aq_queue_now_t *now)
{
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "webhook_end");
    aq_redis_call_text(&call, one->id);
    aq_redis_call_number(&call, one->token);
    aq_redis_call_number(&call, AQ_WEBHOOK_ATTEMPTS_MAX);
    aq_redis_call_number(&call, now->wall_ms + AQ_WEBHOOK_KEPT_MS);
    apr_status_t rv = aq_redis_call_end(&call, aq_redis_call_make(&call, NULL, NULL));
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t messages_recover(aq_queue_t *q, watch_t *watch, const aq_queue_now_t *now, const char *dead_worker)
{
    apr_array_header_t *claimed = apr_array_make(watch->pool, 8, sizeof(claimed_t));
    aq_redis_call_t call;

    aq_redis_call_begin(&call, q, "webhook_lapsed");
    aq_redis_call_text(&call, call.queue->machine);
    aq_redis_call_text(&call, dead_worker);
    aq_redis_call_text(&call, now->boot_id);
    aq_redis_call_number(&call, now->boot_ms);
    aq_redis_call_number(&call, AQ_WEBHOOK_ATTEMPTS_MAX);
    aq_redis_call_number(&call, now->wall_ms + AQ_WEBHOOK_KEPT_MS);
    apr_status_t rv = aq_redis_call_end(&call, aq_redis_call_make(&call, claimed_answer, claimed));
    for (int i = 0; rv == APR_SUCCESS && i < claimed->nelts; i++) {
        const claimed_t *one = &APR_ARRAY_IDX(claimed, i, claimed_t);
        if (watch_lapsed(watch, one->id, one->token, 0, one->lease_ms)) {
            rv = message_end(q, one, now);
        }
    }
    return rv;
}

apr_status_t aq_redis_recover(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker, unsigned *recovered,
                              unsigned *failed)
{
    watch_t watch;

    *recovered = *failed = 0;
    apr_status_t rv = watch_begin(&watch, aq_redis_queue_of(q), now->boot_ms);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = jobs_recover(q, &watch, now, dead_worker, recovered, failed);
    if (rv == APR_SUCCESS) {
        rv = messages_recover(q, &watch, now, dead_worker);
    }
    watch_end(&watch, rv);
    return rv;
}
