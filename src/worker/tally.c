/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker counts: see tally.h. */
#include "worker/tally.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)

void aq_worker_tally_open(aq_worker_tally_t *tally, apr_pool_t *p, const char *worker_files)
{
    const char *path = apr_pstrcat(p, worker_files, AQ_WORKER_METRICS_SUFFIX, NULL);
    apr_status_t rv = aq_metrics_open(p, path, AQ_METRICS_ROWS_WORKER, &tally->metrics);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 699, rv, "%s cannot be used: httpd's metrics and status page show no worker", path);
    }
    tally->heartbeat = aq_metrics_row(tally->metrics, AQ_METRIC_HEARTBEAT, "", "");
    tally->seconds = aq_metrics_row(tally->metrics, AQ_METRIC_BATCH_SECONDS, "", "");
    tally->ended = aq_metrics_row(tally->metrics, AQ_METRIC_BATCHES_ENDED, "", "");
    aq_metrics_shard_choose(tally->metrics, (uint64_t)getpid());
}

void aq_worker_tally_beat(const aq_worker_tally_t *tally, aq_time_ms_t boot_ms)
{
    aq_metrics_set(tally->metrics, tally->heartbeat, (uint64_t)boot_ms);
}

void aq_worker_tally_end(const aq_worker_tally_t *tally, const aq_batch_t *batch, aq_batch_status_t status,
                         aq_time_ms_t now_ms)
{
    const int64_t took_ms = now_ms > batch->created_at_ms ? now_ms - batch->created_at_ms : 0;

    if (status >= AQ_BATCH_SUCCEEDED && status < AQ_BATCH_STATUS_COUNT && tally->ended != 0) {
        aq_metrics_add(tally->metrics, tally->ended + (unsigned)(status - AQ_BATCH_SUCCEEDED), 1);
        aq_metrics_observe(tally->metrics, AQ_METRIC_BATCH_SECONDS, tally->seconds, took_ms * NS_PER_MS);
    }
}
