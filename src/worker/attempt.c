/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt, in this order: the body is verified; the target called; the answer made durable; then the row written,
 * under the token of the claim. A crash between any two leaves a job that is recovered and tried again, and at worst a
 * file that the sweep removes.
 *
 * The queue may be out of reach when the row is to be written. Then it is tried until it works or the lease is lost: the
 * effect at the target has happened, and forgetting it would cost the client an attempt.
 */
#include "worker/attempt.h"

#include "base/aq_hash.h"
#include "base/aq_log.h"
#include "worker/exec.h"

#include <apr_strings.h>
#include <apr_time.h>
#include <stdatomic.h>
#include <unistd.h>

#define WRITE_AGAIN_US 200000
#define UNKNOWN_LOCATION_WAIT_MS 30000
#define UNKNOWN_LOCATION_MOST_MS (INT64_C(24) * 3600 * 1000)

typedef struct {
    aq_worker_t *worker;
    apr_pool_t *pool;
    const aq_job_t *job;
    const aq_batch_location_t *location;
    aq_held_job_t held;
    aq_spool_file_t *result;
    aq_target_answer_t answer;
    aq_time_ms_t began_ms; /* boot time */
} attempt_t;

static int64_t took_ms(const attempt_t *attempt)
{
    return aq_clock_boot_ms() - attempt->began_ms;
}

static double random_fraction(void)
{
    uint32_t random;

    /* Without it all waits are of middle length, which is no harm. */
    return aq_hash_random(&random, sizeof random) == APR_SUCCESS ? (double)random / 4294967296.0 : 0.5;
}

/* 1 when a write of the row that ended so is to be tried again. */
static int try_again(attempt_t *attempt, apr_status_t rv)
{
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND || atomic_load(&attempt->held.stop) == AQ_STOP_LOST) {
        return 0;
    }
    AQ_LOG(AQ_LOG_WARNING, 611, rv, "batch %s: its end cannot be written yet", attempt->held.id);
    apr_sleep(WRITE_AGAIN_US);
    return 1;
}

static apr_status_t write_finish(attempt_t *attempt, const aq_job_result_t *result)
{
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(attempt->worker);
        rv = aq_queue_finish(attempt->worker->queue, attempt->held.id, attempt->held.token, &now, result);
        if (rv == APR_SUCCESS) {
            aq_worker_tally_end(&attempt->worker->tally, attempt->job->batch, result->status, now.wall_ms);
        }
    } while (try_again(attempt, rv));
    return rv;
}

static apr_status_t write_again(attempt_t *attempt, const aq_outcome_t *outcome)
{
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(attempt->worker);
        rv = aq_queue_again(attempt->worker->queue, attempt->held.id, attempt->held.token, &now, outcome->wait_ms,
                            outcome->error_code, attempt->answer.detail);
    } while (try_again(attempt, rv));
    return rv;
}

static void hand_back(attempt_t *attempt, int64_t wait_ms)
{
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(attempt->worker);
        rv = aq_queue_hand_back(attempt->worker->queue, attempt->held.id, attempt->held.token, &now, wait_ms);
    } while (try_again(attempt, rv));
    AQ_LOG(AQ_LOG_INFO, 612, rv, "batch %s attempt %d: %s after %" APR_INT64_T_FMT " ms", attempt->held.id,
           attempt->job->batch->attempt,
           atomic_load(&attempt->held.stop) == AQ_STOP_CANCEL ? "canceled" : "handed back", took_ms(attempt));
}

static void log_end(const attempt_t *attempt, apr_status_t rv, const char *became, const char *error_code)
{
    const char *id = attempt->held.id;
    int number = attempt->job->batch->attempt;

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 613, rv == APR_NOTFOUND ? APR_SUCCESS : rv,
               "batch %s attempt %d: no longer ours; what came of it is dropped", id, number);
        return;
    }
    AQ_LOG(AQ_LOG_INFO, 610, APR_SUCCESS, "batch %s attempt %d: %s, status %d, %" APR_INT64_T_FMT " ms%s%s", id, number,
           became, attempt->answer.status, took_ms(attempt), error_code != NULL ? ", " : "",
           error_code != NULL ? error_code : "");
}

