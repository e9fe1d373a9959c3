/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections as JSON: the member "sections" of runtime.json, by which the server tells apiquotactl what holds where.
 *
 *     { "list": [ { "section": "/v1/search",             path of the <Location>; "": the server's own level
 *                   "host":    "api.example",            of its virtual host, where it stands in one
 *                   "is_on":   true,                     APIQuota On or DryRun
 *                   "callers": [ "key", "user" ],        APIQuotaPrincipal, and "anonymous" where there is such a plan
 *                   "finds_plans": true,                 callers without a key have a plan: a default one, or by expression
 *                   "limits":  [ … ],                    all that hold there beside the plan's, as in "plans"
 *                   "own":     [ "search" ] } ],         names of those that the section itself says, early ones too
 *       "has_others": false,                             sections with a pattern or of other kinds say something of ours
 *       "knows_users": true }                            something of httpd's can know users: an AuthType, SSLUserName
 *
 * Limits are those of enclosing sections, too.
 */
#ifndef AQ_RUNTIME_SECTIONS_H
#define AQ_RUNTIME_SECTIONS_H

#include "limit/runtime_plans.h"

#define AQ_RUNTIME_SECTIONS "sections"

/* One of them, as read. Strings are the JSON's, which must outlive it. */
typedef struct {
    const char *path, *host; /* host: NULL: the main server's */
    int is_on, finds_plans;
    const json_t *callers, *own; /* arrays of strings */
    apr_array_header_t *limits;  /* of const aq_limit_t * */
} aq_runtime_section_t;

/*
 * Reads the value of "list" into an array of aq_runtime_section_t in `p`; an empty one for NULL. APR_EGENERAL and a
 * sentence in `p` at `*error`.
 */
apr_status_t aq_runtime_sections_read(apr_pool_t *p, const json_t *list, apr_array_header_t **sections,
                                      const char **error);

/* 1 where a <Location> of the path `outer` holds for `path`: "/v1" for "/v1" and "/v1/x", not for "/v1x". */
int aq_section_encloses(const char *outer, const char *path);

/* 1 where the array of strings holds that one. */
int aq_runtime_names_hold(const json_t *names, const char *name);

#endif
