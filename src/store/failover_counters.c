/* SPDX-License-Identifier: Apache-2.0 */
/* Redis, or this machine's shared memory. See failover_counters.h. */
#include "store/failover_counters.h"

#include "base/aq_metrics.h"
#include "store/redis_counters.h"
#include "store/shm_counters.h"

/* In a receipt's index, whose own values are below AQ_WINDOW_WORDS: it is of the local store. */
#define LOCAL 0x80u

typedef struct {
    aq_counter_store_t base;
    aq_counter_store_t *redis, *local;
} failover_store_t;

static failover_store_t *failover_store(aq_counter_store_t *store)
{
    return (failover_store_t *)store;
}

static void seen(void *data, const aq_counter_t *counter, const uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t now_ms)
{
    const failover_store_t *store = data;

    if (counter->limit->window.algorithm != AQ_ALGORITHM_CONCURRENT) {
        aq_shm_counters_note(store->local, counter, words, now_ms);
    }
}

static apr_status_t failover_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                                  aq_time_ms_t now_ms, int *is_denied)
{
    const failover_store_t *store = failover_store(base);
    apr_status_t rv = aq_counter_store_take(store->redis, counters, count, cost, now_ms, is_denied);

    if (rv == APR_SUCCESS) {
        return rv;
    }
    rv = aq_counter_store_take(store->local, counters, count, cost, now_ms, is_denied);
    if (rv != APR_SUCCESS) {
        aq_store_error_count(aq_store_error_of(rv));
    }
    for (unsigned i = 0; i < count; i++) {
        counters[i].receipt.index |= LOCAL;
    }
    return rv;
}

/* The receipts of one charge are of one store. */
static int is_local(const aq_counter_t *counters, unsigned count)
{
    unsigned index = 0;

    for (unsigned i = 0; i < count; i++) {
        index |= counters[i].receipt.cost != 0 ? counters[i].receipt.index : 0;
    }
    return (index & LOCAL) != 0;
}

static apr_status_t failover_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                       aq_time_ms_t now_ms)
{
    const failover_store_t *store = failover_store(base);

    if (!is_local(counters, count)) {
        /* What could not be sent is no failure of the request; the link has counted it. */
        (void)aq_counter_store_give_back(store->redis, counters, count, now_ms);
        return APR_SUCCESS;
    }
    for (unsigned i = 0; i < count; i++) {
        counters[i].receipt.index &= (uint8_t)~LOCAL;
    }
    return aq_counter_store_give_back(store->local, counters, count, now_ms);
}

/* Who only looks is no request that could not be counted: while Redis is known to be away it is not asked. */
static int is_away(const failover_store_t *store)
{
    return aq_redis_link_is_down(aq_redis_counters_link(store->redis));
}

static apr_status_t failover_look(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    const failover_store_t *store = failover_store(base);
    const apr_status_t rv =
        is_away(store) ? APR_EGENERAL : aq_counter_store_look(store->redis, counters, count, now_ms);

    return rv == APR_SUCCESS ? rv : aq_counter_store_look(store->local, counters, count, now_ms);
}

/* Both: else local counting would begin where it stood before. */
static apr_status_t failover_reset(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                   aq_time_ms_t now_ms)
{
    const failover_store_t *store = failover_store(base);
    const apr_status_t rv = aq_counter_store_reset(store->local, counters, count, now_ms);

    return rv == APR_SUCCESS ? aq_counter_store_reset(store->redis, counters, count, now_ms) : rv;
}

static apr_status_t failover_info(aq_counter_store_t *base, aq_time_ms_t now_ms, aq_counter_store_info_t *info)
{
    const failover_store_t *store = failover_store(base);
    const apr_status_t rv = is_away(store) ? APR_EGENERAL : aq_counter_store_info(store->redis, now_ms, info);

    return rv == APR_SUCCESS ? rv : aq_counter_store_info(store->local, now_ms, info);
}

static const aq_counter_store_ops_t failover_ops = {
    .name = "redis",
    .is_remote = 1,
    .counts_its_errors = 1,
    .take = failover_take,
    .give_back = failover_give_back,
    .look = failover_look,
    .info = failover_info,
    .reset = failover_reset,
};

aq_counter_store_t *aq_failover_counters_create(apr_pool_t *p, aq_counter_store_t *redis, aq_counter_store_t *local)
{
    failover_store_t *store = apr_pcalloc(p, sizeof(*store));

    store->base.ops = &failover_ops;
    store->base.secret = redis->secret;
    store->base.has_homes = redis->has_homes;
    store->redis = redis;
    store->local = local;
    aq_redis_counters_watch(redis, seen, store);
    return &store->base;
}
