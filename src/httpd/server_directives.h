/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives of the server: in no section, in no virtual host, since all hosts share one state folder, one store, one set
 * of plans and keys.
 *
 * AQ_SERVER_DIRECTIVES and AQ_QUEUE_DIRECTIVES hold the rows for directives.c, whose table is the one that httpd sees. Each
 * setter returns NULL, or a sentence that names the directive, the value and what is allowed.
 */
#ifndef AQ_SERVER_DIRECTIVES_H
#define AQ_SERVER_DIRECTIVES_H

#include "httpd/config.h"

/* server_directives.c: state folder, counters, keys. */
const char *aq_server_directive_state_dir(cmd_parms *cmd, void *unused, const char *path);
const char *aq_server_directive_store(cmd_parms *cmd, void *unused, int count, char *const words[]);
const char *aq_server_directive_store_failure(cmd_parms *cmd, void *unused, const char *policy);
const char *aq_server_directive_key_file(cmd_parms *cmd, void *unused, const char *path);
const char *aq_server_directive_key_store(cmd_parms *cmd, void *unused, int count, char *const words[]);
const char *aq_server_directive_ipv6_prefix(cmd_parms *cmd, void *unused, const char *text);
const char *aq_server_directive_daily_use(cmd_parms *cmd, void *unused, const char *text);

/* queue_directives.c: of batches. */
const char *aq_server_directive_queue(cmd_parms *cmd, void *unused, int count, char *const words[]);
const char *aq_server_directive_spool(cmd_parms *cmd, void *unused, int count, char *const words[]);
const char *aq_server_directive_worker(cmd_parms *cmd, void *unused, const char *flag, const char *option);
const char *aq_server_directive_worker_program(cmd_parms *cmd, void *unused, const char *path);
const char *aq_server_directive_webhook_allow(cmd_parms *cmd, void *unused, const char *network);

#define AQ_SERVER_DIRECTIVES                                                                                           \
    AP_INIT_TAKE1("APIQuotaStateDir", aq_server_directive_state_dir, NULL, RSRC_CONF,                                  \
                  "the folder that keeps counters and batches"),                                                       \
        AP_INIT_TAKE_ARGV("APIQuotaStore", aq_server_directive_store, NULL, RSRC_CONF,                                 \
                          "where counters live: shm[:FILE] [size=64m], or redis://HOST[:PORT][/DB] [option ...]"),     \
        AP_INIT_TAKE1("APIQuotaStoreFailure", aq_server_directive_store_failure, NULL, RSRC_CONF,                      \
                      "what a request gets that cannot be counted: local, allow or deny"),                             \
        AP_INIT_TAKE1("APIQuotaKeyFile", aq_server_directive_key_file, NULL, RSRC_CONF,                                \
                      "the JSON file of keys and tenants"),                                                            \
        AP_INIT_TAKE_ARGV(                                                                                             \
            "APIQuotaKeyStore", aq_server_directive_key_store, NULL, RSRC_CONF,                                        \
            "where keys and tenants live in place of a file: redis [fresh=500ms] [stale=1h], or an address"),          \
        AP_INIT_TAKE1("APIQuotaIPv6Prefix", aq_server_directive_ipv6_prefix, NULL, RSRC_CONF,                          \
                      "how many bits of an IPv6 address make one caller"),                                             \
        AP_INIT_TAKE1("APIQuotaDailyUse", aq_server_directive_daily_use, NULL, RSRC_CONF,                              \
                      "whether what each tenant uses is kept by day: On or Off")

#define AQ_QUEUE_DIRECTIVES                                                                                            \
    AP_INIT_TAKE_ARGV(                                                                                                 \
        "APIQuotaQueue", aq_server_directive_queue, NULL, RSRC_CONF,                                                   \
        "where jobs are kept: sqlite[:FILE] [tenant-max=100000], or redis://HOST[:PORT][/DB] [option ...]"),           \
        AP_INIT_TAKE_ARGV("APIQuotaSpool", aq_server_directive_spool, NULL, RSRC_CONF,                                 \
                          "where the bodies of batches lie: DIR [max=10g] [tenant-max=1g] [keep=90%] [shared]"),       \
        AP_INIT_TAKE12("APIQuotaWorker", aq_server_directive_worker, NULL, RSRC_CONF,                                  \
                       "whether httpd starts and watches apiquota-worker: on|off [threads=4]"),                        \
        AP_INIT_TAKE1("APIQuotaWorkerProgram", aq_server_directive_worker_program, NULL, RSRC_CONF,                    \
                      "the path of apiquota-worker"),                                                                  \
        AP_INIT_ITERATE("APIQuotaWebhookAllow", aq_server_directive_webhook_allow, NULL, RSRC_CONF,                    \
                        "networks that webhooks may have their address in though they are not public")

#endif
