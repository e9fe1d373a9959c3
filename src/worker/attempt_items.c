/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attempt at a batch of items: what earlier leases noted is read; the lines that are left are sent; then the result is
 * put together from all segments, made durable, and the row written.
 *
 * A batch whose lines are all done has succeeded, whatever became of each: its progress and its result tell. It fails when
 * its time is over, or when it cannot be done here; it is canceled when its client asks. In all of these the result holds
 * the lines that were done. Segments of a batch that did not succeed stay as long as its body, so that an operator's retry
 * goes on behind them.
 */
#include "worker/attempt_private.h"

#include "base/aq_log.h"
#include "worker/exec.h"
#include "worker/items.h"

#include <apr_strings.h>
#include <stdatomic.h>
#include <unistd.h>

#define RESULT_TYPE "application/x-ndjson"
#define RESULT_HEADERS "{\"content-type\":\"" RESULT_TYPE "\"}"

static int is_ours(void *data)
{
    const aq_attempt_t *attempt = data;

    return atomic_load(&attempt->held.stop) != AQ_STOP_LOST &&
           aq_leases_holds(&attempt->worker->leases, &attempt->held, aq_clock_boot_ms());
}

static apr_status_t progress_write(aq_attempt_t *attempt, int64_t done, int64_t total, int64_t failed)
{
    apr_status_t rv =
        aq_queue_progress(attempt->worker->queue, attempt->held.id, attempt->held.token, done, total, failed);

    if (rv == APR_NOTFOUND) {
        atomic_store(&attempt->held.stop, AQ_STOP_LOST);
    } else if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 652, rv, "batch %s: how many of its items are done cannot be written now",
               attempt->held.id);
    }
    return rv;
}

static void tell_progress(void *data, int64_t done, int64_t total, int64_t failed)
{
    (void)progress_write(data, done, total, failed);
}

/* Boot time at which the time of the whole batch is over; it runs from its first start, by what the wall clock says now. */
static aq_time_ms_t until_ms(const aq_attempt_t *attempt)
{
    const aq_batch_t *batch = attempt->job->batch;
    int64_t used_ms = aq_clock_now_ms() - batch->started_at_ms;

    return aq_clock_boot_ms() + attempt->location->timeout_ms - (used_ms > 0 ? used_ms : 0);
}

static void trouble(aq_attempt_t *attempt, apr_status_t rv, const char *detail)
{
    AQ_LOG(AQ_LOG_ERROR, 653, rv, "batch %s: %s", attempt->held.id, detail);
    attempt->answer = (aq_target_answer_t){.end = AQ_WORKER_TROUBLE, .detail = detail};
    aq_attempt_conclude(attempt);
}

/* The result in its file, and what it holds in the row: exactly, so this is tried until it is there. */
static apr_status_t result_store(aq_attempt_t *attempt, aq_job_result_t *result)
{
    aq_spool_t *spool = attempt->worker->spool;
    const aq_batch_t *batch = attempt->job->batch;
    aq_items_known_t known;
    apr_status_t rv;

    aq_items_known_make(attempt->pool, batch->items, &known);
    if ((rv = aq_spool_result_begin(spool, attempt->pool, batch->id, attempt->job->token, &attempt->result)) !=
            APR_SUCCESS ||
        (rv = aq_segments_merge(spool, attempt->pool, batch->id, &known, attempt->result,
                                &(aq_merge_stop_t){.flag = &attempt->held.stop, .from = AQ_STOP_ASKED})) !=
            APR_SUCCESS ||
        (rv = aq_spool_result_commit(attempt->result, &result->response)) != APR_SUCCESS) {
        return rv;
    }
    result->response_status = 200;
    result->response_headers = RESULT_HEADERS;
    result->response.content_type = RESULT_TYPE;
    do {
        rv = progress_write(attempt, known.done, batch->items, known.failed);
    } while (aq_attempt_try_again(attempt, rv));
    return rv;
}

/* Whatever comes after APR_SUCCESS of storing belongs to the row; before, the batch is as it was. */
static void end_with_result(aq_attempt_t *attempt, aq_job_result_t *result)
{
    aq_spool_t *spool = attempt->worker->spool;
    apr_status_t rv = result_store(attempt, result);

    if (rv == APR_EINTR) {
        aq_attempt_hand_back(attempt, 0);
        return;
    }
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        trouble(attempt, rv, "the result of its items cannot be put together now");
        return;
    }
    attempt->answer.status = result->response_status;
    rv = rv == APR_SUCCESS ? aq_attempt_finish(attempt, result) : rv;
    aq_attempt_log_end(attempt, rv, aq_batch_status_name(result->status), result->error_code);
    if (rv != APR_SUCCESS) {
        (void)aq_spool_result_remove(spool, attempt->pool, attempt->held.id, attempt->held.token);
    } else if (result->status == AQ_BATCH_SUCCEEDED &&
               (rv = aq_spool_segments_remove(spool, attempt->pool, attempt->held.id)) != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 654, rv, "batch %s: its segments cannot be removed now", attempt->held.id);
    }
}

