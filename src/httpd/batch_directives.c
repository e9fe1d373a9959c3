/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch directives: thin setters over pure parsers. What sections mean together is checked by batch_setup.c, which
 * sees them all.
 */
#include "httpd/batch_directives.h"

#include "base/aq_units.h"
#include "batch/webhook_address.h"
#include "httpd/phases.h"
#include "limit/rate.h"

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <string.h>

#define WORKER_THREADS_MAX 256
#define CONCURRENCY_MAX 10000
#define QUEUED_MAX 1000000000
#define TENANT_MAX "tenant-max="
#define KEEP "keep="
#define SPOOL_FORM "DIR [max=SIZE] [tenant-max=SIZE] [keep=PERCENT%] [shared]"
#define RESULTS "results="
#define EXEC "exec:"
#define ATTEMPTS_MAX 100
#define TIMEOUT_MAX_MS (INT64_C(24) * 3600 * 1000)
#define ITEMS_MAX 100000000
#define RETENTION_MIN_MS INT64_C(1000)
#define RETENTION_MAX_MS (INT64_C(3660) * 86400 * 1000)

#define LOCATION_ONLY (NOT_IN_DIRECTORY | NOT_IN_FILES | NOT_IN_LIMIT | NOT_IN_PROXY | NOT_IN_HTACCESS)

static const char *not_allowed(const cmd_parms *cmd, const char *value, const char *allowed)
{
    return apr_psprintf(cmd->pool, "%s: \"%s\" is not allowed here; allowed: %s", cmd->cmd->name, value, allowed);
}

static const char *flag_parse(const cmd_parms *cmd, const char *text, int *flag)
{
    *flag = ap_cstr_casecmp(text, "on") == 0;
    if (!*flag && ap_cstr_casecmp(text, "off") != 0) {
        return not_allowed(cmd, text, "On, Off");
    }
    return NULL;
}

static const char *count_parse(const cmd_parms *cmd, const char *text, int most, int *count)
{
    char *end = NULL;
    apr_int64_t value = apr_isdigit(*text) ? apr_strtoi64(text, &end, 10) : 0;

    if (!end || *end || value < 1 || value > most) {
        return not_allowed(cmd, text, apr_psprintf(cmd->pool, "a whole number from 1 to %d", most));
    }
    *count = (int)value;
    return NULL;
}

static const char *duration_parse(const cmd_parms *cmd, const char *text, int64_t least_ms, int64_t most_ms,
                                  int64_t *ms)
{
    int64_t value = 0;
    apr_status_t rv = aq_units_duration_parse(text, &value);

    if (rv == APR_EGENERAL) {
        return not_allowed(cmd, text, AQ_UNITS_DURATION_FORM);
    }
    if (rv != APR_SUCCESS || value < least_ms || value > most_ms) {
        return not_allowed(
            cmd, text,
            apr_psprintf(cmd->pool, "%" APR_INT64_T_FMT "ms to %" APR_INT64_T_FMT "h", least_ms, most_ms / 3600000));
    }
    *ms = value;
    return NULL;
}

static const char *size_parse(const cmd_parms *cmd, const char *text, int64_t *bytes)
{
    int64_t value = 0;

    if (aq_units_size_parse(text, &value) != APR_SUCCESS) {
        return not_allowed(cmd, text, AQ_UNITS_SIZE_FORM);
    }
    *bytes = value;
    return NULL;
}

/* A path below ServerRoot unless absolute; NULL where it makes no sense as one. */
static const char *path_resolve(const cmd_parms *cmd, const char *text)
{
    return *text ? ap_server_root_relative(cmd->pool, text) : NULL;
}

/* What is not allowed is not repeated: it may hold a password. */
static const char *queue_in_redis(cmd_parms *cmd, int count, char *const words[])
{
    aq_server_config_t *config = aq_config_server(cmd->server);
    const char *error;

    if (aq_redis_queue_setting_parse(cmd->pool, (const char *const *)words, count, &config->queue_redis, &error) !=
        APR_SUCCESS) {
        return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, error);
    }
    if (config->queue_redis->tenant_max > 0) {
        config->queue_tenant_max = config->queue_redis->tenant_max;
    }
    return NULL;
}

