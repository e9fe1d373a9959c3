/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health: how the parts of the server are, at a moment: counter store, keys file, queue, spool, worker. Metrics, status page
 * and the section on mod_status's page all tell what is found here.
 *
 * Looking is cheap. What is not (the walk over the counter table) is done by one process in AQ_CENSUS_EVERY_MS, and the
 * others read what it found.
 */
#ifndef AQ_HEALTH_H
#define AQ_HEALTH_H

#include "httpd/tally.h"

#define AQ_CENSUS_EVERY_MS INT64_C(10000)

typedef struct {
    aq_time_ms_t now_ms;
    const aq_server_config_t *server;
    const aq_tally_t *tally;

    const char *store_kind;
    apr_status_t store_failure;                              /* of the last census */
    uint64_t counters_live, counters_dead, slots, overflows; /* slots 0: no bound */
    uint64_t store_errors_lately;                            /* in the last five minutes */

    int has_keys;
    int keys_are_failing; /* the file is not what is in force */
    aq_time_ms_t keys_loaded_at_ms;
    unsigned keys, tenants, refused_entries;

    int has_batches;
    apr_status_t queue_failure; /* queue or spool cannot be opened or asked; the rest of the batches' is then 0 */
    aq_queue_counts_t batches;
    int64_t queue_age_ms; /* of the oldest queued batch; 0: none is queued */
    int64_t spool_bytes, spool_max_bytes;
    int worker_is_wanted;               /* 0: APIQuotaWorker off, some other may run */
    int worker_is_up;                   /* it showed a sign of life within ten seconds */
    const aq_metrics_t *worker_metrics; /* NULL: no worker ever counted there */
} aq_health_t;

/* Looks; what `health` points to lives as long as the request. 0 where the module is loaded and not configured. */
int aq_health_look(request_rec *r, aq_health_t *health);

#endif
