/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cost: how much of a limit a request takes (APIQuotaCost).
 */
#ifndef AQ_COST_H
#define AQ_COST_H

#include "httpd/request.h"

/* Parses a whole number from 1 to AQ_RATE_COUNT_MAX, all of `text`. APR_EGENERAL else, `*cost` unchanged. Pure. */
apr_status_t aq_cost_parse(const char *text, int64_t *cost);

/*
 * What a request costs at this location. OK, or where its expression gives no such number, which is logged, the status
 * of the refusal: what cannot be priced must not be free.
 */
int aq_cost_of(request_rec *r, const aq_location_config_t *location, uint32_t *cost);

#endif
