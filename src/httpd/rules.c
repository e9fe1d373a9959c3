/* SPDX-License-Identifier: Apache-2.0 */
/* Rules: merging, setters, and what can be checked once the configuration is whole. See rules.h. */
#include "httpd/rules.h"

#include "base/aq_log.h"
#include "httpd/cost.h"
#include "httpd/directive_values.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <string.h>

static const aq_location_rules_t nothing_set = {
    .caller_count = AQ_UNSET, .cost = AQ_UNSET, .sets_environment = AQ_UNSET};

aq_location_rules_t *aq_rules_of(const cmd_parms *cmd, aq_location_config_t *location)
{
    if (!location->rules) {
        location->rules = apr_pmemdup(cmd->pool, &nothing_set, sizeof(nothing_set));
    }
    return location->rules;
}

aq_location_rules_t *aq_rules_merge(apr_pool_t *p, aq_location_rules_t *outer, aq_location_rules_t *inner)
{
    aq_location_rules_t *merged;

    if (!outer || !inner) {
        return inner ? inner : outer;
    }
    merged = apr_pmemdup(p, inner, sizeof(*inner));
    if (inner->caller_count == AQ_UNSET) {
        memcpy(merged->callers, outer->callers, sizeof(merged->callers));
        merged->caller_count = outer->caller_count;
    }
    merged->plan_from = inner->plan_from ? inner->plan_from : outer->plan_from;
    merged->tenant_from = inner->tenant_from ? inner->tenant_from : outer->tenant_from;
    merged->default_plan = inner->default_plan ? inner->default_plan : outer->default_plan;
    merged->anonymous_plan = inner->anonymous_plan ? inner->anonymous_plan : outer->anonymous_plan;
    if (inner->cost == AQ_UNSET && !inner->cost_from) {
        merged->cost = outer->cost;
        merged->cost_from = outer->cost_from;
    }
    if (!inner->is_exempt_set) {
        merged->exempt = outer->exempt;
        merged->is_exempt_set = outer->is_exempt_set;
    }
    merged->sets_environment = inner->sets_environment == AQ_UNSET ? outer->sets_environment : inner->sets_environment;
    merged->early = aq_limits_merge(p, outer->early, inner->early);
    return merged;
}

int aq_rules_know_others(const aq_location_rules_t *rules)
{
    if (!rules) {
        return 0;
    }
    for (int i = 0; i < rules->caller_count; i++) {
        if (rules->callers[i].caller != AQ_CALLER_KEY) {
            return 1;
        }
    }
    return rules->anonymous_plan && *rules->anonymous_plan;
}

/* ---- check ------------------------------------------------------------------------------------------------------ */

static int is_plan_known(const aq_server_config_t *server, const char *directive, const char *plan, const char *section)
{
    if (!plan || !*plan || apr_hash_get(server->plans, plan, APR_HASH_KEY_STRING)) {
        return 1;
    }
    AQ_LOG(AQ_LOG_CRIT, 1502, 0, "%s: there is no <APIQuotaPlan> \"%s\" (in %s)", directive, plan, section);
    return 0;
}

static int is_location_right(const aq_server_config_t *server, const aq_location_config_t *location)
{
    const aq_location_rules_t *rules = location ? location->rules : NULL;
    const char *section = location && location->section ? location->section : "(server)";

    return !rules || (is_plan_known(server, "APIQuotaDefaultPlan", rules->default_plan, section) &&
                      is_plan_known(server, "APIQuotaAnonymousPlan", rules->anonymous_plan, section));
}

