/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that sends messages: claims what is due, lets libcurl's multi interface carry it, writes down what came of it.
 *
 * A message whose outcome cannot be written is not tried again here: its claim ends with its lease, and it is then sent
 * once more, which receivers must be ready for anyway.
 */
#include "worker/webhooks.h"

#include "base/aq_hash.h"
#include "base/aq_log.h"
#include "worker/receivers.h"
#include "worker/sending.h"

#include <apr_strings.h>
#include <stdatomic.h>

#define LEASE_MS 60000
#define ASK_EVERY_MS 200
#define TROUBLE_PAUSE_MS 1000
#define STOP_WAIT_MS 2000
#define NO_KEYS_WAIT_MS 30000

typedef struct {
    aq_sending_t sending;
    apr_pool_t *pool; /* of the message in hand */
    int is_taken;
} slot_t;

typedef struct {
    aq_worker_t *worker;
    apr_pool_t *pool;
    CURLM *multi;
    slot_t slots[AQ_WEBHOOKS_AT_ONCE];
    int taken;
    aq_receivers_t receivers;
    aq_time_ms_t ask_at_ms; /* boot time */
    apr_status_t trouble;   /* of the last claim */
} webhooks_t;

/* ---- what came of it -------------------------------------------------------------------------------------------- */

static void log_end(const aq_webhook_t *webhook, const aq_delivery_result_t *result, int64_t took_ms)
{
    const char *error = result->error != NULL ? result->error : "";

    switch (result->outcome.state) {
    case AQ_WEBHOOK_DELIVERED:
        AQ_LOG(AQ_LOG_INFO, 660, APR_SUCCESS,
               "webhook %s of tenant %s: delivered at attempt %d, status %d, %" APR_INT64_T_FMT " ms", webhook->id,
               webhook->tenant, webhook->attempts, result->status, took_ms);
        break;
    case AQ_WEBHOOK_PENDING:
        AQ_LOG(AQ_LOG_INFO, 661, APR_SUCCESS,
               "webhook %s of tenant %s: attempt %d failed, the next in %" APR_INT64_T_FMT " s: %s", webhook->id,
               webhook->tenant, webhook->attempts, result->outcome.wait_ms / AQ_MS_PER_S, error);
        break;
    case AQ_WEBHOOK_DROPPED:
        AQ_LOG(AQ_LOG_INFO, 663, APR_SUCCESS, "webhook %s: its tenant %s has none", webhook->id, webhook->tenant);
        break;
    default:
        AQ_LOG(AQ_LOG_WARNING, 662, APR_SUCCESS, "webhook %s of tenant %s: given up at attempt %d: %s", webhook->id,
               webhook->tenant, webhook->attempts, error);
        break;
    }
}

static void finish(webhooks_t *webhooks, const aq_delivery_t *delivery, const aq_delivery_result_t *result,
                   int64_t took_ms)
{
    aq_queue_now_t now = aq_worker_now(webhooks->worker);

    apr_status_t rv =
        aq_queue_webhook_finish(webhooks->worker->queue, delivery->webhook->id, delivery->token, &now, result);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 666, rv == APR_NOTFOUND ? APR_SUCCESS : rv,
               "webhook %s: what came of an attempt %s; it is sent again", delivery->webhook->id,
               rv == APR_NOTFOUND ? "comes too late" : "cannot be written");
    } else if (!result->is_uncounted) {
        log_end(delivery->webhook, result, took_ms);
    }
}

/* Gives a message back as if it had never been claimed. */
static void give_back(webhooks_t *webhooks, const aq_delivery_t *delivery, int64_t wait_ms, const char *error)
{
    aq_delivery_result_t result = {.outcome = {.state = AQ_WEBHOOK_PENDING, .wait_ms = wait_ms},
                                   .is_uncounted = 1,
                                   .status = delivery->webhook->last_status,
                                   .error = error};

    finish(webhooks, delivery, &result, 0);
}

static void conclude(webhooks_t *webhooks, const aq_delivery_t *delivery, const aq_webhook_attempt_t *attempt,
                     const char *error, int64_t took_ms)
{
    aq_delivery_result_t result = {
        .outcome = aq_webhook_decide(attempt, aq_hash_random_fraction()), .status = attempt->status, .error = error};

    finish(webhooks, delivery, &result, took_ms);
}

/* ---- messages on their way -------------------------------------------------------------------------------------- */

static void slot_free(webhooks_t *webhooks, slot_t *slot)
{
    apr_pool_destroy(slot->pool);
    slot->pool = NULL;
    slot->is_taken = 0;
    webhooks->taken--;
}

/* A free slot with a pool and a handle; NULL where memory ran out. There is one: the caller has counted. */
static slot_t *slot_take(webhooks_t *webhooks)
{
    slot_t *slot = webhooks->slots;

    while (slot->is_taken) {
        slot++;
    }
    if (slot->sending.curl == NULL && aq_sending_open(&slot->sending, webhooks->pool) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_pool_create(&slot->pool, webhooks->pool) != APR_SUCCESS) {
        return NULL;
    }
    slot->is_taken = 1;
    webhooks->taken++;
    return slot;
}

