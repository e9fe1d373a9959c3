/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt, in this order: the body is verified; the target called; the answer made durable; then the row written,
 * under the token of the claim. A crash between any two leaves a job that is recovered and tried again, and at worst a
 * file that the sweep removes.
 *
 * The queue may be out of reach when the row is to be written. Then it is tried until it works or the lease is lost: the
 * effect at the target has happened, and forgetting it would cost the client an attempt.
 */
#include "worker/attempt_private.h"

#include "base/aq_hash.h"
#include "base/aq_log.h"
#include "worker/exec.h"

#include <apr_strings.h>
#include <apr_time.h>
#include <stdatomic.h>
#include <unistd.h>

#define WRITE_AGAIN_US 200000
#define UNKNOWN_LOCATION_WAIT_MS 30000
#define NO_SPOOL_WAIT_MS 30000
#define UNKNOWN_LOCATION_MOST_MS (INT64_C(24) * 3600 * 1000)

static int64_t took_ms(const aq_attempt_t *attempt)
{
    return aq_clock_boot_ms() - attempt->began_ms;
}

/* 1 when a write of the row that ended so is to be tried again. */
int aq_attempt_try_again(aq_attempt_t *attempt, apr_status_t rv)
{
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND || atomic_load(&attempt->held.stop) == AQ_STOP_LOST) {
        return 0;
    }
    if (aq_trouble_note(&attempt->trouble, rv, aq_clock_boot_ms()) == AQ_TROUBLE_LASTS) {
        AQ_LOG(AQ_LOG_WARNING, 611, rv, "batch %s: its end cannot be written yet%s", attempt->held.id,
               attempt->trouble.lasting);
    }
    apr_sleep(WRITE_AGAIN_US);
    return 1;
}

apr_status_t aq_attempt_finish(aq_attempt_t *attempt, const aq_job_result_t *result)
{
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(attempt->worker);
        rv = aq_queue_finish(attempt->worker->queue, attempt->held.id, attempt->held.token, &now, result);
        if (rv == APR_SUCCESS) {
            aq_worker_tally_end(&attempt->worker->tally, attempt->job->batch, result->status, now.wall_ms);
        }
    } while (aq_attempt_try_again(attempt, rv));
    return rv;
}

static apr_status_t write_again(aq_attempt_t *attempt, const aq_outcome_t *outcome)
{
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(attempt->worker);
        rv = aq_queue_again(attempt->worker->queue, attempt->held.id, attempt->held.token, &now, outcome->wait_ms,
                            outcome->error_code, attempt->answer.detail);
    } while (aq_attempt_try_again(attempt, rv));
    return rv;
}

void aq_attempt_hand_back(aq_attempt_t *attempt, int64_t wait_ms)
{
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(attempt->worker);
        rv = aq_queue_hand_back(attempt->worker->queue, attempt->held.id, attempt->held.token, &now, wait_ms);
    } while (aq_attempt_try_again(attempt, rv));
    AQ_LOG(AQ_LOG_INFO, 612, rv, "batch %s attempt %d: %s after %" APR_INT64_T_FMT " ms", attempt->held.id,
           attempt->job->batch->attempt,
           atomic_load(&attempt->held.stop) == AQ_STOP_CANCEL ? "canceled" : "handed back", took_ms(attempt));
}

void aq_attempt_log_end(const aq_attempt_t *attempt, apr_status_t rv, const char *became, const char *error_code)
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
static void store_answer(aq_attempt_t *attempt, aq_job_result_t *result)
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

static aq_outcome_t decide(const aq_attempt_t *attempt)
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

    return aq_outcome_decide(&end, aq_hash_random_fraction());
}

/* Writes down what the answer, or its absence, means. */
void aq_attempt_conclude(aq_attempt_t *attempt)
{
    aq_job_result_t result = {.response = {.bytes = -1}};
    aq_outcome_t outcome = decide(attempt);
    apr_status_t rv;

    if (attempt->is_without_spool) {
        aq_attempt_hand_back(attempt, NO_SPOOL_WAIT_MS);
        return;
    }
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
        aq_attempt_log_end(attempt, rv, "another attempt follows", outcome.error_code);
        return;
    }
    result.status = outcome.status;
    result.error_code = outcome.error_code;
    result.error_detail = outcome.error_code != NULL ? attempt->answer.detail : NULL;
    rv = aq_attempt_finish(attempt, &result);
    if (rv != APR_SUCCESS && result.response.bytes >= 0) {
        (void)aq_spool_result_remove(attempt->worker->spool, attempt->pool, attempt->held.id, attempt->held.token);
    }
    aq_attempt_log_end(attempt, rv, aq_batch_status_name(outcome.status), outcome.error_code);
}

/*
 * A stop came while the target was being called. To hand back a job whose cancel was asked for is to cancel it: the queue
 * sees to that, also where the worker has been told to end meanwhile.
 */
