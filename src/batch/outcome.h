/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outcome: what becomes of a job when its target has answered, or has not. One table, pure.
 *
 *   2xx                                              succeeded
 *   408 425 429 502 503 504, connection refused      again, until the attempts are used up, then failed
 *   other statuses                                   failed, the answer kept
 *   connection lost after the request began          ambiguous: again where the target is idempotent, else failed with
 *                                                    `outcome-unknown`
 *   time-out of an attempt                           as ambiguous
 *   worker lost                                      as ambiguous; the first time without a wait
 *   answer too large, body missing or changed        failed
 *   trouble of the worker before anything was sent   again, until the attempts are used up
 */
#ifndef AQ_OUTCOME_H
#define AQ_OUTCOME_H

#include "batch/batch.h"

typedef enum {
    AQ_TARGET_ANSWERED, /* `status` holds */
    AQ_TARGET_REFUSED,  /* no connection: the request was not sent */
    AQ_TARGET_LOST,     /* the connection broke after the request began */
    AQ_TARGET_TIMED_OUT,
    AQ_TARGET_TOO_LARGE, /* the answer is above what we store */
    AQ_BODY_MISSING,     /* the spooled body is gone */
    AQ_BODY_CHANGED,     /* its size or hash is not the row's */
    AQ_WORKER_TROUBLE,   /* the worker could not begin: no descriptor, no memory, an input error */
    AQ_WORKER_LOST       /* lease ran out: the worker died */
} aq_target_end_t;

typedef struct {
    aq_target_end_t end;
    int status;            /* of the target's answer */
    int64_t retry_after_s; /* the target's; 0: none */
    int attempt, max_attempts;
    int target_is_idempotent;
} aq_attempt_end_t;

typedef struct {
    aq_batch_status_t status; /* succeeded, failed, or queued for another attempt */
    int64_t wait_ms;          /* with queued: before the next attempt */
    const char *error_code;   /* static text; NULL when succeeded */
} aq_outcome_t;

/* 1 where the target has decided: it answered, and not with a status that passes by. */
int aq_outcome_is_definite(const aq_attempt_end_t *attempt);

#define AQ_RETRY_WAIT_MAX_MS (INT64_C(6) * 3600 * 1000)

/* Decides. `random` in [0, 1) spreads the wait: attempt^4 seconds, times 0.5 to 1.5; a Retry-After is the least wait. */
aq_outcome_t aq_outcome_decide(const aq_attempt_end_t *attempt, double random);

#endif
