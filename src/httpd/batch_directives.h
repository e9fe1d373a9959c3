/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch directives: what a batch location says.
 *
 * AQ_BATCH_DIRECTIVES holds the rows for directives.c, whose table is the one that httpd sees. Each setter returns NULL,
 * or a sentence that names the directive, the value and what is allowed.
 */
#ifndef AQ_BATCH_DIRECTIVES_H
#define AQ_BATCH_DIRECTIVES_H

#include "httpd/config.h"

/* Location settings: in <Location> and <LocationMatch>; `location` is an aq_location_config_t. */
const char *aq_batch_directive_batch(cmd_parms *cmd, void *location, const char *flag);
const char *aq_batch_directive_target(cmd_parms *cmd, void *location, const char *url);
const char *aq_batch_directive_max_body(cmd_parms *cmd, void *location, const char *size);
const char *aq_batch_directive_timeout(cmd_parms *cmd, void *location, const char *duration);
const char *aq_batch_directive_attempts(cmd_parms *cmd, void *location, const char *count);
const char *aq_batch_directive_retention(cmd_parms *cmd, void *location, const char *duration, const char *option);
const char *aq_batch_directive_max_wait(cmd_parms *cmd, void *location, const char *duration);
const char *aq_batch_directive_concurrency(cmd_parms *cmd, void *location, const char *count, const char *per);
const char *aq_batch_directive_target_idempotent(cmd_parms *cmd, void *location, const char *flag);
const char *aq_batch_directive_mode(cmd_parms *cmd, void *location, const char *mode);
const char *aq_batch_directive_max_items(cmd_parms *cmd, void *location, const char *count);
const char *aq_batch_directive_items(cmd_parms *cmd, void *location, const char *option);
const char *aq_batch_directive_forward(cmd_parms *cmd, void *location, const char *header);
const char *aq_batch_directive_webhook(cmd_parms *cmd, void *location, const char *flag);

#define AQ_BATCH_DIRECTIVES                                                                                            \
    AP_INIT_TAKE1("APIQuotaBatch", aq_batch_directive_batch, NULL, ACCESS_CONF,                                        \
                  "whether uploads to this location become batches: On, Off or Prefer"),                               \
        AP_INIT_TAKE1("APIQuotaBatchTarget", aq_batch_directive_target, NULL, ACCESS_CONF,                             \
                      "the URL that the worker sends a batch to, or exec:PATH, the program that it runs"),             \
        AP_INIT_TAKE1("APIQuotaBatchMaxBody", aq_batch_directive_max_body, NULL, ACCESS_CONF,                          \
                      "the largest body that is taken, 50m unless set"),                                               \
        AP_INIT_TAKE1("APIQuotaBatchTimeout", aq_batch_directive_timeout, NULL, ACCESS_CONF,                           \
                      "how long one attempt may take, 5min unless set"),                                               \
        AP_INIT_TAKE1("APIQuotaBatchAttempts", aq_batch_directive_attempts, NULL, ACCESS_CONF,                         \
                      "how often a batch is tried, 5 times unless set"),                                               \
        AP_INIT_TAKE12("APIQuotaBatchRetention", aq_batch_directive_retention, NULL, ACCESS_CONF,                      \
                       "how long a batch, and its result, are kept once it is over: 7d [results=24h]"),                \
        AP_INIT_TAKE1("APIQuotaBatchMaxWait", aq_batch_directive_max_wait, NULL, ACCESS_CONF,                          \
                      "how long a batch may be queued before it fails, 24h unless set"),                               \
        AP_INIT_TAKE12("APIQuotaBatchConcurrency", aq_batch_directive_concurrency, NULL, ACCESS_CONF,                  \
                       "how many batches of this location run at once: N [per=tenant|endpoint]"),                      \
        AP_INIT_TAKE1("APIQuotaBatchTargetIdempotent", aq_batch_directive_target_idempotent, NULL, ACCESS_CONF,        \
                      "whether the target may be asked again when the outcome is unknown: On (default) or Off"),       \
        AP_INIT_TAKE1("APIQuotaBatchMode", aq_batch_directive_mode, NULL, ACCESS_CONF,                                 \
                      "whether the body is one request, or each of its lines is one: request or items"),               \
        AP_INIT_TAKE1("APIQuotaBatchMaxItems", aq_batch_directive_max_items, NULL, ACCESS_CONF,                        \
                      "how many lines a batch of items may have, 100000 unless set"),                                  \
        AP_INIT_ITERATE("APIQuotaBatchItems", aq_batch_directive_items, NULL, ACCESS_CONF,                             \
                        "how the items of a batch are sent: [parallel=4] [rate=N/s] [timeout=30s]"),                   \
        AP_INIT_ITERATE("APIQuotaBatchForward", aq_batch_directive_forward, NULL, ACCESS_CONF,                         \
                        "further request headers that the target gets"),                                               \
        AP_INIT_TAKE1("APIQuotaBatchWebhook", aq_batch_directive_webhook, NULL, ACCESS_CONF,                           \
                      "whether the end of a batch is told to its tenant's webhook: On or Off (default)")

/*
 * 1 for a header that is never kept with a batch nor sent to its target, whatever APIQuotaBatchForward says:
 * credentials, those that belong to one connection or one hop, and our own.
 */
int aq_batch_header_is_private(const char *name);

#endif
