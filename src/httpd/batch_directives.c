/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives of batch locations: thin setters over pure parsers. What sections mean together is checked by batch_setup.c,
 * which sees them all.
 */
#include "httpd/batch_directives.h"

#include "httpd/directive_values.h"
#include "httpd/phases.h"
#include "limit/rate.h"

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <string.h>

#define CONCURRENCY_MAX 10000
#define RESULTS "results="
#define EXEC "exec:"
#define ATTEMPTS_MAX 100
#define TIMEOUT_MAX_MS (INT64_C(24) * 3600 * 1000)
#define ITEMS_MAX 100000000
#define RETENTION_MIN_MS INT64_C(1000)
#define RETENTION_MAX_MS (INT64_C(3660) * 86400 * 1000)

#define LOCATION_ONLY (NOT_IN_DIRECTORY | NOT_IN_FILES | NOT_IN_LIMIT | NOT_IN_PROXY | NOT_IN_HTACCESS)

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
    if (!error && aq_flag_read(cmd, flag, &config->batch.mode) != NULL) {
        error = aq_not_allowed(cmd, flag, "On, Off, Prefer");
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
        return url[strlen(EXEC)] == '/' ? NULL : aq_not_allowed(cmd, url, "exec:PATH with an absolute path");
    }
    if (apr_uri_parse(cmd->pool, url, &uri) != APR_SUCCESS || !is_target(&uri)) {
        const char *shown = uri.password ? apr_uri_unparse(cmd->pool, &uri, APR_URI_UNP_OMITPASSWORD) : url;
        return aq_not_allowed(
            cmd, shown,
            "exec:PATH, or a URL http://HOST[:PORT]/PATH or https://..., without user, password and fragment");
    }
    config->batch.target = url;
    return NULL;
}

const char *aq_batch_directive_max_body(cmd_parms *cmd, void *location, const char *size)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : aq_size_read(cmd, size, &config->batch.max_body_bytes);
}

const char *aq_batch_directive_timeout(cmd_parms *cmd, void *location, const char *duration)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : aq_duration_read(cmd, duration, 1, TIMEOUT_MAX_MS, &config->batch.timeout_ms);
}

const char *aq_batch_directive_attempts(cmd_parms *cmd, void *location, const char *count)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : aq_count_read(cmd, count, ATTEMPTS_MAX, &config->batch.attempts);
}

static const char *retention_parse(const cmd_parms *cmd, const char *duration, int64_t *ms)
{
    return aq_duration_read(cmd, duration, RETENTION_MIN_MS, RETENTION_MAX_MS, ms);
}

const char *aq_batch_directive_retention(cmd_parms *cmd, void *location, const char *duration, const char *option)
{
    aq_location_batch_t *batch = &((aq_location_config_t *)location)->batch;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    batch->result_retention_ms = 0; /* that of an earlier line was for its own DURATION */
    if (error || (error = retention_parse(cmd, duration, &batch->retention_ms)) != NULL || !option) {
        return error;
    }
    if (strncmp(option, RESULTS, strlen(RESULTS)) != 0) {
        return aq_not_allowed(cmd, option, "DURATION [results=DURATION]");
    }
    error = retention_parse(cmd, option + strlen(RESULTS), &batch->result_retention_ms);
    if (!error && batch->result_retention_ms > batch->retention_ms) {
        error = aq_not_allowed(cmd, option, "no longer than the batch itself is kept");
    }
    return error;
}

const char *aq_batch_directive_max_wait(cmd_parms *cmd, void *location, const char *duration)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error
                 : aq_duration_read(cmd, duration, RETENTION_MIN_MS, RETENTION_MAX_MS, &config->batch.max_wait_ms);
}

const char *aq_batch_directive_concurrency(cmd_parms *cmd, void *location, const char *count, const char *per)
{
    aq_location_batch_t *batch = &((aq_location_config_t *)location)->batch;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    if (error || (error = aq_count_read(cmd, count, CONCURRENCY_MAX, &batch->concurrency)) != NULL) {
        return error;
    }
    batch->concurrency_is_of_all = per && strcmp(per, "per=endpoint") == 0;
    return !per || batch->concurrency_is_of_all || strcmp(per, "per=tenant") == 0
               ? NULL
               : aq_not_allowed(cmd, per, "N [per=tenant|endpoint]");
}

const char *aq_batch_directive_target_idempotent(cmd_parms *cmd, void *location, const char *flag)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : aq_flag_read(cmd, flag, &config->batch.target_is_idempotent);
}

const char *aq_batch_directive_mode(cmd_parms *cmd, void *location, const char *mode)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    config->batch.is_items = ap_cstr_casecmp(mode, "items") == 0;
    return error || config->batch.is_items || ap_cstr_casecmp(mode, "request") == 0
               ? error
               : aq_not_allowed(cmd, mode, "request, items");
}

const char *aq_batch_directive_max_items(cmd_parms *cmd, void *location, const char *count)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : aq_count_read(cmd, count, ITEMS_MAX, &config->batch.max_items);
}

/* The time between two starts that makes this rate, rounded down. */
static const char *gap_parse(const cmd_parms *cmd, const char *text, int64_t *gap_us)
{
    const char *error;
    aq_rate_t rate;

    if (aq_rate_parse(cmd->temp_pool, text, &rate, &error) != APR_SUCCESS || rate.is_unlimited ||
        rate.period != AQ_PERIOD_SECONDS || rate.period_s > AQ_S_PER_DAY) {
        return aq_not_allowed(cmd, text, "COUNT/PERIOD with a period of a day at most, as in 20/s or 100/minute");
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
        return aq_count_read(cmd, option + 9, AQ_ITEMS_PARALLEL_MAX, &batch->items_parallel);
    }
    if (strncmp(option, "rate=", 5) == 0) {
        return gap_parse(cmd, option + 5, &batch->items_gap_us);
    }
    if (strncmp(option, "timeout=", 8) != 0) {
        return aq_not_allowed(cmd, option, "[parallel=N] [rate=COUNT/PERIOD] [timeout=DURATION]");
    }
    error = aq_duration_read(cmd, option + 8, 1, TIMEOUT_MAX_MS, &timeout_ms);
    batch->items_timeout_ms = (int)timeout_ms;
    return error;
}

const char *aq_batch_directive_webhook(cmd_parms *cmd, void *location, const char *flag)
{
    aq_location_config_t *config = (aq_location_config_t *)location;
    const char *error = ap_check_cmd_context(cmd, LOCATION_ONLY);

    return error ? error : aq_flag_read(cmd, flag, &config->batch.wants_webhook);
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
        return aq_not_allowed(cmd, header, "names of headers");
    }
    if (aq_batch_header_is_private(header)) {
        return aq_not_allowed(
            cmd, header,
            "headers other than credentials (Authorization, Cookie), those of a connection (Host, TE, "
            "Upgrade, ...), Idempotency-Key and APIQuota-...");
    }
    if (!config->batch.forward) {
        config->batch.forward = apr_array_make(cmd->pool, 4, sizeof(const char *));
    }
    *(const char **)apr_array_push(config->batch.forward) = header;
    return NULL;
}
