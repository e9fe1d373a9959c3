/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch setup: what the batch locations mean together.
 *
 * aq_batch_setup runs when the whole configuration has been read, also under `apachectl configtest`, and has no effect
 * outside of it. It walks the <Location> sections of each server: sections with `APIQuotaBatch On` or `Prefer` get a name, which job
 * rows carry and the worker looks up, and the URL below which their batches are polled; the section with `SetHandler
 * apiquota-batches` is that URL. httpd merges sections anew for each request and our merger takes name and URL along.
 *
 * A virtual host also has the sections of the main server, before its own. A section belongs to the first server that
 * has it, the main one is the first of all.
 */
#include "httpd/phases.h"

#include "base/aq_file.h"
#include "base/aq_log.h"
#include "httpd/batch_runtime.h"
#include "httpd/url_sections.h"
#include "httpd/queue_setup.h"

#include <ap_expr.h>
#include <apr_cstr.h>
#include <apr_strings.h>
#include <http_core.h>
#include <string.h>
#include <unistd.h>
#include <unixd.h>
#include <util_cfgtree.h>

#define STATUS_HANDLER "apiquota-batches"
#define SPOOL_FOLDER_DEFAULT "batches/spool"

/* What httpd's core keeps for itself: the mark of a LimitRequestBody that was not set, and its default. */
#define REQUEST_LIMIT_UNSET ((apr_off_t)-1)
#define REQUEST_LIMIT_DEFAULT ((apr_off_t)1 << 30)

/*
 * 1 when the directive at this place of the configuration is SetHandler apiquota-batches. httpd keeps a SetHandler as an
 * expression, of which it tells where it was written, not what it says.
 */
static int is_status_handler(const ap_directive_t *node, const ap_expr_info_t *at)
{
    for (; node; node = node->next) {
        if (node->first_child && is_status_handler(node->first_child, at)) {
            return 1;
        }
        if (node->line_num == (int)at->line_number && ap_cstr_casecmp(node->directive, "SetHandler") == 0 &&
            strcmp(node->filename, at->filename) == 0) {
            const char *args = node->args;
            return strcmp(args, STATUS_HANDLER) == 0 || strcmp(args, "\"" STATUS_HANDLER "\"") == 0;
        }
    }
    return 0;
}

static int is_status_section(aq_url_section_t *section)
{
    const ap_expr_info_t *handler = aq_url_section_core(section)->expr_handler;

    return handler && handler->filename && is_status_handler(ap_conftree, handler);
}

/* Its path without a slash at the end, so that "/ID" can be put behind it. */
static const char *base_url_make(apr_pool_t *p, aq_url_section_t *section)
{
    const char *path = aq_url_section_core(section)->d;
    size_t size = strlen(path);

    while (size > 0 && path[size - 1] == '/') {
        size--;
    }
    return apr_pstrmemdup(p, path, size);
}

/* "host:port"; the port is left out where ServerName does not tell it and the server is no virtual host. */
static const char *server_name(apr_pool_t *p, const server_rec *s)
{
    unsigned port = s->port ? s->port : s->addrs ? s->addrs->host_port : 0;
    const char *host = s->server_hostname ? s->server_hostname : "default";

    return port ? apr_psprintf(p, "%s:%u", host, port) : host;
}

/* "host:port/path", with "#2" and so on where two sections have one path: the same after each restart. */
static const char *name_make(apr_pool_t *p, const server_rec *s, aq_url_section_t *section, apr_hash_t *taken)
{
    const char *first = apr_pstrcat(p, server_name(p, s), aq_url_section_core(section)->d, NULL);
    const char *name = first;

    for (int i = 2; apr_hash_get(taken, name, APR_HASH_KEY_STRING); i++) {
        name = apr_psprintf(p, "%s#%d", first, i);
    }
    return name;
}

/* The last section of the server that shows batches: its own before the main server's. NULL: none. */
static aq_url_section_t *status_section_find(const server_rec *s)
{
    const apr_array_header_t *sections = aq_url_sections_of(s);

    for (int i = sections->nelts - 1; i >= 0; i--) {
        aq_url_section_t *section = APR_ARRAY_IDX(sections, i, aq_url_section_t *);
        if (is_status_section(section)) {
            return section;
        }
    }
    return NULL;
}

