/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durability: what a Redis has on disk when it answers. What is less than what was asked for is refused: a batch that was
 * acknowledged must not be lost without its operator having agreed to that.
 */
#ifndef AQ_REDIS_DURABILITY_H
#define AQ_REDIS_DURABILITY_H

#include "store/redis_link.h"

typedef enum {
    AQ_REDIS_DURABLE_NONE,     /* what snapshots hold, or nothing */
    AQ_REDIS_DURABLE_EVERYSEC, /* all but about the last second */
    AQ_REDIS_DURABLE_ALWAYS    /* all */
} aq_redis_durability_t;

/* "always", "everysec", "none". APR_EGENERAL for another word. */
apr_status_t aq_redis_durability_parse(const char *word, aq_redis_durability_t *durability);
const char *aq_redis_durability_name(aq_redis_durability_t durability);

/*
 * APR_SUCCESS where the server writes as durably as `wanted`. Else a sentence in `p` at `*error`, and APR_EGENERAL where it
 * does less or will not say, or another status where it does not answer.
 */
apr_status_t aq_redis_durability_check(apr_pool_t *p, aq_redis_link_t *link, aq_redis_durability_t wanted,
                                       const char **error);

/* Warns where the server may throw batches away: by its maxmemory-policy, or since it keeps nothing on disk. */
void aq_redis_durability_warn(aq_redis_link_t *link);

#endif
