/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lifecycle: checks the configuration as a whole, opens what it names, and keeps it fresh in each child.
 *
 *   check_config   also under `apachectl configtest`: what no single directive can know. Has no effect.
 *   post_config    in the parent, at a start and at every restart: state folder, counter store, keys, runtime.json, the
 *                  worker. What is opened here is inherited by the children. Each child gets a timer of mod_watchdog
 *                  that reads the keys file again when it changed.
 *   child_init     in each child: what only its user may open.
 *
 * A start with an unreadable keys file is refused. A restart is not, since httpd would end: the parent keeps a copy of
 * the last good file below the state folder and goes on with that.
 */
#include "httpd/phases.h"

#include "base/aq_file.h"
#include "base/aq_log.h"
#include "httpd/cache.h"
#include "httpd/daily.h"
#include "httpd/deadline.h"
#include "httpd/httpd_log.h"
#include "httpd/key_store.h"
#include "httpd/limits_check.h"
#include "httpd/pages.h"
#include "httpd/rules.h"
#include "httpd/section_report.h"
#include "httpd/status_top.h"
#include "httpd/queue_setup.h"
#include "httpd/store_setup.h"
#include "httpd/tally.h"
#include "httpd/watchdog.h"
#include "limit/runtime_sections.h"

#include <apr_strings.h>
#include <http_core.h>
#include <unixd.h>

#define RETAINED_KEY "mod_apiquota"
#define STATE_DIR_DEFAULT "/var/lib/apiquota"
#define LAST_GOOD_FILE "keys.last-good.json"
#define REFRESH_MS 500
#define WATCHDOG_NAME "_apiquota_"
#define STORE_WATCHDOG_NAME "_apiquota_store_"
#define KEYS_WATCHDOG_NAME "_apiquota_keys_"

/* What outlives a restart. The module itself is loaded anew, so it holds no pointers into it. */
typedef struct {
    int generation; /* starts and restarts that succeeded */
} retained_t;

static retained_t *retained(void)
{
    retained_t *kept = ap_retained_data_get(RETAINED_KEY);

    return kept ? kept : ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
}

int aq_lifecycle_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    aq_httpd_log_install();
    return OK;
}

/* The first section with quota, for messages; NULL where there is none. */
static const char *quota_section_find(const aq_server_config_t *server, server_rec *s)
{
    for (int i = 0; i < server->sections->nelts; i++) {
        const aq_location_config_t *location = APR_ARRAY_IDX(server->sections, i, aq_location_config_t *);
        if (location->quota > AQ_QUOTA_OFF) {
            return location->section;
        }
    }
    for (; s; s = s->next) {
        const aq_location_config_t *location = ap_get_module_config(s->lookup_defaults, &apiquota_module);
        if (location && location->quota > AQ_QUOTA_OFF) {
            return "(server)";
        }
    }
    return NULL;
}

/* 0 for a module that is loaded and not configured: it then opens nothing. */
static int is_used(const aq_server_config_t *server, server_rec *s)
{
    return server->key_file || server->key_store || quota_section_find(server, s);
}

/* Loads the keys file to see whether it can be loaded; the set is thrown away. */
static int key_file_check(const aq_server_config_t *server, apr_pool_t *ptemp)
{
    const aq_hash_secret_t no_secret = {{0}};
    aq_keys_t *keys;
    const char *error = "no memory";
    apr_status_t rv;

    aq_limits_identify(server, &no_secret, ptemp);
    rv = aq_keys_create(ptemp, server->key_file, server->plans, &no_secret, &keys);
    if (rv == APR_SUCCESS) {
        rv = aq_keys_load(keys, ptemp, aq_clock_now_ms(), NULL, &error);
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 1010, rv, "APIQuotaKeyFile: %s", error);
        return 0;
    }
    return 1;
}

