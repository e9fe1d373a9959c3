/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives of the server for batches: queue, spool, worker, and where webhooks may be. Each stands in no section and no
 * virtual host.
 */
#include "httpd/server_directives.h"

#include "batch/webhook_address.h"
#include "httpd/directive_values.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

#define WORKER_THREADS_MAX 256
#define QUEUED_MAX 1000000000
#define TENANT_MAX "tenant-max="
#define KEEP "keep="
#define SPOOL_FORM "DIR [max=SIZE] [tenant-max=SIZE] [keep=PERCENT%] [shared]"

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

    if (option && strncmp(option, TENANT_MAX, strlen(TENANT_MAX)) != 0) {
        return aq_not_allowed(cmd, aq_redis_word_masked(cmd->pool, option), "sqlite[:FILE] [tenant-max=N]");
    }
    if (option) {
        int most = 0;
        error = aq_count_read(cmd, option + strlen(TENANT_MAX), QUEUED_MAX, &most);
        config->queue_tenant_max = most;
    }
    if (error) {
        return error;
    }
    if (strcmp(text, "sqlite") == 0) {
        return NULL;
    }
    const char *file = strncmp(text, "sqlite:", 7) == 0 ? aq_path_read(cmd, text + 7) : NULL;
    if (!file) {
        return aq_not_allowed(cmd, aq_redis_word_masked(cmd->pool, text),
                              "sqlite, sqlite:FILE, redis://HOST[:PORT][/DB], rediss://..., redis+sentinel://..., "
                              "redis+cluster://..., unix:PATH");
    }
    config->queue_file = file;
    return NULL;
}

const char *aq_server_directive_queue(cmd_parms *cmd, void *unused, int count, char *const words[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);

    (void)unused;
    if (error) {
        return error;
    }
    /* Of several lines the last one holds, whole; so it is with those below. */
    config->queue_redis = NULL;
    config->queue_file = NULL;
    config->queue_tenant_max = AQ_UNSET;
    if (count > 0 && aq_redis_address_is(words[0])) {
        return queue_in_redis(cmd, count, words);
    }
    if (count < 1 || count > 2) {
        return aq_not_allowed(cmd, count > 0 ? aq_redis_word_masked(cmd->pool, words[count - 1]) : "",
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
        return aq_not_allowed(cmd, text, "1% to 100%");
    }
    *percent = (int)value;
    return NULL;
}

/* 1 where an option stands in the place of the folder, which was forgotten. */
static int is_spool_option(const char *word)
{
    return strcmp(word, "shared") == 0 || strncmp(word, "max=", 4) == 0 || strncmp(word, KEEP, strlen(KEEP)) == 0 ||
           strncmp(word, TENANT_MAX, strlen(TENANT_MAX)) == 0;
}

/* One of the options of APIQuotaSpool. */
static const char *spool_option_read(const cmd_parms *cmd, aq_server_config_t *config, const char *option)
{
    if (strcmp(option, "shared") == 0) {
        config->spool_is_shared = 1;
        return NULL;
    }
    if (strncmp(option, "max=", 4) == 0) {
        return aq_size_read(cmd, option + 4, &config->spool_max_bytes);
    }
    if (strncmp(option, TENANT_MAX, strlen(TENANT_MAX)) == 0) {
        return aq_size_read(cmd, option + strlen(TENANT_MAX), &config->spool_tenant_max_bytes);
    }
    if (strncmp(option, KEEP, strlen(KEEP)) == 0) {
        return percent_parse(cmd, option + strlen(KEEP), &config->spool_keep_percent);
    }
    return aq_not_allowed(cmd, option, SPOOL_FORM);
}

const char *aq_server_directive_spool(cmd_parms *cmd, void *unused, int count, char *const words[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);

    (void)unused;
    if (error) {
        return error;
    }
    if (count < 1 || count > 5) {
        return aq_not_allowed(cmd, count > 0 ? words[count - 1] : "", SPOOL_FORM);
    }
    config->spool_dir = is_spool_option(words[0]) ? NULL : aq_path_read(cmd, words[0]);
    if (!config->spool_dir) {
        return aq_not_allowed(cmd, words[0], "the path of a folder, and then its options: " SPOOL_FORM);
    }
    config->spool_is_shared = 0;
    config->spool_max_bytes = config->spool_tenant_max_bytes = AQ_UNSET;
    config->spool_keep_percent = AQ_UNSET;
    for (int i = 1; !error && i < count; i++) {
        error = spool_option_read(cmd, config, words[i]);
    }
    return error;
}

const char *aq_server_directive_worker(cmd_parms *cmd, void *unused, const char *flag, const char *option)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);

    (void)unused;
    if (error || (error = aq_flag_read(cmd, flag, &config->worker)) != NULL) {
        return error;
    }
    config->worker_threads = AQ_UNSET;
    if (option && strncmp(option, "threads=", 8) != 0) {
        return aq_not_allowed(cmd, option, "on|off [threads=N]");
    }
    return option ? aq_count_read(cmd, option + 8, WORKER_THREADS_MAX, &config->worker_threads) : NULL;
}

const char *aq_server_directive_worker_program(cmd_parms *cmd, void *unused, const char *path)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);

    (void)unused;
    if (error) {
        return error;
    }
    config->worker_program = aq_path_read(cmd, path);
    return config->worker_program ? NULL : aq_not_allowed(cmd, path, "the path of a program");
}

const char *aq_server_directive_webhook_allow(cmd_parms *cmd, void *unused, const char *network)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    aq_server_config_t *config = aq_config_server(cmd->server);
    aq_webhook_network_t parsed;

    (void)unused;
    if (error) {
        return error;
    }
    if (aq_webhook_network_parse(network, &parsed) != APR_SUCCESS) {
        return aq_not_allowed(cmd, network, AQ_WEBHOOK_NETWORK_FORM);
    }
    if (!config->webhook_allow) {
        config->webhook_allow = apr_array_make(cmd->pool, 4, sizeof(const char *));
    }
    *(const char **)apr_array_push(config->webhook_allow) = network;
    return NULL;
}
