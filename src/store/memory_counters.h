/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory counters: a counter store in a hash table of one process, under one lock. The reference that every other store
 * is compared with, and what tests use that are not about stores. Nothing is shared with forked children.
 */
#ifndef AQ_MEMORY_COUNTERS_H
#define AQ_MEMORY_COUNTERS_H

#include "limit/counter_store.h"

/*
 * A new empty store in `p`, gone with it. `slots` bounds the counters it holds (0: no bound); a counter whose windows
 * are over makes room. Thread-safe. APR_SUCCESS, or a failure of the lock or of the random source; `*store` is then NULL.
 */
apr_status_t aq_memory_counters_create(apr_pool_t *p, uint64_t slots, aq_counter_store_t **store);

#endif
