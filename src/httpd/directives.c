/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives: the table that httpd sees, and thin setters over pure parsers.
 *
 * Every refusal names the directive, the value and what is allowed; httpd adds file and line. Server settings stand in
 * no section and no virtual host (server_directives.h), location settings anywhere but in .htaccess. Plans, limits and the
 * simplest settings are here, the others in options.h, rules.h and batch_directives.h. docs/directives*.md and conf/apiquota.conf hold each of them; `make lint` proves it.
 */
#include "httpd/batch_directives.h"

#include "base/aq_words.h"
#include "httpd/directive_values.h"
#include "httpd/options.h"
#include "httpd/phases.h"
#include "httpd/rules.h"
#include "httpd/server_directives.h"

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

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

/*
 * By which a limit's own section is told from others. That of an <If> or <Files> within another section is named by both:
 * two of one condition or name are two places.
 */
static const char *section_name(const cmd_parms *cmd, const aq_location_config_t *location)
{
    const char *name = location->section ? location->section : "";
    const ap_directive_t *section = cmd->directive->parent;

    for (section = section ? section->parent : NULL; section; section = section->parent) {
        if (ap_cstr_casecmp(section->directive, "<VirtualHost") != 0) {
            name = apr_pstrcat(cmd->pool, section->directive, " ", section->args, " ", name, NULL);
        }
    }
    return name;
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
        limit->section = section_name(cmd, location);
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
    const char *clash = NULL;

    if (!*limits) {
        *limits = apr_array_make(cmd->pool, 2, sizeof(aq_limit_t *));
    }
    for (int i = 0; !clash && i < (*limits)->nelts; i++) {
        clash = aq_limit_clash(cmd->pool, limit, APR_ARRAY_IDX(*limits, i, aq_limit_t *));
    }
    if (clash) {
        return apr_pstrcat(cmd->pool, "APIQuotaLimit: in this section ", clash, NULL);
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

static const char *quota_set(cmd_parms *cmd, void *location, const char *text)
{
    int *quota = &((aq_location_config_t *)location)->quota;

    if (ap_cstr_casecmp(text, "dryrun") == 0) {
        *quota = AQ_QUOTA_DRY_RUN;
        return NULL;
    }
    return aq_flag_read(cmd, text, quota) ? aq_not_allowed(cmd, text, "On, Off, DryRun") : NULL;
}

static const char *forward_key_set(cmd_parms *cmd, void *location, const char *text)
{
    return aq_flag_read(cmd, text, &((aq_location_config_t *)location)->forward_key);
}

/* A field name of RFC 9110. */
static int is_header_name(const char *name)
{
    return *name && name[strspn(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static int is_key_source(const apr_array_header_t *sources, const aq_key_source_t *source)
{
    for (int i = 0; i < sources->nelts; i++) {
        const aq_key_source_t *other = &APR_ARRAY_IDX(sources, i, aq_key_source_t);
        if (other->is_bearer == source->is_bearer && ap_cstr_casecmp(other->header, source->header) == 0) {
            return 1;
        }
    }
    return 0;
}

static const char *key_from_add(cmd_parms *cmd, void *location_data, const char *source)
{
    aq_location_config_t *location = location_data;
    aq_key_source_t added;

    if (ap_cstr_casecmp(source, "bearer") == 0) {
        added = (aq_key_source_t){.header = "Authorization", .is_bearer = 1, .is_known_to_caches = 1};
    } else if (ap_cstr_casecmpn(source, "header:", 7) == 0 && is_header_name(source + 7)) {
        added = (aq_key_source_t){.header = apr_pstrdup(cmd->pool, source + 7),
                                  .is_known_to_caches = ap_cstr_casecmp(source + 7, "Authorization") == 0};
    } else {
        return aq_not_allowed(cmd, source, "bearer, header:NAME");
    }
    if (!location->key_from) {
        location->key_from = apr_array_make(cmd->pool, 2, sizeof(aq_key_source_t));
    }
    /* Read twice, each request would seem to present two keys. */
    if (!is_key_source(location->key_from, &added)) {
        APR_ARRAY_PUSH(location->key_from, aq_key_source_t) = added;
    }
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
        return aq_not_allowed(cmd, text, allowed);
    }
    location->free_count = is_first ? 0 : location->free_count;
    location->free_statuses[location->free_count++] = (int)status;
    return NULL;
}

#define IN_LOCATION (RSRC_CONF | ACCESS_CONF)

const command_rec aq_directives[] = {
    AQ_SERVER_DIRECTIVES,
    AQ_QUEUE_DIRECTIVES,
    AP_INIT_RAW_ARGS("<APIQuotaPlan", plan_section, NULL, RSRC_CONF, "a named set of limits"),
    AP_INIT_RAW_ARGS("APIQuotaLimit", limit_add, NULL, IN_LOCATION,
                     "NAME RATE [algorithm=] [per=] [headers=] [message=]"),
    AP_INIT_TAKE1("APIQuota", quota_set, NULL, IN_LOCATION,
                  "whether requests are counted and limited: On, Off, DryRun"),
    AP_INIT_ITERATE("APIQuotaKeyFrom", key_from_add, NULL, IN_LOCATION,
                    "where clients put their key: bearer, header:NAME"),
    AP_INIT_TAKE1("APIQuotaForwardKey", forward_key_set, NULL, IN_LOCATION,
                  "whether the backend sees the client's key: On or Off"),
    AP_INIT_ITERATE("APIQuotaFree", free_add, NULL, IN_LOCATION, "statuses that cost nothing: none, or 304 ..."),
    AQ_OPTION_DIRECTIVES,
    AQ_RULE_DIRECTIVES,
    AQ_BATCH_DIRECTIVES,
    {.name = NULL},
};
