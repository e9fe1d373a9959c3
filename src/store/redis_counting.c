/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the counting script. See redis_counting.h. */
#include "store/redis_counting.h"

#include <stdlib.h>
#include <string.h>

/* Clocks that differ by less are told as one: the end of a day is midnight, and not a moment later. */
#define CLOCK_APART_MS 1000
#define TICKS_PER_S 6

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static aq_time_ms_t time_moved(aq_time_ms_t time_ms, int64_t by_ms)
{
    return time_ms != AQ_TIME_NEVER ? time_ms + by_ms : AQ_TIME_NEVER;
}

/* Tells the moments of Redis's clock in the caller's. */
static void times_translate(aq_counter_t *counter, int64_t ahead_ms)
{
    const int is_end_of_window =
        counter->limit->window.algorithm == AQ_ALGORITHM_FIXED || (!counter->is_denied && counter->remaining > 0);

    counter->fits_at_ms = time_moved(counter->fits_at_ms, -ahead_ms);
    if (!is_end_of_window || llabs(ahead_ms) >= CLOCK_APART_MS) {
        counter->reset_at_ms = time_moved(counter->reset_at_ms, -ahead_ms);
    }
}

void aq_redis_count_answer(aq_counter_t *counter, const uint64_t of[AQ_WINDOW_WORDS], aq_time_ms_t redis_ms,
                           aq_time_ms_t now_ms, uint32_t denied_cost)
{
    uint64_t words[AQ_WINDOW_WORDS];
    aq_window_look_t look;

    (void)memcpy(words, of, sizeof(words));
    aq_window_look(&counter->limit->window, words, redis_ms, &look);
    aq_counter_answer(counter, words, &look, denied_cost);
    times_translate(counter, redis_ms - now_ms);
}

static void counter_answer(const aq_redis_counting_t *call, unsigned index, const aq_redis_words_t *of,
                           aq_time_ms_t redis_ms)
{
    aq_counter_t *counter = &call->counters[index];
    const int is_denied = (call->denied >> index & 1) != 0;

    aq_redis_count_answer(counter, of->words, redis_ms, call->now_ms, is_denied ? call->saying.cost : 0);
    if (call->words != NULL) {
        (void)memcpy(call->words[index], of->words, sizeof(of->words));
    }
    if (call->saying.verb == AQ_REDIS_TAKE && call->denied == 0) {
        const int is_member = counter->limit->window.algorithm == AQ_ALGORITHM_CONCURRENT;

        counter->receipt = (aq_receipt_t){
            .slot = is_member ? counter->receipt.slot : of->mark, .word = of->words[0], .cost = call->saying.cost};
    }
    if (call->store->seen != NULL) {
        call->store->seen(call->store->seen_data, counter, of->words, redis_ms);
    }
}

static aq_redis_failure_t counter_read(const aq_redis_counting_t *call, const redisReply *reply, size_t *at,
                                       unsigned index, aq_redis_words_t *words)
{
    const aq_limit_t *limit = call->counters[index].limit;
    aq_redis_slice_t *slice = call->saying.slices != NULL ? &call->saying.slices[index] : NULL;
    const aq_redis_failure_t failure = aq_redis_words_read(reply, at, limit, words);

    if (failure != AQ_REDIS_DONE || slice == NULL || slice->want == 0) {
        return failure;
    }
    slice->start = (uint32_t)(words->mark *
                              (limit->window.algorithm == AQ_ALGORITHM_SLIDING ? limit->window.period_s : TICKS_PER_S));
    return aq_redis_slice_read(reply, at, slice);
}

/* The whole answer is read before any counter is told anything. */
static aq_redis_failure_t answer_read(void *data, const redisReply *reply)
{
    aq_redis_counting_t *call = data;
    aq_redis_words_t words[AQ_LIMITS_MAX];
    int64_t redis_ms;
    size_t at = 2;

    if (!aq_redis_number_read(reply, 0, &redis_ms) || reply->elements < 2 ||
        reply->element[1]->type != REDIS_REPLY_INTEGER || redis_ms > INT64_MAX / 2) {
        return AQ_REDIS_PROTOCOL;
    }
    call->denied = reply->element[1]->integer;
    atomic_store_explicit(&call->store->ahead_ms, redis_ms - call->now_ms, memory_order_relaxed);
    if (call->denied == -1) {
        return AQ_REDIS_DONE;
    }
    for (unsigned i = 0; i < call->count; i++) {
        if (counter_read(call, reply, &at, i, &words[i]) != AQ_REDIS_DONE) {
            return AQ_REDIS_PROTOCOL;
        }
    }
    if (at != reply->elements || call->denied < 0 || call->denied >> call->count != 0) {
        return AQ_REDIS_PROTOCOL;
    }
    for (unsigned i = 0; i < call->count; i++) {
        counter_answer(call, i, &words[i], redis_ms);
    }
    return AQ_REDIS_DONE;
}

