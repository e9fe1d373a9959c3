/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl webhook: list, show, retry and test of messages, on the queue itself, and rotate of a tenant's secret, on the
 * keys file. Nothing is sent from here: a test is a message like others, which the worker sends.
 */
#include "ctl/ctl.h"

#include "base/aq_hash.h"
#include "identity/keyedit.h"

#include <apr_strings.h>
#include <apr_time.h>
#include <string.h>

#define LIST_DEFAULT 50
#define LOOK_EVERY_US 200000
#define TEST_WAIT_MS 25000 /* more than an attempt takes at most */

static aq_ctl_exit_t fail_unknown(const char *id)
{
    return aq_ctl_fail(AQ_CTL_REFUSED, "there is no message %s", id);
}

/* A message without what it says. */
static json_t *webhook_json(const aq_webhook_t *webhook)
{
    int is_pending = webhook->state == AQ_WEBHOOK_PENDING;

    return json_pack("{s:s, s:s, s:s, s:s?, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:s?}", "id", webhook->id, "tenant",
                     webhook->tenant, "type", aq_webhook_type(webhook), "batch", webhook->batch_id, "status",
                     aq_webhook_state_name(webhook->state), "attempts", webhook->attempts, "max_attempts",
                     AQ_WEBHOOK_ATTEMPTS_MAX, "created_at", aq_json_time(webhook->finished_at_ms), "last_attempt_at",
                     aq_json_time(webhook->last_attempt_at_ms), "next_attempt_at",
                     is_pending ? aq_json_time(webhook->next_attempt_at_ms) : json_null(), "delivered_at",
                     aq_json_time(webhook->delivered_at_ms), "last_status",
                     webhook->last_status != 0 ? json_integer(webhook->last_status) : json_null(), "last_error",
                     webhook->last_error);
}

static aq_ctl_exit_t query_read(const aq_ctl_t *ctl, aq_webhook_query_t *query)
{
    aq_webhook_state_t state;

    *query = (aq_webhook_query_t){.tenant = ctl->tenant, .state = -1, .limit = LIST_DEFAULT};
    if (ctl->status) {
        if (aq_webhook_state_parse(ctl->status, &state) != APR_SUCCESS) {
            return aq_ctl_fail(AQ_CTL_USAGE, "--status must be pending, delivered, failed or dropped");
        }
        query->state = (int)state;
    }
    return aq_ctl_count_read(ctl, &query->limit);
}

aq_ctl_exit_t aq_ctl_webhook_list(aq_ctl_t *ctl)
{
    static const aq_ctl_column_t columns[] = {{"ID", "id"},
                                              {"TENANT", "tenant"},
                                              {"TYPE", "type"},
                                              {"STATUS", "status"},
                                              {"ATTEMPTS", "attempts"},
                                              {"NEXT", "next_attempt_at"},
                                              {"ANSWER", "last_status"},
                                              {"ERROR", "last_error"},
                                              {.heading = NULL}};
    const aq_batch_config_t *config;
    apr_array_header_t *webhooks;
    aq_webhook_query_t query;
    aq_queue_t *queue;
    aq_ctl_exit_t code = query_read(ctl, &query);

    if (code != AQ_CTL_DONE || (code = aq_ctl_queue_open(ctl, &config, &queue)) != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_queue_webhook_list(queue, ctl->p, &query, &webhooks);
    if (rv != APR_SUCCESS) {
        return aq_ctl_fail_with("the messages cannot be listed", rv);
    }
    json_t *rows = json_array();
    for (int i = 0; i < webhooks->nelts; i++) {
        (void)json_array_append_new(rows, webhook_json(APR_ARRAY_IDX(webhooks, i, const aq_webhook_t *)));
    }
    return aq_ctl_rows_print(ctl, json_pack("{s:o}", "webhooks", rows), "webhooks", columns);
}

aq_ctl_exit_t aq_ctl_webhook_show(aq_ctl_t *ctl)
{
    const aq_batch_config_t *config;
    aq_webhook_t *webhook;
    aq_queue_t *queue;
    aq_ctl_exit_t code = aq_ctl_queue_open(ctl, &config, &queue);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_queue_webhook_find(queue, ctl->p, ctl->argument, &webhook);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? fail_unknown(ctl->argument) : aq_ctl_fail_with("the message cannot be read", rv);
    }
    const char *payload = aq_webhook_payload(ctl->p, webhook);
    json_t *json = webhook_json(webhook);
    if (json && payload) {
        (void)json_object_set_new(json, "payload", json_loads(payload, 0, NULL));
    }
    return aq_ctl_json_print(json);
}

