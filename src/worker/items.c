/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of a batch of items, in the thread of its job: take what has ended, send what may be sent, wait for libcurl or
 * for the next moment at which something may be sent.
 *
 * Memory: a place for each call, and an entry for each item that waits to be tried again, of which there are at most some
 * times as many as places. Nothing grows with the number of lines but the bits of aq_items_known_t.
 */
#include "worker/items_private.h"

#include "base/aq_hash.h"

#include <apr_strings.h>

#define LOOK_MS 200 /* for stops */
#define PROGRESS_EVERY_MS 1000
#define BAD_LINES_AT_ONCE 1000
#define WAITING_PER_CALL 16
#define WAITING_LEAST 64
#define LATE_MOST_US 10000   /* how far a start that is late lets the next ones follow closer */
#define PAUSE_LEAST_MS 60000 /* what is worth to give the thread to another batch */
#define NEVER_MS INT64_MAX

typedef struct {
    aq_item_t item;
    int tries;
    aq_time_ms_t due_ms;
} waiting_t;

typedef struct {
    const aq_items_call_t *call;
    CURLM *multi;
    aq_items_source_t source;
    aq_item_call_t *calls;
    int parallel, in_flight;
    waiting_t *waiting;
    int waiting_count, waiting_most;
    int is_read; /* the source is at its end */
    int is_never_repeat;
    int misses; /* ends without a decision of the target, since the last with one */
    int64_t next_start_us;
    aq_time_ms_t held_until_ms; /* by the target's Retry-After */
    aq_time_ms_t progress_at_ms;
    int64_t told_done;
    apr_status_t trouble;
} run_t;

static double random_fraction(void)
{
    uint32_t random;

    return aq_hash_random(&random, sizeof random) == APR_SUCCESS ? (double)random / 4294967296.0 : 0.5;
}

/* Notes a record in the segment, and in what is known. */
static void note(run_t *run, aq_segment_kind_t kind, int64_t line, const char *text, size_t size)
{
    aq_segment_record_t record = {.kind = kind, .line = line, .text = text, .size = size};
    apr_status_t rv = aq_segment_add(run->call->segment, kind, line, text, size);

    if (rv == APR_SUCCESS) {
        aq_items_known_note(run->call->known, &record);
    } else if (run->trouble == APR_SUCCESS) {
        run->trouble = rv;
    }
}

static void note_result(run_t *run, apr_pool_t *ptemp, aq_item_result_t *result)
{
    size_t size;

    /* Lines without their answers take so little that they need no bound of their own. */
    if (result->body != NULL &&
        run->call->known->result_bytes + (int64_t)result->body_bytes > run->call->result_max_bytes) {
        result->body = NULL;
        result->is_body_left_out = 1;
    }
    const char *text = aq_item_result_text(ptemp, result, &size);
    if (text == NULL) {
        run->trouble = APR_ENOMEM;
        return;
    }
    note(run, result->error_code != NULL ? AQ_SEGMENT_FAILED : AQ_SEGMENT_DONE, result->line, text, size);
}

static void wait_for_retry(run_t *run, const aq_item_call_t *call, aq_time_ms_t due_ms)
{
    char tries[16];
    int size = apr_snprintf(tries, sizeof tries, "%d", call->tries);

    note(run, AQ_SEGMENT_TRIED, call->item.line, tries, (size_t)size);
    run->waiting[run->waiting_count++] = (waiting_t){.item = call->item, .tries = call->tries, .due_ms = due_ms};
}

/* A target that asks for time gets it for all items. */
static void hold(run_t *run, const aq_item_end_t *end, aq_time_ms_t now_ms)
{
    int64_t wait_ms = end->end.retry_after_s < AQ_RETRY_WAIT_MAX_MS / AQ_MS_PER_S ? end->end.retry_after_s * AQ_MS_PER_S
                                                                                  : AQ_RETRY_WAIT_MAX_MS;

    if (now_ms + wait_ms > run->held_until_ms) {
        run->held_until_ms = now_ms + wait_ms;
    }
}

