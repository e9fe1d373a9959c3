/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch configuration: what httpd's parent tells the worker, through the "worker" member of STATE_DIR/runtime.json.
 *
 * The same code writes and reads it, so that both sides agree. Job rows name their location; a location that is no
 * longer configured makes its jobs wait (they fail when they have waited too long), it loses nothing.
 */
#ifndef AQ_BATCH_CONFIG_H
#define AQ_BATCH_CONFIG_H

#include "base/aq_json.h"

#include <apr_hash.h>
#include <apr_tables.h>

/* Items of one batch that may be at the target at a time: each has a connection and a descriptor. */
#define AQ_ITEMS_PARALLEL_MAX 256

typedef struct {
    const char *name;   /* "host:port/path": the vhost and the section, unique; stored in job rows */
    const char *target; /* URL */
    int timeout_ms;     /* of an attempt; of a batch of items: from its first start to its end */
    int max_attempts;
    int target_is_idempotent;
    int64_t retention_ms;
    int64_t result_retention_ms; /* of the result alone; 0: as the batch */
    int64_t max_wait_ms;         /* a batch that is queued longer fails */
    int concurrency;             /* jobs at a time; 0: not set */
    int concurrency_is_of_all;   /* 1: of all tenants together, 0: of each */
    int items_parallel;          /* of a batch of items: so many at a time */
    int64_t items_gap_us;        /* between the starts of two; 0: none */
    int items_timeout_ms;        /* of the sending of one */
    int wants_webhook;           /* the end of its batches is told to their tenant's webhook */
} aq_batch_location_t;

typedef struct {
    const char *queue_file;          /* SQLite file; NULL: the queue is in Redis */
    apr_array_header_t *queue_words; /* of const char *: where in Redis, as redis_queue_setting.h says; NULL: SQLite */
    const char *machine;             /* this machine's name, for a queue in Redis; else NULL */
    const char
        *worker_files; /* what the names of the files begin with that the worker makes for itself; SQLite: queue_file */
    const char *spool_folder;
    int spool_is_shared; /* by all machines that share the queue */
    int64_t spool_max_bytes;
    int spool_keep_percent; /* of spool_max_bytes, from which on the oldest results go; 0, 100: none before its time */
    int threads;
    const char *key_file;              /* whose tenants have webhooks; NULL: there is none */
    apr_array_header_t *webhook_allow; /* of const char *: networks that may be sent to though they are not public */
    apr_hash_t *locations;             /* name -> aq_batch_location_t * */
} aq_batch_config_t;

/* What tells one queue from another: its file, or its words, in `p`. */
const char *aq_batch_config_queue(apr_pool_t *p, const aq_batch_config_t *config);

/* The "worker" member: a new reference; NULL when memory ran out. */
json_t *aq_batch_config_json(const aq_batch_config_t *config, apr_pool_t *ptemp);

/* Reads it back into `p`. APR_EGENERAL and a sentence at `*error` for anything missing or of another type. */
apr_status_t aq_batch_config_parse(apr_pool_t *p, const json_t *json, aq_batch_config_t **config, const char **error);

#endif
