/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhook: the message that tells a tenant's own server that a batch is over, by Standard Webhooks 1.0
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
 *
 * Pure: what a message says, how it is signed, and what an attempt to deliver it means. The queue (queue.h) keeps messages
 * from the transaction that ends the batch until they are delivered or given up; the worker delivers them.
 *
 *      end of a batch             2xx
 *     (none) -------> pending ----------> delivered
 *                     ^  |  |  410, attempts used up
 *                     |  |  +------------> failed
 *          retry of   |  |  the tenant has no webhook
 *          the        |  +---------------> dropped
 *          operator   +--- delivered, failed, dropped
 *
 * A message is thin: it says which batch is over and how it ended. What else there is to know of it the receiver asks for
 * with a key of its own, so that no answer of a target goes to an address that nobody has proved to be the tenant's.
 */
#ifndef AQ_WEBHOOK_H
#define AQ_WEBHOOK_H

#include "batch/batch.h"

/* "msg_", the 26 characters of the batch's ID, "_", the version of the batch that is over, zero. */
#define AQ_WEBHOOK_ID_SIZE 52
#define AQ_WEBHOOK_ID_PREFIX "msg_"

/* How often a message is sent before it is given up, and how long it is kept once it is no longer pending: 7 days. */
#define AQ_WEBHOOK_ATTEMPTS_MAX 10
#define AQ_WEBHOOK_KEPT_MS (INT64_C(7) * 86400 * 1000)

/* A Retry-After of a receiver is honoured up to this. */
#define AQ_WEBHOOK_WAIT_MAX_MS (INT64_C(24) * 3600 * 1000)

typedef enum {
    AQ_WEBHOOK_PENDING, /* waits for its next attempt, or is being sent */
    AQ_WEBHOOK_DELIVERED,
    AQ_WEBHOOK_FAILED,  /* given up; last_error says why */
    AQ_WEBHOOK_DROPPED, /* the tenant had no webhook when it was due */
    AQ_WEBHOOK_STATE_COUNT
} aq_webhook_state_t;

/* A message. The members up to `metadata` say what it tells, and never change; the others how its delivery goes. */
typedef struct {
    char id[AQ_WEBHOOK_ID_SIZE]; /* the same at each attempt: how a receiver knows what it has already */
    const char *tenant;
    const char *batch_id; /* NULL: a test, which tells of no batch */
    aq_batch_status_t status;
    aq_time_ms_t created_at_ms, started_at_ms, finished_at_ms; /* of the batch; finished_at_ms: when it came to be */
    int attempt;                                               /* of the batch */
    int response_status;                                       /* 0: none */
    int64_t progress_done, progress_total, progress_failed;
    const char *error_code, *error_detail, *metadata;

    aq_webhook_state_t state;
    int attempts;                                                    /* made, the one in hand with them */
    aq_time_ms_t next_attempt_at_ms;                                 /* of a pending one: not before */
    aq_time_ms_t last_attempt_at_ms, delivered_at_ms, expires_at_ms; /* 0: not yet */
    int last_status;                                                 /* HTTP status of the last answer; 0: none */
    const char *last_error;                                          /* of the last attempt; NULL: none */
} aq_webhook_t;

/* "pending" …; never NULL. APR_EGENERAL for a word that is no state. */
const char *aq_webhook_state_name(aq_webhook_state_t state);
apr_status_t aq_webhook_state_parse(const char *name, aq_webhook_state_t *state);

/* "batch.succeeded", "batch.failed", "batch.canceled", or "webhook.test". Static text. */
const char *aq_webhook_type(const aq_webhook_t *webhook);

/* Makes the ID of a test message for `now_ms` from 10 random bytes: as that of a batch that was never there. */
void aq_webhook_test_id_write(char id[AQ_WEBHOOK_ID_SIZE], aq_time_ms_t now_ms, const unsigned char random[10]);

/*
 * The body, compact JSON in `p`, the same at each attempt: {"type", "timestamp", "data": {"id", "status", …}}. No key, no
 * header, nothing of the target but its status. NULL when memory ran out.
 */
const char *aq_webhook_payload(apr_pool_t *p, const aq_webhook_t *webhook);

/*
 * "v1,<base64>" of HMAC-SHA256 over "ID.TIMESTAMP.BODY" (the standard's symmetric signature), in `p`. `secret` are the
 * bytes behind "whsec_", decoded. NULL where libcrypto refuses.
 */
const char *aq_webhook_sign(apr_pool_t *p, const unsigned char *secret, size_t secret_size, const char *id,
                            int64_t timestamp_s, const char *body);

/* How an attempt to deliver ended. */
typedef enum {
    AQ_WEBHOOK_ANSWERED,    /* `status` holds */
    AQ_WEBHOOK_UNREACHABLE, /* no name, no connection, no TLS, no answer, or none in time */
    AQ_WEBHOOK_REFUSED,     /* by us: the address, or the scheme, is none that we send to */
    AQ_WEBHOOK_NO_RECEIVER  /* the tenant has no webhook */
} aq_webhook_end_t;

typedef struct {
    aq_webhook_end_t end;
    int status;
    int64_t retry_after_s; /* the receiver's; 0: none. Looked at for 429 and 503 */
    int attempts;          /* made, this one with them */
} aq_webhook_attempt_t;

/* What becomes of the message: its state, and with pending how long it waits. */
typedef struct {
    aq_webhook_state_t state;
    int64_t wait_ms;
} aq_webhook_outcome_t;

/*
 * Decides. 2xx delivers, 410 ends it; everything else is tried again by the standard's schedule (at once, then after
 * 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, each spread by a tenth either way by `random` in [0, 1)). A
 * redirect is a failure like any other.
 */
aq_webhook_outcome_t aq_webhook_decide(const aq_webhook_attempt_t *attempt, double random);

#endif