static void item_ended(run_t *run, aq_item_call_t *call, CURLcode rc, aq_time_ms_t now_ms)
{
    aq_item_end_t end;

    aq_item_call_read(call, rc, &end);
    aq_outcome_t outcome = aq_outcome_decide(&end.end, random_fraction());
    if (aq_outcome_is_definite(&end.end)) {
        run->misses = 0;
    } else {
        run->misses++;
        hold(run, &end, now_ms);
    }
    if (outcome.status == AQ_BATCH_QUEUED) {
        wait_for_retry(run, call, now_ms + outcome.wait_ms);
    } else {
        end.result.error_code = outcome.error_code;
        end.result.error_detail = end.detail;
        note_result(run, call->pool, &end.result);
    }
    aq_item_call_free(call, run->multi);
    run->in_flight--;
}

static void take_ended(run_t *run, aq_time_ms_t now_ms)
{
    const CURLMsg *message;
    aq_item_call_t *call;
    int left;

    while ((message = curl_multi_info_read(run->multi, &left)) != NULL) {
        CURLcode rc = message->data.result;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call) == CURLE_OK) {
            item_ended(run, call, rc, now_ms);
        }
    }
}

/* The waiting item that is due first; -1: none waits. */
static int waiting_first(const run_t *run)
{
    int first = -1;

    for (int i = 0; i < run->waiting_count; i++) {
        if (first < 0 || run->waiting[i].due_ms < run->waiting[first].due_ms) {
            first = i;
        }
    }
    return first;
}

/* While nothing gets through, one new line at a time, and only when no other waits. */
static int may_read(const run_t *run)
{
    if (run->is_read || run->waiting_count + run->in_flight >= run->waiting_most) {
        return 0;
    }
    return run->misses < run->parallel || run->waiting_count + run->in_flight == 0;
}

/* A line that cannot be sent: bad, or begun by a worker of which nothing else is known. 1: it is done. */
static int end_unsent(run_t *run, apr_pool_t *ptemp, const aq_item_t *item)
{
    if (aq_items_is_unknown(run->call->known, item->line)) {
        char text[256];
        const size_t size = aq_item_unknown_text(text, sizeof text, item->line);

        note(run, AQ_SEGMENT_FAILED, item->line, text, size);
        return 1;
    }
    if (item->verdict == AQ_ITEM_GOOD) {
        return 0;
    }
    note_result(run, ptemp,
                &(aq_item_result_t){.line = item->line,
                                    .error_code = aq_item_error_code(item->verdict),
                                    .error_detail = aq_item_error_detail(item->verdict)});
    apr_pool_clear(ptemp);
    return 1;
}

/* Reads on to a line that can be sent. 0: there is none now. */
static int read_item(run_t *run, apr_pool_t *ptemp, aq_item_t *item)
{
    for (int i = 0; i < BAD_LINES_AT_ONCE && run->trouble == APR_SUCCESS; i++) {
        apr_status_t rv = aq_items_source_next(&run->source, item);
        if (rv == APR_EOF) {
            run->is_read = 1;
            return 0;
        }
        if (rv != APR_SUCCESS) {
            run->trouble = rv == APR_EAGAIN ? APR_SUCCESS : rv;
            return 0;
        }
        if (!end_unsent(run, ptemp, item)) {
            return 1;
        }
    }
    return 0;
}

/* Puts the item that may be sent next into a place. 0: there is none. */
static int pick(run_t *run, aq_item_call_t *call, aq_time_ms_t now_ms)
{
    int first = waiting_first(run);

    if (first >= 0 && run->waiting[first].due_ms <= now_ms) {
        call->item = run->waiting[first].item;
        call->tries = run->waiting[first].tries + 1;
        run->waiting[first] = run->waiting[--run->waiting_count];
    } else if (may_read(run) && read_item(run, call->pool, &call->item)) {
        call->tries = aq_items_tries(run->call->known, call->item.line) + 1;
    } else {
        return 0;
    }
    call->is_taken = 1;
    run->in_flight++;
    return 1;
}