int aq_rules_check(const aq_server_config_t *server, server_rec *s)
{
    int is_right = 1;

    for (int i = 0; i < server->sections->nelts && is_right; i++) {
        is_right = is_location_right(server, APR_ARRAY_IDX(server->sections, i, const aq_location_config_t *));
    }
    for (; s && is_right; s = s->next) {
        is_right = is_location_right(server, ap_get_module_config(s->lookup_defaults, &apiquota_module));
    }
    return is_right ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- setters ---------------------------------------------------------------------------------------------------- */

const char *aq_rule_principal(cmd_parms *cmd, void *location, const char *source)
{
    static const char *const names[] = {[AQ_CALLER_KEY] = "key", [AQ_CALLER_USER] = "user", [AQ_CALLER_IP] = "ip"};
    aq_location_rules_t *rules = aq_rules_of(cmd, location);
    aq_caller_source_t added = {.caller = AQ_CALLER_EXPR};
    const char *error = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (ap_cstr_casecmp(source, names[i]) == 0) {
            added.caller = (aq_caller_t)i;
        }
    }
    if (added.caller == AQ_CALLER_EXPR) {
        error = aq_expr_is(source) ? aq_expr_parse(cmd, source, AQ_EXPR_TEXT, &added.expr)
                                   : aq_not_allowed(cmd, source, "key, user, ip, expr=...");
    }
    if (error) {
        return error;
    }
    if (rules->caller_count == AQ_CALLERS_MAX) {
        return aq_not_allowed(cmd, source, "up to four ways to know a caller");
    }
    rules->caller_count = rules->caller_count == AQ_UNSET ? 0 : rules->caller_count;
    rules->callers[rules->caller_count++] = added;
    aq_config_server(cmd->server)->knows_others |= added.caller != AQ_CALLER_KEY;
    return NULL;
}

static const char *text_rule_set(cmd_parms *cmd, const char *line, const ap_expr_info_t **expr)
{
    const char *argument = aq_expr_argument(cmd, line);

    return argument ? aq_expr_parse(cmd, argument, AQ_EXPR_TEXT, expr) : aq_not_allowed(cmd, line, "expr=...");
}

const char *aq_rule_plan_from(cmd_parms *cmd, void *location, const char *line)
{
    return text_rule_set(cmd, line, &aq_rules_of(cmd, location)->plan_from);
}

const char *aq_rule_tenant_from(cmd_parms *cmd, void *location, const char *line)
{
    return text_rule_set(cmd, line, &aq_rules_of(cmd, location)->tenant_from);
}

const char *aq_rule_default_plan(cmd_parms *cmd, void *location, const char *name)
{
    aq_rules_of(cmd, location)->default_plan = name;
    return *name ? NULL : aq_not_allowed(cmd, name, "the name of an <APIQuotaPlan>");
}

const char *aq_rule_anonymous_plan(cmd_parms *cmd, void *location, const char *name)
{
    int is_deny = ap_cstr_casecmp(name, "deny") == 0;

    aq_rules_of(cmd, location)->anonymous_plan = is_deny ? "" : name;
    aq_config_server(cmd->server)->knows_others |= !is_deny;
    return *name ? NULL : aq_not_allowed(cmd, name, "the name of an <APIQuotaPlan>, or deny");
}

const char *aq_rule_cost(cmd_parms *cmd, void *location, const char *line)
{
    aq_location_rules_t *rules = aq_rules_of(cmd, location);
    const char *argument = aq_expr_argument(cmd, line);

    rules->cost = AQ_UNSET;
    rules->cost_from = NULL;
    if (argument && aq_expr_is(argument)) {
        return aq_expr_parse(cmd, argument, AQ_EXPR_TEXT, &rules->cost_from);
    }
    if (!argument || aq_cost_parse(argument, &rules->cost) != APR_SUCCESS) {
        return aq_not_allowed(cmd, argument, "a whole number from 1 to 4000000000, or expr=...");
    }
    return NULL;
}

const char *aq_rule_exempt(cmd_parms *cmd, void *location, const char *line)
{
    aq_location_rules_t *rules = aq_rules_of(cmd, location);
    const char *argument = aq_expr_argument(cmd, line);

    rules->is_exempt_set = 1;
    rules->exempt = NULL;
    if (!argument) {
        return aq_not_allowed(cmd, line, "expr=..., none");
    }
    return ap_cstr_casecmp(argument, "none") == 0 ? NULL
                                                  : aq_expr_parse(cmd, argument, AQ_EXPR_CONDITION, &rules->exempt);
}

const char *aq_rule_env(cmd_parms *cmd, void *location, int is_on)
{
    aq_rules_of(cmd, location)->sets_environment = is_on;
    return NULL;
}
