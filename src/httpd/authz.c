/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorisation: Require api-plan, api-scope and api-tenant, as httpd users know Require.
 *
 * httpd asks a provider first with no user known, then again after authentication. Each line names one or more values;
 * any of them will do.
 */
#include "httpd/exempt.h"
#include "httpd/phases.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_request.h>
#include <mod_auth.h>
#include <string.h>

typedef int holds_fn(const aq_principal_t *principal, const char *name);

/* What a line asks for, and what its 403 says. */
typedef struct {
    holds_fn *holds;
    const char *code, *detail;
    int tells_names; /* those of the line stand behind the detail */
} asked_t;

static int holds_plan(const aq_principal_t *principal, const char *name)
{
    return strcmp(principal->plan, name) == 0;
}

static int holds_tenant(const aq_principal_t *principal, const char *name)
{
    return strcmp(principal->tenant, name) == 0;
}

/* Should it come to a 403. Another line may yet let the caller in: then the next phase drops this. */
static void denial_note(request_rec *r, const char *line, const asked_t *asked)
{
    aq_request_t *request = aq_request_state(r);
    const char *detail =
        asked->tells_names ? apr_pstrcat(request->pool, asked->detail, ": ", line, NULL) : asked->detail;
    const aq_problem_t problem = {
        .status = HTTP_FORBIDDEN, .code = asked->code, .detail = apr_pstrcat(request->pool, detail, ".", NULL)};

    if (!request->problem) {
        request->problem = apr_pmemdup(request->pool, &problem, sizeof(problem));
    }
}

static authz_status any_check(request_rec *r, const char *line, const asked_t *asked)
{
    const aq_principal_t *principal = aq_request_principal(r);
    const char *name, *rest = line;

    /* A browser's question whether it may ask: there is nobody yet to hold anything. */
    if (aq_config_location(r)->quota > AQ_QUOTA_OFF && aq_exempt_is_preflight(r)) {
        return AUTHZ_GRANTED;
    }
    if (!r->user || !principal) {
        return AUTHZ_DENIED_NO_USER;
    }
    while (*(name = ap_getword_conf(r->pool, &rest))) {
        if (asked->holds(principal, name)) {
            return AUTHZ_GRANTED;
        }
    }
    denial_note(r, line, asked);
    return AUTHZ_DENIED;
}

static authz_status plan_check(request_rec *r, const char *line, const void *parsed)
{
    static const asked_t plan = {
        .holds = holds_plan, .code = "plan-refused", .detail = "The plan of this key does not allow this"};

    (void)parsed;
    return any_check(r, line, &plan);
}

static authz_status scope_check(request_rec *r, const char *line, const void *parsed)
{
    static const asked_t scope = {.holds = aq_principal_has_scope,
                                  .code = "scope-missing",
                                  .detail = "The key has no scope that this needs",
                                  .tells_names = 1};

    (void)parsed;
    return any_check(r, line, &scope);
}

static authz_status tenant_check(request_rec *r, const char *line, const void *parsed)
{
    static const asked_t tenant = {
        .holds = holds_tenant, .code = "tenant-refused", .detail = "The tenant of this key may not do this"};

    (void)parsed;
    return any_check(r, line, &tenant);
}

/* A plan that nobody can have would lock everybody out, silently. */
static const char *names_parse(cmd_parms *cmd, const char *line, const void **parsed)
{
    *parsed = NULL;
    if (!*ap_getword_conf(cmd->temp_pool, &line)) {
        return "Require api-plan, api-scope and api-tenant need one name or more";
    }
    return NULL;
}

static const authz_provider plan_provider = {plan_check, names_parse};
static const authz_provider scope_provider = {scope_check, names_parse};
static const authz_provider tenant_provider = {tenant_check, names_parse};

void aq_authz_register(apr_pool_t *p)
{
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "api-plan", AUTHZ_PROVIDER_VERSION, &plan_provider,
                              AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "api-scope", AUTHZ_PROVIDER_VERSION, &scope_provider,
                              AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "api-tenant", AUTHZ_PROVIDER_VERSION, &tenant_provider,
                              AP_AUTH_INTERNAL_PER_CONF);
}