static void give_up(aq_attempt_t *attempt)
{
    int has_begun = attempt->answer.end != AQ_TARGET_REFUSED;
    int may_repeat = !attempt->job->batch->never_repeat && attempt->location->target_is_idempotent;
    int stop = atomic_load(&attempt->held.stop);

    if (stop == AQ_STOP_LOST) {
        aq_attempt_log_end(attempt, APR_NOTFOUND, NULL, NULL);
    } else if (stop != AQ_STOP_CANCEL && has_begun && !may_repeat) {
        attempt->answer.end = AQ_TARGET_LOST;
        attempt->answer.detail = "the worker had to stop before the target had answered";
        aq_attempt_conclude(attempt);
    } else {
        aq_attempt_hand_back(attempt, 0);
    }
}

/* The location may be back after the next reload; but nobody waits for ever. */
static void without_location(aq_attempt_t *attempt)
{
    const aq_batch_t *batch = attempt->job->batch;

    if (aq_clock_now_ms() - batch->created_at_ms < UNKNOWN_LOCATION_MOST_MS) {
        AQ_LOG(AQ_LOG_NOTICE, 615, APR_SUCCESS, "batch %s: its location %s is not configured; it waits", batch->id,
               batch->location);
        aq_attempt_hand_back(attempt, UNKNOWN_LOCATION_WAIT_MS);
        return;
    }
    aq_job_result_t result = {.status = AQ_BATCH_FAILED,
                              .response = {.bytes = -1},
                              .error_code = "waited-too-long",
                              .error_detail = "its location is no longer configured"};
    aq_attempt_log_end(attempt, aq_attempt_finish(attempt, &result), "failed", result.error_code);
}

/* The verified body. Where it cannot be had that is the answer, logged. */
apr_status_t aq_attempt_body_open(aq_attempt_t *attempt, int *body_fd)
{
    static const char *const details[] = {
        [AQ_BODY_MISSING] = "the stored body is gone",
        [AQ_BODY_CHANGED] = "the stored body is not what was received",
        [AQ_WORKER_TROUBLE] = "the worker could not begin",
    };
    const aq_batch_t *batch = attempt->job->batch;

    apr_status_t rv = aq_spool_body_open(attempt->worker->spool, attempt->pool, batch->id, &batch->request, body_fd);
    attempt->is_without_spool = rv == APR_ENOENT && !aq_spool_is_there(attempt->worker->spool);
    if (attempt->is_without_spool) {
        AQ_LOG(AQ_LOG_ERROR, 656, rv, "batch %s: the folders of the spool are not there; it waits for them", batch->id);
    } else if (rv != APR_SUCCESS) {
        aq_target_end_t end = rv == APR_ENOENT     ? AQ_BODY_MISSING
                              : rv == APR_EGENERAL ? AQ_BODY_CHANGED
                                                   : AQ_WORKER_TROUBLE;
        AQ_LOG(AQ_LOG_ERROR, 616, rv, "batch %s: %s", batch->id, details[end]);
        attempt->answer = (aq_target_answer_t){.end = end, .detail = details[end]};
    }
    return rv;
}

/* Progress is for people: where it cannot be written the next one will do. A lost lease is told by the renewal. */
static void write_progress(void *data, int64_t done, int64_t total, int64_t failed)
{
    const aq_attempt_t *attempt = data;

    apr_status_t rv =
        aq_queue_progress(attempt->worker->queue, attempt->held.id, attempt->held.token, done, total, failed);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        AQ_LOG(AQ_LOG_WARNING, 647, rv, "batch %s: its progress cannot be written", attempt->held.id);
    }
}

static void call_target(aq_attempt_t *attempt, aq_target_t *target)
{
    const aq_batch_t *batch = attempt->job->batch;
    aq_worker_t *worker = attempt->worker;
    int body_fd;

    if (aq_attempt_body_open(attempt, &body_fd) != APR_SUCCESS) {
        return;
    }
    apr_status_t rv =
        aq_spool_result_begin(worker->spool, attempt->pool, batch->id, attempt->job->token, &attempt->result);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 651, rv, "batch %s: no file for the answer can be made", batch->id);
        attempt->answer = (aq_target_answer_t){.end = AQ_WORKER_TROUBLE, .detail = "the worker could not begin"};
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
    (void)close(body_fd);
}

void aq_attempt_run(aq_worker_t *worker, aq_target_t *target, apr_pool_t *p, const aq_job_t *job,
                    const aq_queue_now_t *claimed_at)
{
    aq_attempt_t attempt = {.worker = worker, .pool = p, .job = job, .began_ms = claimed_at->boot_ms};

    aq_leases_add(&worker->leases, &attempt.held, job, claimed_at->boot_ms + worker->options.lease_ms);
    attempt.location = aq_settings_location(&worker->settings, p, job->batch->location);
    if (attempt.location == NULL) {
        without_location(&attempt);
    } else if (job->batch->items > 0) {
        aq_attempt_items(&attempt);
    } else {
        call_target(&attempt, target);
        atomic_store(&attempt.held.is_ending, 1);
        if (attempt.answer.was_stopped) {
            give_up(&attempt);
        } else {
            aq_attempt_conclude(&attempt);
        }
    }
    aq_leases_remove(&worker->leases, &attempt.held);
}