/* The status URL of this section itself, for the handler. A name makes our merger keep it below an outer section. */
static int status_section_set(apr_pool_t *pconf, aq_url_section_t *section, const server_rec *s)
{
    const core_dir_config *core = aq_url_section_core(section);
    aq_location_config_t *ours = aq_url_section_ours(section);

    if (core->r || core->d_is_fnmatch) {
        AQ_LOG(AQ_LOG_CRIT, 1200, 0, "<Location %s>: SetHandler " STATUS_HANDLER " needs a plain path, no pattern",
               core->d);
        return 0;
    }
    if (!ours) {
        ours = aq_config_location_create(pconf, core->d);
        ap_set_module_config(section, &apiquota_module, ours);
    }
    if (!ours->batch.name) {
        ours->batch.name = apr_pstrcat(pconf, server_name(pconf, s), core->d, NULL);
        ours->batch.base_url = base_url_make(pconf, section);
    }
    return 1;
}

/* httpd's own bound on bodies: the section's, else the server's, else its default; 0 is none. */
static void request_limit_check(const server_rec *s, aq_url_section_t *section, int64_t max_body)
{
    apr_off_t limit = aq_url_section_core(section)->limit_req_body;

    if (limit == REQUEST_LIMIT_UNSET) {
        limit = aq_url_section_core(s->lookup_defaults)->limit_req_body;
    }
    if (limit == REQUEST_LIMIT_UNSET) {
        limit = REQUEST_LIMIT_DEFAULT;
    }
    if (limit > 0 && limit < max_body) {
        AQ_LOG(AQ_LOG_WARNING, 1201, 0,
               "<Location %s>: LimitRequestBody %" APR_OFF_T_FMT
               " refuses bodies that APIQuotaBatchMaxBody %" APR_INT64_T_FMT " allows",
               aq_url_section_core(section)->d, limit, max_body);
    }
}

static aq_batch_location_t *location_make(apr_pool_t *pconf, const aq_location_batch_t *batch)
{
    aq_batch_location_t *location = apr_pcalloc(pconf, sizeof(*location));

    *location = (aq_batch_location_t){
        .name = batch->name,
        .target = batch->target,
        .timeout_ms = (int)aq_config_value(batch->timeout_ms, batch->is_items > 0 ? AQ_BATCH_ITEMS_TIMEOUT_MS_DEFAULT
                                                                                  : AQ_BATCH_TIMEOUT_MS_DEFAULT),
        .max_attempts = (int)aq_config_value(batch->attempts, AQ_BATCH_ATTEMPTS_DEFAULT),
        .target_is_idempotent = (int)aq_config_value(batch->target_is_idempotent, 1),
        .retention_ms = aq_config_value(batch->retention_ms, AQ_BATCH_RETENTION_MS_DEFAULT),
        .result_retention_ms = aq_config_value(batch->result_retention_ms, 0),
        .max_wait_ms = aq_config_value(batch->max_wait_ms, AQ_BATCH_MAX_WAIT_MS_DEFAULT),
        .concurrency = (int)aq_config_value(batch->concurrency, 0),
        .concurrency_is_of_all = batch->concurrency_is_of_all,
        .items_parallel = (int)aq_config_value(batch->items_parallel, AQ_BATCH_ITEMS_PARALLEL_DEFAULT),
        .items_gap_us = aq_config_value(batch->items_gap_us, 0),
        .items_timeout_ms = (int)aq_config_value(batch->items_timeout_ms, AQ_BATCH_ITEM_TIMEOUT_MS_DEFAULT),
        .wants_webhook = (int)aq_config_value(batch->wants_webhook, 0),
    };
    return location;
}