static int may_start(const run_t *run, aq_time_ms_t now_ms)
{
    return run->in_flight < run->parallel && run->trouble == APR_SUCCESS && now_ms >= run->held_until_ms &&
           run->next_start_us <= now_ms * 1000 && atomic_load(run->call->draining) == 0;
}

static aq_item_call_t *place_find(const run_t *run)
{
    int i = 0;

    while (run->calls[i].is_taken) {
        i++;
    }
    return &run->calls[i];
}

/* What is picked is sent together: where a beginning has to be on disk first, one sync serves all of them. */
static void send_picked(run_t *run)
{
    if (run->is_never_repeat && run->trouble == APR_SUCCESS) {
        run->trouble = aq_segment_sync(run->call->segment);
    }
    for (int i = 0; i < run->parallel && run->trouble == APR_SUCCESS; i++) {
        if (run->calls[i].is_taken && !run->calls[i].is_sent) {
            run->trouble = aq_item_call_send(&run->calls[i], run->multi);
        }
    }
}

static void start_items(run_t *run, aq_time_ms_t now_ms)
{
    const int64_t now_us = now_ms * 1000;
    int picked = 0;

    while (may_start(run, now_ms)) {
        aq_item_call_t *call = place_find(run);
        if (!pick(run, call, now_ms)) {
            break;
        }
        if (run->is_never_repeat) {
            note(run, AQ_SEGMENT_BEGUN, call->item.line, "", 0);
        }
        if (run->next_start_us < now_us - LATE_MOST_US) {
            run->next_start_us = now_us - LATE_MOST_US;
        }
        run->next_start_us += run->call->location->items_gap_us;
        picked++;
    }
    if (picked > 0 && run->call->is_ours(run->call->data)) {
        send_picked(run);
    }
}

static void tell_progress(run_t *run, aq_time_ms_t now_ms)
{
    const aq_items_known_t *known = run->call->known;

    if (now_ms < run->progress_at_ms || known->done == run->told_done) {
        return;
    }
    /* What was told must not become less when the power fails. */
    if (run->trouble == APR_SUCCESS && (run->trouble = aq_segment_sync(run->call->segment)) == APR_SUCCESS) {
        run->call->progress(run->call->data, known->done, known->items, known->failed);
        run->told_done = known->done;
        run->progress_at_ms = now_ms + PROGRESS_EVERY_MS;
    }
}

/* When something may be sent next, as far as time decides. */
static aq_time_ms_t next_moment(const run_t *run, aq_time_ms_t now_ms)
{
    int first = waiting_first(run);
    aq_time_ms_t due_ms = may_read(run) ? now_ms : first >= 0 ? run->waiting[first].due_ms : NEVER_MS;
    aq_time_ms_t gap_ms = (run->next_start_us + 999) / 1000;

    due_ms = due_ms > run->held_until_ms ? due_ms : run->held_until_ms;
    return due_ms > gap_ms ? due_ms : gap_ms;
}

static int wait_of(const run_t *run, aq_time_ms_t now_ms)
{
    int may_wait_less = run->in_flight < run->parallel && atomic_load(run->call->draining) == 0;
    int64_t wait_ms = may_wait_less ? next_moment(run, now_ms) - now_ms : LOOK_MS;

    return wait_ms < 0 ? 0 : wait_ms < LOOK_MS ? (int)wait_ms : LOOK_MS;
}

