/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/limit/window_model.h"

#include <check.h>

uint64_t model_draw(uint64_t *seed, uint64_t below)
{
    /* splitmix64 (Steele, Lea, Flood, 2014) */
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

void model_charge(model_t *model, aq_time_ms_t at_ms, uint32_t cost)
{
    ck_assert_uint_lt(model->count, MODEL_CHARGES_MAX);
    model->charges[model->count++] = (model_charge_t){at_ms, cost};
}

uint64_t model_used(const model_t *model, uint32_t period_s, aq_time_ms_t now_ms)
{
    /* Six times the time, so that a sixth of a period is a whole number: q is period_s * 1,000 of it. */
    const int64_t q = (int64_t)period_s * 1000;
    const int64_t now = now_ms * 6;
    const int64_t k = now / q;
    const int64_t e = now - k * q;
    int64_t oldest = 0;
    int64_t whole = 0;

    for (unsigned i = 0; i < model->count; i++) {
        const int64_t its = model->charges[i].at_ms * 6 / q;

        if (its == k - 6) {
            oldest += model->charges[i].cost;
        } else if (its > k - 6 && its <= k) {
            whole += model->charges[i].cost;
        }
    }
    return (uint64_t)(whole + (oldest * (q - e) + q - 1) / q);
}

uint64_t model_log(const model_t *model, uint32_t period_s, aq_time_ms_t now_ms)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < model->count; i++) {
        if (model->charges[i].at_ms > now_ms - (int64_t)period_s * 1000 && model->charges[i].at_ms <= now_ms) {
            sum += model->charges[i].cost;
        }
    }
    return sum;
}
