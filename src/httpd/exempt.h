/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exempt requests: those that are neither counted nor told anything by us. What APIQuotaExempt says, and CORS
 * preflights, which a browser sends without credentials, so that they pass also where a key is required.
 *
 * Anybody can send a preflight: it comes to the handler as OPTIONS and nothing else, and limits of phase=early count it.
 */
#ifndef AQ_EXEMPT_H
#define AQ_EXEMPT_H

#include "httpd/request.h"

/* 1 for a CORS preflight: OPTIONS with Origin and Access-Control-Request-Method (Fetch standard, 3.2.2). */
int aq_exempt_is_preflight(const request_rec *r);

/* 1 where the request is exempt at this location, which has quota. Notes it in the request's state. */
int aq_exempt_is(request_rec *r, const aq_location_config_t *location);

/* For requests that only OPTIONS or rules can make exempt: what every request is asked first. */
static inline int aq_exempt_may_be(const request_rec *r, const aq_location_config_t *location)
{
    return location->rules || r->method_number == M_OPTIONS;
}

#endif
