/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: jobs of lost workers, and jobs that waited too long. And the thread that sweeps; how is in janitor_spool.c.
 */
#include "worker/janitor.h"

#include "base/aq_log.h"

#include <apr_time.h>
#include <stdatomic.h>

#define TICK_US 250000
#define TRIM_EVERY_MS 2000
#define SWEEP_EVERY_MS 60000
#define THOROUGH_EVERY 10 /* sweeps; the first is thorough */

static apr_status_t recover(aq_worker_t *worker, const char *dead_worker, unsigned *total)
{
    unsigned recovered, failed;
    apr_status_t rv;

    *total = 0;
    do {
        aq_queue_now_t now = aq_worker_now(worker);
        rv = aq_queue_recover(worker->queue, &now, dead_worker, &recovered, &failed);
        *total += recovered + failed;
        if (recovered + failed > 0) {
            AQ_LOG(AQ_LOG_NOTICE, 630, APR_SUCCESS, "jobs of lost workers: %u queued again, %u failed", recovered,
                   failed);
        }
    } while (rv == APR_SUCCESS && recovered + failed > 0);
    return rv;
}

static int take_over(void *data, const char *name)
{
    unsigned total;
    apr_status_t rv = recover(data, name, &total);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 631, rv, "the jobs of worker %s cannot be recovered yet", name);
    }
    return rv == APR_SUCCESS;
}

static apr_status_t fail_overdue(aq_worker_t *worker)
{
    unsigned failed;
    apr_status_t rv;

    do {
        aq_queue_now_t now = aq_worker_now(worker);
        rv = aq_queue_overdue(worker->queue, &now, &failed);
        if (failed > 0) {
            AQ_LOG(AQ_LOG_NOTICE, 642, APR_SUCCESS, "%u batches waited too long and failed", failed);
        }
    } while (rv == APR_SUCCESS && failed > 0);
    return rv;
}

/* Workers whose files tell that they died. */
static apr_status_t dead_recover(aq_worker_t *worker)
{
    apr_pool_t *ptemp;
    apr_status_t rv = apr_pool_create(&ptemp, worker->pool);

    if (rv == APR_SUCCESS) {
        rv = aq_presence_scan(&worker->presence, ptemp, take_over, worker);
        apr_pool_destroy(ptemp);
    }
    return rv;
}

/* That files of workers cannot be looked at keeps no lease from ending. */
void aq_janitor_recover(aq_worker_t *worker)
{
    aq_trouble_t *trouble = &worker->recovery_trouble;
    apr_status_t scanned = dead_recover(worker);
    unsigned total;
    apr_status_t rv = recover(worker, NULL, &total);

    if (rv == APR_SUCCESS) {
        rv = fail_overdue(worker);
    }
    rv = rv != APR_SUCCESS ? rv : scanned;
    switch (aq_trouble_note(trouble, rv, aq_clock_boot_ms())) {
    case AQ_TROUBLE_LASTS:
        AQ_LOG(AQ_LOG_WARNING, 632, rv, "jobs of lost workers cannot be looked for%s", trouble->lasting);
        break;
    case AQ_TROUBLE_IS_OVER:
        AQ_LOG(AQ_LOG_NOTICE, 624, APR_SUCCESS, "jobs of lost workers are looked for again%s", trouble->lasting);
        break;
    case AQ_TROUBLE_NO_NEWS:
        break;
    }
}

void *APR_THREAD_FUNC aq_janitor_run(apr_thread_t *thread, void *data)
{
    aq_worker_t *worker = data;
    aq_time_ms_t trim_at_ms = 0, sweep_at_ms = 0;
    unsigned sweeps = 0;

    (void)thread;
    while (!atomic_load(&worker->stopping)) {
        aq_time_ms_t now_ms = aq_clock_boot_ms();
        if (now_ms >= trim_at_ms) {
            aq_janitor_trim(worker);
            trim_at_ms = now_ms + TRIM_EVERY_MS;
        }
        if (now_ms >= sweep_at_ms) {
            aq_janitor_sweep(worker, sweeps++ % THOROUGH_EVERY == 0);
            sweep_at_ms = now_ms + SWEEP_EVERY_MS;
        }
        apr_sleep(TICK_US);
    }
    atomic_store(&worker->sweeps, 0);
    return NULL;
}
