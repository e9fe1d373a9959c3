/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leased counters: the call to Redis of a take, for what no slice has paid, and for the next slices. See redis_leased.h.
 */
#include "store/redis_leased_private.h"

#include "base/aq_metrics.h"

/* A smaller slice is not worth being followed before it is used up. */
#define AHEAD_MIN 4
/* So long nobody asks for a slice after an answer that never came, and at most so long while one is waited for. */
#define FAILED_MS INT64_C(1000)

/* Those of a take that Redis is asked for. */
typedef struct {
    unsigned count;
    aq_leased_taking_t *of[AQ_LIMITS_MAX];
    aq_counter_t counters[AQ_LIMITS_MAX];
    aq_redis_slice_t slices[AQ_LIMITS_MAX];
    uint64_t words[AQ_LIMITS_MAX][AQ_WINDOW_WORDS];
} asked_t;

static int ask_begin(const aq_leased_take_t *take, aq_leased_taking_t *taking)
{
    const int64_t budget_ms = aq_redis_link_address(take->store->link)->budget_ms;

    taking->is_asking =
        aq_slice_ask_begin(&taking->place, take->cost, take->boot_ms, FAILED_MS + budget_ms, &taking->want);
    return taking->is_asking;
}

/* 1 where the next slice is to be taken already, and it is for this request to do so. */
static int is_due(const aq_leased_take_t *take, aq_leased_taking_t *taking)
{
    const uint32_t granted = atomic_load_explicit(&taking->place.slot->granted, memory_order_relaxed);

    return granted >= AHEAD_MIN && taking->rest <= granted / 2 && !aq_redis_link_is_down(take->store->link) &&
           ask_begin(take, taking);
}

/* A counter that is not paid gets a place, and where it may ask, what is left there goes back first. */
static void unpaid_prepare(const aq_leased_take_t *take, aq_leased_taking_t *taking)
{
    aq_slice_rest_t rest;

    if (!aq_leased_applies(take->store, taking->counter->limit)) {
        return;
    }
    if (taking->place.slot == NULL) {
        char home[AQ_REDIS_HOME_SIZE];

        aq_redis_home_write(taking->counter, home);
        taking->place = aq_slice_insert(take->store->slices, taking->counter, home, take->boot_ms);
    }
    if (taking->place.slot != NULL && ask_begin(take, taking) &&
        aq_slice_take_out(&taking->place, take->boot_ms, &rest)) {
        /* On the connection that asks next, so that Redis knows of it by then. */
        aq_leased_units_return(take->store, &rest, take->now_ms, 0);
    }
}

static void asked_collect(aq_leased_take_t *take, asked_t *asked)
{
    asked->count = 0;
    for (unsigned i = 0; i < take->count; i++) {
        aq_leased_taking_t *taking = &take->takings[i];

        if (!taking->is_paid) {
            unpaid_prepare(take, taking);
        } else if (!is_due(take, taking)) {
            continue;
        }
        asked->of[asked->count] = taking;
        asked->counters[asked->count] = *taking->counter;
        taking->said = taking->is_paid ? NULL : &asked->counters[asked->count];
        taking->slice = &asked->slices[asked->count];
        asked->slices[asked->count++] = (aq_redis_slice_t){
            .need = taking->is_paid ? 0 : take->cost,
            .want = taking->is_asking            ? taking->want
                    : taking->place.slot != NULL ? take->cost
                                                 : 0,
        };
    }
}

