/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing metrics. First what requests added to, family by family, then what stands in no file but can be looked at.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification, which differ in three
 * things: there a counter's family lacks the _total, the last line is "# EOF", and numbers are told alike.
 */
#include "httpd/metrics_text.h"

#include "base/aq_text.h"
#include "base/aq_version.h"

#include <apr_strings.h>
#include <string.h>

#define TOTAL "_total"
#define NS_PER_S 1e9

typedef struct {
    aq_text_t *text;
    aq_metrics_format_t format;
} writer_t;

static void head_write(const writer_t *writer, const char *name, const char *type, const char *help)
{
    size_t size = strlen(name);
    const size_t end = sizeof(TOTAL) - 1;
    int length;

    if (writer->format == AQ_METRICS_TEXT_OPENMETRICS && size > end && strcmp(name + size - end, TOTAL) == 0) {
        size -= end;
    }
    length = (int)size;
    aq_text_addf(writer->text, "# HELP %.*s %s\n# TYPE %.*s %s\n", length, name, help, length, name, type);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static void label_write(aq_text_t *text, const char *name, const char *value, const char *behind)
{
    aq_text_add(text, name);
    aq_text_add(text, "=\"");
    aq_text_add_label(text, value);
    aq_text_add(text, behind);
}

/* The value of a row's label: the fixed one is the last that the family has. */
static const char *label_value(const aq_metric_family_t *family, const aq_metrics_row_t *row, int label)
{
    const int is_last = label == 1 || !family->labels[1];

    if (family->values && is_last) {
        return family->values[row->value];
    }
    return label == 0 ? row->plan : row->limit;
}

static void counter_write(const writer_t *writer, const aq_metric_family_t *family, const aq_metrics_row_t *row,
                          uint64_t total)
{
    aq_text_add(writer->text, family->name);
    aq_text_add(writer->text, "{");
    label_write(writer->text, family->labels[0], label_value(family, row, 0), family->labels[1] ? "\"," : "\"");
    if (family->labels[1]) {
        label_write(writer->text, family->labels[1], label_value(family, row, 1), "\"");
    }
    aq_text_addf(writer->text, "} %" APR_UINT64_T_FMT "\n", total);
}

/* A histogram's rows hold what fell between two bounds; readers want what lies below each. */
static void histogram_write(const writer_t *writer, const aq_metric_family_t *family, const aq_metrics_t *metrics,
                            unsigned first, unsigned width)
{
    uint64_t below = 0;

    for (unsigned i = 0; i + 1 < width; i++) {
        below += aq_metrics_total(metrics, first + i);
        aq_text_addf(writer->text, "%s_bucket{le=\"%s\"} %" APR_UINT64_T_FMT "\n", family->name, family->values[i],
                     below);
    }
    aq_text_addf(writer->text, "%s_sum %.9f\n%s_count %" APR_UINT64_T_FMT "\n", family->name,
                 (double)aq_metrics_total(metrics, first + width - 1) / NS_PER_S, family->name, below);
}

static void family_write(const writer_t *writer, const aq_metrics_t *metrics, aq_metric_t metric)
{
    const aq_metric_family_t *family = aq_metric_family(metric);
    const unsigned used = metrics ? aq_metrics_used(metrics) : 0;

    head_write(writer, family->name, family->type, family->help);
    for (unsigned i = 1; i < used; i++) {
        const aq_metrics_row_t *row = &metrics->rows[i];

        if (row->metric != metric) {
            continue;
        }
        if (family->bounds_ns && row->value == 0 && i + aq_metric_width(metric) <= used) {
            histogram_write(writer, family, metrics, i, aq_metric_width(metric));
        } else if (!family->bounds_ns) {
            counter_write(writer, family, row, aq_metrics_total(metrics, i));
        }
    }
}

/* ---- what is looked at ------------------------------------------------------------------------------------------- */

static void gauge_write(const writer_t *writer, const char *name, const char *help, double value)
{
    head_write(writer, name, "gauge", help);
    aq_text_addf(writer->text, "%s %.15g\n", name, value);
}

static void sample_write(const writer_t *writer, const char *name, const char *state, uint64_t value)
{
    aq_text_addf(writer->text, "%s{state=\"%s\"} %" APR_UINT64_T_FMT "\n", name, state, value);
}

static void counters_write(const writer_t *writer, const aq_health_t *health)
{
    const uint64_t taken = health->counters_live + health->counters_dead;

    head_write(writer, "apiquota_counters", "gauge",
               "Places of the counter table: counters that matter, counters that are over, and free places.");
    sample_write(writer, "apiquota_counters", "live", health->counters_live);
    sample_write(writer, "apiquota_counters", "dead", health->counters_dead);
    if (health->slots > taken) {
        sample_write(writer, "apiquota_counters", "free", health->slots - taken);
    } else if (health->slots != 0) {
        sample_write(writer, "apiquota_counters", "free", 0);
    }
    head_write(writer, "apiquota_table_overflows_total", "counter",
               "Charges that found no place of their own in the counter table.");
    aq_text_addf(writer->text, "apiquota_table_overflows_total %" APR_UINT64_T_FMT "\n", health->overflows);
    gauge_write(writer, "apiquota_store_up", "Whether the counter store answered when it was last looked at.",
                health->store_failure == APR_SUCCESS);
}

static void keys_write(const writer_t *writer, const aq_health_t *health)
{
    if (!health->has_keys) {
        return;
    }
    gauge_write(writer, "apiquota_keyfile_loaded_timestamp_seconds", "When the keys in force were loaded.",
                (double)health->keys_loaded_at_ms / AQ_MS_PER_S);
    gauge_write(writer, "apiquota_keyfile_up", "0 while the keys file cannot be read and earlier keys stay in force.",
                !health->keys_are_failing);
    gauge_write(writer, "apiquota_keyfile_refused_entries", "Entries of the keys file that are not in force.",
                health->refused_entries);
    gauge_write(writer, "apiquota_keys", "Keys in force.", health->keys);
    gauge_write(writer, "apiquota_tenants", "Tenants in force.", health->tenants);
}

static void batches_write(const writer_t *writer, const aq_health_t *health)
{
    if (!health->has_batches) {
        return;
    }
    gauge_write(writer, "apiquota_worker_up", "Whether this machine's worker showed a sign of life within ten seconds.",
                health->worker_is_up);
    gauge_write(writer, "apiquota_queue_up", "Whether queue and spool could be opened and asked.",
                health->queue_failure == APR_SUCCESS);
    if (health->queue_failure == APR_SUCCESS) {
        head_write(writer, "apiquota_batches", "gauge", "Batches that are kept, by state.");
        for (int status = 0; status < AQ_BATCH_STATUS_COUNT; status++) {
            sample_write(writer, "apiquota_batches", aq_batch_status_name((aq_batch_status_t)status),
                         (uint64_t)health->batches.by_status[status]);
        }
        gauge_write(writer, "apiquota_queue_age_seconds", "Age of the oldest batch that is queued; 0 where none is.",
                    (double)health->queue_age_ms / AQ_MS_PER_S);
        gauge_write(writer, "apiquota_spool_bytes", "Bodies and results on the spool.", (double)health->spool_bytes);
    }
    gauge_write(writer, "apiquota_spool_max_bytes", "What the spool may hold (APIQuotaSpool max=).",
                (double)health->spool_max_bytes);
    family_write(writer, health->worker_metrics, AQ_METRIC_BATCH_SECONDS);
    family_write(writer, health->worker_metrics, AQ_METRIC_BATCHES_ENDED);
}

const char *aq_metrics_text(apr_pool_t *p, const aq_health_t *health, aq_metrics_format_t format)
{
    const aq_metric_t ours[] = {AQ_METRIC_REQUESTS,      AQ_METRIC_LIMITED, AQ_METRIC_REFUSED,   AQ_METRIC_STORE_ERRORS,
                                AQ_METRIC_STORE_SECONDS, AQ_METRIC_SLICES,  AQ_METRIC_SLICE_COST};
    const writer_t writer = {.text = aq_text_create(p), .format = format};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        family_write(&writer, health->tally->metrics, ours[i]);
    }
    counters_write(&writer, health);
    keys_write(&writer, health);
    batches_write(&writer, health);
    head_write(&writer, "apiquota_build_info", "gauge", "The version of the module; always 1.");
    aq_text_addf(writer.text, "apiquota_build_info{version=\"%s\",store=\"%s\"} 1\n", AQ_VERSION, health->store_kind);
    if (format == AQ_METRICS_TEXT_OPENMETRICS) {
        aq_text_add(writer.text, "# EOF\n");
    }
    return aq_text_join(writer.text);
}