/* 1 when the message is on its way; 0 when it has been dealt with, or goes back. */
static int send_begin(webhooks_t *webhooks, slot_t *slot, const aq_delivery_t *delivery)
{
    aq_sending_to_t to = {
        .connect_ms = AQ_SENDING_CONNECT_MS, .timeout_ms = AQ_SENDING_TIMEOUT_MS, .now_ms = aq_clock_now_ms()};
    const char *key_file;

    aq_settings_webhooks(&webhooks->worker->settings, slot->pool, &key_file, &to.allowed);
    apr_status_t rv =
        aq_receivers_find(&webhooks->receivers, key_file, delivery->webhook->tenant, to.now_ms, &to.webhook);
    if (rv != APR_SUCCESS) {
        give_back(webhooks, delivery, NO_KEYS_WAIT_MS, "the keys file cannot be read");
        return 0;
    }
    if (to.webhook == NULL) {
        conclude(webhooks, delivery, &(aq_webhook_attempt_t){.end = AQ_WEBHOOK_NO_RECEIVER}, NULL, 0);
        return 0;
    }
    if (aq_sending_begin(&slot->sending, slot->pool, delivery, &to) != APR_SUCCESS ||
        curl_multi_add_handle(webhooks->multi, slot->sending.curl) != CURLM_OK) {
        aq_webhook_attempt_t attempt;
        const char *error;
        aq_sending_end(&slot->sending, CURLE_FAILED_INIT, &attempt, &error);
        give_back(webhooks, delivery, NO_KEYS_WAIT_MS, "the message could not be prepared");
        return 0;
    }
    return 1;
}

/* Claims one message and sends it off. 0 when there is none, or it cannot be asked for. */
static int claim_one(webhooks_t *webhooks)
{
    aq_worker_t *worker = webhooks->worker;
    aq_queue_now_t now = aq_worker_now(worker);
    aq_delivery_t delivery;
    slot_t *slot = slot_take(webhooks);

    if (slot == NULL) {
        return 0;
    }
    apr_status_t rv = aq_queue_webhook_claim(worker->queue, slot->pool, worker->presence.name, &now, LEASE_MS,
                                             AQ_WEBHOOKS_OF_TENANT, &delivery);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND && rv != webhooks->trouble) {
        AQ_LOG(AQ_LOG_ERROR, 665, rv, "no message to a webhook can be claimed");
    }
    webhooks->trouble = rv;
    if (rv != APR_SUCCESS || !send_begin(webhooks, slot, &delivery)) {
        slot_free(webhooks, slot);
    }
    return rv == APR_SUCCESS;
}

static void claim_due(webhooks_t *webhooks)
{
    if (aq_clock_boot_ms() < webhooks->ask_at_ms) {
        return;
    }
    while (webhooks->taken < AQ_WEBHOOKS_AT_ONCE && claim_one(webhooks)) {
        (void)curl_multi_perform(webhooks->multi, &(int){0});
    }
    webhooks->ask_at_ms =
        aq_clock_boot_ms() +
        (webhooks->trouble == APR_SUCCESS || webhooks->trouble == APR_NOTFOUND ? ASK_EVERY_MS : TROUBLE_PAUSE_MS);
}

static void end_one(webhooks_t *webhooks, CURL *curl, CURLcode rc)
{
    aq_webhook_attempt_t attempt;
    void *sending = NULL;
    const char *error;

    (void)curl_easy_getinfo(curl, CURLINFO_PRIVATE, &sending);
    (void)curl_multi_remove_handle(webhooks->multi, curl);
    slot_t *slot = (slot_t *)sending; /* its first member */
    aq_sending_end(&slot->sending, rc, &attempt, &error);
    conclude(webhooks, &slot->sending.delivery, &attempt, error, aq_clock_boot_ms() - slot->sending.began_ms);
    slot_free(webhooks, slot);
}

/* Lets what is on its way go on, and ends what has arrived. */
static void carry(webhooks_t *webhooks)
{
    const CURLMsg *message;
    int count;

    (void)curl_multi_perform(webhooks->multi, &count);
    while ((message = curl_multi_info_read(webhooks->multi, &count)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            end_one(webhooks, message->easy_handle, message->data.result);
        }
    }
    (void)curl_multi_poll(webhooks->multi, NULL, 0, ASK_EVERY_MS, NULL);
}

/* What is still on its way when the worker must end goes back. It may have arrived: it is sent again. */
static void abandon(webhooks_t *webhooks)
{
    for (slot_t *slot = webhooks->slots; slot < webhooks->slots + AQ_WEBHOOKS_AT_ONCE; slot++) {
        if (slot->is_taken) {
            (void)curl_multi_remove_handle(webhooks->multi, slot->sending.curl);
            aq_sending_end(&slot->sending, CURLE_ABORTED_BY_CALLBACK, &(aq_webhook_attempt_t){.status = 0},
                           &(const char *){NULL});
            give_back(webhooks, &slot->sending.delivery, 0, slot->sending.delivery.webhook->last_error);
            slot_free(webhooks, slot);
        }
    }
}

void *APR_THREAD_FUNC aq_webhooks_run(apr_thread_t *thread, void *data)
{
    apr_pool_t *pool = apr_thread_pool_get(thread);
    webhooks_t *webhooks = apr_pcalloc(pool, sizeof(*webhooks));

    webhooks->worker = data;
    webhooks->pool = pool;
    webhooks->multi = curl_multi_init();
    if (webhooks->multi == NULL) {
        AQ_LOG(AQ_LOG_CRIT, 667, APR_ENOMEM, "webhooks cannot be delivered");
        return NULL;
    }
    aq_receivers_init(&webhooks->receivers, pool);
    while (!atomic_load(&webhooks->worker->stopping)) {
        claim_due(webhooks);
        carry(webhooks);
    }
    const aq_time_ms_t until_ms = aq_clock_boot_ms() + STOP_WAIT_MS;
    while (webhooks->taken > 0 && aq_clock_boot_ms() < until_ms) {
        carry(webhooks);
    }
    abandon(webhooks);
    (void)curl_multi_cleanup(webhooks->multi);
    return NULL;
}
