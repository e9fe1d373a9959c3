/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has tests of a keys file edit it in a private Redis: what the file says is there before an edit, and what is there after it,
 * the file says.
 */
#ifndef REDIS_KEYS_FIXTURE_H
#define REDIS_KEYS_FIXTURE_H

#include "store/redis_link.h"
#include "unit/redis_fixture.h"

/* Starts a Redis, and has keys_place (keys_fixture.h) edit there. */
void redis_keys_begin(void);

/* A link to `server`. */
aq_redis_link_t *redis_keys_link(const redis_fixture_t *server);

#endif
