/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings: the "worker" member of runtime.json as it was last read well.
 */
#ifndef AQ_SETTINGS_H
#define AQ_SETTINGS_H

#include "batch/batch_config.h"
#include "batch/queue.h"

#include <pthread.h>

typedef struct {
    pthread_mutex_t mutex;
    apr_pool_t *pool; /* of `config` */
    const aq_batch_config_t *config;
} aq_settings_t;

/* What a new reading means for a running worker. */
typedef enum {
    AQ_SETTINGS_IN_FORCE, /* locations may have changed; they hold from the next attempt on */
    AQ_SETTINGS_RESTART   /* the queue, the spool or the threads changed: that takes a new start */
} aq_settings_change_t;

/* Reads `file` for the first time. `*error`, in `p`, says what is wrong. */
apr_status_t aq_settings_load(aq_settings_t *settings, apr_pool_t *p, const char *file, const char **error);

/* Reads it again; what cannot be read is logged and leaves the last good one in force. */
aq_settings_change_t aq_settings_reload(aq_settings_t *settings, const char *file);

/* How many jobs may run at once, copied into `p`. Thread-safe. */
void aq_settings_limits(aq_settings_t *settings, apr_pool_t *p, aq_queue_limits_t *limits);

/* From how many bytes on the spool the oldest results go; 0: none goes before its time. Thread-safe. */
int64_t aq_settings_keep_bytes(aq_settings_t *settings);

/*
 * What deliveries to webhooks need, copied into `p`: the keys file (NULL: there is none), and the networks that may be sent
 * to, of aq_webhook_network_t. Thread-safe.
 */
void aq_settings_webhooks(aq_settings_t *settings, apr_pool_t *p, const char **key_file,
                          const apr_array_header_t **allowed);

/* A copy, in `p`, of the location of this name; NULL where there is none. Thread-safe. */
const aq_batch_location_t *aq_settings_location(aq_settings_t *settings, apr_pool_t *p, const char *name);

#endif
