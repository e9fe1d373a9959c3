/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Body limit: APIQuotaMaxBody, for bodies that are declared, come in chunks, or are passed on by a proxy.
 *
 * A declared body that is too large is refused right after the charge, before anything of it is read; one in chunks by
 * an input filter that counts, as soon as it is. httpd's own LimitRequestBody does neither under ProxyPass.
 */
#ifndef AQ_BODY_LIMIT_H
#define AQ_BODY_LIMIT_H

#include "httpd/config.h"

/* OK, or 413 with its problem noted. `location` has options. */
int aq_body_limit_check(request_rec *r, const aq_location_config_t *location);

void aq_body_limit_register(void);

/* Hook insert_filter, where the location has options: counts the body that comes. */
void aq_body_limit_insert(request_rec *r);

#endif
