/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answer headers: what a response of a location with quota says beside X-RateLimit-* and Retry-After.
 *
 *   X-Request-Id                                the id that bodies and log lines have
 *   RateLimit-Policy, RateLimit                 where APIQuotaHeaders asks for them (ietf_headers.c)
 *   Access-Control-Expose-Headers               names our headers, where a browser's script asks (Origin)
 *
 * Called by the settle filter, when all other headers are there; may be called again for the same response.
 */
#ifndef AQ_ANSWER_HEADERS_H
#define AQ_ANSWER_HEADERS_H

#include "httpd/request.h"

void aq_answer_headers_set(request_rec *r, const aq_request_t *request);

/* Sets a header in place of one of a backend's, wherever that stands. `value` must live as long as the request. */
void aq_answer_header_replace(request_rec *r, const char *name, const char *value);

/* RateLimit-Policy and RateLimit of a charge: draft-ietf-httpapi-ratelimit-headers-10, Lists of RFC 9651. */
void aq_ietf_headers_set(request_rec *r, const aq_request_t *request);

#endif
