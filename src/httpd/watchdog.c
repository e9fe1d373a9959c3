/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of children. See watchdog.h. */
#include "httpd/watchdog.h"

#include <apr_optional.h>

apr_status_t aq_watchdog_add(apr_pool_t *pconf, const char *name, apr_interval_time_t interval, void *data,
                             ap_watchdog_callback_fn_t *tick)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *instance_get = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *callback_register =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;
    apr_status_t rv;

    if (!instance_get || !callback_register) {
        return APR_ENOTIMPL;
    }
    rv = instance_get(&watchdog, name, 0, 0, pconf);
    return rv == APR_SUCCESS ? callback_register(watchdog, interval, data, tick) : rv;
}
