/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Janitor: what must happen now and then: recovery in the main thread of the worker, and in a thread of its own what may
 * take long, since it walks over the spool.
 */
#ifndef AQ_JANITOR_H
#define AQ_JANITOR_H

#include "worker/worker.h"

#include <apr_thread_proc.h>

/*
 * Takes the jobs of dead workers, and those whose lease is over, back into the queue; ends those that waited too long.
 * Cheap when there are none.
 */
void aq_janitor_recover(aq_worker_t *worker);

/*
 * Where the spool is fuller than may be kept (aq_settings_keep_bytes), removes bodies and results of batches that are over,
 * those that ended first, until it is well below. What is not over is never touched. Cheap when there is room.
 */
void aq_janitor_trim(aq_worker_t *worker);

/*
 * Removes expired batches with their files, and uploads that a crash left; with `is_thorough` also stored files that no
 * row names, which asks the queue for each that is old. And looks whether the files are there that rows name, of some
 * batches a call: what is lost is forgotten and told. Ends soon when the worker stops.
 */
void aq_janitor_sweep(aq_worker_t *worker, int is_thorough);

/* The thread that trims and sweeps, until the worker stops. `data`: the worker, whose `sweeps` it takes back at its end. */
void *APR_THREAD_FUNC aq_janitor_run(apr_thread_t *thread, void *data);

#endif
