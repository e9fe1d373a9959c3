/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis queue: opening it, and calling its script. What is asked of batches is in redis_queue_batches.c, what workers ask
 * in redis_queue_jobs.c and redis_queue_recover.c, messages in redis_queue_webhooks.c; the layout is told in
 * redis_queue_script.h.
 */
#include "store/redis_queue_private.h"

#include "base/aq_hash.h"
#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_PAUSE_MS INT64_C(10000)
/* So often a call is made, where the queue goes to another server of a cluster each time. */
#define PLACES_MAX 3

/* ---- calls ------------------------------------------------------------------------------------------------------ */

void aq_redis_call_begin(aq_redis_call_t *call, aq_queue_t *q, const char *verb)
{
    *call = (aq_redis_call_t){.queue = aq_redis_queue_of(q)};
    if (apr_pool_create(&call->pool, NULL) != APR_SUCCESS) {
        call->pool = NULL;
        return;
    }
    call->words = apr_array_make(call->pool, 32, sizeof(const char *));
    aq_redis_call_text(call, "EVALSHA");
    aq_redis_call_text(call, call->queue->script.sha);
    aq_redis_call_text(call, "1");
    aq_redis_call_text(call, AQ_REDIS_QUEUE_PREFIX);
    aq_redis_call_text(call, verb);
}

void aq_redis_call_text(aq_redis_call_t *call, const char *text)
{
    if (call->pool != NULL) {
        APR_ARRAY_PUSH(call->words, const char *) = text != NULL ? text : "";
    }
}

void aq_redis_call_number(aq_redis_call_t *call, int64_t number)
{
    if (call->pool != NULL) {
        aq_redis_call_text(call, apr_psprintf(call->pool, "%" APR_INT64_T_FMT, number));
    }
}

void aq_redis_call_field(aq_redis_call_t *call, const char *name, const char *text)
{
    if (text != NULL) {
        aq_redis_call_text(call, name);
        aq_redis_call_text(call, text);
    }
}

void aq_redis_call_field_number(aq_redis_call_t *call, const char *name, int64_t number)
{
    if (number != 0) {
        aq_redis_call_text(call, name);
        aq_redis_call_number(call, number);
    }
}

static aq_redis_failure_t answer_read(void *data, const redisReply *reply)
{
    aq_redis_call_t *call = data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 || reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[0]->integer < 0 || reply->element[0]->integer >= AQ_REDIS_CODES) {
        return AQ_REDIS_PROTOCOL;
    }
    call->code = (aq_redis_code_t)reply->element[0]->integer;
    return call->code != AQ_REDIS_CODE_DONE || call->read == NULL || call->read(call, reply, call->data)
               ? AQ_REDIS_DONE
               : AQ_REDIS_PROTOCOL;
}

static apr_status_t status_of(aq_redis_failure_t failure)
{
    switch (failure) {
    case AQ_REDIS_DONE:
        return APR_SUCCESS;
    case AQ_REDIS_TIMEOUT:
        return APR_TIMEUP;
    case AQ_REDIS_DOWN:
    case AQ_REDIS_REFUSED:
    case AQ_REDIS_CLOSED:
    case AQ_REDIS_CLUSTERDOWN:
        return ECONNREFUSED;
    case AQ_REDIS_OOM:
        return APR_ENOMEM;
    case AQ_REDIS_LOADING:
    case AQ_REDIS_BUSY:
    case AQ_REDIS_MOVING:
        return EBUSY; /* not APR_EBUSY, which tells of a lock */
    case AQ_REDIS_READONLY:
    case AQ_REDIS_MISCONF:
        return EROFS;
    case AQ_REDIS_NOAUTH:
        return EACCES;
    default:
        return APR_EGENERAL;
    }
}

static int is_doubtful(aq_redis_failure_t failure)
{
    return failure == AQ_REDIS_TIMEOUT || failure == AQ_REDIS_CLOSED || failure == AQ_REDIS_PROTOCOL;
}

/*
 * There may be no timer in this process that tries a server which is away, and follows a failover: whoever comes when it is
 * time does.
 */
static void server_tend(aq_redis_queue_t *queue)
{
    if (pthread_mutex_trylock(&queue->tend_mutex) == 0) {
        (void)aq_redis_link_tend(queue->link);
        (void)pthread_mutex_unlock(&queue->tend_mutex);
    }
}