static const char *queue_in_sqlite(cmd_parms *cmd, const char *text, const char *option)
{
    aq_server_config_t *config = aq_config_server(cmd->server);
    const char *error = NULL;

    config->queue_redis = NULL;
    if (option && strncmp(option, TENANT_MAX, strlen(TENANT_MAX)) != 0) {
        return not_allowed(cmd, option, "sqlite[:FILE] [tenant-max=N]");
    }
    if (option) {
        int most = 0;
        error = count_parse(cmd, option + strlen(TENANT_MAX), QUEUED_MAX, &most);
        config->queue_tenant_max = most;
    }
    if (error) {
        return error;
    }
    if (strcmp(text, "sqlite") == 0) {
        config->queue_file = NULL;
        return NULL;
    }
    const char *file = strncmp(text, "sqlite:", 7) == 0 ? path_resolve(cmd, text + 7) : NULL;
    if (!file) {
        return not_allowed(cmd, text, "sqlite, sqlite:FILE, redis://HOST[:PORT][/DB], rediss://…, unix:PATH");
    }
    config->queue_file = file;
    return NULL;
}

const char *aq_batch_directive_queue(cmd_parms *cmd, void *unused, int count, char *const words[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    if (error) {
        return error;
    }
    if (count > 0 && aq_redis_address_is(words[0])) {
        return queue_in_redis(cmd, count, words);
    }
    if (count < 1 || count > 2) {
        return not_allowed(cmd, count > 0 ? words[count - 1] : "",
                           "sqlite[:FILE] [tenant-max=N], or the address of a Redis");
    }
    return queue_in_sqlite(cmd, words[0], count > 1 ? words[1] : NULL);
}

/* "90%": a whole number of per cent, 1 to 100. */
static const char *percent_parse(const cmd_parms *cmd, const char *text, int *percent)
{
    char *end = NULL;
    apr_int64_t value = apr_isdigit(*text) ? apr_strtoi64(text, &end, 10) : 0;

    if (!end || strcmp(end, "%") != 0 || value < 1 || value > 100) {
        return not_allowed(cmd, text, "1% to 100%");
    }
    *percent = (int)value;
    return NULL;
}

/* One of the options of APIQuotaSpool. */
static const char *spool_option_read(const cmd_parms *cmd, aq_server_config_t *config, const char *option)
{
    if (strcmp(option, "shared") == 0) {
        config->spool_is_shared = 1;
        return NULL;
    }
    if (strncmp(option, "max=", 4) == 0) {
        return size_parse(cmd, option + 4, &config->spool_max_bytes);
    }
    if (strncmp(option, TENANT_MAX, strlen(TENANT_MAX)) == 0) {
        return size_parse(cmd, option + strlen(TENANT_MAX), &config->spool_tenant_max_bytes);
    }
    if (strncmp(option, KEEP, strlen(KEEP)) == 0) {
        return percent_parse(cmd, option + strlen(KEEP), &config->spool_keep_percent);
    }
    return not_allowed(cmd, option, SPOOL_FORM);
}

const char *aq_batch_directive_spool(cmd_parms *cmd, void *unused, int count, char *const words[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);

    (void)unused;
    if (error) {
        return error;
    }
    if (count < 1 || count > 5) {
        return not_allowed(cmd, count > 0 ? words[count - 1] : "", SPOOL_FORM);
    }
    config->spool_dir = path_resolve(cmd, words[0]);
    if (!config->spool_dir) {
        return not_allowed(cmd, words[0], "the path of a folder");
    }
    for (int i = 1; !error && i < count; i++) {
        error = spool_option_read(cmd, config, words[i]);
    }
    return error;
}

const char *aq_batch_directive_worker(cmd_parms *cmd, void *unused, const char *flag, const char *option)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);

    (void)unused;
    if (error || (error = flag_parse(cmd, flag, &config->worker)) != NULL) {
        return error;
    }
    if (option && strncmp(option, "threads=", 8) != 0) {
        return not_allowed(cmd, option, "on|off [threads=N]");
    }
    return option ? count_parse(cmd, option + 8, WORKER_THREADS_MAX, &config->worker_threads) : NULL;
}

const char *aq_batch_directive_worker_program(cmd_parms *cmd, void *unused, const char *path)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);

    (void)unused;
    if (error) {
        return error;
    }
    config->worker_program = path_resolve(cmd, path);
    return config->worker_program ? NULL : not_allowed(cmd, path, "the path of a program");
}

