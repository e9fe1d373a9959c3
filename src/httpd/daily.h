/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daily use in httpd: APIQuotaDailyUse On adds one limit to each plan that counts what its tenants use (limit/daily.h). It
 * is written to the state folder at each start and reload, and by apiquotactl; once in six days is enough.
 */
#ifndef AQ_HTTPD_DAILY_H
#define AQ_HTTPD_DAILY_H

#include "httpd/config.h"

/* Adds the limit to the plans, where that is on. 0 where one has no room for it or counters are in Redis, which is logged. */
int aq_daily_plans_extend(const aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp);

/* Keeps what was used so far, where that is on; a failure is logged. For httpd's parent, when plans are identified. */
void aq_daily_keep(const aq_server_config_t *server, apr_pool_t *ptemp);

#endif
