/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules: what a location may say about who asks, what a request costs, and what is not counted.
 *
 * Most locations say nothing of it: keys alone, one unit a request. So the rules lie behind one pointer of the location's
 * settings, NULL where none is set. AQ_RULE_DIRECTIVES holds the rows for directives.c.
 */
#ifndef AQ_RULES_H
#define AQ_RULES_H

#include "httpd/config.h"
#include "httpd/expr.h"

/* Whom a request is counted for. */
typedef enum { AQ_CALLER_KEY, AQ_CALLER_USER, AQ_CALLER_IP, AQ_CALLER_EXPR } aq_caller_t;

#define AQ_CALLERS_MAX 4

/* One entry of APIQuotaPrincipal, in the order written. */
typedef struct {
    aq_caller_t caller;
    const ap_expr_info_t *expr; /* with AQ_CALLER_EXPR */
} aq_caller_source_t;

struct aq_location_rules_t {
    aq_caller_source_t callers[AQ_CALLERS_MAX];
    int caller_count;                  /* AQ_UNSET: keys alone */
    const ap_expr_info_t *plan_from;   /* NULL: none */
    const ap_expr_info_t *tenant_from; /* NULL: none */
    const char *default_plan;          /* NULL: none */
    const char *anonymous_plan;        /* NULL: not said; "": deny */
    int64_t cost;                      /* AQ_UNSET: 1 */
    const ap_expr_info_t *cost_from;   /* takes the place of `cost`; NULL: none */
    const ap_expr_info_t *exempt;      /* NULL: none */
    int is_exempt_set;                 /* 1: said here, were it "none" */
    int sets_environment;              /* 0, 1 or AQ_UNSET */
    apr_array_header_t *early;         /* of aq_limit_t *: limits of phase=early; NULL: none */
};

/* Either may be NULL; the result is NULL where both are. Member by member the inner one wins; early limits add up. */
aq_location_rules_t *aq_rules_merge(apr_pool_t *p, aq_location_rules_t *outer, aq_location_rules_t *inner);

/* The rules of the section that is being read, made where it has none yet. */
aq_location_rules_t *aq_rules_of(const cmd_parms *cmd, aq_location_config_t *location);

/* 1 where a request without a key can be let in: by its user, its address, or as nobody. `rules` may be NULL. */
int aq_rules_know_others(const aq_location_rules_t *rules);

/* At start-up: OK, or a configuration error, logged, where a plan is named that there is not. */
int aq_rules_check(const aq_server_config_t *server, server_rec *s);

const char *aq_rule_principal(cmd_parms *cmd, void *location, const char *source);
const char *aq_rule_plan_from(cmd_parms *cmd, void *location, const char *line);
const char *aq_rule_tenant_from(cmd_parms *cmd, void *location, const char *line);
const char *aq_rule_default_plan(cmd_parms *cmd, void *location, const char *name);
const char *aq_rule_anonymous_plan(cmd_parms *cmd, void *location, const char *name);
const char *aq_rule_cost(cmd_parms *cmd, void *location, const char *line);
const char *aq_rule_exempt(cmd_parms *cmd, void *location, const char *line);
const char *aq_rule_env(cmd_parms *cmd, void *location, int is_on);

#define AQ_IN_LOCATION (RSRC_CONF | ACCESS_CONF)

#define AQ_RULE_DIRECTIVES                                                                                             \
    AP_INIT_ITERATE("APIQuotaPrincipal", aq_rule_principal, NULL, AQ_IN_LOCATION,                                      \
                    "whom requests are counted for: key, user, ip, expr=..."),                                         \
        AP_INIT_RAW_ARGS("APIQuotaPlanFrom", aq_rule_plan_from, NULL, AQ_IN_LOCATION,                                  \
                         "the plan of a caller without a key: expr=..."),                                              \
        AP_INIT_RAW_ARGS("APIQuotaTenantFrom", aq_rule_tenant_from, NULL, AQ_IN_LOCATION,                              \
                         "the tenant of a caller without a key: expr=..."),                                            \
        AP_INIT_TAKE1("APIQuotaDefaultPlan", aq_rule_default_plan, NULL, AQ_IN_LOCATION,                               \
                      "the plan of a caller who has no other"),                                                        \
        AP_INIT_TAKE1("APIQuotaAnonymousPlan", aq_rule_anonymous_plan, NULL, AQ_IN_LOCATION,                           \
                      "the plan of callers whom nothing identifies, by address: NAME or deny"),                        \
        AP_INIT_RAW_ARGS("APIQuotaCost", aq_rule_cost, NULL, AQ_IN_LOCATION, "what a request costs: N or expr=..."),   \
        AP_INIT_RAW_ARGS("APIQuotaExempt", aq_rule_exempt, NULL, AQ_IN_LOCATION,                                       \
                         "requests that are not counted: expr=... or none"),                                           \
        AP_INIT_FLAG("APIQuotaEnv", aq_rule_env, NULL, AQ_IN_LOCATION,                                                 \
                     "whether APIQUOTA_* are set for logs and backends: On or Off")

#endif