/* A server that was away, or that has the queue since a failover, may be another, or have been told otherwise. */
static apr_status_t durability_check(aq_redis_call_t *call)
{
    aq_redis_queue_t *queue = call->queue;
    const uint64_t place = aq_redis_link_place_of(queue->link, AQ_REDIS_QUEUE_PREFIX);
    int64_t now_ms = aq_clock_boot_ms(), refused_at_ms = atomic_load(&queue->refused_at_ms);
    const char *error;

    if (atomic_load(&queue->checked_place) == place) {
        return APR_SUCCESS;
    }
    apr_status_t rv = aq_redis_durability_check(call->pool, queue->link, queue->durability, &error);
    if (rv == APR_SUCCESS) {
        atomic_store(&queue->checked_place, place);
    } else if (rv == APR_EGENERAL && (refused_at_ms == 0 || now_ms - refused_at_ms >= LOG_PAUSE_MS) &&
               atomic_compare_exchange_strong(&queue->refused_at_ms, &refused_at_ms, now_ms)) {
        AQ_LOG(AQ_LOG_ERROR, 442, APR_SUCCESS, "the queue is not used: %s", error);
    }
    return rv;
}

static aq_redis_failure_t ask(aq_redis_call_t *call)
{
    const char **words = (const char **)(void *)call->words->elts;
    const char **with_text = apr_pmemdup(call->pool, words, (size_t)call->words->nelts * sizeof(*words));
    size_t *sizes = apr_palloc(call->pool, (size_t)call->words->nelts * sizeof(*sizes));
    size_t *text_sizes = apr_palloc(call->pool, (size_t)call->words->nelts * sizeof(*text_sizes));

    with_text[0] = "EVAL";
    with_text[1] = call->queue->script.text;
    for (int i = 0; i < call->words->nelts; i++) {
        sizes[i] = strlen(words[i]);
        text_sizes[i] = strlen(with_text[i]);
    }
    const aq_redis_command_t command = {
        .count = call->words->nelts, .words = words, .sizes = sizes, .is_whole = 1, .stays = 1};
    const aq_redis_command_t otherwise = {
        .count = call->words->nelts, .words = with_text, .sizes = text_sizes, .is_whole = 1, .stays = 1};
    return aq_redis_ask(call->queue->link, &command, &otherwise, answer_read, call);
}

apr_status_t aq_redis_call_make(aq_redis_call_t *call, aq_redis_answer_fn *read, void *data)
{
    static const apr_status_t of_codes[AQ_REDIS_CODES] = {
        [AQ_REDIS_CODE_DONE] = APR_SUCCESS, [AQ_REDIS_CODE_NONE] = APR_NOTFOUND, [AQ_REDIS_CODE_EXISTS] = APR_EEXIST,
        [AQ_REDIS_CODE_FULL] = APR_EAGAIN,  [AQ_REDIS_CODE_QUOTA] = EDQUOT,      [AQ_REDIS_CODE_WRONG] = APR_EINVAL,
        [AQ_REDIS_CODE_GONE] = APR_ENOENT,  [AQ_REDIS_CODE_BUSY] = APR_EBUSY,
    };
    apr_status_t rv;

    if (call->pool == NULL) {
        return APR_ENOMEM;
    }
    call->read = read;
    call->data = data;
    server_tend(call->queue);
    aq_redis_failure_t failure = AQ_REDIS_MOVED;
    for (int i = 0; failure == AQ_REDIS_MOVED && i < PLACES_MAX; i++) {
        if ((rv = durability_check(call)) != APR_SUCCESS) {
            return rv;
        }
        failure = ask(call);
    }
    if (failure == AQ_REDIS_DONE) {
        return of_codes[call->code];
    }
    call->is_doubtful = is_doubtful(failure);
    atomic_store(&call->queue->checked_place, 0);
    return status_of(failure);
}

apr_status_t aq_redis_call_end(aq_redis_call_t *call, apr_status_t rv)
{
    if (call->pool != NULL) {
        apr_pool_destroy(call->pool);
    }
    return rv;
}

