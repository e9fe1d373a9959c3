/* SPDX-License-Identifier: Apache-2.0 */
/* Adding to metrics and reading them. See aq_metrics.h; their file is in aq_metrics_file.c. */
#include "base/aq_metrics.h"

#include <apr_strings.h>
#include <errno.h>
#include <string.h>

#define MS_PER_MINUTE INT64_C(60000)

void aq_metrics_shard_choose(aq_metrics_t *metrics, uint64_t number)
{
    metrics->cells = &metrics->shards[number % AQ_METRICS_SHARDS * metrics->room];
}

unsigned aq_metrics_used(const aq_metrics_t *metrics)
{
    const uint64_t used = atomic_load_explicit(&metrics->header->used, memory_order_acquire);

    return (unsigned)(used < metrics->room ? used : metrics->room);
}

unsigned aq_metrics_row_find(const aq_metrics_t *metrics, aq_metric_t metric, const char *plan, const char *limit)
{
    const unsigned used = aq_metrics_used(metrics);

    for (unsigned i = 1; i < used; i++) {
        const aq_metrics_row_t *row = &metrics->rows[i];

        if (row->metric == metric && row->value == 0 && strncmp(row->plan, plan, sizeof(row->plan) - 1) == 0 &&
            strncmp(row->limit, limit, sizeof(row->limit) - 1) == 0) {
            return i;
        }
    }
    return 0;
}

void aq_metrics_observe(const aq_metrics_t *metrics, aq_metric_t metric, unsigned row, int64_t ns)
{
    const int64_t *bounds = aq_metric_family(metric)->bounds_ns;
    const unsigned count = aq_metric_width(metric) - 2; /* without "+Inf" and "sum" */
    unsigned at = 0;

    if (row == 0 || ns < 0) {
        return;
    }
    while (at < count && ns > bounds[at]) {
        at++;
    }
    aq_metrics_add(metrics, row + at, 1);
    aq_metrics_add(metrics, row + count + 1, (uint64_t)ns);
}

void aq_metrics_set(const aq_metrics_t *metrics, unsigned row, uint64_t value)
{
    atomic_store_explicit(&metrics->shards[row], value, memory_order_relaxed);
}

uint64_t aq_metrics_total(const aq_metrics_t *metrics, unsigned row)
{
    uint64_t sum = 0;

    for (unsigned shard = 0; shard < AQ_METRICS_SHARDS; shard++) {
        sum += atomic_load_explicit(&metrics->shards[shard * metrics->room + row], memory_order_relaxed);
    }
    return sum;
}

/* ---- the past hour ----------------------------------------------------------------------------------------------- */

static _Atomic uint64_t *note_of(const aq_metrics_t *metrics, int64_t minute)
{
    return &metrics->notes[(uint64_t)minute % AQ_METRICS_NOTES * metrics->room];
}

/* Who wins the minute writes its note; readers of a half-written one take it for missing. */
void aq_metrics_tick(const aq_metrics_t *metrics, aq_time_ms_t now_ms)
{
    aq_metrics_header_t *header = metrics->header;
    const int64_t minute = now_ms / MS_PER_MINUTE;
    int64_t noted = atomic_load_explicit(&header->noted_minute, memory_order_relaxed);
    _Atomic int64_t *mark = &header->note_minutes[minute % AQ_METRICS_NOTES];
    _Atomic uint64_t *note = note_of(metrics, minute);
    const unsigned used = aq_metrics_used(metrics);

    if (noted == minute || !atomic_compare_exchange_strong(&header->noted_minute, &noted, minute)) {
        return;
    }
    atomic_store(mark, 0);
    /* Rows are never given up, so those that are not in use yet have 0 here. */
    for (unsigned row = 0; row < used; row++) {
        atomic_store_explicit(&note[row], aq_metrics_total(metrics, row), memory_order_relaxed);
    }
    atomic_store_explicit(mark, minute, memory_order_release);
}

/* What the row was at when that minute began. 0 where nobody noted it. */
static int note_read(const aq_metrics_t *metrics, unsigned row, int64_t minute, uint64_t *total)
{
    const _Atomic int64_t *mark = &metrics->header->note_minutes[(uint64_t)minute % AQ_METRICS_NOTES];

    if (minute <= 0 || atomic_load_explicit(mark, memory_order_acquire) != minute) {
        return 0;
    }
    *total = atomic_load_explicit(&note_of(metrics, minute)[row], memory_order_relaxed);
    return 1;
}

void aq_metrics_hour(const aq_metrics_t *metrics, unsigned row, aq_time_ms_t now_ms, uint64_t minutes[AQ_METRICS_HOUR])
{
    const int64_t present = now_ms / MS_PER_MINUTE;
    uint64_t end = aq_metrics_total(metrics, row);

    /* From the present backwards: what a minute began with is what the one before it ended with. */
    for (int i = AQ_METRICS_HOUR - 1; i >= 0; i--) {
        uint64_t begin;

        minutes[i] = 0;
        if (note_read(metrics, row, present - (AQ_METRICS_HOUR - 1 - i), &begin)) {
            minutes[i] = end > begin ? end - begin : 0;
            end = begin;
        }
    }
}

/* ---- store errors ------------------------------------------------------------------------------------------------ */

static const aq_metrics_t *errors_metrics;
static unsigned errors_row;

void aq_store_errors_install(const aq_metrics_t *metrics, unsigned row)
{
    errors_metrics = metrics;
    errors_row = row;
}

void aq_store_error_count(aq_store_error_t reason)
{
    if (errors_metrics && errors_row) {
        aq_metrics_add(errors_metrics, errors_row + (unsigned)reason, 1);
    }
}

/* ---- slices ------------------------------------------------------------------------------------------------------ */

static const aq_metrics_t *slices_metrics;
static unsigned slices_row, slices_cost_row;

void aq_slices_install(const aq_metrics_t *metrics, unsigned row, unsigned cost_row)
{
    slices_metrics = metrics;
    slices_row = row;
    slices_cost_row = cost_row;
}

void aq_slices_count(aq_slice_event_t event, uint64_t cost)
{
    if (slices_metrics && slices_row && slices_cost_row) {
        aq_metrics_add(slices_metrics, slices_row + (unsigned)event, 1);
        aq_metrics_add(slices_metrics, slices_cost_row + (unsigned)event, cost);
    }
}

aq_store_error_t aq_store_error_of(apr_status_t rv)
{
    static const struct {
        apr_status_t status;
        aq_store_error_t reason;
    } known[] = {
        {APR_ENOSPC, AQ_STORE_ERROR_FULL},
        {APR_ENOMEM, AQ_STORE_ERROR_FULL},
        {APR_TIMEUP, AQ_STORE_ERROR_TIMEOUT},
        {APR_ETIMEDOUT, AQ_STORE_ERROR_TIMEOUT},
        {APR_ECONNREFUSED, AQ_STORE_ERROR_CONNECTION},
        {APR_ECONNRESET, AQ_STORE_ERROR_CONNECTION},
        {APR_ECONNABORTED, AQ_STORE_ERROR_CONNECTION},
        {APR_EPIPE, AQ_STORE_ERROR_CONNECTION},
        {APR_EACCES, AQ_STORE_ERROR_REFUSED},
        {EPERM, AQ_STORE_ERROR_REFUSED},
        {EROFS, AQ_STORE_ERROR_READONLY},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].status == rv) {
            return known[i].reason;
        }
    }
    return AQ_STORE_ERROR_OTHER;
}
