/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Section report: what holds at each <Location> with a directive of ours, for `apiquotactl config check`.
 *
 * httpd merges sections anew for each request, so no section by itself tells what holds at its path. Here each is merged
 * with those that enclose it, as for a request to that very path. Sections with patterns, and others than <Location>,
 * may hold anywhere: that there are such is noted. The members are told in runtime_sections.h.
 */
#ifndef AQ_SECTION_REPORT_H
#define AQ_SECTION_REPORT_H

#include "base/aq_json.h"
#include "httpd/config.h"

/* A new reference; NULL where memory ran out. Once the configuration is complete; `ptemp` is for scratch. */
json_t *aq_section_report(const server_rec *s, apr_pool_t *ptemp);

#endif
