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
#include <http_core.h>

/* For aq_usage_is_asked alone: where SetHandler says something, which is an expression. */
int aq_usage_is_handler(request_rec *r, const ap_expr_info_t *handler);

/* 1 where the request's location has SetHandler apiquota-usage. Known before r->handler is set. */
static inline int aq_usage_is_asked(request_rec *r)
{
    const core_dir_config *core = (core_dir_config *)ap_get_core_module_config(r->per_dir_config);

    return core->expr_handler && aq_usage_is_handler(r, core->expr_handler);
}

/* Hook handler, where there is one. */
int aq_usage_handler(request_rec *r);

#endif
