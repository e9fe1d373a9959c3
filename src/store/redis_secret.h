/* SPDX-License-Identifier: Apache-2.0 */
/* The secret that all machines on one Redis share, and what is to be said of that Redis at a start. */
#ifndef AQ_REDIS_SECRET_H
#define AQ_REDIS_SECRET_H

#include "base/aq_hash.h"
#include "store/redis_link.h"

/*
 * Finds the secret: Redis's, which gets ours (or a new one) where it has none; or, while Redis is away, that of the copy at
 * `path` (NULL: there is none). Keeps the copy, and has the link refuse a Redis of another secret. APR_SUCCESS, or a status
 * and a sentence in `p` at `*error`. `is_reached` tells whether Redis answered.
 */
apr_status_t aq_redis_secret_find(apr_pool_t *p, aq_redis_link_t *link, const char *path, aq_hash_secret_t *secret,
                                  int *is_reached, const char **error);

/* Reads Redis's secret for a tool, which leaves none where there is none. Errors as above. */
apr_status_t aq_redis_secret_read(apr_pool_t *p, aq_redis_link_t *link, aq_hash_secret_t *secret, const char **error);

/* Warns where the server may throw counters away: by its maxmemory-policy, or since it keeps nothing on disk. */
void aq_redis_server_check(aq_redis_link_t *link);

#endif
