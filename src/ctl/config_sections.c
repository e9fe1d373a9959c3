/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl config check: what holds at locations. httpd tells it in runtime.json, each section merged with those around
 * it. Sections that may hold anywhere (patterns, <Directory>, <If>) could mend what is found here: where there are such,
 * what they could mend is not said.
 */
#include "base/aq_names.h"
#include "ctl/config_check.h"
#include "ctl/reach.h"

#include "limit/runtime_sections.h"

#include <apr_strings.h>
#include <string.h>

typedef struct {
    aq_check_t *check;
    apr_hash_t *plans;
    apr_array_header_t *list; /* of aq_runtime_section_t */
    unsigned key_count;
    int has_others, knows_users;
} sections_t;

static const aq_runtime_section_t *section_at(const sections_t *sections, int i)
{
    return &APR_ARRAY_IDX(sections->list, i, const aq_runtime_section_t);
}

static const char *place_of(const sections_t *sections, const aq_runtime_section_t *section)
{
    const char *path = *section->path ? section->path : "(server)";
    apr_pool_t *p = sections->check->ctl->p;

    return section->host ? apr_pstrcat(p, "location ", path, " of ", section->host, NULL)
                         : apr_pstrcat(p, "location ", path, NULL);
}

/* ---- limits that are not counted -------------------------------------------------------------------------------- */

static int is_counted_within(const sections_t *sections, const aq_runtime_section_t *outer)
{
    for (int i = 0; i < sections->list->nelts; i++) {
        if (section_at(sections, i)->is_on && aq_section_encloses(outer->path, section_at(sections, i)->path)) {
            return 1;
        }
    }
    return 0;
}

static void counted_check(const sections_t *sections, const aq_runtime_section_t *section)
{
    const json_t *name;
    size_t i;

    if (sections->has_others || is_counted_within(sections, section)) {
        return;
    }
    json_array_foreach(section->own, i, name)
    {
        aq_check_found(sections->check, place_of(sections, section),
                       "the limit \"%s\" is not counted: APIQuota is not On here", json_string_value(name));
    }
}

/* ---- callers ---------------------------------------------------------------------------------------------------- */

static int knows(const aq_runtime_section_t *section, const char *caller)
{
    return aq_runtime_names_hold(section->callers, caller);
}

/* Callers who are known by something else than a key, or by nothing. */
static int knows_strangers(const aq_runtime_section_t *section)
{
    return knows(section, "ip") || knows(section, "expr") || knows(section, "anonymous");
}

static void callers_check(const sections_t *sections, const aq_runtime_section_t *section)
{
    const int takes_users = knows(section, "user") && !sections->knows_users;
    const int needs_plan = knows(section, "user") || knows(section, "ip") || knows(section, "expr");
    const char *place = place_of(sections, section);

    if (takes_users) {
        aq_check_found(sections->check, place,
                       "APIQuotaPrincipal user knows nobody: there is no AuthType that would tell users");
    }
    if (needs_plan && !section->finds_plans && section->limits->nelts == 0) {
        aq_check_found(sections->check, place,
                       "callers without a key are refused: they have no plan (APIQuotaDefaultPlan, APIQuotaPlanFrom), "
                       "and there is no limit here");
    }
    if (knows(section, "key") && sections->key_count == 0 && !needs_plan && !knows(section, "anonymous")) {
        aq_check_found(sections->check, sections->check->ctl->keys_place->name,
                       "no key is in force: whatever comes to locations that know callers by keys alone is refused");
    }
}

/* Limits that count by what no caller has here. */
static void subjects_check(const sections_t *sections, const aq_runtime_section_t *section)
{
    const int has_tenants = knows(section, "key") || knows(section, "user") || section->finds_plans;

    for (int i = 0; i < section->limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(section->limits, i, const aq_limit_t *);
        const int is_by_tenant = limit->per == AQ_PER_TENANT || limit->per == AQ_PER_TENANT_ENDPOINT;

        if (is_by_tenant && !has_tenants && knows_strangers(section)) {
            aq_check_found(
                sections->check, place_of(sections, section),
                "the limit \"%s\" counts per=%s, but nobody here has a tenant: each caller is one of his own",
                limit->name, aq_per_name(limit->per));
        }
        if (limit->per == AQ_PER_USER && !sections->knows_users) {
            aq_check_found(
                sections->check, place_of(sections, section),
                "the limit \"%s\" counts per=user, but there is no AuthType that would tell users: it counts "
                "keys, or addresses",
                limit->name);
        }
    }
}

/* ---- limits out of reach ---------------------------------------------------------------------------------------- */

static const aq_limit_t *limit_named(const apr_array_header_t *limits, const char *name)
{
    for (int i = 0; i < limits->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(limits, i, const aq_limit_t *)->name, name) == 0) {
            return APR_ARRAY_IDX(limits, i, const aq_limit_t *);
        }
    }
    return NULL;
}

/* Of two that hide each other the first is the one that counts: 1 where `other` is that, or `limit` hides nothing of it. */
static int is_before(const apr_array_header_t *limits, const aq_limit_t *limit, int at)
{
    if (!aq_reach_is_hidden(APR_ARRAY_IDX(limits, at, const aq_limit_t *), limit)) {
        return 1;
    }
    for (int i = 0; i < at; i++) {
        if (APR_ARRAY_IDX(limits, i, const aq_limit_t *) == limit) {
            return 0;
        }
    }
    return 1;
}

