/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering what the status page tells: see status_data.h. */
#include "httpd/status_data.h"

#include <stdlib.h>
#include <string.h>

#define RUNNING_SHOWN 8

static const aq_chart_t charts[AQ_DECISION_COUNT] = {[AQ_DECISION_ALLOWED] = AQ_CHART_ALLOWED,
                                                     [AQ_DECISION_LIMITED] = AQ_CHART_LIMITED,
                                                     [AQ_DECISION_FREE] = AQ_CHART_FREE,
                                                     [AQ_DECISION_EXEMPT] = AQ_CHART_OTHER,
                                                     [AQ_DECISION_DRYRUN_LIMITED] = AQ_CHART_OTHER,
                                                     [AQ_DECISION_STORE_ERROR] = AQ_CHART_OTHER};

/* Adds the hour of one decision of a plan to the plan's and to the charts'. */
static void decision_add(aq_status_t *status, aq_plan_use_t *plan, unsigned row, aq_decision_t decision)
{
    aq_chart_data_t *chart = &status->charts[charts[decision]];
    uint64_t minutes[AQ_METRICS_HOUR];

    aq_metrics_hour(status->health.tally->metrics, row, status->health.now_ms, minutes);
    for (int i = 0; i < AQ_METRICS_HOUR; i++) {
        chart->minutes[i] += minutes[i];
        plan->hour[decision] += minutes[i];
        plan->all += minutes[i];
    }
}

static int more_used(const void *one, const void *other)
{
    const aq_plan_use_t *a = one, *b = other;

    if (a->all != b->all) {
        return a->all < b->all ? 1 : -1;
    }
    return strcmp(a->name, b->name);
}

/* Plans that are gone have rows, too: they show as long as the past hour has requests of theirs. */
static int is_shown(const aq_status_t *status, const aq_plan_use_t *plan)
{
    return plan->all != 0 || apr_hash_get(status->health.server->plans, plan->name, APR_HASH_KEY_STRING);
}

static void plans_gather(apr_pool_t *p, aq_status_t *status)
{
    const aq_metrics_t *metrics = status->health.tally->metrics;
    const unsigned used = aq_metrics_used(metrics);

    status->plans = apr_array_make(p, 8, sizeof(aq_plan_use_t));
    for (unsigned i = 1; i + AQ_DECISION_COUNT <= used; i++) {
        const aq_metrics_row_t *row = &metrics->rows[i];
        aq_plan_use_t plan = {.name = row->plan};

        if (row->metric != AQ_METRIC_REQUESTS || row->value != 0) {
            continue;
        }
        for (unsigned decision = 0; decision < AQ_DECISION_COUNT; decision++) {
            decision_add(status, &plan, i + decision, (aq_decision_t)decision);
        }
        if (is_shown(status, &plan)) {
            APR_ARRAY_PUSH(status->plans, aq_plan_use_t) = plan;
        }
    }
    qsort(status->plans->elts, (size_t)status->plans->nelts, sizeof(aq_plan_use_t), more_used);
}

static void chart_finish(aq_chart_data_t *chart)
{
    for (int i = 0; i < AQ_METRICS_HOUR; i++) {
        chart->total += chart->minutes[i];
        if (chart->minutes[i] > chart->most) {
            chart->most = chart->minutes[i];
            chart->most_at = i;
        }
    }
}

static void running_gather(request_rec *r, aq_status_t *status)
{
    const aq_queue_query_t query = {.status = AQ_BATCH_RUNNING, .limit = RUNNING_SHOWN};
    aq_queue_page_t page;

    if (status->health.has_batches && status->health.queue_failure == APR_SUCCESS &&
        aq_queue_list(status->health.server->runtime->queue, r->pool, &query, &page) == APR_SUCCESS) {
        status->running = page.batches;
    } else {
        status->running = apr_array_make(r->pool, 1, sizeof(aq_batch_t *));
    }
}

const aq_status_t *aq_status_gather(request_rec *r)
{
    aq_status_t *status = apr_pcalloc(r->pool, sizeof(*status));

    if (!aq_health_look(r, &status->health)) {
        return NULL;
    }
    plans_gather(r->pool, status);
    for (int i = 0; i < AQ_CHART_COUNT; i++) {
        chart_finish(&status->charts[i]);
    }
    running_gather(r, status);
    aq_status_top(r, status->health.now_ms, &status->top);
    aq_status_judge(r->pool, status);
    return status;
}