/* APIQuotaBatchMaxItems or APIQuotaBatchItems. */
static int has_items_settings(const aq_location_batch_t *batch)
{
    return batch->max_items != AQ_UNSET || batch->items_parallel != AQ_UNSET || batch->items_gap_us != AQ_UNSET ||
           batch->items_timeout_ms != AQ_UNSET;
}

/* What items need, and what has no effect without them. 0: a configuration error, logged. */
static int items_check(const aq_location_batch_t *batch, const char *path)
{
    if (batch->is_items <= 0 && has_items_settings(batch)) {
        AQ_LOG(AQ_LOG_CRIT, 1256, 0,
               "<Location %s>: APIQuotaBatchMaxItems and APIQuotaBatchItems have no effect without APIQuotaBatchMode "
               "items in the same section",
               path);
        return 0;
    }
    if (batch->is_items > 0 && strncmp(batch->target, "exec:", 5) == 0) {
        AQ_LOG(AQ_LOG_CRIT, 1257, 0,
               "<Location %s>: APIQuotaBatchMode items needs a URL as APIQuotaBatchTarget: a program gets the whole "
               "body, and can read its lines itself",
               path);
        return 0;
    }
    return 1;
}

/* Names a section that takes batches and adds it to the worker's locations. 0: a configuration error, logged. */
static int batch_section_add(apr_pool_t *pconf, const server_rec *s, aq_url_section_t *section, const char *key_file,
                             apr_hash_t *locations)
{
    aq_location_batch_t *batch = &aq_url_section_ours(section)->batch;
    aq_url_section_t *status = status_section_find(s);
    const char *path = aq_url_section_core(section)->d;

    if (!batch->target) {
        AQ_LOG(AQ_LOG_CRIT, 1202, 0, "<Location %s>: APIQuotaBatch needs an APIQuotaBatchTarget in the same section",
               path);
        return 0;
    }
    if (!status) {
        AQ_LOG(AQ_LOG_CRIT, 1203, 0,
               "<Location %s>: APIQuotaBatch needs a <Location> with SetHandler " STATUS_HANDLER
               ", where its batches can be polled",
               path);
        return 0;
    }
    if (!items_check(batch, path)) {
        return 0;
    }
    batch->name = name_make(pconf, s, section, locations);
    batch->base_url = base_url_make(pconf, status);
    if (batch->wants_webhook == 1 && !key_file) {
        AQ_LOG(
            AQ_LOG_WARNING, 1260, 0,
            "<Location %s>: APIQuotaBatchWebhook On tells nobody without an APIQuotaKeyFile, which names the tenants' "
            "webhooks",
            path);
    }
    request_limit_check(s, section, aq_config_value(batch->max_body_bytes, AQ_BATCH_MAX_BODY_DEFAULT));
    aq_batch_location_t *location = location_make(pconf, batch);
    apr_hash_set(locations, location->name, APR_HASH_KEY_STRING, location);
    return 1;
}

/* The worker knows what the section says that switched batches on; elsewhere these directives would have no effect. */
static int is_idle(const aq_location_batch_t *batch)
{
    return batch->target || batch->max_body_bytes != AQ_UNSET || batch->timeout_ms != AQ_UNSET ||
           batch->attempts != AQ_UNSET || batch->retention_ms != AQ_UNSET || batch->target_is_idempotent != AQ_UNSET ||
           batch->max_wait_ms != AQ_UNSET || batch->concurrency != AQ_UNSET || batch->is_items != AQ_UNSET ||
           has_items_settings(batch) || batch->wants_webhook != AQ_UNSET || batch->forward;
}

static int section_setup(apr_pool_t *pconf, const server_rec *s, aq_url_section_t *section, const char *key_file,
                         apr_hash_t *locations)
{
    const aq_location_config_t *ours = aq_url_section_ours(section);

    if (ours && ours->batch.mode > AQ_BATCH_MODE_OFF) {
        return ours->batch.name || batch_section_add(pconf, s, section, key_file, locations);
    }
    if (ours && is_idle(&ours->batch)) {
        AQ_LOG(
            AQ_LOG_CRIT, 1204, 0,
            "<Location %s>: APIQuotaBatch... directives have no effect without APIQuotaBatch On or Prefer in the same "
            "section",
            aq_url_section_core(section)->d);
        return 0;
    }
    return !is_status_section(section) || status_section_set(pconf, section, s);
}

