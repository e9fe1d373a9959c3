/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status: all that the status page tells, gathered once and drawn twice (status_html.c, status_json.c).
 */
#ifndef AQ_STATUS_DATA_H
#define AQ_STATUS_DATA_H

#include "httpd/health.h"
#include "httpd/status_top.h"

/* What the charts show of the six decisions. */
typedef enum { AQ_CHART_ALLOWED, AQ_CHART_LIMITED, AQ_CHART_FREE, AQ_CHART_OTHER, AQ_CHART_COUNT } aq_chart_t;

typedef struct {
    uint64_t minutes[AQ_METRICS_HOUR]; /* the present one, which is not over yet, last */
    uint64_t total, most;
    int most_at; /* which minute had most */
} aq_chart_data_t;

typedef struct {
    const char *name;
    uint64_t hour[AQ_DECISION_COUNT];
    uint64_t all;
} aq_plan_use_t;

/* How bad something is. */
typedef enum { AQ_VERDICT_GOOD, AQ_VERDICT_WARNING, AQ_VERDICT_BAD } aq_verdict_t;

/* The parts that can be unwell, as the page shows them. */
typedef enum { AQ_PART_STORE, AQ_PART_KEYS, AQ_PART_BATCHES, AQ_PART_SPOOL, AQ_PART_COUNT } aq_part_t;

typedef struct {
    aq_verdict_t verdict;
    aq_part_t part;
    const char *text; /* a sentence */
} aq_trouble_t;

typedef struct {
    aq_health_t health;
    aq_chart_data_t charts[AQ_CHART_COUNT];
    apr_array_header_t *plans;    /* of aq_plan_use_t, the most used first */
    apr_array_header_t *troubles; /* of aq_trouble_t, the worst first */
    aq_verdict_t verdict, part_verdicts[AQ_PART_COUNT];
    apr_array_header_t *running; /* of aq_batch_t *: some of the batches that run */
    aq_top_t top;
} aq_status_t;

/* Gathers everything, in the request's pool. NULL where the module is loaded and not configured. */
const aq_status_t *aq_status_gather(request_rec *r);

/* status_troubles.c: "good", "warning", "bad". */
const char *aq_verdict_name(aq_verdict_t verdict);

/* status_troubles.c: fills verdicts and troubles from `health`. */
void aq_status_judge(apr_pool_t *p, aq_status_t *status);

/* status_json.c, status_html.c: the document, in `p`. The HTML holds style and script as status_assets.h has them. */
const char *aq_status_json(apr_pool_t *p, const aq_status_t *status);
const char *aq_status_html(apr_pool_t *p, const aq_status_t *status, const char *host);

#endif
