/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind plan.h share; for them alone. */
#ifndef AQ_PLAN_PARTS_H
#define AQ_PLAN_PARTS_H

#include "limit/plan.h"

#define AQ_LOWER "abcdefghijklmnopqrstuvwxyz"
#define AQ_UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define AQ_DIGITS "0123456789"

/* 1 where `name` has 1 to `max` characters, all of them out of `letters`. */
int aq_name_is_valid(const char *name, const char *letters, size_t max);

/* NULL, or a sentence in `p` that says why `name` names no limit. */
const char *aq_limit_name_error(apr_pool_t *p, const char *name);

/*
 * Gives `limit` the rate of an override: RATE [burst=N] [anchor=DAY|tenant]. With the period that it had it keeps the
 * algorithm and the anchor; with another one, or if it had none (capacity 0), it has what is usual for that. NULL, or a
 * sentence in `p` that says what is wrong with `text`.
 */
const char *aq_limit_rate_override(apr_pool_t *p, const char *text, aq_limit_t *limit);

#endif