/* Puts a slice that was granted into its place. */
static void slice_keep(const aq_leased_take_t *take, const aq_leased_taking_t *taking, const aq_redis_slice_t *slice)
{
    const int64_t left_ms = slice->left_ms - 1; /* Redis's clock, and ours, are cut to whole milliseconds */
    const int has_end = slice->left_ms != 0 && left_ms < AQ_LEASED_LIFE_MS;
    const aq_time_ms_t dies_ms = take->boot_ms + (has_end ? left_ms : AQ_LEASED_LIFE_MS);
    const uint32_t units = slice->granted > slice->need ? slice->granted - slice->need : 0;
    const int is_all_given = units == 0 && slice->want > slice->need;

    if (units != 0) {
        aq_slices_count(AQ_SLICE_TAKEN, slice->granted);
    }
    /* Also where there are none: the place names this window from now on, and a free answer can go back there. */
    if (slice->granted != 0 && !aq_slice_put(&taking->place, slice->start, units, dies_ms, take->boot_ms) &&
        units != 0) {
        aq_leased_units_return_of(take->store, taking->counter, slice->start, units, take->now_ms);
    }
    aq_slice_ask_end(&taking->place, slice->granted, take->boot_ms,
                     is_all_given ? take->boot_ms + AQ_SLICE_REFUSED_MS : 0);
}

/* Notes what Redis said of the counters that it was asked for, and ends the asking. */
static void asked_note(const aq_leased_take_t *take, const asked_t *asked, int is_denied)
{
    for (unsigned i = 0; i < asked->count; i++) {
        aq_leased_taking_t *taking = asked->of[i];
        const aq_counter_t *said = &asked->counters[i];

        if (taking->place.slot == NULL) {
            continue;
        }
        aq_slice_words_note(&taking->place, asked->words[i]);
        if (is_denied && said->is_denied) {
            atomic_store(&taking->place.slot->refused_ms, take->boot_ms + AQ_SLICE_REFUSED_MS);
        }
        if (taking->is_asking && !is_denied) {
            slice_keep(take, taking, &asked->slices[i]);
        } else if (taking->is_asking) {
            aq_slice_ask_end(&taking->place, 0, take->boot_ms, 0);
        }
    }
}

/* Redis gave no answer: who asked does not ask again for a while, since each time a slice may have been charged. */
static void asked_fail(const aq_leased_take_t *take, const asked_t *asked)
{
    for (unsigned i = 0; i < asked->count; i++) {
        if (asked->of[i]->is_asking) {
            aq_slice_ask_end(&asked->of[i]->place, 0, take->boot_ms, take->boot_ms + FAILED_MS);
        }
    }
}

/* The answers and receipts of a take that all admitted, or that one refused. */
static void answer_all(const aq_leased_take_t *take, int is_denied)
{
    for (unsigned i = 0; i < take->count; i++) {
        const aq_leased_taking_t *taking = &take->takings[i];
        const int is_refusing = is_denied && taking->said != NULL && taking->said->is_denied;

        if (taking->said != NULL) {
            *taking->counter = *taking->said;
        }
        if (taking->place.slot != NULL) {
            const uint32_t start = taking->said != NULL ? taking->slice->start : taking->start;

            taking->counter->receipt = (aq_receipt_t){
                .word = (uint64_t)start << 32, .cost = is_denied ? 0 : take->cost, .index = AQ_LEASED_RECEIPT};
            aq_leased_answer(take->store, &taking->place, taking->counter, take->now_ms, is_refusing ? take->cost : 0);
        }
    }
}

apr_status_t aq_leased_ask(aq_leased_take_t *take, int *is_denied)
{
    asked_t asked;
    apr_status_t rv = APR_SUCCESS;

    asked_collect(take, &asked);
    if (asked.count != 0) {
        rv = aq_redis_count_take(take->store, asked.counters, asked.count, take->cost, take->now_ms, asked.slices,
                                 asked.words, is_denied);
    }
    if (rv == APR_SUCCESS) {
        asked_note(take, &asked, *is_denied);
    } else {
        asked_fail(take, &asked);
    }
    if (rv != APR_SUCCESS && take->unpaid == 0) {
        rv = APR_SUCCESS; /* only the next slice failed to come */
    }
    if (rv != APR_SUCCESS || *is_denied) {
        aq_leased_unspend_all(take);
    }
    if (rv == APR_SUCCESS) {
        answer_all(take, *is_denied);
    }
    return rv;
}
