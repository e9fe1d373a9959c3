/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the script as strings: the assembler reads them, relative to where make runs; the Makefile knows that this
 * object depends on them. The names of columns, which the table of queue_columns.h holds, are put before.
 */
#include "store/redis_queue_script.h"

#include "store/queue_columns.h"

#include <apr_strings.h>
#include <string.h>

#define PART(name, path)                                                                                               \
    extern const char(name)[];                                                                                         \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".globl " #name "\n"                                                                                       \
            ".hidden " #name "\n" #name ":\n"                                                                          \
            ".incbin \"" path "\"\n"                                                                                   \
            ".byte 0\n"                                                                                                \
            ".popsection\n")

PART(aq_redis_queue_rows, "src/store/redis_queue_rows.lua");
PART(aq_redis_queue_batches, "src/store/redis_queue_batches.lua");
PART(aq_redis_queue_jobs, "src/store/redis_queue_jobs.lua");
PART(aq_redis_queue_webhooks, "src/store/redis_queue_webhooks.lua");

/* What no list shows is asked for under a name that no row has. */
static const char *shown(const char *name, int is_list)
{
    return is_list && (strcmp(name, "headers") == 0 || strcmp(name, "response_headers") == 0) ? "-" : name;
}

/* "local NAME = {'id','tenant',…}" */
static const char *names_make(apr_pool_t *p, const char *name, const aq_column_t *columns, int count, int is_list)
{
    const char *text = apr_psprintf(p, "local %s = {", name);

    for (int i = 0; i < count; i++) {
        text = apr_pstrcat(p, text, i > 0 ? ",'" : "'", shown(columns[i].name, is_list), "'", NULL);
    }
    return apr_pstrcat(p, text, "}\n", NULL);
}

const char *aq_redis_queue_script(apr_pool_t *p)
{
    return apr_pstrcat(p, names_make(p, "COLUMNS", aq_batch_columns, AQ_BATCH_COLUMN_COUNT, 0),
                       names_make(p, "LISTED", aq_batch_columns, AQ_BATCH_COLUMN_COUNT, 1),
                       names_make(p, "MESSAGE", aq_webhook_columns, AQ_WEBHOOK_COLUMN_COUNT, 0), aq_redis_queue_rows,
                       aq_redis_queue_batches, aq_redis_queue_jobs, aq_redis_queue_webhooks, NULL);
}
