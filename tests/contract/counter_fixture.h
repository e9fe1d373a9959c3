/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of counter stores share: stores of each kind, limits, charges, processes. */
#ifndef COUNTER_FIXTURE_H
#define COUNTER_FIXTURE_H

#include "limit/charge.h"
#include "unit/fixture.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>

/* 2026-11-22T12:20:50Z, a Sunday: fifty seconds into a minute, no edge of a longer window near. */
#define NOON INT64_C(1795350050000)
#define SECOND AQ_MS_PER_S
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
/* Slots of the smallest counter file. */
#define SMALL_SLOTS 960

typedef struct {
    const char *name;
    aq_counter_store_t *(*open)(uint64_t slots);
    int is_bounded; /* it holds no more counters than it has slots */
    unsigned share; /* one of so many random scripts is enough: each step is a round trip */
} counter_kind_t;

#define COUNTER_KINDS 5
extern const counter_kind_t counter_kinds[COUNTER_KINDS];

/* To be called for each case whose tests open stores of all kinds: starts what they share. */
void counters_prepare(TCase *tests);

/* A new empty store of kind number `kind` with that many slots. */
aq_counter_store_t *counters_open(int kind, uint64_t slots);

/* The same in shared memory, which forked children share. */
aq_counter_store_t *counters_open_shm(uint64_t slots);

/* A limit as a directive makes it, identified for the store. `option` may be NULL. */
aq_limit_t *counter_limit(const aq_counter_store_t *store, const char *name, const char *rate, const char *option);

/* The counter of a limit for a subject of that name, or of that number. */
aq_counter_t counter_of(const aq_counter_store_t *store, const aq_limit_t *limit, const char *subject);
aq_counter_t counter_numbered(const aq_counter_store_t *store, const aq_limit_t *limit, uint64_t number);

/* Takes `cost` from one counter, or from several: 1 where it was admitted. Any error fails the test. */
int counter_take(aq_counter_store_t *store, aq_counter_t *counter, uint32_t cost, aq_time_ms_t now_ms);
int counters_take(aq_counter_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost,
                  aq_time_ms_t now_ms);

void counter_give_back(aq_counter_store_t *store, aq_counter_t *counter, aq_time_ms_t now_ms);

/* What the counter holds now, as a look tells it. */
uint64_t counter_used(aq_counter_store_t *store, aq_counter_t counter, aq_time_ms_t now_ms);

aq_counter_store_info_t counters_info(aq_counter_store_t *store, aq_time_ms_t now_ms);

/* `size` bytes of zeroed memory that forked children share. */
void *memory_shared(size_t size);

/* Forks a child that runs `run` and exits with 0 where that returns 0. */
pid_t child_start(int (*run)(void *data), void *data);

/* Waits for a child: 1 where it exited with 0. */
int child_join(pid_t pid);

#endif