int aq_batch_setup(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    aq_server_config_t *server = aq_config_server(s);
    apr_hash_t *locations = apr_hash_make(pconf);

    (void)ptemp;
    for (; s; s = s->next) {
        const apr_array_header_t *sections = aq_url_sections_of(s);
        for (int i = 0; i < sections->nelts; i++) {
            if (!section_setup(pconf, s, APR_ARRAY_IDX(sections, i, aq_url_section_t *), server->key_file, locations)) {
                return HTTP_INTERNAL_SERVER_ERROR;
            }
        }
    }
    if (apr_hash_count(locations) == 0) {
        return OK;
    }
    if (server->spool_is_shared && !server->queue_redis) {
        AQ_LOG(AQ_LOG_CRIT, 1273, 0,
               "APIQuotaSpool ... shared needs an APIQuotaQueue that is shared as well, in Redis: the worker of each "
               "machine "
               "removes what its own queue does not name");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    server->batch = apr_pcalloc(pconf, sizeof(*server->batch));
    server->batch->spool_is_shared = server->spool_is_shared;
    server->batch->spool_max_bytes = aq_config_value(server->spool_max_bytes, AQ_SPOOL_MAX_DEFAULT);
    server->batch->spool_keep_percent = (int)aq_config_value(server->spool_keep_percent, AQ_SPOOL_KEEP_DEFAULT);
    server->batch->threads = (int)aq_config_value(server->worker_threads, AQ_WORKER_THREADS_DEFAULT);
    server->batch->key_file = server->key_file;
    server->batch->webhook_allow = server->webhook_allow;
    server->batch->locations = locations;
    return OK;
}

/* What lies in the state folder belongs to the user of children and worker: root neither opens nor writes it. */
static apr_status_t folders_make(const aq_server_config_t *server, apr_pool_t *ptemp, const char **error)
{
    int is_root = geteuid() == 0;
    uid_t uid = is_root ? ap_unixd_config.user_id : (uid_t)-1;
    gid_t gid = is_root ? ap_unixd_config.group_id : (gid_t)-1;
    apr_status_t rv = APR_SUCCESS;

    if (!server->queue_file || server->queue_redis || !server->spool_dir) {
        const char *batches = apr_pstrcat(ptemp, server->state_dir, "/batches", NULL);
        rv = aq_file_folder_make(batches, 0700, uid, gid);
        if (rv != APR_SUCCESS) {
            *error =
                apr_psprintf(ptemp, "APIQuotaStateDir: %s must be a folder that only its owner can write to", batches);
            return rv;
        }
    }
    rv = aq_spool_prepare(server->batch->spool_folder, uid, gid, ptemp, error);
    if (rv != APR_SUCCESS) {
        *error = apr_psprintf(ptemp, "APIQuotaSpool: %s", *error);
    }
    return rv;
}

int aq_batch_folders_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s, int is_restart)
{
    aq_server_config_t *server = aq_config_server(s);
    const char *error = NULL;

    if (!server->batch) {
        return OK;
    }
    server->batch->spool_folder =
        server->spool_dir ? server->spool_dir : apr_pstrcat(pconf, server->state_dir, "/" SPOOL_FOLDER_DEFAULT, NULL);
    apr_status_t rv = folders_make(server, ptemp, &error);
    if (rv == APR_SUCCESS) {
        rv = aq_queue_setup(server, pconf, ptemp, &error);
    }
    if (rv == APR_SUCCESS) {
        return OK;
    }
    if (is_restart) {
        AQ_LOG(AQ_LOG_ERROR, 1272, rv, "%s; batches are answered 503 until a restart finds it in order", error);
        server->runtime->are_batches_refused = 1;
        return OK;
    }
    AQ_LOG(AQ_LOG_CRIT, 1205, rv, "%s", error);
    return HTTP_INTERNAL_SERVER_ERROR;
}