/* The limit of `limits` that `limit` can never refuse beside. A limit of a plan yields to one of its name in `instead`. */
static const aq_limit_t *hidden_by(const aq_limit_t *limit, const apr_array_header_t *limits,
                                   const apr_array_header_t *instead)
{
    for (int i = 0; i < limits->nelts; i++) {
        const aq_limit_t *other = APR_ARRAY_IDX(limits, i, const aq_limit_t *);

        if (other != limit && !(instead && limit_named(instead, other->name)) && aq_reach_is_hidden(limit, other) &&
            is_before(limits, limit, i)) {
            return other;
        }
    }
    return NULL;
}

static void hidden_say(const sections_t *sections, const char *place, const aq_limit_t *limit, const aq_limit_t *other,
                       const char *whose)
{
    apr_pool_t *p = sections->check->ctl->p;

    aq_check_found(sections->check, place, "the limit \"%s\" (%s) can never be reached beside \"%s\" (%s)%s",
                   limit->name, aq_rate_text(p, &limit->rate), other->name, aq_rate_text(p, &other->rate), whose);
}

/* Beside others of the section, or in each plan beside one of the plan's. */
static void location_limit_check(const sections_t *sections, const aq_runtime_section_t *section,
                                 const aq_limit_t *limit)
{
    const aq_limit_t *other = hidden_by(limit, section->limits, NULL);
    const char *place = place_of(sections, section);

    if (other) {
        hidden_say(sections, place, limit, other, "");
        return;
    }
    other = NULL;
    const apr_array_header_t *names = aq_names_sorted(sections->check->ctl->p, sections->plans);
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        const aq_plan_t *plan = apr_hash_get(sections->plans, name, APR_HASH_KEY_STRING);

        other = hidden_by(limit, plan->limits, section->limits);
        if (!other) {
            return;
        }
    }
    if (other) {
        hidden_say(sections, place, limit, other, " of the plan, whichever it is");
    }
}

static void reach_check(const sections_t *sections, const aq_runtime_section_t *section)
{
    for (int i = 0; i < section->limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(section->limits, i, const aq_limit_t *);

        /* That of an enclosing section is told there. */
        if (aq_runtime_names_hold(section->own, limit->name)) {
            location_limit_check(sections, section, limit);
        }
    }
}

/* 1 where a limit of that name hides `limit` wherever that is charged; all of them are one counter. */
static int hides_everywhere(const sections_t *sections, const aq_limit_t *limit, const char *name)
{
    for (int i = 0; i < sections->list->nelts; i++) {
        const aq_runtime_section_t *section = section_at(sections, i);
        const aq_limit_t *other = limit_named(section->limits, name);

        if (section->is_on && !limit_named(section->limits, limit->name) &&
            !(other && aq_reach_is_hidden(limit, other) && !aq_reach_is_hidden(other, limit))) {
            return 0;
        }
    }
    return 1;
}

/* The limit of the locations beside which one of a plan refuses nothing anywhere, or NULL. */
static const aq_limit_t *hidden_everywhere(const sections_t *sections, const aq_limit_t *limit)
{
    for (int i = 0; i < sections->list->nelts; i++) {
        const aq_runtime_section_t *section = section_at(sections, i);

        for (int j = 0; section->is_on && j < section->limits->nelts; j++) {
            const aq_limit_t *other = APR_ARRAY_IDX(section->limits, j, const aq_limit_t *);
            if (aq_reach_is_hidden(limit, other) && hides_everywhere(sections, limit, other->name)) {
                return other;
            }
        }
    }
    return NULL;
}

static void plan_limits_check(const sections_t *sections, const aq_plan_t *plan)
{
    apr_pool_t *p = sections->check->ctl->p;

    for (int i = 0; i < plan->limits->nelts && !sections->has_others; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(plan->limits, i, const aq_limit_t *);
        const aq_limit_t *other = hidden_everywhere(sections, limit);

        if (other) {
            hidden_say(sections, apr_pstrcat(p, "plan ", plan->name, NULL), limit, other, " of the locations");
        }
    }
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static void section_check(const sections_t *sections, const aq_runtime_section_t *section)
{
    counted_check(sections, section);
    if (section->is_on) {
        callers_check(sections, section);
        subjects_check(sections, section);
        reach_check(sections, section);
    }
}

aq_ctl_exit_t aq_check_sections(aq_check_t *check, apr_hash_t *plans, unsigned key_count)
{
    const json_t *told = json_object_get(check->ctl->runtime, AQ_RUNTIME_SECTIONS);
    sections_t sections = {.check = check,
                           .plans = plans,
                           .key_count = key_count,
                           .has_others = json_is_true(json_object_get(told, "has_others")),
                           .knows_users = json_is_true(json_object_get(told, "knows_users"))};
    const apr_array_header_t *names;
    const char *error;

    if (aq_runtime_sections_read(check->ctl->p, json_object_get(told, "list"), &sections.list, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, AQ_RUNTIME_FILE ": %s", error);
    }
    for (int i = 0; i < sections.list->nelts; i++) {
        section_check(&sections, section_at(&sections, i));
    }
    names = aq_names_sorted(check->ctl->p, plans);
    for (int i = 0; i < names->nelts; i++) {
        plan_limits_check(&sections, apr_hash_get(plans, APR_ARRAY_IDX(names, i, const char *), APR_HASH_KEY_STRING));
    }
    return AQ_CTL_DONE;
}