int aq_lifecycle_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    aq_server_config_t *server = aq_config_server(s);
    const char *section = quota_section_find(server, s);

    (void)plog;
    aq_config_server_default_mark(s);
    if (!aq_daily_plans_extend(server, pconf, ptemp) || !aq_limits_check(server, ptemp)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (aq_rules_check(server, s) != OK || aq_pages_check() != OK || (section && aq_cache_check(server, ptemp) != OK)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (section && !server->key_file && !server->key_store && !server->knows_others) {
        AQ_LOG(AQ_LOG_CRIT, 1011, 0,
               "APIQuota is On in %s, but there is no APIQuotaKeyFile, nor APIQuotaKeyStore, to know callers by",
               section);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!aq_key_store_check(server)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    /* A start reads the file in post_config. */
    if (server->key_file && ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST && !key_file_check(server, ptemp)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return aq_batch_setup(pconf, ptemp, s);
}

static int state_dir_prepare(aq_server_config_t *server)
{
    apr_status_t rv;

    if (!server->state_dir) {
        server->state_dir = STATE_DIR_DEFAULT;
    }
    rv = aq_file_folder_make(server->state_dir, 0755, (uid_t)-1, (gid_t)-1);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 1012, rv,
               "APIQuotaStateDir %s: cannot be used; it must be a folder that only its owner can write to, and its "
               "parent must exist",
               server->state_dir);
    }
    return rv == APR_SUCCESS;
}

static apr_status_t last_good_keep(const char *from, const char *to, apr_pool_t *ptemp)
{
    json_t *json;
    const char *error;
    apr_status_t rv = aq_json_file_load(ptemp, from, AQ_JSON_FILE_MAX_BYTES, &json, &error);

    if (rv == APR_SUCCESS) {
        rv = aq_json_file_replace(to, json, 0600, ptemp);
        json_decref(json);
    }
    return rv;
}

/* The keys of the file, or at a restart those of the last good one; the children look at the file itself again. */
static int keys_open(aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    const char *last_good = apr_pstrcat(ptemp, server->state_dir, "/" LAST_GOOD_FILE, NULL);
    const aq_hash_secret_t *secret = &server->runtime->store->secret;
    aq_time_ms_t now_ms = aq_clock_now_ms();
    const char *error = "no memory";
    apr_status_t rv;

    if (!server->key_file) {
        return 1;
    }
    rv = aq_keys_create(pconf, server->key_file, server->plans, secret, &server->runtime->keys);

    if (rv == APR_SUCCESS) {
        rv = aq_keys_load(server->runtime->keys, ptemp, now_ms, NULL, &error);
    }
    if (rv == APR_SUCCESS) {
        rv = last_good_keep(server->key_file, last_good, ptemp);
        if (rv != APR_SUCCESS) {
            AQ_LOG(AQ_LOG_WARNING, 1014, rv, "%s: the copy of the keys file cannot be written", last_good);
        }
        return 1;
    }
    AQ_LOG(retained()->generation == 0 ? AQ_LOG_CRIT : AQ_LOG_ERROR, 1015, rv, "APIQuotaKeyFile: %s", error);
    if (retained()->generation == 0) {
        return 0;
    }
    rv = aq_keys_load_copy(server->runtime->keys, last_good, ptemp, now_ms, &error);
    AQ_LOG(rv == APR_SUCCESS ? AQ_LOG_WARNING : AQ_LOG_CRIT, 1016, rv, "the last good keys, %s, %s", last_good,
           rv == APR_SUCCESS ? "stay in force" : error);
    return rv == APR_SUCCESS;
}

static json_t *runtime_json(const aq_server_config_t *server, const server_rec *s, apr_pool_t *ptemp)
{
    json_t *json = json_pack("{s:o, s:s*, s:o, s:o, s:{s:i, s:i}}", "plans", aq_runtime_plans_write(server->plans),
                             "key_file", server->key_file, AQ_RUNTIME_SECTIONS, aq_section_report(s, ptemp), "store",
                             aq_store_json(server, ptemp), "user", "uid", (int)ap_unixd_config.user_id, "gid",
                             (int)ap_unixd_config.group_id);
    if (json && server->key_store) {
        (void)json_object_set_new(json, "key_store", aq_key_store_json(server, ptemp));
    }
    if (json && server->batch) {
        (void)json_object_set_new(json, "worker", aq_batch_config_json(server->batch, ptemp));
        (void)json_object_set_new(json, "queue", aq_queue_json(server));
        (void)json_object_set_new(json, "spool", json_string(server->batch->spool_folder));
    }
    return json;
}

/* For apiquotactl and the worker, which runs as httpd's user: readable for its group, writable for nobody else. */
static int runtime_file_write(const aq_server_config_t *server, const server_rec *s, apr_pool_t *ptemp)
{
    const char *path = apr_pstrcat(ptemp, server->state_dir, "/" AQ_RUNTIME_FILE, NULL);
    json_t *json = runtime_json(server, s, ptemp);
    /* The worker may read it at any moment, also the one that is starting while httpd restarts. */
    const gid_t group = geteuid() == 0 ? ap_unixd_config.group_id : (gid_t)-1;
    apr_status_t rv = json ? aq_json_file_replace_as(path, json, 0640, group, ptemp) : APR_ENOMEM;

    json_decref(json);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 1017, rv, "%s cannot be written", path);
    }
    return rv == APR_SUCCESS;
}

