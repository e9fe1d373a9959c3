/* SPDX-License-Identifier: Apache-2.0 */
/* What redis_counters.c (calls, strict) and redis_leased.c (slices) share; for them alone. */
#ifndef AQ_REDIS_COUNTERS_PRIVATE_H
#define AQ_REDIS_COUNTERS_PRIVATE_H

#include "store/redis_counters.h"
#include "store/redis_request.h"
#include "store/slice_table.h"

#include <stdatomic.h>

typedef struct {
    aq_counter_store_t base;
    aq_redis_link_t *link;
    aq_redis_script_t script;
    aq_redis_counters_options_t options;
    aq_redis_members_t *members;
    aq_slice_table_t *slices; /* NULL: strict */
    _Atomic int64_t ahead_ms; /* Redis's clock, less ours, when it last answered */
    _Atomic int64_t renewed_ms;
    _Atomic int64_t latest_ms; /* that a caller who sets the time gave */
    aq_redis_counters_seen_fn *seen;
    void *seen_data;
} aq_redis_store_t;

static inline aq_redis_store_t *aq_redis_store(const aq_counter_store_t *store)
{
    return (aq_redis_store_t *)store;
}

/* What all calls of that verb say. */
aq_redis_saying_t aq_redis_count_saying(const aq_redis_store_t *store, aq_redis_verb_t verb, uint32_t cost,
                                        aq_time_ms_t now_ms);

apr_status_t aq_redis_count_status(aq_redis_failure_t failure);

/*
 * The store's take (see counter_store.h), by one call. With `slices` (NULL: none) those that want something are charged
 * what they need in place of `cost`, and what they are granted; they and `words` (NULL: not wanted), what Redis said of
 * each counter, are filled where the status is APR_SUCCESS.
 */
apr_status_t aq_redis_count_take(aq_redis_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost,
                                 aq_time_ms_t now_ms, aq_redis_slice_t *slices, uint64_t (*words)[AQ_WINDOW_WORDS],
                                 int *is_denied);

/* The store's look; `words` as above. */
apr_status_t aq_redis_count_look(aq_redis_store_t *store, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms,
                                 uint64_t (*words)[AQ_WINDOW_WORDS]);

/* Sends what the receipts say, without waiting, and answers by what was known before, less that. */
apr_status_t aq_redis_count_back(aq_redis_store_t *store, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms);

/* Answers one counter from words of Redis, at `redis_ms` by its clock and `now_ms` by the caller's. */
void aq_redis_count_answer(aq_counter_t *counter, const uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t redis_ms,
                           aq_time_ms_t now_ms, uint32_t denied_cost);

#endif
