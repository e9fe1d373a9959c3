/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage: the handler apiquota-usage, at which a caller reads its own limits and what it used of them.
 *
 * It costs nothing, so that a caller with nothing left can read it: the charge phase asks here first, and then only
 * looks at the counters. The headers of the response show the same.
 */
#ifndef AQ_USAGE_HANDLER_H
#define AQ_USAGE_HANDLER_H

#include <httpd.h>

/* 1 where the request's location has SetHandler apiquota-usage. Known before r->handler is set. */
int aq_usage_is_asked(request_rec *r);

/* Hook handler, where there is one. */
int aq_usage_handler(request_rec *r);

#endif
