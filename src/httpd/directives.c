/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives: the table that httpd sees, and thin setters over pure parsers.
 *
 * Every refusal names the directive, the value and what is allowed; httpd adds file and line. Server settings stand in
 * no section and no virtual host, location settings anywhere but in .htaccess. Those of batches are in
 * batch_directives.h. docs/directives*.md and conf/apiquota.conf hold each of them; `make lint` proves it.
 */
#include "httpd/batch_directives.h"

#include "base/aq_units.h"
#include "base/aq_words.h"
#include "httpd/options.h"
#include "httpd/phases.h"
#include "httpd/rules.h"

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

#define STORE_SIZE_MIN (INT64_C(64) << 10)

static const char *not_allowed(const cmd_parms *cmd, const char *value, const char *allowed)
{
    return apr_psprintf(cmd->pool, "%s: \"%s\" is not allowed here; allowed: %s", cmd->cmd->name, value, allowed);
}

static const char *server_path_set(cmd_parms *cmd, const char *path, const char **setting)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (error) {
        return error;
    }
    *setting = ap_server_root_relative(cmd->pool, path);
    return *setting && *path ? NULL : not_allowed(cmd, path, "a path");
}

static const char *state_dir_set(cmd_parms *cmd, void *unused, const char *path)
{
    (void)unused;
    return server_path_set(cmd, path, &aq_config_server(cmd->server)->state_dir);
}

/* Keys live in one place: of file and store, the last that stands. */
static const char *key_file_set(cmd_parms *cmd, void *unused, const char *path)
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
        return not_allowed(cmd, option, "size= and a number of bytes from 64k on, such as size=64m");
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
    if (!error && aq_redis_address_parse(cmd->pool, others, kept, &server->redis, &error) != APR_SUCCESS) {
        error = apr_pstrcat(cmd->pool, "APIQuotaStore: ", error, NULL);
    }
    return error;
}

static const char *store_set(cmd_parms *cmd, void *unused, int count, char *const words[])
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    if (error) {
        return error;
    }
    if (count > 0 && aq_redis_address_is(words[0])) {
        return redis_set(cmd, count, words);
    }
    server->redis = NULL;
    if (count < 1 || count > 2) {
        return "APIQuotaStore needs one or two words: shm[:FILE] [size=64m], or the address of a Redis";
    }
    if (strncmp(words[0], "shm:", 4) == 0) {
        error = server_path_set(cmd, words[0] + 4, &server->store_file);
    } else if (strcmp(words[0], "shm") != 0) {
        error =
            not_allowed(cmd, words[0],
                        "shm, shm:FILE, redis://HOST[:PORT][/DB], rediss://…, redis+sentinel://…, redis+cluster://…, "
                        "unix:PATH");
    }
    return !error && count == 2 ? store_size_set(cmd, words[1]) : error;
}

static const char *key_store_set(cmd_parms *cmd, void *unused, int count, char *const words[])
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

static const char *store_failure_set(cmd_parms *cmd, void *unused, const char *policy)
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
        return not_allowed(cmd, policy, "local, allow, deny");
    }
    return NULL;
}

/* Why a limit that can be read cannot be kept here, or NULL. */
static const char *limit_unsupported(const aq_limit_t *limit, int is_in_plan)
{
    if (limit->is_early && is_in_plan) {
        return "phase=early is for locations: the caller's plan is not known yet";
    }
    if (limit->window.period == AQ_PERIOD_MONTH && limit->window.anchor == AQ_ANCHOR_TENANT && !is_in_plan) {
        return "anchor=tenant is for limits of a plan";
    }
    return NULL;
}

/* What the parser below src/httpd cannot know: the section, and whether the expression is one. */
static const char *limit_complete(cmd_parms *cmd, const aq_location_config_t *location, aq_limit_t *limit)
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    const ap_expr_info_t *expr;
    const char *error = limit_unsupported(limit, server->open_plan != NULL);

    if (error) {
        return apr_psprintf(cmd->pool, "APIQuotaLimit %s: %s", limit->name, error);
    }
    if (!server->open_plan) {
        limit->section = location->section ? location->section : "";
    }
    if (limit->expression) {
        error =
            aq_expr_parse(cmd, apr_pstrcat(cmd->pool, "expr=", limit->expression, NULL), AQ_EXPR_CLIENTS_TEXT, &expr);
        apr_hash_set(server->expressions, limit->expression, APR_HASH_KEY_STRING, expr);
    }
    return error;
}