/* Whether the run is over, and how. A thread is not kept for a batch that has nothing to do for long. */
static int is_over(const run_t *run, aq_time_ms_t now_ms, aq_items_answer_t *answer)
{
    int is_idle = run->in_flight == 0;
    int64_t wait_ms = next_moment(run, now_ms) - now_ms;

    if (atomic_load(run->call->stop) != 0 || !run->call->is_ours(run->call->data) ||
        (is_idle && atomic_load(run->call->draining) != 0)) {
        answer->end = AQ_ITEMS_STOPPED;
    } else if (run->trouble != APR_SUCCESS) {
        *answer = (aq_items_answer_t){.end = AQ_ITEMS_TROUBLE, .status = run->trouble};
    } else if (is_idle && run->is_read && run->waiting_count == 0) {
        answer->end = AQ_ITEMS_DONE;
    } else if (now_ms >= run->call->until_ms) {
        answer->end = AQ_ITEMS_TIMED_OUT;
    } else if (is_idle && wait_ms >= PAUSE_LEAST_MS) {
        *answer = (aq_items_answer_t){.end = AQ_ITEMS_PAUSED, .wait_ms = wait_ms};
    } else {
        return 0;
    }
    return 1;
}

static void loop(run_t *run, aq_items_answer_t *answer)
{
    aq_time_ms_t now_ms = aq_clock_boot_ms();
    int running;

    while (!is_over(run, now_ms, answer)) {
        start_items(run, now_ms);
        if (curl_multi_perform(run->multi, &running) != CURLM_OK) {
            run->trouble = APR_EGENERAL;
            continue;
        }
        now_ms = aq_clock_boot_ms();
        take_ended(run, now_ms);
        tell_progress(run, now_ms);
        /* What has ended is on its way to the disk before the worker waits, and may be killed. */
        if (run->trouble == APR_SUCCESS) {
            run->trouble = aq_segment_flush(run->call->segment);
        }
        if (curl_multi_poll(run->multi, NULL, 0, wait_of(run, now_ms), NULL) != CURLM_OK) {
            run->trouble = APR_EGENERAL;
        }
        now_ms = aq_clock_boot_ms();
    }
}

static apr_status_t run_open(run_t *run, apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;

    run->multi = curl_multi_init();
    if (run->multi == NULL || curl_multi_setopt(run->multi, CURLMOPT_MAXCONNECTS, (long)run->parallel) != CURLM_OK) {
        return APR_ENOMEM;
    }
    run->calls = apr_pcalloc(p, (size_t)run->parallel * sizeof(*run->calls));
    run->waiting = apr_palloc(p, (size_t)run->waiting_most * sizeof(*run->waiting));
    for (int i = 0; rv == APR_SUCCESS && i < run->parallel; i++) {
        rv = aq_item_call_make(&run->calls[i], p, run->call);
    }
    return rv;
}

static void run_close(run_t *run)
{
    for (int i = 0; run->calls != NULL && i < run->parallel; i++) {
        if (run->calls[i].is_taken) {
            aq_item_call_free(&run->calls[i], run->multi);
        }
        aq_item_call_end(&run->calls[i]);
    }
    (void)curl_multi_cleanup(run->multi);
}

void aq_items_run(apr_pool_t *p, const aq_items_call_t *call, aq_items_answer_t *answer)
{
    const int parallel = call->location->items_parallel;
    run_t run = {.call = call,
                 .parallel = parallel,
                 .waiting_most =
                     parallel * WAITING_PER_CALL > WAITING_LEAST ? parallel * WAITING_PER_CALL : WAITING_LEAST,
                 .is_never_repeat = call->batch->never_repeat || !call->location->target_is_idempotent,
                 .told_done = call->known->done};

    *answer = (aq_items_answer_t){.end = AQ_ITEMS_TROUBLE};
    aq_items_source_open(&run.source, p, call->body_fd, call->known);
    answer->status = run_open(&run, p);
    if (answer->status == APR_SUCCESS) {
        loop(&run, answer);
    }
    run_close(&run);
    apr_status_t rv = aq_segment_flush(call->segment);
    if (rv != APR_SUCCESS && answer->end != AQ_ITEMS_TROUBLE) {
        *answer = (aq_items_answer_t){.end = AQ_ITEMS_TROUBLE, .status = rv};
    }
}
