/* SPDX-License-Identifier: Apache-2.0 */
#include "contract/counter_model.h"

#include <string.h>

#define SUBS 6
#define RESIDUES 7
#define SKEW_MS 2000

/* ---- fixed: a window's number and its count ---------------------------------------------------------------------- */

/* The window that a charge goes to now: the next one, if a clock that stepped back has begun it. */
static int64_t fixed_window(model_t *model, int64_t now_ms)
{
    const int64_t present = now_ms / model->period_ms;

    if (model->used[0] != 0 && model->window[0] > present + 1) {
        model->window[0] = present;
    }
    return model->used[0] != 0 && model->window[0] > present ? model->window[0] : present;
}

static uint64_t fixed_used(model_t *model, int64_t now_ms)
{
    return fixed_window(model, now_ms) == model->window[0] ? model->used[0] : 0;
}

/* ---- sliding: seven numbered sub-windows -------------------------------------------------------------------------- */

static uint64_t sub_used(const model_t *model, int64_t number)
{
    const int64_t residue = number % RESIDUES;

    return model->window[residue] == number ? model->used[residue] : 0;
}

/* The sub-window that a charge goes to. One that lies more than a period ahead comes to the present. */
static int64_t sliding_window(model_t *model, int64_t now_ms)
{
    const int64_t present = now_ms * SUBS / model->period_ms;
    int64_t newest = present;

    for (int i = 0; i < RESIDUES; i++) {
        if (model->used[i] != 0 && model->window[i] > present + SUBS) {
            model->window[i] = present + (model->window[i] - present) % RESIDUES;
        }
        if (model->used[i] != 0 && model->window[i] > newest) {
            newest = model->window[i];
        }
    }
    return newest;
}

static uint64_t sliding_used(model_t *model, int64_t now_ms)
{
    const int64_t newest = sliding_window(model, now_ms);
    const int64_t length = model->period_ms;
    const int64_t begin = newest * length; /* in sixths of a millisecond */
    int64_t into = now_ms * SUBS - begin;
    uint64_t used = 0;

    if (into < 0) {
        into = (SUBS - begin % SUBS) % SUBS;
    }
    for (int age = 0; age < SUBS; age++) {
        used += sub_used(model, newest - age);
    }
    return used +
           (sub_used(model, newest - SUBS) * (uint64_t)(length - into) + (uint64_t)length - 1) / (uint64_t)length;
}

static void sub_add(model_t *model, int64_t number, uint64_t cost)
{
    const int64_t residue = number % RESIDUES;

    model->used[residue] = sub_used(model, number) + cost;
    model->window[residue] = number;
}

/* ---- token bucket: what is used, in token-milliseconds ------------------------------------------------------------ */

static model_int_t bucket_backlog(model_t *model, int64_t now_ms)
{
    const model_int_t now = (model_int_t)now_ms * (model_int_t)model->count;
    const model_int_t full = (model_int_t)model->capacity * model->period_ms;
    model_int_t backlog = model->drained_at - now;

    if (backlog > full + (model_int_t)SKEW_MS * (model_int_t)model->count) {
        model->drained_at = now + full;
        backlog = full;
    }
    return backlog > 0 ? backlog : 0;
}

static uint64_t bucket_used(model_t *model, int64_t now_ms)
{
    const model_int_t tokens = (bucket_backlog(model, now_ms) + model->period_ms - 1) / model->period_ms;

    return tokens < (model_int_t)model->capacity ? (uint64_t)tokens : model->capacity;
}

/* ---- all ---------------------------------------------------------------------------------------------------------- */

uint64_t counter_model_used(model_t *model, int64_t now_ms)
{
    switch (model->kind) {
    case MODEL_FIXED:
        return fixed_used(model, now_ms);
    case MODEL_SLIDING:
        return sliding_used(model, now_ms);
    case MODEL_BUCKET:
        return bucket_used(model, now_ms);
    case MODEL_TOTAL:
    case MODEL_CONCURRENT:
        break;
    }
    return model->used[0];
}

int counter_model_admits(model_t *model, uint64_t cost, int64_t now_ms)
{
    if (model->kind == MODEL_BUCKET) {
        return bucket_backlog(model, now_ms) + (model_int_t)cost * model->period_ms <=
               (model_int_t)model->capacity * model->period_ms;
    }
    return counter_model_used(model, now_ms) + (model->kind == MODEL_CONCURRENT ? 1 : cost) <= model->capacity;
}

model_receipt_t counter_model_charge(model_t *model, uint64_t cost, int64_t now_ms)
{
    model_receipt_t receipt = {.cost = cost};

    switch (model->kind) {
    case MODEL_FIXED:
        receipt.window = fixed_window(model, now_ms);
        model->used[0] = fixed_used(model, now_ms) + cost;
        model->window[0] = receipt.window;
        break;
    case MODEL_SLIDING:
        receipt.window = sliding_window(model, now_ms);
        sub_add(model, receipt.window, cost);
        break;
    case MODEL_BUCKET:
        model->drained_at = (model_int_t)now_ms * (model_int_t)model->count + bucket_backlog(model, now_ms) +
                            (model_int_t)cost * model->period_ms;
        receipt.drained_at = model->drained_at;
        break;
    case MODEL_TOTAL:
        model->used[0] += cost;
        break;
    case MODEL_CONCURRENT:
        model->used[0]++;
        break;
    }
    return receipt;
}

static void bucket_give_back(model_t *model, const model_receipt_t *receipt, int64_t now_ms)
{
    const model_int_t left = receipt->drained_at - (model_int_t)now_ms * (model_int_t)model->count;
    const model_int_t taken = (model_int_t)receipt->cost * model->period_ms;

    if (left > 0) {
        model->drained_at -= left < taken ? left : taken;
    }
}

void counter_model_give_back(model_t *model, const model_receipt_t *receipt, int64_t now_ms)
{
    const int64_t residue = model->kind == MODEL_SLIDING ? receipt->window % RESIDUES : 0;
    const uint64_t cost = model->kind == MODEL_CONCURRENT ? 1 : receipt->cost;
    uint64_t *used = &model->used[residue];

    if (model->kind == MODEL_BUCKET) {
        bucket_give_back(model, receipt, now_ms);
    } else if (model->kind == MODEL_TOTAL || model->kind == MODEL_CONCURRENT ||
               model->window[residue] == receipt->window) {
        *used = *used > cost ? *used - cost : 0;
    }
}

void counter_model_limit_set(model_t *model, uint64_t capacity, uint64_t count, int64_t now_ms)
{
    if (model->kind == MODEL_BUCKET) {
        const model_int_t ahead = model->drained_at - (model_int_t)now_ms * (model_int_t)model->count;
        const model_int_t backlog = ahead > 0 ? ahead : 0;
        const model_int_t full = (model_int_t)capacity * model->period_ms;
        const int is_other = count != model->count;

        model->drained_at = (model_int_t)now_ms * (model_int_t)count + (is_other && backlog > full ? full : backlog);
    }
    model->capacity = capacity;
    model->count = count;
}
