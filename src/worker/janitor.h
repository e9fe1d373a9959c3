/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Janitor: what must happen now and then, in the main thread of the worker.
 */
#ifndef AQ_JANITOR_H
#define AQ_JANITOR_H

#include "worker/worker.h"

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
 * batches a call: what is lost is forgotten and told.
 */
void aq_janitor_sweep(aq_worker_t *worker, int is_thorough);

#endif
