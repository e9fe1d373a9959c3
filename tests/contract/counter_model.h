/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain model of each algorithm, to compare stores with: numbers as they are, no words, no wrapping, nothing rounded but
 * what docs/limits.md says is rounded. Shares no code with src/.
 */
#ifndef COUNTER_MODEL_H
#define COUNTER_MODEL_H

#include <stdint.h>

typedef enum { MODEL_FIXED, MODEL_SLIDING, MODEL_TOTAL, MODEL_BUCKET, MODEL_CONCURRENT } model_kind_t;

__extension__ typedef __int128 model_int_t;

typedef struct {
    model_kind_t kind;
    int64_t period_ms;
    uint64_t capacity; /* the limit; of a bucket its size */
    uint64_t count;    /* of a bucket: tokens a period */
    int64_t
        window[7]; /* number of the window, or of the sub-window, that `used` counts in; others use the first alone */
    uint64_t used[7];
    model_int_t drained_at; /* bucket: milliseconds * count at which nothing is used any more */
} model_t;

/* What a charge leaves behind. */
typedef struct {
    int64_t window;
    uint64_t cost;
    model_int_t drained_at;
} model_receipt_t;

/* How much is used. Moves what a clock that stepped back left in the future. */
uint64_t counter_model_used(model_t *model, int64_t now_ms);

int counter_model_admits(model_t *model, uint64_t cost, int64_t now_ms);
model_receipt_t counter_model_charge(model_t *model, uint64_t cost, int64_t now_ms);
void counter_model_give_back(model_t *model, const model_receipt_t *receipt, int64_t now_ms);

/* Another limit holds from `now_ms` on. */
void counter_model_limit_set(model_t *model, uint64_t capacity, uint64_t count, int64_t now_ms);

#endif
