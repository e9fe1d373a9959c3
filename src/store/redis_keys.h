/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis keys: the key origin (identity/key_origin.h) whose keys and tenants live in Redis. What they look like there is in
 * redis_key_records.h.
 *
 * One round trip, by a script, reads a key and its tenant. What was read is kept in shared memory (shm_records.h), so that
 * each record is asked for once in `fresh_ms` by a machine, however many processes it has, and so that a process that is
 * started while Redis is away knows what the others know. Of webhooks nothing is kept there.
 *
 * Failures are counted and said by the link.
 */
#ifndef AQ_REDIS_KEYS_H
#define AQ_REDIS_KEYS_H

#include "identity/key_origin.h"
#include "store/redis_link.h"
#include "store/shm_records.h"

typedef struct {
    aq_time_ms_t fresh_ms, stale_ms; /* see aq_key_origin_t */
    aq_shm_records_t *records;       /* NULL: nothing is kept */
} aq_redis_keys_options_t;

/* An origin on `link`, which must outlive it. Lives as long as `p`. */
apr_status_t aq_redis_keys_create(apr_pool_t *p, aq_redis_link_t *link, const aq_redis_keys_options_t *options,
                                  aq_key_origin_t **origin);

#endif