void aq_redis_queue_name(aq_redis_queue_t *queue, char name[AQ_REDIS_NAME_SIZE])
{
    (void)snprintf(name, AQ_REDIS_NAME_SIZE, "%s-%x", queue->owner, atomic_fetch_add(&queue->named, 1));
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static apr_status_t queue_cleanup(void *data)
{
    aq_redis_queue_t *queue = data;

    while (queue->doubts != NULL) {
        aq_redis_doubt_t *doubt = queue->doubts;
        queue->doubts = doubt->next;
        free(doubt);
    }
    if (queue->watch_pool != NULL) {
        apr_pool_destroy(queue->watch_pool);
    }
    return APR_SUCCESS;
}

/* Its pool is its own: the link, and what it holds, goes with it. */
static void redis_close(aq_queue_t *q)
{
    apr_pool_destroy(aq_redis_queue_of(q)->pool);
}

static const aq_queue_ops_t redis_queue_ops = {
    .name = "redis",
    .submit = aq_redis_submit,
    .find = aq_redis_find,
    .find_key = aq_redis_find_key,
    .use = aq_redis_use,
    .list = aq_redis_list,
    .cancel = aq_redis_cancel,
    .retry = aq_redis_retry,
    .remove = aq_redis_remove,
    .claim = aq_redis_claim,
    .renew = aq_redis_renew,
    .cancels = aq_redis_cancels,
    .progress = aq_redis_progress,
    .finish = aq_redis_finish,
    .again = aq_redis_again,
    .hand_back = aq_redis_hand_back,
    .recover = aq_redis_recover,
    .overdue = aq_redis_overdue,
    .counts = aq_redis_counts,
    .expire = aq_redis_expire,
    .webhook_test = aq_redis_webhook_test,
    .webhook_find = aq_redis_webhook_find,
    .webhook_list = aq_redis_webhook_list,
    .webhook_retry = aq_redis_webhook_retry,
    .webhook_claim = aq_redis_webhook_claim,
    .webhook_finish = aq_redis_webhook_finish,
    .trim = aq_redis_trim,
    .forget = aq_redis_forget,
    .look = aq_redis_look,
    .home = aq_redis_home,
    .close = redis_close,
};

static apr_status_t owner_name(aq_redis_queue_t *queue)
{
    unsigned char random[(sizeof(queue->owner) - 1) / 2];
    apr_status_t rv = aq_hash_random(random, sizeof(random));

    if (rv == APR_SUCCESS) {
        aq_hash_hex_write(queue->owner, random, sizeof(random));
    }
    return rv;
}

static apr_status_t parts_make(aq_redis_queue_t *queue, const aq_redis_address_t *address, const char **error)
{
    apr_pool_t *p = queue->pool;
    apr_status_t rv = aq_redis_link_open(p, address, &queue->link, error);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *error = "the queue in Redis cannot be prepared";
    queue->script.text = aq_redis_queue_script(p);
    if ((rv = aq_hash_sha1_hex(queue->script.text, strlen(queue->script.text), queue->script.sha)) != APR_SUCCESS ||
        (rv = owner_name(queue)) != APR_SUCCESS || (rv = pthread_mutex_init(&queue->mutex, NULL)) != 0 ||
        (rv = pthread_mutex_init(&queue->tend_mutex, NULL)) != 0 ||
        (rv = pthread_mutex_init(&queue->settle_mutex, NULL)) != 0 ||
        (rv = pthread_mutex_init(&queue->watch_mutex, NULL)) != 0) {
        return rv;
    }
    *error = NULL;
    return APR_SUCCESS;
}

apr_status_t aq_redis_queue_open(apr_pool_t *p, const aq_redis_address_t *address,
                                 const aq_redis_queue_options_t *options, aq_queue_t **queue, const char **error)
{
    aq_redis_queue_t *opened;
    apr_pool_t *pool;

    *queue = NULL;
    *error = "out of memory";
    apr_status_t rv = apr_pool_create(&pool, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    opened = apr_pcalloc(pool, sizeof(*opened));
    opened->queue.ops = &redis_queue_ops;
    opened->pool = pool;
    opened->machine = apr_pstrdup(pool, options->machine);
    opened->home = options->is_shared ? "" : opened->machine;
    opened->home_url = options->home_url != NULL ? apr_pstrdup(pool, options->home_url) : "";
    opened->durability = options->durability;
    if ((rv = parts_make(opened, address, error)) != APR_SUCCESS) {
        *error = apr_pstrdup(p, *error);
        apr_pool_destroy(pool);
        return rv;
    }
    apr_pool_cleanup_register(pool, opened, queue_cleanup, apr_pool_cleanup_null);
    *queue = &opened->queue;
    return APR_SUCCESS;
}