aq_ctl_exit_t aq_ctl_webhook_retry(aq_ctl_t *ctl)
{
    const aq_batch_config_t *config;
    aq_queue_t *queue;
    aq_ctl_exit_t code = aq_ctl_queue_open(ctl, &config, &queue);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_queue_webhook_retry(queue, ctl->argument);
    if (rv == APR_NOTFOUND) {
        return fail_unknown(ctl->argument);
    }
    if (rv != APR_SUCCESS) {
        return rv == APR_EBUSY
                   ? aq_ctl_fail(AQ_CTL_REFUSED, "%s is being sent now, or the queue is busy", ctl->argument)
                   : aq_ctl_fail_with("the message cannot be sent again", rv);
    }
    return aq_ctl_answer_print(ctl, json_pack("{s:s, s:s}", "id", ctl->argument, "status", "pending"),
                               apr_pstrcat(ctl->p, ctl->argument, " is sent again.", NULL));
}

/* ---- test ------------------------------------------------------------------------------------------------------- */

/* Says what is wrong with the tenant's webhook before anything is queued. */
static aq_ctl_exit_t webhook_check(aq_ctl_t *ctl)
{
    aq_tenant_webhook_t *webhook;
    const char *error;
    json_t *file;
    aq_ctl_exit_t code = aq_ctl_keys_read(ctl, &file);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    const json_t *tenant = json_object_get(json_object_get(file, "tenants"), ctl->argument);
    if (!tenant || !json_object_get(tenant, "webhook")) {
        return aq_ctl_fail(AQ_CTL_REFUSED, tenant ? "the tenant \"%s\" has no webhook" : "the tenant \"%s\" is unknown",
                           ctl->argument);
    }
    if (aq_tenant_webhook_parse(ctl->p, json_object_get(tenant, "webhook"), &webhook, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "the webhook of \"%s\": %s", ctl->argument, error);
    }
    return AQ_CTL_DONE;
}

/* Until the first attempt has ended, or time is up. */
static apr_status_t attempt_wait(const aq_ctl_t *ctl, aq_queue_t *queue, const char *id, aq_webhook_t **webhook)
{
    const aq_time_ms_t until_ms = aq_clock_boot_ms() + TEST_WAIT_MS;
    apr_status_t rv;

    do {
        apr_sleep(LOOK_EVERY_US);
        rv = aq_queue_webhook_find(queue, ctl->p, id, webhook);
    } while (rv == APR_SUCCESS && (*webhook)->state == AQ_WEBHOOK_PENDING && !(*webhook)->last_error &&
             aq_clock_boot_ms() < until_ms);
    return rv;
}

static const char *test_sentence(const aq_ctl_t *ctl, const aq_webhook_t *webhook)
{
    if (webhook->state == AQ_WEBHOOK_DELIVERED) {
        return apr_psprintf(ctl->p, "%s is delivered: the receiver answered %d.", webhook->id, webhook->last_status);
    }
    return apr_psprintf(ctl->p, "%s is %s: %s.", webhook->id, aq_webhook_state_name(webhook->state),
                        webhook->last_error ? webhook->last_error : "no worker has sent it yet");
}

aq_ctl_exit_t aq_ctl_webhook_test(aq_ctl_t *ctl)
{
    char id[AQ_WEBHOOK_ID_SIZE];
    const aq_batch_config_t *config;
    aq_queue_now_t now = aq_ctl_queue_now(ctl);
    unsigned char random[10];
    aq_webhook_t *webhook;
    aq_queue_t *queue;
    aq_ctl_exit_t code = webhook_check(ctl);

    if (code != AQ_CTL_DONE || (code = aq_ctl_queue_open(ctl, &config, &queue)) != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_hash_random(random, sizeof random);
    aq_webhook_test_id_write(id, ctl->now_ms, random);
    if (rv != APR_SUCCESS || (rv = aq_queue_webhook_test(queue, id, ctl->argument, &now)) != APR_SUCCESS) {
        return aq_ctl_fail_with("the message cannot be queued", rv);
    }
    if ((rv = attempt_wait(ctl, queue, id, &webhook)) != APR_SUCCESS) {
        return aq_ctl_fail_with("the message cannot be read", rv);
    }
    code = aq_ctl_answer_print(ctl, webhook_json(webhook), test_sentence(ctl, webhook));
    return code == AQ_CTL_DONE && webhook->state != AQ_WEBHOOK_DELIVERED ? AQ_CTL_REFUSED : code;
}

/* ---- rotate ----------------------------------------------------------------------------------------------------- */

aq_ctl_exit_t aq_ctl_webhook_rotate(aq_ctl_t *ctl)
{
    char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE];
    aq_time_ms_t retires_at_ms;
    const char *error;
    aq_ctl_exit_t code = aq_ctl_overlap_read(ctl, &retires_at_ms);

    if (code != AQ_CTL_DONE || (code = aq_ctl_keys_find(ctl)) != AQ_CTL_DONE) {
        return code;
    }
    if (aq_keyedit_webhook_rotate(ctl->p, ctl->keys_place, ctl->argument, ctl->now_ms, retires_at_ms, secret, &error) !=
        APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    return aq_ctl_answer_print(ctl,
                               json_pack("{s:s, s:s, s:o}", "tenant", ctl->argument, "webhook_secret", secret,
                                         "old_until", aq_json_time(retires_at_ms)),
                               apr_psprintf(ctl->p, "The new secret of the webhook of %s, shown this once:\n\n    %s\n",
                                            ctl->argument, secret));
}
