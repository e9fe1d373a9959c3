/* SPDX-License-Identifier: Apache-2.0 */
/* The handler apiquota-metrics: the text that scrapers ask for, in the format that they ask for. See metrics_text.h. */
#include "httpd/metrics_text.h"
#include "httpd/pages.h"

#include <http_protocol.h>
#include <string.h>

#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

int aq_metrics_answer(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    const int is_open = accept && strstr(accept, "application/openmetrics-text");
    aq_health_t health;

    if (!aq_health_look(r, &health)) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return aq_page_send(
        r, is_open ? OPENMETRICS_TYPE : PROMETHEUS_TYPE,
        aq_metrics_text(r->pool, &health, is_open ? AQ_METRICS_TEXT_OPENMETRICS : AQ_METRICS_TEXT_PROMETHEUS));
}
