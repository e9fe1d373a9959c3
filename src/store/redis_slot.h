/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of a Redis Cluster: which of the 16,384 a key is in, by the cluster specification: CRC-16/XMODEM of the key, or of
 * what stands between its first "{" and the "}" behind that, where there is something between them.
 */
#ifndef AQ_REDIS_SLOT_H
#define AQ_REDIS_SLOT_H

#include "store/redis_link.h"

/* 0 to 16383. */
unsigned aq_redis_slot_of_key(const char *key, size_t size);

/*
 * The slot of a command's first key: the third argument of EVAL and its like (where they have keys), the one behind STREAMS,
 * else the first. -1: it has none, as PING and SCRIPT have none.
 */
int aq_redis_slot_of(const aq_redis_command_t *command);

#endif