const char *aq_batch_directive_webhook_allow(cmd_parms *cmd, void *unused, const char *network)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);
    aq_webhook_network_t parsed;

    (void)unused;
    if (error) {
        return error;
    }
    if (aq_webhook_network_parse(network, &parsed) != APR_SUCCESS) {
        return not_allowed(cmd, network, AQ_WEBHOOK_NETWORK_FORM);
    }
    if (!config->webhook_allow) {
        config->webhook_allow = apr_array_make(cmd->pool, 4, sizeof(const char *));
    }
    *(const char **)apr_array_push(config->webhook_allow) = network;
    return NULL;
}

const char *aq_batch_directive_batch(cmd_parms *cmd, void *location, const char *flag)
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    if (!server->has_batches) {
        server->has_batches = 1;
        aq_batch_hooks_register();
    }
    if (!error && ap_cstr_casecmp(flag, "prefer") == 0) {
        config->batch.mode = AQ_BATCH_MODE_PREFER;
        return NULL;
    }
    if (!error && flag_parse(cmd, flag, &config->batch.mode) != NULL) {
        error = not_allowed(cmd, flag, "On, Off, Prefer");
    }
    return error;
}

/* apr_uri keeps the last 16 bits of a port, whatever was written. */
static int is_port(const char *text)
{
    char *end;
    apr_int64_t port = apr_strtoi64(text, &end, 10);

    return apr_isdigit(*text) && !*end && port >= 1 && port <= 65535;
}

static int is_target(const apr_uri_t *uri)
{
    if (!uri->scheme || (ap_cstr_casecmp(uri->scheme, "http") != 0 && ap_cstr_casecmp(uri->scheme, "https") != 0)) {
        return 0;
    }
    return uri->hostname && *uri->hostname && (!uri->port_str || is_port(uri->port_str)) && !uri->user &&
           !uri->password && !uri->fragment;
}

/* The target is one URL of the operator's: a password in it would end up in files and logs, a fragment means nothing. */
const char *aq_batch_directive_target(cmd_parms *cmd, void *location, const char *url)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);
    apr_uri_t uri = {0};

    if (error) {
        return error;
    }
    if (strncmp(url, EXEC, strlen(EXEC)) == 0) {
        config->batch.target = url;
        return url[strlen(EXEC)] == '/' ? NULL : not_allowed(cmd, url, "exec:PATH with an absolute path");
    }
    if (apr_uri_parse(cmd->pool, url, &uri) != APR_SUCCESS || !is_target(&uri)) {
        const char *shown = uri.password ? apr_uri_unparse(cmd->pool, &uri, APR_URI_UNP_OMITPASSWORD) : url;
        return not_allowed(
            cmd, shown,
            "exec:PATH, or a URL http://HOST[:PORT]/PATH or https://…, without user, password and fragment");
    }
    config->batch.target = url;
    return NULL;
}

const char *aq_batch_directive_max_body(cmd_parms *cmd, void *location, const char *size)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : size_parse(cmd, size, &config->batch.max_body_bytes);
}

const char *aq_batch_directive_timeout(cmd_parms *cmd, void *location, const char *duration)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : duration_parse(cmd, duration, 1, TIMEOUT_MAX_MS, &config->batch.timeout_ms);
}

const char *aq_batch_directive_attempts(cmd_parms *cmd, void *location, const char *count)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : count_parse(cmd, count, ATTEMPTS_MAX, &config->batch.attempts);
}

static const char *retention_parse(const cmd_parms *cmd, const char *duration, int64_t *ms)
{
    return duration_parse(cmd, duration, RETENTION_MIN_MS, RETENTION_MAX_MS, ms);
}

const char *aq_batch_directive_retention(cmd_parms *cmd, void *location, const char *duration, const char *option)
{
    aq_location_batch_t *batch = &((aq_location_config_t *)location)->batch;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    if (error || (error = retention_parse(cmd, duration, &batch->retention_ms)) != NULL || !option) {
        return error;
    }
    if (strncmp(option, RESULTS, strlen(RESULTS)) != 0) {
        return not_allowed(cmd, option, "DURATION [results=DURATION]");
    }
    error = retention_parse(cmd, option + strlen(RESULTS), &batch->result_retention_ms);
    if (!error && batch->result_retention_ms > batch->retention_ms) {
        error = not_allowed(cmd, option, "no longer than the batch itself is kept");
    }
    return error;
}

const char *aq_batch_directive_max_wait(cmd_parms *cmd, void *location, const char *duration)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error
                 : duration_parse(cmd, duration, RETENTION_MIN_MS, RETENTION_MAX_MS, &config->batch.max_wait_ms);
}

