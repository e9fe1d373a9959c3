/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The phases of a request, as mod_apiquota.c hangs them into httpd: identify -> charge -> (handler) -> settle.
 */
#ifndef AQ_PHASES_H
#define AQ_PHASES_H

#include "httpd/request.h"

/* lifecycle.c: opening what the configuration names. */
int aq_lifecycle_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
int aq_lifecycle_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
int aq_lifecycle_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
void aq_lifecycle_child_init(apr_pool_t *pchild, server_rec *s);

/* identify.c: who asks. */
int aq_identify_check_authn(request_rec *r);
int aq_identify_force_authn(request_rec *r);
int aq_identify_note_auth_failure(request_rec *r, const char *auth_type);
/* Looks the key up unless that was done. OK, or the status of the refusal (400, 401) with its problem noted. */
int aq_identify(request_rec *r, aq_request_t *request);

/*
 * early_phase.c: limits that count before anybody is known. Registers their hook, while the configuration is read: httpd
 * sorts hooks after that, and where no such limit stands, no request pays for it.
 */
void aq_early_phase_register(void);

/* environment.c: sets APIQUOTA_* for logs and backends, where the location's APIQuotaEnv is On. */
void aq_environment_set(request_rec *r, const aq_request_t *request, const aq_location_config_t *location);

/* authz.c: Require api-plan, api-scope, api-tenant. */
void aq_authz_register(apr_pool_t *p);

/* charge_phase.c: ensure_charged, from the hooks that httpd offers first. Idempotent. */
int aq_charge_phase_check_authz(request_rec *r);
int aq_charge_phase_fixups(request_rec *r);
int aq_charge_phase_handler(request_rec *r);

/* settle_phase.c: the output filter that settles and writes the headers. */
void aq_settle_phase_register(void);
void aq_settle_phase_insert(request_rec *r);
/* 1 where the brigade holds an error bucket: it is not a response yet, httpd will make one of it. */
int aq_settle_phase_is_error(const apr_bucket_brigade *brigade);
/* Hook insert_filter: the above, and the filters that a location's options ask for. */
void aq_filters_insert(request_rec *r);

/* batch_handler.c: takes uploads, shows batches. DECLINED where the location has neither. */
int aq_batch_handler(request_rec *r);
/*
 * Hooks translate_name and map_to_storage: nothing below the status URL is a file. Registered by the first APIQuotaBatch
 * that is read (httpd sorts its hooks afterwards), so that servers without batches do not pay for them.
 */
void aq_batch_hooks_register(void);
/* batch_setup.c: names the batch locations and finds their status URL. OK, or a configuration error, logged. */
int aq_batch_setup(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/*
 * In post_config: the files of queue and spool, and their folders, which belong to httpd's user. OK, or logged. Folders that
 * cannot be used stop a first start; at a restart batches are refused, and everything else is served on.
 */
int aq_batch_folders_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s, int is_restart);
/* Makes a child ready to open spool and queue, as its user, when the first request needs them. */
void aq_batch_child_init(apr_pool_t *pchild, server_rec *s);

/* worker_process.c: starts, watches and restarts apiquota-worker from httpd's parent. */
int aq_worker_process_start(apr_pool_t *pconf, server_rec *s);
/* Hook monitor, every ten seconds in the parent: starts a worker that could not be started when it was due. */
int aq_worker_process_monitor(apr_pool_t *p, server_rec *s);

#endif
