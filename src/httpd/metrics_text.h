/* SPDX-License-Identifier: Apache-2.0 */
/* The text that scrapers read: Prometheus' format 0.0.4, or OpenMetrics 1.0. It knows nothing of httpd. */
#ifndef AQ_METRICS_TEXT_H
#define AQ_METRICS_TEXT_H

#include "httpd/health.h"

typedef enum { AQ_METRICS_TEXT_PROMETHEUS, AQ_METRICS_TEXT_OPENMETRICS } aq_metrics_format_t;

/* All metrics of a server, in `p`. */
const char *aq_metrics_text(apr_pool_t *p, const aq_health_t *health, aq_metrics_format_t format);

#endif