/* Back to the queue, with what is known of it so far. */
static void give_back(aq_attempt_t *attempt, const aq_items_known_t *known, int64_t wait_ms)
{
    if (progress_write(attempt, known->done, known->items, known->failed) == APR_NOTFOUND) {
        aq_attempt_log_end(attempt, APR_NOTFOUND, NULL, NULL);
        return;
    }
    aq_attempt_hand_back(attempt, wait_ms);
}

static void stopped(aq_attempt_t *attempt, const aq_items_known_t *known)
{
    int stop = atomic_load(&attempt->held.stop);

    if (!is_ours(attempt)) {
        aq_attempt_log_end(attempt, APR_NOTFOUND, NULL, NULL);
    } else if (stop == AQ_STOP_CANCEL) {
        end_with_result(attempt, &(aq_job_result_t){.status = AQ_BATCH_CANCELED});
    } else {
        give_back(attempt, known, 0);
    }
}

static void conclude(aq_attempt_t *attempt, const aq_items_known_t *known, const aq_items_answer_t *answer)
{
    switch (answer->end) {
    case AQ_ITEMS_DONE:
        end_with_result(attempt, &(aq_job_result_t){.status = AQ_BATCH_SUCCEEDED});
        break;
    case AQ_ITEMS_TIMED_OUT:
        end_with_result(attempt,
                        &(aq_job_result_t){.status = AQ_BATCH_FAILED,
                                           .error_code = "batch-timeout",
                                           .error_detail = "its time was over before all of its items were done"});
        break;
    case AQ_ITEMS_STOPPED:
        stopped(attempt, known);
        break;
    case AQ_ITEMS_PAUSED:
        give_back(attempt, known, answer->wait_ms);
        break;
    case AQ_ITEMS_TROUBLE:
        trouble(attempt, answer->status, "its items cannot be sent now");
        break;
    }
}

static void run(aq_attempt_t *attempt, int body_fd)
{
    const aq_batch_t *batch = attempt->job->batch;
    aq_worker_t *worker = attempt->worker;
    aq_items_answer_t answer;
    aq_items_known_t known;
    aq_segment_t *segment;
    apr_status_t rv;

    aq_items_known_make(attempt->pool, batch->items, &known);
    if ((rv = aq_segments_recover(worker->spool, attempt->pool, batch->id, &known)) != APR_SUCCESS ||
        (rv = aq_segment_begin(worker->spool, attempt->pool, batch->id, attempt->job->token, &segment)) !=
            APR_SUCCESS) {
        trouble(attempt, rv, "what was done of its items cannot be read, or what is done not be noted");
        return;
    }
    /* Before anything is sent: should this worker be lost as well, then what its predecessor did counts. */
    if (known.done > batch->progress_done &&
        progress_write(attempt, known.done, known.items, known.failed) == APR_NOTFOUND) {
        aq_attempt_log_end(attempt, APR_NOTFOUND, NULL, NULL);
        return;
    }
    if (known.done > 0) {
        AQ_LOG(AQ_LOG_INFO, 655, APR_SUCCESS,
               "batch %s attempt %d: %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT " items are done already", batch->id,
               batch->attempt, known.done, known.items);
    }
    aq_items_run(attempt->pool,
                 &(aq_items_call_t){.batch = batch,
                                    .location = attempt->location,
                                    .body_fd = body_fd,
                                    .result_max_bytes = worker->options.result_max_bytes,
                                    .until_ms = until_ms(attempt),
                                    .known = &known,
                                    .segment = segment,
                                    .stop = &attempt->held.stop,
                                    .draining = &worker->stopping,
                                    .is_ours = is_ours,
                                    .progress = tell_progress,
                                    .data = attempt},
                 &answer);
    conclude(attempt, &known, &answer);
}

void aq_attempt_items(aq_attempt_t *attempt)
{
    int body_fd;

    if (aq_exec_is_target(attempt->location->target)) {
        trouble(attempt, APR_EINVAL, "its items cannot be sent to a program");
        return;
    }
    if (aq_attempt_body_open(attempt, &body_fd) != APR_SUCCESS) {
        aq_attempt_conclude(attempt);
        return;
    }
    run(attempt, body_fd);
    (void)close(body_fd);
}