const char *aq_batch_directive_concurrency(cmd_parms *cmd, void *location, const char *count, const char *per)
{
    aq_location_batch_t *batch = &((aq_location_config_t *)location)->batch;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    if (error || (error = count_parse(cmd, count, CONCURRENCY_MAX, &batch->concurrency)) != NULL) {
        return error;
    }
    batch->concurrency_is_of_all = per && strcmp(per, "per=endpoint") == 0;
    return !per || batch->concurrency_is_of_all || strcmp(per, "per=tenant") == 0
               ? NULL
               : not_allowed(cmd, per, "N [per=tenant|endpoint]");
}

const char *aq_batch_directive_target_idempotent(cmd_parms *cmd, void *location, const char *flag)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : flag_parse(cmd, flag, &config->batch.target_is_idempotent);
}

const char *aq_batch_directive_mode(cmd_parms *cmd, void *location, const char *mode)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    config->batch.is_items = ap_cstr_casecmp(mode, "items") == 0;
    return error || config->batch.is_items || ap_cstr_casecmp(mode, "request") == 0
               ? error
               : not_allowed(cmd, mode, "request, items");
}

const char *aq_batch_directive_max_items(cmd_parms *cmd, void *location, const char *count)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : count_parse(cmd, count, ITEMS_MAX, &config->batch.max_items);
}

/* The time between two starts that makes this rate, rounded down. */
static const char *gap_parse(const cmd_parms *cmd, const char *text, int64_t *gap_us)
{
    const char *error;
    aq_rate_t rate;

    if (aq_rate_parse(cmd->temp_pool, text, &rate, &error) != APR_SUCCESS || rate.is_unlimited ||
        rate.period != AQ_PERIOD_SECONDS || rate.period_s > AQ_S_PER_DAY) {
        return not_allowed(cmd, text, "COUNT/PERIOD with a period of a day at most, as in 20/s or 100/minute");
    }
    *gap_us = (int64_t)rate.period_s * 1000000 / (int64_t)rate.count;
    return NULL;
}

const char *aq_batch_directive_items(cmd_parms *cmd, void *location, const char *option)
{
    aq_location_batch_t *batch = &((aq_location_config_t *)location)->batch;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);
    int64_t timeout_ms = 0;

    if (error) {
        return error;
    }
    if (strncmp(option, "parallel=", 9) == 0) {
        return count_parse(cmd, option + 9, AQ_ITEMS_PARALLEL_MAX, &batch->items_parallel);
    }
    if (strncmp(option, "rate=", 5) == 0) {
        return gap_parse(cmd, option + 5, &batch->items_gap_us);
    }
    if (strncmp(option, "timeout=", 8) != 0) {
        return not_allowed(cmd, option, "[parallel=N] [rate=COUNT/PERIOD] [timeout=DURATION]");
    }
    error = duration_parse(cmd, option + 8, 1, TIMEOUT_MAX_MS, &timeout_ms);
    batch->items_timeout_ms = (int)timeout_ms;
    return error;
}

const char *aq_batch_directive_webhook(cmd_parms *cmd, void *location, const char *flag)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : flag_parse(cmd, flag, &config->batch.wants_webhook);
}

int aq_batch_header_is_private(const char *name)
{
    static const char *const PRIVATE[] = {
        "Authorization",
        "Connection",
        "Content-Length",
        "Cookie",
        "Cookie2",
        "Expect",
        "Host",
        "Idempotency-Key",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    };
    static const char OURS[] = "APIQuota-";

    for (size_t i = 0; i < sizeof PRIVATE / sizeof PRIVATE[0]; i++) {
        if (ap_cstr_casecmp(PRIVATE[i], name) == 0) {
            return 1;
        }
    }
    return ap_cstr_casecmpn(name, OURS, sizeof OURS - 1) == 0;
}

const char *aq_batch_directive_forward(cmd_parms *cmd, void *location, const char *header)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    if (error) {
        return error;
    }
    if (*ap_scan_http_token(header) || !*header) {
        return not_allowed(cmd, header, "names of headers");
    }
    if (aq_batch_header_is_private(header)) {
        return not_allowed(cmd, header,
                           "headers other than credentials (Authorization, Cookie), those of a connection (Host, TE, "
                           "Upgrade, …), Idempotency-Key and APIQuota-…");
    }
    if (!config->batch.forward) {
        config->batch.forward = apr_array_make(cmd->pool, 4, sizeof(const char *));
    }
    *(const char **)apr_array_push(config->batch.forward) = header;
    return NULL;
}
