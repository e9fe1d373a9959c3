/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private Redis Cluster of three masters for tests of a program: started before the first of them, since it takes two
 * seconds until it serves, and ended after the last. Each opening of a store finds it empty.
 */
#ifndef REDIS_CLUSTER_FIXTURE_H
#define REDIS_CLUSTER_FIXTURE_H

#include "store/redis_counters.h"
#include "unit/fixture.h"

#define REDIS_CLUSTER_NODES 3

/* Has the tests of this case find a cluster. */
void redis_cluster_fixture_add(TCase *tests);

/* Its address, in the pool, with a budget that a busy machine keeps. */
const aq_redis_address_t *redis_cluster_fixture_address(void);

void redis_cluster_fixture_empty(void);

/* Empties it, and opens a store on it, as redis_fixture_store_with does. */
aq_counter_store_t *redis_cluster_fixture_store(const aq_redis_counters_options_t *options);

/* Asks node number `node`; see redis_fixture_say. */
const char *redis_cluster_fixture_say(unsigned node, const char *command);

#endif
