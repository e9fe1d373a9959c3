/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cost: how much of a limit a request takes (APIQuotaCost).
 */
#ifndef AQ_COST_H
#define AQ_COST_H

#include "httpd/request.h"

/*
 * What a request costs at this location. OK, or where its expression gives no such number, which is logged, the status
 * of the refusal: what cannot be priced must not be free.
 */
int aq_cost_of(request_rec *r, const aq_location_config_t *location, uint32_t *cost);

#endif
