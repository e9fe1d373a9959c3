/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the scripts of redis_key_records.h: by a script's name and, where Redis has forgotten it, by its text. */
#ifndef AQ_REDIS_KEY_CALL_H
#define AQ_REDIS_KEY_CALL_H

#include "base/aq_hash.h"
#include "store/redis_link.h"

typedef struct {
    const char *text;
    char sha[AQ_SHA1_HEX_SIZE];
} aq_redis_key_call_t;

/* `text` must outlive it. */
apr_status_t aq_redis_key_call_prepare(aq_redis_key_call_t *script, const char *text);

/* Calls with AQ_REDIS_KEYS, which never exists, those keys and arguments, and has the answer read. `p` is for scratch. See aq_redis_ask. */
aq_redis_failure_t aq_redis_key_call(aq_redis_link_t *link, const aq_redis_key_call_t *script, const char *const *keys,
                                     int key_count, const char *const *arguments, int argument_count, apr_pool_t *p,
                                     aq_redis_read_fn *read, void *data);

/* What a failure is to callers who know no Redis; never APR_SUCCESS nor APR_NOTFOUND. */
apr_status_t aq_redis_status_of(aq_redis_failure_t failure);

#endif
