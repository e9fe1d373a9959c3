/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private Redis for tests: started on a Unix socket in the fixture's folder, ended with the test that started it.
 *
 * AQ_REDIS_SERVER=PROGRAM runs another one, such as valkey-server.
 */
#ifndef REDIS_FIXTURE_H
#define REDIS_FIXTURE_H

#include "store/redis_counters.h"
#include "unit/fixture.h"

#include <sys/types.h>

typedef struct {
    pid_t pid;
    const char *socket;
    const aq_redis_address_t *address;
} redis_fixture_t;

/* Starts one, empty, and waits until it answers. `options` (ended by NULL, or NULL) go to its command line. */
redis_fixture_t redis_fixture_start(const char *const *options);

/* The bare program, with a folder and options of its own, which ends with its parent. */
pid_t redis_fixture_run(const char *const *options);

/* Ends it at once, and waits until it is gone. */
void redis_fixture_kill(redis_fixture_t *server);

/* Starts it again at the same place, empty. */
void redis_fixture_restart(redis_fixture_t *server, const char *const *options);

/* Asks it by a connection of its own; the answer as text (numbers in decimal), in the pool. */
const char *redis_fixture_say(const redis_fixture_t *server, const char *command);

/* A store on it, that goes by the caller's clock and waits for what is given back. */
aq_counter_store_t *redis_fixture_store(const redis_fixture_t *server);

/* The same with options of its own. */
aq_counter_store_t *redis_fixture_store_with(const redis_fixture_t *server, const aq_redis_counters_options_t *options);

#endif
