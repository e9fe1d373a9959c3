/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members in Redis: what this process holds of limits on what runs at once.
 *
 * Redis keeps, for each such limit, the ids of the members of each process and until when the process lives (30 s from its
 * last word, by Redis's clock). A process notes a member here before it asks Redis for it, and forgets it once it has sent
 * the release. From time to time it tells Redis all it holds, which keeps them alive together, and drops there what was
 * released in vain. A killed process says nothing, so its members end within 30 s.
 *
 * Thread-safe. A forked child begins with nothing and a name of its own.
 */
#ifndef AQ_REDIS_MEMBERS_H
#define AQ_REDIS_MEMBERS_H

#include "limit/counter_store.h"

#define AQ_REDIS_OWNER_SIZE 17

typedef struct aq_redis_members_t aq_redis_members_t;

/* What is held of one limit by one subject. */
typedef struct {
    aq_hash128_t key;
    const char *home; /* of the counter, in Redis */
    const char *list; /* "newest:id,id,…", the newest of all ids at that moment */
} aq_redis_held_t;

apr_status_t aq_redis_members_create(apr_pool_t *p, aq_redis_members_t **members);

/* Notes a member and returns its id, never 0; 0: no memory, or no name could be made. Writes the name of this process. */
uint64_t aq_redis_members_begin(aq_redis_members_t *members, const aq_hash128_t *key, const char *home,
                                char owner[AQ_REDIS_OWNER_SIZE]);

void aq_redis_members_end(aq_redis_members_t *members, const aq_hash128_t *key, uint64_t id);

/* Copies the name of this process. */
void aq_redis_members_owner(aq_redis_members_t *members, char owner[AQ_REDIS_OWNER_SIZE]);

/* All that is held, as an array of aq_redis_held_t in `p`, limits that nothing is held of any more among them, once. */
apr_array_header_t *aq_redis_members_list(aq_redis_members_t *members, apr_pool_t *p);

#endif