/* ---- one call --------------------------------------------------------------------------------------------------- */

static aq_redis_failure_t call_once(aq_redis_counting_t *call)
{
    aq_redis_request_t request;

    aq_redis_request_make(&request, &call->store->script, &call->saying, call->counters, call->count);
    return aq_redis_request_ask(call->store->link, &request, &call->store->script, answer_read, call);
}

/* A second time where our idea of Redis's time was months off, as it may be when it is asked first. */
static aq_redis_failure_t call_make_whole(aq_redis_counting_t *call)
{
    aq_redis_failure_t failure = call_once(call);

    if (failure == AQ_REDIS_DONE && call->denied == -1) {
        call->saying.present_ms = call->now_ms + atomic_load(&call->store->ahead_ms);
        failure = call_once(call);
        if (failure == AQ_REDIS_DONE && call->denied == -1) {
            failure = AQ_REDIS_PROTOCOL;
        }
    }
    return failure;
}

/* ---- one call a home -------------------------------------------------------------------------------------------- */

/* The calls of a call's homes, with copies of their counters. */
typedef struct {
    aq_redis_counting_t calls[AQ_LIMITS_MAX];
    unsigned count;
    aq_counter_t counters[AQ_LIMITS_MAX];
    unsigned places[AQ_LIMITS_MAX]; /* of each among those of the whole call */
} homes_t;

/* A script's call as it is sent. */
typedef struct {
    aq_redis_request_t request;
    aq_redis_wording_t wording;
} sending_t;

/* 1 where the counter has no part in what is said. */
static int is_left_out(const aq_redis_counting_t *whole, unsigned i)
{
    return whole->saying.verb == AQ_REDIS_BACK && whole->counters[i].receipt.cost == 0;
}

static void homes_split(homes_t *homes, const aq_redis_counting_t *whole)
{
    char names[AQ_LIMITS_MAX][AQ_REDIS_HOME_SIZE];
    int is_done[AQ_LIMITS_MAX];
    unsigned used = 0;

    homes->count = 0;
    for (unsigned i = 0; i < whole->count; i++) {
        aq_redis_home_write(&whole->counters[i], names[i]);
        is_done[i] = is_left_out(whole, i);
    }
    for (unsigned i = 0; i < whole->count; i++) {
        aq_redis_counting_t *call = &homes->calls[homes->count];

        if (is_done[i]) {
            continue;
        }
        *call = *whole;
        call->counters = &homes->counters[used];
        call->count = 0;
        homes->count++;
        for (unsigned k = i; k < whole->count; k++) {
            if (!is_done[k] && strcmp(names[k], names[i]) == 0) {
                is_done[k] = 1;
                homes->places[used] = k;
                homes->counters[used++] = whole->counters[k];
                call->count++;
            }
        }
    }
}

/* What the homes were told, to the counters of the whole call. */
static void homes_join(const homes_t *homes, aq_redis_counting_t *whole)
{
    unsigned used = 0;

    whole->denied = 0;
    for (unsigned h = 0; h < homes->count; h++) {
        whole->denied |= homes->calls[h].denied != 0;
        for (unsigned i = 0; i < homes->calls[h].count; i++, used++) {
            whole->counters[homes->places[used]] = homes->counters[used];
        }
    }
}

/* Asks all at once. The first failure, or AQ_REDIS_DONE. */
static aq_redis_failure_t sendings_ask(const aq_redis_store_t *store, sending_t *sendings, unsigned count,
                                       aq_redis_read_fn *read, aq_redis_counting_t *const *calls)
{
    aq_redis_question_t questions[AQ_LIMITS_MAX];
    aq_redis_failure_t failure = AQ_REDIS_DONE;

    for (unsigned i = 0; i < count; i++) {
        aq_redis_request_word(&sendings[i].request, &store->script, &sendings[i].wording);
        questions[i] = (aq_redis_question_t){.command = &sendings[i].wording.command,
                                             .otherwise = &sendings[i].wording.otherwise,
                                             .read = read,
                                             .data = calls != NULL ? calls[i] : NULL};
    }
    aq_redis_ask_all(store->link, questions, count);
    for (unsigned i = 0; failure == AQ_REDIS_DONE && i < count; i++) {
        failure = questions[i].failure;
    }
    return failure;
}