/* Twice a second in each child. */
static apr_status_t refresh(int state, void *data, apr_pool_t *pool)
{
    const aq_runtime_t *runtime = data;
    const aq_time_ms_t now_ms = aq_clock_now_ms();
    int is_changed = 0;

    if (state != AP_WATCHDOG_STATE_RUNNING) {
        return APR_SUCCESS;
    }
    aq_metrics_tick(runtime->tally->metrics, now_ms);
    if (runtime->keys) {
        /* Failures are logged by the keys themselves; the last good set stays. */
        (void)aq_keys_refresh(runtime->keys, pool, now_ms, &is_changed);
    }
    aq_status_top_tick(runtime, now_ms);
    return APR_SUCCESS;
}

/* 0 where the server cannot do without what failed. */
static int timers_start(aq_runtime_t *runtime, apr_pool_t *pconf)
{
    apr_status_t rv = aq_watchdog_add(pconf, WATCHDOG_NAME, apr_time_from_msec(REFRESH_MS), runtime, refresh);

    if (rv == APR_SUCCESS && runtime->redis) {
        rv = aq_watchdog_add(pconf, STORE_WATCHDOG_NAME, apr_time_from_msec(AQ_STORE_TEND_MS), runtime, aq_store_tend);
    }
    if (rv == APR_SUCCESS && runtime->key_link) {
        rv = aq_watchdog_add(pconf, KEYS_WATCHDOG_NAME, apr_time_from_msec(AQ_STORE_TEND_MS), runtime,
                             aq_key_store_tend);
    }
    if (rv != APR_SUCCESS && (runtime->redis || runtime->key_link)) {
        AQ_LOG(AQ_LOG_CRIT, 1621, rv, "Redis needs mod_watchdog, which cannot be used");
        return 0;
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 1018, rv,
               "mod_watchdog cannot be used: the keys file is read again at a restart only, and the status page knows "
               "no past");
    }
    return 1;
}

int aq_lifecycle_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    aq_server_config_t *server = aq_config_server(s);

    (void)plog;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG || !is_used(server, s)) {
        return OK;
    }
    server->runtime = apr_pcalloc(pconf, sizeof(*server->runtime));
    if (!state_dir_prepare(server) || !aq_store_setup(server, pconf, retained()->generation == 0) ||
        aq_batch_folders_prepare(pconf, ptemp, s, retained()->generation > 0) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    aq_limits_identify(server, &server->runtime->store->secret, ptemp);
    aq_tally_open(server, pconf, ptemp, retained()->generation == 0);
    if (!keys_open(server, pconf, ptemp) || !aq_key_store_open(server, pconf) ||
        !runtime_file_write(server, s, ptemp) || aq_worker_process_start(pconf, s) != OK ||
        !timers_start(server->runtime, pconf)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    aq_daily_keep(server, ptemp);
    aq_deadline_post_config(pconf, s);
    retained()->generation++;
    return OK;
}

void aq_lifecycle_child_init(apr_pool_t *pchild, server_rec *s)
{
    if (aq_config_server(s)->runtime) {
        aq_tally_child_init(aq_config_server(s));
        aq_batch_child_init(pchild, s);
    }
}
