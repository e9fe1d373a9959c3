/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failover counters: a store that counts in Redis, and in this machine's shared memory while Redis cannot be asked.
 *
 * What Redis says of a counter is noted in shared memory, so that local counting begins there. What is charged locally is
 * given back locally, whichever store counts by then; it is never told to Redis. Limits on what runs at once begin at
 * none: what runs already is known to Redis alone.
 *
 * What Redis cannot be told of, a charge given back or a place released while it is away, is forgotten: stricter, never free;
 * and places are put right once it is back.
 */
#ifndef AQ_FAILOVER_COUNTERS_H
#define AQ_FAILOVER_COUNTERS_H

#include "limit/counter_store.h"

/*
 * Joins a store of redis_counters.h and one of shm_counters.h, both of which must outlive `p`. The keys of counters are
 * those of the first. Fails only where the local store does.
 */
aq_counter_store_t *aq_failover_counters_create(apr_pool_t *p, aq_counter_store_t *redis, aq_counter_store_t *local);

#endif
