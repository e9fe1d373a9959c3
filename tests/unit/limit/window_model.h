/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second implementation of the windows for the tests: it keeps every charge with its moment, and computes the formula
 * from the list each time, in the plainest way. Slow, and nothing of it is shared with the code under test.
 */
#ifndef WINDOW_MODEL_H
#define WINDOW_MODEL_H

#include "limit/window.h"

#define MODEL_CHARGES_MAX 4096

typedef struct {
    aq_time_ms_t at_ms;
    uint32_t cost;
} model_charge_t;

typedef struct {
    model_charge_t charges[MODEL_CHARGES_MAX];
    unsigned count;
} model_t;

/* A number below `below`, out of a series that `seed` determines. */
uint64_t model_draw(uint64_t *seed, uint64_t below);

void model_charge(model_t *model, aq_time_ms_t at_ms, uint32_t cost);

/* What is used of a sliding window of `period_s` seconds: ceil(o * (q - e) / q) + n. */
uint64_t model_used(const model_t *model, uint32_t period_s, aq_time_ms_t now_ms);

/* What an exact log of the last `period_s` seconds would say. */
uint64_t model_log(const model_t *model, uint32_t period_s, aq_time_ms_t now_ms);

#endif
