/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages: the handlers apiquota-metrics and apiquota-status, the section on mod_status's page, and, by the same rules,
 * apiquota-home (home_fetch.h).
 *
 * What they show is for operators and their machines: a configuration that names one of them where no Require stands is refused, so that
 * nobody publishes his tenants by forgetting a line.
 */
#ifndef AQ_PAGES_H
#define AQ_PAGES_H

#include <httpd.h>

#define AQ_HANDLER_METRICS "apiquota-metrics"
#define AQ_HANDLER_STATUS "apiquota-status"
#define AQ_HANDLER_HOME "apiquota-home"

/* At start-up: OK, or a configuration error, logged. */
int aq_pages_check(void);

/* While hooks are registered: the hook of mod_status, which asks for it where it is loaded. */
void aq_pages_register(void);

/* Hook handler, where there is one; DECLINED where the request is for neither. */
int aq_pages_handler(request_rec *r);

/* metrics_handler.c and status_handler.c: answer a GET or HEAD. */
int aq_metrics_answer(request_rec *r);
int aq_status_answer(request_rec *r);

/* pages.c: sends a page that nobody may keep. OK, or the status of what failed. */
int aq_page_send(request_rec *r, const char *content_type, const char *text);

#endif