static aq_redis_failure_t calls_ask(aq_redis_counting_t *const *calls, unsigned count, aq_redis_read_fn *read)
{
    sending_t *sendings = count != 0 ? malloc(count * sizeof(*sendings)) : NULL;
    aq_redis_failure_t failure;

    if (count == 0) {
        return AQ_REDIS_DONE;
    }
    if (sendings == NULL) {
        return AQ_REDIS_OTHER;
    }
    for (unsigned i = 0; i < count; i++) {
        const aq_redis_counting_t *call = calls[i];

        aq_redis_request_make(&sendings[i].request, &call->store->script, &call->saying, call->counters, call->count);
    }
    failure = sendings_ask(calls[0]->store, sendings, count, read, calls);
    free(sendings);
    return failure;
}

/* Those that say so are asked again with Redis's time. 0: none does. */
static unsigned again_find(homes_t *homes, aq_redis_counting_t **again)
{
    unsigned count = 0;

    for (unsigned h = 0; h < homes->count; h++) {
        if (homes->calls[h].denied == -1) {
            homes->calls[h].saying.present_ms = homes->calls[h].now_ms + atomic_load(&homes->calls[h].store->ahead_ms);
            again[count++] = &homes->calls[h];
        }
    }
    return count;
}

static aq_redis_failure_t call_make_homes(aq_redis_counting_t *whole)
{
    aq_redis_counting_t *calls[AQ_LIMITS_MAX];
    homes_t homes;
    aq_redis_failure_t failure;
    unsigned again;

    homes_split(&homes, whole);
    for (unsigned h = 0; h < homes.count; h++) {
        calls[h] = &homes.calls[h];
    }
    failure = calls_ask(calls, homes.count, answer_read);
    again = failure == AQ_REDIS_DONE ? again_find(&homes, calls) : 0;
    if (again != 0) {
        failure = calls_ask(calls, again, answer_read);
        if (failure == AQ_REDIS_DONE && again_find(&homes, calls) != 0) {
            failure = AQ_REDIS_PROTOCOL;
        }
    }
    homes_join(&homes, whole);
    return failure;
}

/* ---- either ----------------------------------------------------------------------------------------------------- */

aq_redis_failure_t aq_redis_counting_make(aq_redis_counting_t *call)
{
    return aq_redis_link_is_cluster(call->store->link) ? call_make_homes(call) : call_make_whole(call);
}

aq_redis_failure_t aq_redis_counting_ask(aq_redis_counting_t *call)
{
    aq_redis_counting_t *calls[AQ_LIMITS_MAX] = {call};
    homes_t homes = {.count = 1};

    if (aq_redis_link_is_cluster(call->store->link)) {
        homes_split(&homes, call);
        for (unsigned h = 0; h < homes.count; h++) {
            calls[h] = &homes.calls[h];
        }
    }
    return calls_ask(calls, homes.count, NULL);
}

static aq_redis_failure_t call_send_one(const aq_redis_counting_t *call)
{
    aq_redis_request_t request;

    aq_redis_request_make(&request, &call->store->script, &call->saying, call->counters, call->count);
    return aq_redis_request_send(call->store->link, &request);
}

aq_redis_failure_t aq_redis_counting_send(aq_redis_counting_t *call)
{
    aq_redis_failure_t failure = AQ_REDIS_DONE;
    homes_t homes;

    if (!aq_redis_link_is_cluster(call->store->link)) {
        return call_send_one(call);
    }
    if (call->store->options.waits_to_settle) {
        return aq_redis_counting_ask(call);
    }
    homes_split(&homes, call);
    for (unsigned h = 0; h < homes.count; h++) {
        const aq_redis_failure_t of_home = call_send_one(&homes.calls[h]);

        failure = failure != AQ_REDIS_DONE ? failure : of_home;
    }
    return failure;
}

void aq_redis_counting_renew(aq_redis_store_t *store, const aq_redis_saying_t *saying, const aq_redis_held_t *held,
                             unsigned count)
{
    const unsigned size = aq_redis_link_is_cluster(store->link) ? 1 : count; /* of one sending */
    sending_t *sendings = malloc(count / size * sizeof(*sendings));

    if (sendings == NULL) {
        return;
    }
    for (unsigned i = 0; i < count / size; i++) {
        aq_redis_request_renew(&sendings[i].request, &store->script, saying, &held[(size_t)i * size], size);
    }
    (void)sendings_ask(store, sendings, count / size, NULL, NULL);
    free(sendings);
}
