/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns: what a queue keeps of a batch, and of a webhook's message: one table of names, types and places for all stores.
 */
#ifndef AQ_QUEUE_COLUMNS_H
#define AQ_QUEUE_COLUMNS_H

#include "batch/webhook.h"

#include <stddef.h>

#define AQ_BATCH_COLUMN_COUNT 42
#define AQ_WEBHOOK_COLUMN_COUNT 23

typedef enum {
    AQ_COLUMN_ID,
    AQ_COLUMN_WEBHOOK_ID,
    AQ_COLUMN_STATUS,
    AQ_COLUMN_STATE,
    AQ_COLUMN_TEXT, /* may be NULL */
    AQ_COLUMN_INT,
    AQ_COLUMN_INT64
} aq_column_type_t;

typedef struct {
    const char *name;
    aq_column_type_t type;
    size_t offset; /* in aq_batch_t, or aq_webhook_t */
} aq_column_t;

/* In the order of AQ_SQLITE_COLUMNS and AQ_SQLITE_WEBHOOK_COLUMNS (sqlite_rows.h). */
extern const aq_column_t aq_batch_columns[AQ_BATCH_COLUMN_COUNT];
extern const aq_column_t aq_webhook_columns[AQ_WEBHOOK_COLUMN_COUNT];

#endif
