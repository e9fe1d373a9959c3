/* SPDX-License-Identifier: Apache-2.0 */
/* Callers without a key: see callers.h. */
#include "httpd/callers.h"

#include "httpd/httpd_log.h"
#include "httpd/phases.h"
#include "httpd/refusal.h"

#include <apr_strings.h>
#include <string.h>

/* Of whom the keys file does not know another. */
#define BILLING_DAY_DEFAULT 1

/* How a kind of caller is told from the others, where keys, users and addresses could have one name. */
static const struct {
    aq_per_t per;
    const char *word;
} kinds[] = {
    [AQ_CALLER_KEY] = {AQ_PER_KEY, "key"},
    [AQ_CALLER_USER] = {AQ_PER_USER, "user"},
    [AQ_CALLER_IP] = {AQ_PER_IP, "ip"},
    [AQ_CALLER_EXPR] = {AQ_PER_EXPR, "expr"},
};

const char *aq_caller_name(request_rec *r, const aq_caller_source_t *source)
{
    const char *name = NULL;

    if (source->caller == AQ_CALLER_USER) {
        name = r->user;
    } else if (source->caller == AQ_CALLER_IP) {
        name = aq_request_address(r);
    } else if (source->expr) {
        name = aq_expr_text(r, source->expr);
    }
    return name && *name ? apr_pstrdup(aq_request_initial(r)->pool, name) : NULL;
}

static int refuse(request_rec *r, const char *code, const char *detail)
{
    return aq_quota_refuse(r, &(aq_problem_t){.status = HTTP_FORBIDDEN, .code = code, .detail = detail});
}

/* The tenant that the location's expression names, in the request's pool; NULL for none. 0 where it can be no tenant. */
static int tenant_name(request_rec *r, const aq_request_t *request, const aq_location_rules_t *rules, const char **name)
{
    const char *text = rules->tenant_from ? aq_expr_text(r, rules->tenant_from) : "";

    *name = *text ? apr_pstrdup(request->pool, text) : NULL;
    if (*name && !aq_principal_name_is_valid(*name)) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1504, 0, "APIQuotaTenantFrom: \"%.80s\" can be no tenant's name (request %s)", *name,
                     aq_request_id(r));
        return 0;
    }
    return 1;
}

/* The plan of a caller whom the keys file does not know; NULL: none. */
static const aq_plan_t *plan_find(request_rec *r, const aq_location_rules_t *rules)
{
    apr_hash_t *plans = aq_config_server(r->server)->plans;
    const char *name = rules->plan_from ? aq_expr_text(r, rules->plan_from) : "";
    const aq_plan_t *plan = *name ? apr_hash_get(plans, name, APR_HASH_KEY_STRING) : NULL;

    if (*name && !plan) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1505, 0, "APIQuotaPlanFrom: there is no plan \"%.80s\"; %s (request %s)", name,
                     rules->default_plan ? "the default plan holds" : "there is no default plan", aq_request_id(r));
    }
    return plan || !rules->default_plan ? plan : apr_hash_get(plans, rules->default_plan, APR_HASH_KEY_STRING);
}

/* What the keys file, or the store in its place, says of the tenant; NULL: nothing. Its set is held as long as the request
 * lives. */
static aq_identified_t tenant_find(request_rec *r, aq_request_t *request, const char *name,
                                   const aq_principal_t **known)
{
    const aq_runtime_t *runtime = aq_config_server(r->server)->runtime;
    const aq_key_set_t *set = name ? aq_request_key_set(r, request) : NULL;
    aq_identified_t found;

    *known = set ? aq_key_set_tenant(set, name) : NULL;
    if (!name || !runtime->key_lookup) {
        return AQ_IDENTIFIED;
    }
    found = aq_key_lookup_tenant(runtime->key_lookup, name, request->now_ms, request->pool, &set, known);
    aq_request_key_set_keep(request, set);
    return found;
}

