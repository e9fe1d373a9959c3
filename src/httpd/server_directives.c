/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives of the server: state folder, counters, keys. Each stands in no section and no virtual host.
 */
#include "httpd/server_directives.h"

#include "base/aq_units.h"
#include "httpd/directive_values.h"

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

#define STORE_SIZE_MIN (INT64_C(64) << 10)

static const char *server_path_set(cmd_parms *cmd, const char *path, const char **setting)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (error) {
        return error;
    }
    *setting = ap_server_root_relative(cmd->pool, path);
    return *setting && *path ? NULL : aq_not_allowed(cmd, path, "a path");
}

const char *aq_server_directive_state_dir(cmd_parms *cmd, void *unused, const char *path)
{
    (void)unused;
    return server_path_set(cmd, path, &aq_config_server(cmd->server)->state_dir);
}

/* Keys live in one place: of file and store, the last that stands. */
const char *aq_server_directive_key_file(cmd_parms *cmd, void *unused, const char *path)
{
    (void)unused;
    aq_config_server(cmd->server)->key_store = NULL;
    return server_path_set(cmd, path, &aq_config_server(cmd->server)->key_file);
}

static const char *store_size_set(cmd_parms *cmd, const char *option)
{
    aq_server_config_t *server = aq_config_server(cmd->server);

    if (strncmp(option, "size=", 5) != 0 || aq_units_size_parse(option + 5, &server->store_size) != APR_SUCCESS ||
        server->store_size < STORE_SIZE_MIN) {
        return aq_not_allowed(cmd, option, "size= and a number of bytes from 64k on, such as size=64m");
    }
    return NULL;
}

/* What is not allowed is not repeated: it may hold a password. */
static const char *redis_set(cmd_parms *cmd, int count, char *const words[])
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    const char **others = apr_pcalloc(cmd->pool, (apr_size_t)count * sizeof(*others));
    const char *error = NULL;
    int kept = 0;

    for (int i = 0; !error && i < count; i++) {
        if (i > 0 && strncmp(words[i], "size=", 5) == 0) {
            error = store_size_set(cmd, words[i]);
        } else {
            others[kept++] = words[i];
        }
    }
    if (!error &&
        aq_redis_address_parse_beside(cmd->pool, others, kept, ", size=", &server->redis, &error) != APR_SUCCESS) {
        error = apr_pstrcat(cmd->pool, "APIQuotaStore: ", error, NULL);
    }
    return error;
}

const char *aq_server_directive_store(cmd_parms *cmd, void *unused, int count, char *const words[])
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    if (error) {
        return error;
    }
    /* Of several lines the last one holds, whole. */
    server->redis = NULL;
    server->store_file = NULL;
    server->store_size = AQ_UNSET;
    if (count > 0 && aq_redis_address_is(words[0])) {
        return redis_set(cmd, count, words);
    }
    if (count < 1 || count > 2) {
        return "APIQuotaStore needs one or two words: shm[:FILE] [size=64m], or the address of a Redis";
    }
    if (strncmp(words[0], "shm:", 4) == 0) {
        error = server_path_set(cmd, words[0] + 4, &server->store_file);
    } else if (strcmp(words[0], "shm") != 0) {
        error = aq_not_allowed(
            cmd, aq_redis_word_masked(cmd->pool, words[0]),
            "shm, shm:FILE, redis://HOST[:PORT][/DB], rediss://..., redis+sentinel://..., redis+cluster://..., "
            "unix:PATH");
    }
    return !error && count == 2 ? store_size_set(cmd, words[1]) : error;
}

const char *aq_server_directive_key_store(cmd_parms *cmd, void *unused, int count, char *const words[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    aq_config_server(cmd->server)->key_file = NULL;
    if (!error && aq_redis_keys_config_parse(cmd->pool, (const char *const *)words, count,
                                             &aq_config_server(cmd->server)->key_store, &error) != APR_SUCCESS) {
        error = apr_pstrcat(cmd->pool, "APIQuotaKeyStore ", error, NULL);
    }
    return error;
}

const char *aq_server_directive_store_failure(cmd_parms *cmd, void *unused, const char *policy)
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    if (error) {
        return error;
    }
    if (ap_cstr_casecmp(policy, "allow") == 0) {
        server->store_failure = AQ_STORE_FAILURE_ALLOW;
    } else if (ap_cstr_casecmp(policy, "deny") == 0) {
        server->store_failure = AQ_STORE_FAILURE_DENY;
    } else if (ap_cstr_casecmp(policy, "local") == 0) {
        server->store_failure = AQ_STORE_FAILURE_LOCAL;
    } else {
        return aq_not_allowed(cmd, policy, "local, allow, deny");
    }
    return NULL;
}

const char *aq_server_directive_ipv6_prefix(cmd_parms *cmd, void *unused, const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char *end;
    apr_int64_t bits = apr_strtoi64(text, &end, 10);

    (void)unused;
    if (!error && (!apr_isdigit(*text) || *end || bits < 1 || bits > 128)) {
        error = aq_not_allowed(cmd, text, "a number of bits from 1 to 128");
    }
    aq_config_server(cmd->server)->ipv6_prefix = (int)bits;
    return error;
}

const char *aq_server_directive_daily_use(cmd_parms *cmd, void *unused, const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    return error ? error : aq_flag_read(cmd, text, &aq_config_server(cmd->server)->daily_use);
}
