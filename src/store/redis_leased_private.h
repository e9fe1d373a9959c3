/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind redis_leased.h share; for them alone: redis_leased.c spends and gives back, redis_leased_ask.c asks. */
#ifndef AQ_REDIS_LEASED_PRIVATE_H
#define AQ_REDIS_LEASED_PRIVATE_H

#include "store/redis_counters_private.h"
#include "store/redis_leased.h"

/* In a receipt's index, whose own values are below AQ_WINDOW_WORDS: it was spent from a slice of the window in its word. */
#define AQ_LEASED_RECEIPT 0x40u

/* One counter of a take. */
typedef struct {
    aq_counter_t *counter;
    aq_slice_place_t place; /* none: it is charged in Redis */
    uint32_t start;         /* of the window that it was paid from */
    uint32_t rest;          /* what was left there */
    int is_paid, is_asking;
    uint32_t want;
    const aq_counter_t *said; /* what Redis answered, where it charged this one; NULL: it did not */
    const aq_redis_slice_t *slice;
} aq_leased_taking_t;

/* A take, while it is under way. */
typedef struct {
    aq_redis_store_t *store;
    aq_leased_taking_t takings[AQ_LIMITS_MAX];
    unsigned count, unpaid;
    uint32_t cost;
    aq_time_ms_t now_ms, boot_ms;
} aq_leased_take_t;

/* 1 where slices are taken of this limit. */
int aq_leased_applies(const aq_redis_store_t *store, const aq_limit_t *limit);

/* Tells Redis of units that were taken out. With `is_waiting` its answer is waited for. */
void aq_leased_units_return(aq_redis_store_t *store, const aq_slice_rest_t *rest, aq_time_ms_t now_ms, int is_waiting);

/* The same for a counter that is at hand. */
void aq_leased_units_return_of(aq_redis_store_t *store, const aq_counter_t *counter, uint32_t start, uint32_t units,
                               aq_time_ms_t now_ms);

/* The answer of a counter: as Redis last said it, less what this machine still holds. */
void aq_leased_answer(const aq_redis_store_t *store, const aq_slice_place_t *place, aq_counter_t *counter,
                      aq_time_ms_t now_ms, uint32_t denied_cost);

/* Puts back what a take has paid from slices. */
void aq_leased_unspend_all(aq_leased_take_t *take);

/* Asks Redis for what a take has not paid, and for slices; answers and receipts are then those of the whole take. */
apr_status_t aq_leased_ask(aq_leased_take_t *take, int *is_denied);

#endif