static const char *section_limit_add(cmd_parms *cmd, apr_array_header_t **limits, aq_limit_t *limit)
{
    if (!*limits) {
        *limits = apr_array_make(cmd->pool, 2, sizeof(aq_limit_t *));
    }
    for (int i = 0; i < (*limits)->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(*limits, i, aq_limit_t *)->name, limit->name) == 0) {
            return apr_psprintf(cmd->pool, "APIQuotaLimit: the limit \"%s\" stands twice in one section", limit->name);
        }
    }
    if ((*limits)->nelts == AQ_LIMITS_MAX) {
        return apr_psprintf(cmd->pool, "APIQuotaLimit: more than %d limits in one section", AQ_LIMITS_MAX);
    }
    APR_ARRAY_PUSH(*limits, aq_limit_t *) = limit;
    APR_ARRAY_PUSH(aq_config_server(cmd->server)->location_limits, aq_limit_t *) = limit;
    return NULL;
}

static const char *limit_add(cmd_parms *cmd, void *location_data, const char *line)
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    aq_location_config_t *location = location_data;
    apr_array_header_t *words;
    aq_limit_t *limit;
    const char *error = aq_words_split(cmd->pool, line, &words);

    if (error) {
        return apr_psprintf(cmd->pool, "APIQuotaLimit %s: %s", line, error);
    }
    if (aq_limit_parse(cmd->pool, (const char *const *)words->elts, words->nelts, &limit, &error) != APR_SUCCESS) {
        return apr_pstrcat(cmd->pool, "APIQuotaLimit: ", error, NULL);
    }
    if ((error = limit_complete(cmd, location, limit)) != NULL) {
        return error;
    }
    if (server->open_plan) {
        if (aq_plan_limit_add(cmd->pool, server->open_plan, limit, &error) != APR_SUCCESS) {
            return apr_pstrcat(cmd->pool, "APIQuotaLimit: ", error, NULL);
        }
        return NULL;
    }
    if (!limit->is_early) {
        return section_limit_add(cmd, &location->limits, limit);
    }
    if (!server->has_early) {
        server->has_early = 1;
        aq_early_phase_register();
    }
    return section_limit_add(cmd, &aq_rules_of(cmd, location)->early, limit);
}

/* `line` is what follows "<APIQuotaPlan", with the closing bracket. */
static const char *plan_name_read(cmd_parms *cmd, const char *line, const char **name)
{
    const char *end = ap_strrchr_c(line, '>');

    if (!end) {
        return "<APIQuotaPlan> is not closed with \">\"";
    }
    line = apr_pstrmemdup(cmd->pool, line, (apr_size_t)(end - line));
    *name = ap_getword_conf(cmd->pool, &line);
    if (!**name || *line) {
        return "<APIQuotaPlan> needs exactly one name, as in <APIQuotaPlan basic>";
    }
    return NULL;
}

static const char *plan_section(cmd_parms *cmd, void *location, const char *line)
{
    aq_server_config_t *server = aq_config_server(cmd->server);
    const char *name;
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)location;
    if (error || (error = plan_name_read(cmd, line, &name))) {
        return error;
    }
    if (apr_hash_get(server->plans, name, APR_HASH_KEY_STRING)) {
        return apr_psprintf(cmd->pool, "<APIQuotaPlan %s>: a plan of this name stands above already", name);
    }
    for (const ap_directive_t *child = cmd->directive->first_child; child; child = child->next) {
        if (ap_cstr_casecmp(child->directive, "APIQuotaLimit") != 0) {
            return apr_psprintf(cmd->pool, "<APIQuotaPlan %s>: %s is not allowed here; allowed: APIQuotaLimit", name,
                                child->directive);
        }
    }
    if (aq_plan_create(cmd->pool, name, &server->open_plan, &error) != APR_SUCCESS) {
        return apr_pstrcat(cmd->pool, "<APIQuotaPlan>: ", error, NULL);
    }
    error = ap_walk_config(cmd->directive->first_child, cmd, cmd->context);
    if (!error) {
        aq_plan_seal(server->open_plan);
        apr_hash_set(server->plans, server->open_plan->name, APR_HASH_KEY_STRING, server->open_plan);
    }
    server->open_plan = NULL;
    return error;
}

static const char *flag_read(const cmd_parms *cmd, const char *text, int *flag)
{
    *flag = ap_cstr_casecmp(text, "on") == 0;
    return *flag || ap_cstr_casecmp(text, "off") == 0 ? NULL : not_allowed(cmd, text, "On, Off");
}

static const char *quota_set(cmd_parms *cmd, void *location, const char *text)
{
    int *quota = &((aq_location_config_t *)location)->quota;

    if (ap_cstr_casecmp(text, "dryrun") == 0) {
        *quota = AQ_QUOTA_DRY_RUN;
        return NULL;
    }
    return flag_read(cmd, text, quota) ? not_allowed(cmd, text, "On, Off, DryRun") : NULL;
}

static const char *ipv6_prefix_set(cmd_parms *cmd, void *unused, const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char *end;
    apr_int64_t bits = apr_strtoi64(text, &end, 10);

    (void)unused;
    if (!error && (!apr_isdigit(*text) || *end || bits < 1 || bits > 128)) {
        error = not_allowed(cmd, text, "a number of bits from 1 to 128");
    }
    aq_config_server(cmd->server)->ipv6_prefix = (int)bits;
    return error;
}

