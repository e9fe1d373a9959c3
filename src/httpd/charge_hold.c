/* SPDX-License-Identifier: Apache-2.0 */
/* Releasing what a charge holds. See charge_hold.h. */
#include "httpd/charge_hold.h"

#include "httpd/httpd_log.h"

typedef struct {
    aq_charge_t *charge;
    aq_counter_store_t *store;
} hold_t;

static apr_status_t hold_end(void *data)
{
    const hold_t *hold = data;
    apr_status_t rv = aq_charge_release(hold->charge, hold->store, aq_clock_now_ms());

    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1150, rv, "a place of a limit on what runs at once could not be released");
    }
    return rv;
}

void aq_charge_hold_until_cleared(apr_pool_t *p, aq_charge_t *charge, aq_counter_store_t *store)
{
    hold_t *hold = apr_palloc(p, sizeof(*hold));

    *hold = (hold_t){.charge = charge, .store = store};
    apr_pool_cleanup_register(p, hold, hold_end, apr_pool_cleanup_null);
}
