/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the limits of plans and sections mean together, once the configuration is whole.
 */
#ifndef AQ_LIMITS_CHECK_H
#define AQ_LIMITS_CHECK_H

#include "httpd/config.h"

/*
 * 0 where a section's limits and a plan's are more than a request can be charged for, logged. Notes whether limits share
 * suffixes.
 */
int aq_limits_check(aq_server_config_t *server, apr_pool_t *ptemp);

/* Makes all limits ready for the store with that secret. */
void aq_limits_identify(const aq_server_config_t *server, const aq_hash_secret_t *secret, apr_pool_t *ptemp);

#endif
