/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of outcome.h, as a table.
 */
#include "batch/outcome.h"

typedef enum {
    NEVER,        /* ends the job */
    ALWAYS,       /* the request had no effect: another attempt */
    IF_IDEMPOTENT /* it may have had one */
} repeat_t;

static const struct {
    repeat_t repeat;
    const char *error_code;
} ends[] = {
    [AQ_TARGET_ANSWERED] = {NEVER, "target-status"},       [AQ_TARGET_REFUSED] = {ALWAYS, "target-unreachable"},
    [AQ_TARGET_LOST] = {IF_IDEMPOTENT, "target-lost"},     [AQ_TARGET_TIMED_OUT] = {IF_IDEMPOTENT, "target-timeout"},
    [AQ_TARGET_TOO_LARGE] = {NEVER, "response-too-large"}, [AQ_BODY_MISSING] = {NEVER, "body-missing"},
    [AQ_BODY_CHANGED] = {NEVER, "body-changed"},           [AQ_WORKER_TROUBLE] = {ALWAYS, "worker-trouble"},
    [AQ_WORKER_LOST] = {IF_IDEMPOTENT, "worker-lost"},
};

static int status_is_passing(int status)
{
    static const int passing[] = {408, 425, 429, 502, 503, 504};

    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        if (status == passing[i]) {
            return 1;
        }
    }
    return 0;
}

int aq_outcome_is_definite(const aq_attempt_end_t *attempt)
{
    return attempt->end == AQ_TARGET_TOO_LARGE ||
           (attempt->end == AQ_TARGET_ANSWERED && !status_is_passing(attempt->status));
}

static int64_t wait_of(const aq_attempt_end_t *attempt, double random)
{
    /* A job that lost its worker is tried at once, then as others: it may be what kills them. */
    int64_t n = attempt->end == AQ_WORKER_LOST ? attempt->attempt - 1 : attempt->attempt;
    if (n > 100) {
        n = 100; /* far above the bound already, and far below an overflow */
    }
    int64_t wait_ms = (int64_t)((double)(n * n * n * n * AQ_MS_PER_S) * (0.5 + random));

    if (attempt->retry_after_s > 0) {
        int64_t least_ms = attempt->retry_after_s < AQ_RETRY_WAIT_MAX_MS / AQ_MS_PER_S
                               ? attempt->retry_after_s * AQ_MS_PER_S
                               : AQ_RETRY_WAIT_MAX_MS;
        wait_ms = wait_ms > least_ms ? wait_ms : least_ms;
    }
    return wait_ms < AQ_RETRY_WAIT_MAX_MS ? wait_ms : AQ_RETRY_WAIT_MAX_MS;
}

aq_outcome_t aq_outcome_decide(const aq_attempt_end_t *attempt, double random)
{
    aq_outcome_t outcome = {.status = AQ_BATCH_FAILED, .error_code = ends[attempt->end].error_code};
    repeat_t repeat = ends[attempt->end].repeat;

    if (attempt->end == AQ_TARGET_ANSWERED) {
        if (attempt->status >= 200 && attempt->status <= 299) {
            return (aq_outcome_t){.status = AQ_BATCH_SUCCEEDED};
        }
        repeat = status_is_passing(attempt->status) ? ALWAYS : NEVER;
    }
    if (repeat == IF_IDEMPOTENT && !attempt->target_is_idempotent) {
        outcome.error_code = "outcome-unknown";
        return outcome;
    }
    if (repeat != NEVER && attempt->attempt < attempt->max_attempts) {
        outcome.status = AQ_BATCH_QUEUED;
        outcome.wait_ms = wait_of(attempt, random);
    }
    return outcome;
}
