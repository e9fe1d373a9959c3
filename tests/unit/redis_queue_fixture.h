/* SPDX-License-Identifier: Apache-2.0 */
/* Queues on a private Redis, for tests of what is beside the contract. */
#ifndef REDIS_QUEUE_FIXTURE_H
#define REDIS_QUEUE_FIXTURE_H

#include "store/redis_queue.h"
#include "store/redis_queue_setting.h"
#include "unit/redis_fixture.h"

/* The setting that words of APIQuotaQueue say; the test fails where they say none. */
aq_redis_queue_setting_t *redis_queue_setting(const char *const *words, int count);

/* A queue on it, as `machine`, whose calls wait as long as `budget` ("budget=10s") says. */
aq_queue_t *redis_queue_open(const redis_fixture_t *server, const char *machine, const char *budget,
                             aq_redis_durability_t durability);

#endif
