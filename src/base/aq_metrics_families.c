/* SPDX-License-Identifier: Apache-2.0 */
/* What the rows of the metrics file count: names, labels and fixed values. See aq_metrics.h. */
#include "base/aq_metrics.h"

#include <string.h>

static const char *const decisions[AQ_DECISION_COUNT + 1] = {
    [AQ_DECISION_ALLOWED] = "allowed",
    [AQ_DECISION_LIMITED] = "limited",
    [AQ_DECISION_FREE] = "free",
    [AQ_DECISION_EXEMPT] = "exempt",
    [AQ_DECISION_DRYRUN_LIMITED] = "dryrun-limited",
    [AQ_DECISION_STORE_ERROR] = "store-error",
};

/* As the refusals of identify.c are called. */
static const char *const refusals[] = {"key-missing", "key-ambiguous",    "key-unknown", "key-disabled",
                                       "key-expired", "keys-unavailable", NULL};

static const char *const store_errors[AQ_STORE_ERROR_COUNT + 1] = {
    [AQ_STORE_ERROR_FULL] = "full",
    [AQ_STORE_ERROR_TIMEOUT] = "timeout",
    [AQ_STORE_ERROR_CONNECTION] = "connection",
    [AQ_STORE_ERROR_BREAKER] = "breaker",
    [AQ_STORE_ERROR_REFUSED] = "refused",
    [AQ_STORE_ERROR_READONLY] = "readonly",
    [AQ_STORE_ERROR_LOADING] = "loading",
    [AQ_STORE_ERROR_ANSWER] = "answer",
    [AQ_STORE_ERROR_OTHER] = "other",
};

static const char *const endings[] = {"succeeded", "failed", "canceled", NULL};

static const char *const slice_events[AQ_SLICE_EVENT_COUNT + 1] = {
    [AQ_SLICE_TAKEN] = "taken",
    [AQ_SLICE_RETURNED] = "returned",
    [AQ_SLICE_LOST] = "lost",
};

/* The texts must be those of the numbers: tests/unit/base/test_metrics.c compares them. */
static const char *const store_bounds[] = {"1e-06",
                                           "2.5e-06",
                                           "5e-06",
                                           "1e-05",
                                           "5e-05",
                                           "0.0001",
                                           "0.0005",
                                           "0.001",
                                           "0.005",
                                           "0.01",
                                           "0.05",
                                           "0.1",
                                           "0.5",
                                           "1",
                                           AQ_METRICS_BOUND_ABOVE,
                                           AQ_METRICS_BOUND_SUM,
                                           NULL};
static const int64_t store_bounds_ns[] = {1000,    2500,    5000,     10000,    50000,     100000,    500000,
                                          1000000, 5000000, 10000000, 50000000, 100000000, 500000000, 1000000000};

#define S INT64_C(1000000000)
static const char *const batch_bounds[] = {"0.1",
                                           "0.5",
                                           "1",
                                           "5",
                                           "10",
                                           "30",
                                           "60",
                                           "300",
                                           "900",
                                           "1800",
                                           "3600",
                                           "21600",
                                           AQ_METRICS_BOUND_ABOVE,
                                           AQ_METRICS_BOUND_SUM,
                                           NULL};
static const int64_t batch_bounds_ns[] = {S / 10, S / 2,   S,       5 * S,    10 * S,   30 * S,
                                          60 * S, 300 * S, 900 * S, 1800 * S, 3600 * S, 21600 * S};

static const aq_metric_family_t families[AQ_METRIC_COUNT] = {
    [AQ_METRIC_REQUESTS] = {.name = "apiquota_requests_total",
                            .help = "Requests to locations with quota, by the caller's plan and what was decided.",
                            .type = "counter",
                            .labels = {"plan", "decision"},
                            .values = decisions},
    [AQ_METRIC_LIMITED] = {.name = "apiquota_limited_total",
                           .help = "Requests that a limit refused, or would have refused in a dry run.",
                           .type = "counter",
                           .labels = {"plan", "limit"}},
    [AQ_METRIC_REFUSED] = {.name = "apiquota_refused_total",
                           .help = "Requests of callers who presented no valid key, by reason.",
                           .type = "counter",
                           .labels = {"reason"},
                           .values = refusals},
    [AQ_METRIC_STORE_ERRORS] = {.name = "apiquota_store_errors_total",
                                .help = "Failures of the counter store, by reason.",
                                .type = "counter",
                                .labels = {"reason"},
                                .values = store_errors},
    [AQ_METRIC_STORE_SECONDS] = {.name = "apiquota_store_seconds",
                                 .help =
                                     "Time that charges took in the counter store; of counters in shared memory, one "
                                     "charge in 64 is timed.",
                                 .type = "histogram",
                                 .labels = {"le"},
                                 .values = store_bounds,
                                 .bounds_ns = store_bounds_ns},
    [AQ_METRIC_BATCH_SECONDS] = {.name = "apiquota_batch_seconds",
                                 .help = "Time from the submission of a batch to its end, by this machine's worker.",
                                 .type = "histogram",
                                 .labels = {"le"},
                                 .values = batch_bounds,
                                 .bounds_ns = batch_bounds_ns},
    [AQ_METRIC_BATCHES_ENDED] = {.name = "apiquota_batches_ended_total",
                                 .help = "Batches that this machine's worker ended, by how they ended.",
                                 .type = "counter",
                                 .labels = {"status"},
                                 .values = endings},
    [AQ_METRIC_SLICES] = {.name = "apiquota_slices_total",
                          .help = "Slices of limits that this machine took from Redis in advance, by what became of "
                                  "them.",
                          .type = "counter",
                          .labels = {"event"},
                          .values = slice_events},
    [AQ_METRIC_SLICE_COST] = {.name = "apiquota_slice_cost_total",
                              .help = "Cost that those slices held, by the same: what was lost counts as used until "
                                      "its window ends.",
                              .type = "counter",
                              .labels = {"event"},
                              .values = slice_events},
};

const aq_metric_family_t *aq_metric_family(aq_metric_t metric)
{
    return &families[metric];
}

unsigned aq_metric_width(aq_metric_t metric)
{
    const char *const *values = families[metric].values;
    unsigned width = 0;

    while (values && values[width]) {
        width++;
    }
    return width ? width : 1;
}

const char *aq_decision_name(aq_decision_t decision)
{
    return decisions[decision];
}

/* FNV-1a: this is no secret, and nobody gains by a collision. */
static uint64_t hash_add(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t aq_metrics_fingerprint(void)
{
    const uint32_t layout[] = {sizeof(aq_metrics_header_t), sizeof(aq_metrics_row_t), AQ_METRICS_SHARDS,
                               AQ_METRICS_NOTES};
    uint64_t hash = hash_add(UINT64_C(0xcbf29ce484222325), layout, sizeof(layout));

    for (unsigned metric = 0; metric < AQ_METRIC_COUNT; metric++) {
        const aq_metric_family_t *family = &families[metric];

        if (family->name) {
            hash = hash_add(hash, family->name, strlen(family->name) + 1);
        }
        for (unsigned i = 0; family->values && family->values[i]; i++) {
            hash = hash_add(hash, family->values[i], strlen(family->values[i]) + 1);
        }
        hash = hash_add(hash, "", 1);
    }
    return hash;
}
