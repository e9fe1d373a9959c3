/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receivers: the webhooks of the keys file, as it is now.
 *
 * The file is looked at when a message is due, and read again where it has changed: a server without messages never reads
 * it. One that cannot be read leaves what was read last in force. One thread at a time.
 */
#ifndef AQ_RECEIVERS_H
#define AQ_RECEIVERS_H

#include "base/aq_file.h"
#include "identity/tenant_webhook.h"

typedef struct {
    apr_pool_t *pool; /* of what was read last; NULL: nothing yet */
    apr_pool_t *parent;
    const char *path; /* of the file that was read last */
    apr_hash_t *webhooks;
    aq_file_version_t version; /* of what was tried last */
    int is_tried;              /* 0: to be read whatever its version */
} aq_receivers_t;

/* Nothing is read yet. All goes with `p`. */
void aq_receivers_init(aq_receivers_t *receivers, apr_pool_t *p);

/*
 * The webhook of a tenant by the keys file at `path` (NULL: there is no such file), which holds until the next call; NULL:
 * it has none. An error, which is logged once a version of the file, where the file was never read.
 */
apr_status_t aq_receivers_find(aq_receivers_t *receivers, const char *path, const char *tenant, aq_time_ms_t now_ms,
                               const aq_tenant_webhook_t **webhook);

#endif
