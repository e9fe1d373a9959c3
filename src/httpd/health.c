/* SPDX-License-Identifier: Apache-2.0 */
/* How the parts of the server are: see health.h. */
#include "httpd/health.h"

#include "httpd/batch_runtime.h"

#include <apr_strings.h>
#include <string.h>

#define LATELY_MINUTES 5
/* Twice a second, unless the queue's lock is not to be had, for which it waits five. */
#define HEARTBEAT_MAX_MS INT64_C(10000)

/* ---- counters ---------------------------------------------------------------------------------------------------- */

/* 1 where it is for this process to take the census now. */
static int census_is_ours(aq_metrics_census_t *census, aq_time_ms_t now_ms)
{
    int64_t at_ms = atomic_load(&census->at_ms);

    if (at_ms != 0 && now_ms >= at_ms && now_ms - at_ms < AQ_CENSUS_EVERY_MS) {
        return 0;
    }
    return atomic_compare_exchange_strong(&census->at_ms, &at_ms, now_ms);
}

static void census_take(aq_metrics_census_t *census, aq_counter_store_t *store, aq_time_ms_t now_ms)
{
    aq_counter_store_info_t info = {0};
    apr_status_t rv = aq_counter_store_info(store, now_ms, &info);

    atomic_store(&census->failure, (uint64_t)rv);
    if (rv == APR_SUCCESS) {
        atomic_store(&census->live, info.live);
        atomic_store(&census->dead, info.dead);
        atomic_store(&census->slots, info.slots);
        atomic_store(&census->overflows, info.overflows);
    }
}

static uint64_t errors_lately(const aq_health_t *health)
{
    const aq_metrics_t *metrics = health->tally->metrics;
    const unsigned first = aq_metrics_row_find(metrics, AQ_METRIC_STORE_ERRORS, "", "");
    uint64_t minutes[AQ_METRICS_HOUR], sum = 0;

    for (unsigned i = 0; first != 0 && i < AQ_STORE_ERROR_COUNT; i++) {
        aq_metrics_hour(metrics, first + i, health->now_ms, minutes);
        for (int minute = AQ_METRICS_HOUR - LATELY_MINUTES; minute < AQ_METRICS_HOUR; minute++) {
            sum += minutes[minute];
        }
    }
    return sum;
}

static void store_look(aq_health_t *health)
{
    aq_metrics_census_t *census = &health->tally->metrics->header->census;
    aq_counter_store_t *store = health->server->runtime->store;

    if (census_is_ours(census, health->now_ms)) {
        census_take(census, store, health->now_ms);
    }
    health->store_kind = store->ops->name;
    health->store_failure = (apr_status_t)atomic_load(&census->failure);
    health->counters_live = atomic_load(&census->live);
    health->counters_dead = atomic_load(&census->dead);
    health->slots = atomic_load(&census->slots);
    health->overflows = atomic_load(&census->overflows);
    health->store_errors_lately = errors_lately(health);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static void keys_look(request_rec *r, aq_health_t *health)
{
    const aq_key_set_t *set = aq_request_key_set(r, aq_request_state(r));
    const aq_keys_report_t *report = set ? aq_key_set_report(set) : NULL;

    health->has_keys = health->server->runtime->keys != NULL;
    if (!health->has_keys || !report) {
        return;
    }
    health->keys_are_failing = aq_keys_is_failing(health->server->runtime->keys);
    health->keys_loaded_at_ms = aq_keys_loaded_at(health->server->runtime->keys);
    health->keys = report->keys;
    health->tenants = report->tenants;
    health->refused_entries = report->refused;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

/* A boot time of an earlier boot is of no meaning; one of the future is such a one. */
static int is_alive(const aq_metrics_t *metrics)
{
    const unsigned row = aq_metrics_row_find(metrics, AQ_METRIC_HEARTBEAT, "", "");
    const int64_t beat_ms = row ? (int64_t)aq_metrics_total(metrics, row) : 0;
    const int64_t now_ms = aq_clock_boot_ms();

    return beat_ms > 0 && now_ms >= beat_ms && now_ms - beat_ms <= HEARTBEAT_MAX_MS;
}

static void worker_look(request_rec *r, aq_health_t *health)
{
    const char *path = apr_pstrcat(r->pool, health->server->batch->worker_files, AQ_WORKER_METRICS_SUFFIX, NULL);
    aq_metrics_t *metrics;

    health->worker_is_wanted = health->server->worker != 0;
    if (aq_metrics_open_readonly(r->pool, path, &metrics) == APR_SUCCESS) {
        health->worker_metrics = metrics;
        health->worker_is_up = is_alive(metrics);
    }
}

static void batches_look(request_rec *r, aq_health_t *health)
{
    const aq_runtime_t *runtime = health->server->runtime;

    health->has_batches = health->server->batch != NULL;
    if (!health->has_batches) {
        return;
    }
    worker_look(r, health);
    health->spool_max_bytes = health->server->batch->spool_max_bytes;
    health->queue_failure = aq_batch_runtime_open(r->server);
    if (health->queue_failure == APR_SUCCESS) {
        health->spool_bytes = aq_spool_stored(runtime->spool);
        health->queue_failure = aq_queue_counts(runtime->queue, NULL, &health->batches);
    }
    if (health->queue_failure == APR_SUCCESS && health->batches.oldest_queued_at_ms != 0 &&
        health->batches.oldest_queued_at_ms < health->now_ms) {
        health->queue_age_ms = health->now_ms - health->batches.oldest_queued_at_ms;
    }
}

int aq_health_look(request_rec *r, aq_health_t *health)
{
    const aq_server_config_t *server = aq_config_server(r->server);

    memset(health, 0, sizeof(*health));
    if (!server->runtime) {
        return 0;
    }
    health->server = server;
    health->tally = server->runtime->tally;
    health->now_ms = aq_clock_now_ms();
    aq_metrics_tick(health->tally->metrics, health->now_ms);
    store_look(health);
    keys_look(r, health);
    batches_look(r, health);
    return 1;
}
