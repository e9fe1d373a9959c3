/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadline: APIQuotaRequestTimeout, one bound for all of a request, from its first line to the last byte of its answer.
 *
 *   no answer has begun    504 with our problem, when the bound is reached
 *   an answer has begun    its connection is closed (HTTP/2: the stream is reset), so that nobody takes it for whole
 *
 * The handler is run from within a handler of ours, so that whatever it returns can become a 504, and the request's
 * deadline is known to the filters that stand on connections to backends. deadline_watch.h tells how a thread that waits
 * is woken.
 */
#ifndef AQ_DEADLINE_H
#define AQ_DEADLINE_H

#include "httpd/request.h"

/* Registers filters and the hook for connections to backends. */
void aq_deadline_register(void);

/* In post_config: has each child run the timer, where a location has a deadline. */
void aq_deadline_post_config(apr_pool_t *pconf, server_rec *s);

/* Runs the request's handler under its deadline and returns its status, or 504. DECLINED where it runs already. */
int aq_deadline_handler(request_rec *r, int64_t timeout_ms);

/* Hook insert_filter, where the location has a deadline. */
void aq_deadline_insert(request_rec *r);

#endif