/* A principal with nothing but its own identity: it is a tenant of its own. */
static aq_principal_t *principal_make(request_rec *r, const aq_request_t *request, aq_caller_t caller, const char *name)
{
    static apr_array_header_t no_limits = {.elt_size = sizeof(const aq_limit_t *)};
    const aq_hash_secret_t *secret = &aq_config_server(r->server)->runtime->store->secret;
    aq_principal_t *principal = apr_pcalloc(request->pool, sizeof(*principal));

    principal->key_id = name;
    principal->tenant = apr_psprintf(request->pool, "%s%c%s", kinds[caller].word, AQ_OWN_TENANT_SIGN, name);
    principal->plan = "";
    principal->limits = &no_limits;
    principal->subject[AQ_PER_KEY] = aq_subject_hash(secret, kinds[caller].per, name);
    principal->subject[AQ_PER_TENANT] = principal->subject[AQ_PER_KEY];
    return principal;
}

static void plan_set(request_rec *r, const aq_request_t *request, aq_principal_t *principal, const aq_plan_t *plan)
{
    const aq_hash_secret_t *secret = &aq_config_server(r->server)->runtime->store->secret;

    if (plan) {
        principal->plan = plan->name;
        principal->plan_tally = plan->tally;
        principal->limits = aq_limits_anchor(request->pool, plan->limits, BILLING_DAY_DEFAULT, secret);
    }
}

/* The tenant's name, plan, limits and counters, whoever of it asks. */
static void tenant_set(request_rec *r, aq_principal_t *principal, const aq_principal_t *known, const char *tenant)
{
    const aq_hash_secret_t *secret = &aq_config_server(r->server)->runtime->store->secret;

    principal->tenant = tenant;
    if (!known) {
        principal->subject[AQ_PER_TENANT] = aq_subject_hash(secret, AQ_PER_TENANT, tenant);
        return;
    }
    principal->subject[AQ_PER_TENANT] = known->subject[AQ_PER_TENANT];
    principal->plan = known->plan;
    principal->plan_tally = known->plan_tally;
    principal->limits = known->limits;
}

int aq_caller_principal(request_rec *r, aq_request_t *request, aq_caller_t caller, const char *name)
{
    const aq_location_config_t *location = aq_config_location(r);
    aq_principal_t *principal = principal_make(r, request, caller, name);
    const aq_principal_t *known;
    const char *tenant;

    if (!tenant_name(r, request, location->rules, &tenant)) {
        return refuse(r, "tenant-unknown", "The caller's tenant cannot be told.");
    }
    if (tenant_find(r, request, tenant, &known) == AQ_KEYS_AWAY) {
        request->identified = AQ_KEYS_AWAY;
        return aq_quota_refuse(r, &(aq_problem_t){.status = HTTP_SERVICE_UNAVAILABLE,
                                                  .code = "keys-unavailable",
                                                  .detail = "It cannot be known now what the tenant may do. Try again.",
                                                  .retry_after_s = 1});
    }
    if (!known) {
        plan_set(r, request, principal, plan_find(r, location->rules));
    }
    if (tenant) {
        tenant_set(r, principal, known, tenant);
    }
    if (!*principal->plan && (location->rules->plan_from || !location->limits)) {
        AQ_LOG(AQ_LOG_INFO, 1506, 0, "%s \"%s\" has no plan here and is refused (request %s)", kinds[caller].word, name,
               aq_request_id(r));
        return refuse(r, "plan-missing", "The caller has no plan for this API.");
    }
    request->principal = principal;
    return OK;
}

int aq_caller_anonymous(request_rec *r, aq_request_t *request)
{
    const aq_location_rules_t *rules = aq_config_location(r)->rules;
    aq_principal_t *principal = principal_make(r, request, AQ_CALLER_IP, aq_request_address(r));

    plan_set(r, request, principal,
             apr_hash_get(aq_config_server(r->server)->plans, rules->anonymous_plan, APR_HASH_KEY_STRING));
    request->principal = principal;
    return OK;
}