/* Makes the answer durable. Where that fails the target was called for nothing: as if the answer had been lost. */
static void store_answer(attempt_t *attempt, aq_job_result_t *result)
{
    result->response_status = attempt->answer.status;
    result->response_headers = attempt->answer.headers;
    apr_status_t rv = aq_spool_result_commit(attempt->result, &result->response);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 614, rv, "batch %s: the target's answer cannot be stored", attempt->held.id);
        attempt->answer.end = AQ_TARGET_LOST;
        attempt->answer.detail = "the target's answer could not be stored";
        *result = (aq_job_result_t){.response = {.bytes = -1}};
        return;
    }
    result->response.content_type = attempt->answer.content_type;
}

/* A status that httpd can say again. Interim ones never come here, and from 600 on there is no HTTP. */
static int is_replayable(int status)
{
    return status >= 200 && status <= 599;
}

static aq_outcome_t decide(const attempt_t *attempt)
{
    const aq_batch_t *batch = attempt->job->batch;
    aq_attempt_end_t end = {
        .end = attempt->answer.end,
        .status = attempt->answer.status,
        .retry_after_s = attempt->answer.retry_after_s,
        .attempt = batch->attempt,
        .max_attempts = batch->max_attempts,
        .target_is_idempotent = !batch->never_repeat && attempt->location->target_is_idempotent,
    };

    return aq_outcome_decide(&end, random_fraction());
}

/* Writes down what the answer, or its absence, means. */
static void conclude(attempt_t *attempt)
{
    aq_job_result_t result = {.response = {.bytes = -1}};
    aq_outcome_t outcome = decide(attempt);
    apr_status_t rv;

    if (attempt->answer.end == AQ_TARGET_ANSWERED && attempt->answer.detail == NULL) {
        attempt->answer.detail = apr_psprintf(attempt->pool, "the target answered %d", attempt->answer.status);
    }
    if (aq_batch_is_over(outcome.status) && attempt->answer.end == AQ_TARGET_ANSWERED &&
        is_replayable(attempt->answer.status)) {
        store_answer(attempt, &result);
        outcome = decide(attempt);
    }
    if (!aq_batch_is_over(outcome.status)) {
        rv = write_again(attempt, &outcome);
        log_end(attempt, rv, "another attempt follows", outcome.error_code);
        return;
    }
    result.status = outcome.status;
    result.error_code = outcome.error_code;
    result.error_detail = outcome.error_code != NULL ? attempt->answer.detail : NULL;
    rv = write_finish(attempt, &result);
    if (rv != APR_SUCCESS && result.response.bytes >= 0) {
        (void)aq_spool_result_remove(attempt->worker->spool, attempt->pool, attempt->held.id, attempt->held.token);
    }
    log_end(attempt, rv, aq_batch_status_name(outcome.status), outcome.error_code);
}

/*
 * A stop came while the target was being called. To hand back a job whose cancel was asked for is to cancel it: the queue
 * sees to that, also where the worker has been told to end meanwhile.
 */
static void give_up(attempt_t *attempt)
{
    int has_begun = attempt->answer.end != AQ_TARGET_REFUSED;
    int may_repeat = !attempt->job->batch->never_repeat && attempt->location->target_is_idempotent;
    int stop = atomic_load(&attempt->held.stop);

    if (stop == AQ_STOP_LOST) {
        log_end(attempt, APR_NOTFOUND, NULL, NULL);
    } else if (stop != AQ_STOP_CANCEL && has_begun && !may_repeat) {
        attempt->answer.end = AQ_TARGET_LOST;
        attempt->answer.detail = "the worker had to stop before the target had answered";
        conclude(attempt);
    } else {
        hand_back(attempt, 0);
    }
}

