/* SPDX-License-Identifier: Apache-2.0 */
/* Holding a place of a limit on what runs at once for as long as a request runs. */
#ifndef AQ_CHARGE_HOLD_H
#define AQ_CHARGE_HOLD_H

#include "limit/charge.h"

/* For aq_charge_hold alone: of a charge that holds something. */
void aq_charge_hold_until_cleared(apr_pool_t *p, aq_charge_t *charge, aq_counter_store_t *store);

/*
 * Has a charge that was taken release what it holds when `p` is cleared. `p` is the pool of the initial request, which
 * httpd clears once the response has been sent, or the client has gone. Does nothing where the charge holds nothing.
 */
static inline void aq_charge_hold(apr_pool_t *p, aq_charge_t *charge, aq_counter_store_t *store)
{
    if (aq_charge_is_held(charge)) {
        aq_charge_hold_until_cleared(p, charge, store);
    }
}

#endif
