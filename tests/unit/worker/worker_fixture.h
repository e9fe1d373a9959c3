/* SPDX-License-Identifier: Apache-2.0 */
/* A worker in a process of its own, and what it works with: a real backend, a configuration, queue and spool. */
#ifndef AQ_TEST_WORKER_FIXTURE_H
#define AQ_TEST_WORKER_FIXTURE_H

#include "batch/batch_config.h"
#include "batch/spool.h"
#include "contract/queue_fixture.h"
#include "unit/worker/target_server.h"
#include "worker/worker.h"

#define WORLD_BODY "id,name\n1,one\n" /* of each batch that is submitted */
#define PATIENCE_MS 40000

typedef struct {
    target_server_t *server;
    aq_batch_config_t config;
    aq_worker_options_t options;
    aq_spool_t *spool;
    aq_queue_t *queue;
    pid_t worker; /* 0 while none runs */
    int submitted;
} world_t;

extern world_t world;

/* Around each test: all of it but the worker; it and the worker are ended. */
void world_setup(void);
void world_teardown(void);

/* A location for a path of the backend, named by it; in force with world_config_write(). */
aq_batch_location_t *world_location(const char *path);
void world_config_write(void);

void worker_start(void);
void worker_kill(int number); /* sends the signal */
int worker_end(void);         /* waits; the exit code of the worker, or less than 0: the signal that ended it */

/* Submits a batch to a location and returns its id; `change` may be NULL. */
const char *world_submit_to(const char *path, void (*change)(aq_batch_t *batch));
const char *world_submit(const char *path);
void unrepeatable(aq_batch_t *batch);
void one_attempt(aq_batch_t *batch);

/* Waits, bounded, until the batch has this status; until the backend had so many requests; so many effects, and no more. */
aq_batch_t *world_wait_for(const char *id, aq_batch_status_t status);
void world_wait_for_requests(int count);
void world_wait_for_effects(int count);
void world_nap(long ms);

#endif
