/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempt: runs a claimed job once, from the spooled body to the row that says how it went.
 */
#ifndef AQ_ATTEMPT_H
#define AQ_ATTEMPT_H

#include "worker/target.h"
#include "worker/worker.h"

/*
 * Runs `job`, which was claimed at `claimed_at`. Returns when its row is written, or when the job is no longer ours. `p`
 * lives as long as the attempt.
 */
void aq_attempt_run(aq_worker_t *worker, aq_target_t *target, apr_pool_t *p, const aq_job_t *job,
                    const aq_queue_now_t *claimed_at);

#endif
