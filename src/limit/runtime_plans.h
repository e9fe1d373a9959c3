/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans as JSON: how the server tells other programs what its configuration says.
 *
 * httpd's parent writes STATE_DIR/runtime.json at each start and reload; apiquotactl reads it. Both use this file, and
 * reading goes through aq_limit_parse, so that there is one grammar of limits. Members of runtime.json:
 *
 *     { "plans":    { "basic": { "limits": [ { "name": "minute", "rate": "300/1m", "algorithm": "sliding",
 *                                              "per": "key", "headers": "primary", "message": "…" } ] } },
 *       "key_file": PATH,
 *       "store":    { "kind": "shm", "path": PATH },
 *       "queue":    { "kind": "sqlite", "path": PATH },
 *       "spool":    PATH,
 *       "user":     { "uid": 33, "gid": 33 },      who the server's children run as
 *       "sections": …,                             what holds at which location, see runtime_sections.h
 *       "worker":   … }                            owned by src/worker and src/batch
 *
 * "plans" alone is always there.
 */
#ifndef AQ_RUNTIME_PLANS_H
#define AQ_RUNTIME_PLANS_H

#include "base/aq_json.h"
#include "limit/plan.h"

/* Below the state folder; mode 0640. */
#define AQ_RUNTIME_FILE "runtime.json"

/* The value of "plans" for `plans` (name -> const aq_plan_t *). A new reference; NULL when memory ran out. */
json_t *aq_runtime_plans_write(apr_hash_t *plans);

/* The same for an array of const aq_limit_t *, also NULL: an array. `ptemp` is for scratch. */
json_t *aq_runtime_limits_write(apr_pool_t *ptemp, const apr_array_header_t *limits);

/* Reads such an array (not changed) into one of aq_limit_t * in `p`. Errors as below. */
apr_status_t aq_runtime_limits_read(apr_pool_t *p, const json_t *json, const aq_hash_secret_t *secret,
                                    apr_array_header_t **limits, const char **error);

/*
 * Reads the value of "plans" (not changed) into a new hash (name -> aq_plan_t *) in `p`: plans are sealed, and their
 * limits identified for `secret` where that is not NULL. APR_EGENERAL and a sentence in `p` at `*error` that names the
 * plan and what is wrong.
 */
apr_status_t aq_runtime_plans_read(apr_pool_t *p, json_t *json, const aq_hash_secret_t *secret, apr_hash_t **plans,
                                   const char **error);

/* The rate as RATE text that aq_rate_parse reads back: "300/15m", "unlimited/month". In `p`. */
const char *aq_rate_text(apr_pool_t *p, const aq_rate_t *rate);

#endif
