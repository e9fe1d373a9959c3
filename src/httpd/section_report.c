/* SPDX-License-Identifier: Apache-2.0 */
/* What holds at each <Location>: see section_report.h. */
#include "httpd/section_report.h"

#include "httpd/rules.h"
#include "httpd/url_sections.h"
#include "limit/runtime_sections.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <string.h>
#include <util_cfgtree.h>

/* What holds for a request to the section's own path. */
static const aq_location_config_t *merged_at(apr_pool_t *ptemp, const server_rec *s, const char *path)
{
    const apr_array_header_t *sections = aq_url_sections_of(s);
    aq_location_config_t *merged = aq_url_section_ours(s->lookup_defaults);

    for (int i = 0; i < sections->nelts; i++) {
        aq_url_section_t *section = APR_ARRAY_IDX(sections, i, aq_url_section_t *);
        aq_location_config_t *ours = aq_url_section_ours(section);

        if (ours && aq_url_section_is_plain(section) && aq_section_encloses(aq_url_section_core(section)->d, path)) {
            merged = merged ? aq_config_location_merge(ptemp, merged, ours) : ours;
        }
    }
    return merged;
}

/* ---- one section ------------------------------------------------------------------------------------------------ */

static void name_add(json_t *names, const char *name)
{
    if (!aq_runtime_names_hold(names, name)) {
        (void)json_array_append_new(names, json_string(name));
    }
}

static json_t *callers_json(const aq_location_rules_t *rules)
{
    static const char *const names[] = {
        [AQ_CALLER_KEY] = "key", [AQ_CALLER_USER] = "user", [AQ_CALLER_IP] = "ip", [AQ_CALLER_EXPR] = "expr"};
    json_t *callers = json_array();

    if (!rules || rules->caller_count == AQ_UNSET) {
        name_add(callers, names[AQ_CALLER_KEY]);
    }
    for (int i = 0; rules && i < rules->caller_count; i++) {
        name_add(callers, names[rules->callers[i].caller]);
    }
    if (rules && rules->anonymous_plan && *rules->anonymous_plan) {
        name_add(callers, "anonymous");
    }
    return callers;
}

static void limit_names_add(json_t *names, const apr_array_header_t *limits)
{
    for (int i = 0; limits && i < limits->nelts; i++) {
        name_add(names, APR_ARRAY_IDX(limits, i, const aq_limit_t *)->name);
    }
}

static json_t *own_json(const aq_location_config_t *own)
{
    json_t *names = json_array();

    limit_names_add(names, own->limits);
    limit_names_add(names, own->rules ? own->rules->early : NULL);
    return names;
}

/* `own`: what the section at `path` says itself. */
static json_t *section_json(apr_pool_t *ptemp, const server_rec *s, const char *path, const aq_location_config_t *own)
{
    const aq_location_config_t *merged = merged_at(ptemp, s, path);
    const aq_location_rules_t *rules = merged->rules;
    const int finds_plans = rules && (rules->plan_from || rules->tenant_from || rules->default_plan);

    return json_pack("{s:s, s:s*, s:b, s:o, s:b, s:o, s:o}", "section", path, "host",
                     s->is_virtual ? s->server_hostname : NULL, "is_on", merged->quota > AQ_QUOTA_OFF, "callers",
                     callers_json(rules), "finds_plans", finds_plans, "limits",
                     aq_runtime_limits_write(ptemp, merged->limits), "own", own_json(own));
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

/* A virtual host has the main server's sections before its own. */
static json_t *list_json(const server_rec *main_server, apr_pool_t *ptemp)
{
    const aq_location_config_t *own_level = aq_url_section_ours(main_server->lookup_defaults);
    json_t *list = json_array();

    if (own_level && !own_level->is_default) {
        (void)json_array_append_new(list, section_json(ptemp, main_server, "", own_level));
    }
    for (const server_rec *s = main_server; s; s = s->next) {
        const apr_array_header_t *sections = aq_url_sections_of(s);
        const int first = s == main_server ? 0 : aq_url_sections_of(main_server)->nelts;

        for (int i = first; i < sections->nelts; i++) {
            aq_url_section_t *section = APR_ARRAY_IDX(sections, i, aq_url_section_t *);

            if (aq_url_section_ours(section) && aq_url_section_is_plain(section)) {
                (void)json_array_append_new(
                    list, section_json(ptemp, s, aq_url_section_core(section)->d, aq_url_section_ours(section)));
            }
        }
    }
    return list;
}

static int is_location_of(const server_rec *s, const aq_location_config_t *ours)
{
    for (; s; s = s->next) {
        const apr_array_header_t *sections = aq_url_sections_of(s);

        for (int i = 0; i < sections->nelts; i++) {
            aq_url_section_t *section = APR_ARRAY_IDX(sections, i, aq_url_section_t *);

            if (aq_url_section_is_plain(section) && aq_url_section_ours(section) == ours) {
                return 1;
            }
        }
    }
    return 0;
}

/* Settings of a virtual host's own level are such others: they reach into the sections of the main server. */
static int has_others(const server_rec *s)
{
    const aq_server_config_t *server = aq_config_server(s);

    for (int i = 0; i < server->sections->nelts; i++) {
        if (!is_location_of(s, APR_ARRAY_IDX(server->sections, i, const aq_location_config_t *))) {
            return 1;
        }
    }
    for (const server_rec *host = s->next; host; host = host->next) {
        const aq_location_config_t *ours = aq_url_section_ours(host->lookup_defaults);

        if (ours && !ours->is_default) {
            return 1;
        }
    }
    return 0;
}

/* AuthType other than ours and None, or what takes users from certificates. */
static int knows_users(const ap_directive_t *line)
{
    for (; line; line = line->next) {
        const int is_other_type = ap_cstr_casecmp(line->directive, "AuthType") == 0 &&
                                  ap_cstr_casecmp(line->args, "APIKey") != 0 &&
                                  ap_cstr_casecmp(line->args, "None") != 0;

        if (is_other_type || ap_cstr_casecmp(line->directive, "SSLUserName") == 0 || knows_users(line->first_child)) {
            return 1;
        }
    }
    return 0;
}

json_t *aq_section_report(const server_rec *s, apr_pool_t *ptemp)
{
    return json_pack("{s:o, s:b, s:b}", "list", list_json(s, ptemp), "has_others", has_others(s), "knows_users",
                     knows_users(ap_conftree));
}
