/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of children, by mod_watchdog. */
#ifndef AQ_WATCHDOG_H
#define AQ_WATCHDOG_H

/* httpd.h first: mod_watchdog.h needs its types. */
#include <httpd.h>
#include <mod_watchdog.h>

/*
 * Has each child call `tick` with `data` every `interval`, in a thread of the watchdog `name`, which starts with "_" where
 * it is not to be one of the operator's. In post_config: mod_watchdog counts there, after us, for whom threads are to be
 * started; who asks in child_init is never called. APR_ENOTIMPL where mod_watchdog is not there.
 */
apr_status_t aq_watchdog_add(apr_pool_t *pconf, const char *name, apr_interval_time_t interval, void *data,
                             ap_watchdog_callback_fn_t *tick);

#endif
