/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where keys live, as APIQuotaKeyStore says it:
 *
 *     redis [fresh=500ms] [stale=1h]                        in the Redis of APIQuotaStore
 *     redis://… [option …] [fresh=500ms] [stale=1h]         in that one: see redis_address.h
 */
#ifndef AQ_REDIS_KEYS_CONFIG_H
#define AQ_REDIS_KEYS_CONFIG_H

#include "store/redis_address.h"

#define AQ_REDIS_KEYS_FRESH_MS INT64_C(500)
#define AQ_REDIS_KEYS_STALE_MS INT64_C(3600000)

typedef struct {
    aq_redis_address_t *address; /* NULL: the one of APIQuotaStore */
    int64_t fresh_ms, stale_ms;  /* see aq_key_origin_t */
} aq_redis_keys_config_t;

/*
 * Parses `count` words into `*config` in `p`. Pure: see aq_redis_address_complete. APR_EGENERAL and a sentence in `p` at
 * `*error`, which names the word (never a password) and what is allowed; `*error` is else NULL.
 */
apr_status_t aq_redis_keys_config_parse(apr_pool_t *p, const char *const *words, int count,
                                        aq_redis_keys_config_t **config, const char **error);

#endif
