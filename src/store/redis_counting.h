/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the counting script for counters of a store: made, sent and answered. For redis_counters.c.
 *
 * On one Redis all counters of a call are one script. In a cluster those of a home are one, since a home is a hash and a hash
 * is in one slot; the scripts of all homes are sent before the first answer is waited for.
 */
#ifndef AQ_REDIS_COUNTING_H
#define AQ_REDIS_COUNTING_H

#include "store/redis_counters_private.h"

/* A call while it waits for its answer. */
typedef struct {
    aq_redis_store_t *store;
    aq_counter_t *counters;
    unsigned count;
    aq_redis_saying_t saying;
    aq_time_ms_t now_ms;                /* the caller's */
    int64_t denied;                     /* bits; -1: the call is to be made again, with Redis's time */
    uint64_t (*words)[AQ_WINDOW_WORDS]; /* what Redis said of each counter, for the caller; NULL: not wanted */
} aq_redis_counting_t;

/*
 * Takes or looks, and answers the counters. In a cluster `denied` tells only whether a home denied, and counters of homes
 * that were charged have their receipts also where another home denied or failed: they are to be given back.
 */
aq_redis_failure_t aq_redis_counting_make(aq_redis_counting_t *call);

/* Sends what is given back, without waiting; in a cluster with waiting where the store waits to settle. */
aq_redis_failure_t aq_redis_counting_send(aq_redis_counting_t *call);

/* Asks what is answered by nothing but that it was done. */
aq_redis_failure_t aq_redis_counting_ask(aq_redis_counting_t *call);

/* Tells what a process holds; `count` <= AQ_LIMITS_MAX. */
void aq_redis_counting_renew(aq_redis_store_t *store, const aq_redis_saying_t *saying, const aq_redis_held_t *held,
                             unsigned count);

#endif