/* The location may be back after the next reload; but nobody waits for ever. */
static void without_location(attempt_t *attempt)
{
    const aq_batch_t *batch = attempt->job->batch;

    if (aq_clock_now_ms() - batch->created_at_ms < UNKNOWN_LOCATION_MOST_MS) {
        AQ_LOG(AQ_LOG_NOTICE, 615, APR_SUCCESS, "batch %s: its location %s is not configured; it waits", batch->id,
               batch->location);
        hand_back(attempt, UNKNOWN_LOCATION_WAIT_MS);
        return;
    }
    aq_job_result_t result = {.status = AQ_BATCH_FAILED,
                              .response = {.bytes = -1},
                              .error_code = "waited-too-long",
                              .error_detail = "its location is no longer configured"};
    log_end(attempt, write_finish(attempt, &result), "failed", result.error_code);
}

static aq_target_end_t end_of_body(apr_status_t rv)
{
    return rv == APR_ENOENT ? AQ_BODY_MISSING : rv == APR_EGENERAL ? AQ_BODY_CHANGED : AQ_WORKER_TROUBLE;
}

/* Progress is for people: where it cannot be written the next one will do. A lost lease is told by the renewal. */
static void write_progress(void *data, int64_t done, int64_t total, int64_t failed)
{
    const attempt_t *attempt = data;

    apr_status_t rv =
        aq_queue_progress(attempt->worker->queue, attempt->held.id, attempt->held.token, done, total, failed);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        AQ_LOG(AQ_LOG_WARNING, 647, rv, "batch %s: its progress cannot be written", attempt->held.id);
    }
}

static void call_target(attempt_t *attempt, aq_target_t *target)
{
    static const char *const details[] = {
        [AQ_BODY_MISSING] = "the stored body is gone",
        [AQ_BODY_CHANGED] = "the stored body is not what was received",
        [AQ_WORKER_TROUBLE] = "the worker could not begin",
    };
    const aq_batch_t *batch = attempt->job->batch;
    aq_worker_t *worker = attempt->worker;
    int body_fd;

    apr_status_t rv = aq_spool_body_open(worker->spool, attempt->pool, batch->id, &batch->request, &body_fd);
    aq_target_end_t end = end_of_body(rv);
    if (rv == APR_SUCCESS) {
        rv = aq_spool_result_begin(worker->spool, attempt->pool, batch->id, attempt->job->token, &attempt->result);
        end = AQ_WORKER_TROUBLE;
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 616, rv, "batch %s: %s", batch->id, details[end]);
        attempt->answer = (aq_target_answer_t){.end = end, .detail = details[end]};
    } else {
        aq_target_call_t call = {.batch = batch,
                                 .location = attempt->location,
                                 .body_fd = body_fd,
                                 .result = attempt->result,
                                 .result_max_bytes = worker->options.result_max_bytes,
                                 .progress = write_progress,
                                 .progress_data = attempt,
                                 .stop = &attempt->held.stop};
        if (aq_exec_is_target(attempt->location->target)) {
            aq_exec_run(attempt->pool, &call, &attempt->answer);
        } else {
            aq_target_run(target, attempt->pool, &call, &attempt->answer);
        }
    }
    if (body_fd >= 0) {
        (void)close(body_fd);
    }
}

void aq_attempt_run(aq_worker_t *worker, aq_target_t *target, apr_pool_t *p, const aq_job_t *job,
                    const aq_queue_now_t *claimed_at)
{
    attempt_t attempt = {.worker = worker, .pool = p, .job = job, .began_ms = claimed_at->boot_ms};

    aq_leases_add(&worker->leases, &attempt.held, job, claimed_at->boot_ms + worker->options.lease_ms);
    attempt.location = aq_settings_location(&worker->settings, p, job->batch->location);
    if (attempt.location == NULL) {
        without_location(&attempt);
    } else {
        call_target(&attempt, target);
        atomic_store(&attempt.held.is_ending, 1);
        if (attempt.answer.was_stopped) {
            give_up(&attempt);
        } else {
            conclude(&attempt);
        }
    }
    aq_leases_remove(&worker->leases, &attempt.held);
}