static const char *forward_key_set(cmd_parms *cmd, void *location, const char *text)
{
    return flag_read(cmd, text, &((aq_location_config_t *)location)->forward_key);
}

/* A field name of RFC 9110. */
static int is_header_name(const char *name)
{
    return *name && name[strspn(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static const char *key_from_add(cmd_parms *cmd, void *location_data, const char *source)
{
    aq_location_config_t *location = location_data;
    aq_key_source_t added;

    if (ap_cstr_casecmp(source, "bearer") == 0) {
        added = (aq_key_source_t){.header = "Authorization", .is_bearer = 1};
    } else if (ap_cstr_casecmpn(source, "header:", 7) == 0 && is_header_name(source + 7)) {
        added = (aq_key_source_t){.header = apr_pstrdup(cmd->pool, source + 7), .is_bearer = 0};
    } else {
        return not_allowed(cmd, source, "bearer, header:NAME");
    }
    if (!location->key_from) {
        location->key_from = apr_array_make(cmd->pool, 2, sizeof(aq_key_source_t));
    }
    APR_ARRAY_PUSH(location->key_from, aq_key_source_t) = added;
    return NULL;
}

static const char *free_add(cmd_parms *cmd, void *location_data, const char *text)
{
    static const char allowed[] = "none alone, or up to eight status codes from 200 to 599";
    aq_location_config_t *location = location_data;
    char *end;
    apr_int64_t status = apr_strtoi64(text, &end, 10);
    int is_first = location->free_count == AQ_UNSET;

    if (ap_cstr_casecmp(text, "none") == 0 && is_first) {
        location->free_count = 0;
        return NULL;
    }
    if (*end || status < 200 || status > 599 || location->free_count == 0 ||
        location->free_count == AQ_FREE_STATUSES_MAX) {
        return not_allowed(cmd, text, allowed);
    }
    location->free_count = is_first ? 0 : location->free_count;
    location->free_statuses[location->free_count++] = (int)status;
    return NULL;
}

static const char *daily_use_set(cmd_parms *cmd, void *unused, const char *text)
{
    (void)unused;
    return flag_read(cmd, text, &aq_config_server(cmd->server)->daily_use);
}

#define IN_SERVER RSRC_CONF
#define IN_LOCATION (RSRC_CONF | ACCESS_CONF)

const command_rec aq_directives[] = {
    AP_INIT_TAKE1("APIQuotaStateDir", state_dir_set, NULL, IN_SERVER, "the folder that keeps counters and batches"),
    AP_INIT_TAKE_ARGV("APIQuotaStore", store_set, NULL, IN_SERVER,
                      "where counters live: shm[:FILE] [size=64m], or redis://HOST[:PORT][/DB] [option …]"),
    AP_INIT_TAKE1("APIQuotaStoreFailure", store_failure_set, NULL, IN_SERVER,
                  "what a request gets that cannot be counted: local, allow or deny"),
    AP_INIT_TAKE1("APIQuotaKeyFile", key_file_set, NULL, IN_SERVER, "the JSON file of keys and tenants"),
    AP_INIT_TAKE_ARGV("APIQuotaKeyStore", key_store_set, NULL, IN_SERVER,
                      "where keys and tenants live in place of a file: redis [fresh=500ms] [stale=1h], or an address"),
    AP_INIT_TAKE1("APIQuotaIPv6Prefix", ipv6_prefix_set, NULL, IN_SERVER,
                  "how many bits of an IPv6 address make one caller"),
    AP_INIT_TAKE1("APIQuotaDailyUse", daily_use_set, NULL, IN_SERVER,
                  "whether what each tenant uses is kept by day: On or Off"),
    AP_INIT_RAW_ARGS("<APIQuotaPlan", plan_section, NULL, IN_SERVER, "a named set of limits"),
    AP_INIT_RAW_ARGS("APIQuotaLimit", limit_add, NULL, IN_LOCATION,
                     "NAME RATE [algorithm=] [per=] [headers=] [message=]"),
    AP_INIT_TAKE1("APIQuota", quota_set, NULL, IN_LOCATION,
                  "whether requests are counted and limited: On, Off, DryRun"),
    AP_INIT_ITERATE("APIQuotaKeyFrom", key_from_add, NULL, IN_LOCATION,
                    "where clients put their key: bearer, header:NAME"),
    AP_INIT_TAKE1("APIQuotaForwardKey", forward_key_set, NULL, IN_LOCATION,
                  "whether the backend sees the client's key: On or Off"),
    AP_INIT_ITERATE("APIQuotaFree", free_add, NULL, IN_LOCATION, "statuses that cost nothing: none, or 304 …"),
    AQ_OPTION_DIRECTIVES,
    AQ_RULE_DIRECTIVES,
    AQ_BATCH_DIRECTIVES,
    {.name = NULL},
};
