/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans as JSON, and back through the parser of APIQuotaLimit.
 */
#include "limit/runtime_plans.h"

#include "base/aq_names.h"

#include <apr_strings.h>
#include <inttypes.h>

/* The options of APIQuotaLimit, which are members of the same name. */
static const char *const option_names[] = {"algorithm", "burst",   "anchor", "per",
                                           "phase",     "headers", "store",  "message"};
#define OPTION_COUNT (int)(sizeof(option_names) / sizeof(option_names[0]))

const char *aq_rate_text(apr_pool_t *p, const aq_rate_t *rate)
{
    /* Clients see "1mo", which is no word of the grammar. */
    const char *period = rate->period == AQ_PERIOD_MONTH ? "month" : rate->text;

    return rate->is_unlimited ? apr_pstrcat(p, "unlimited/", period, NULL)
                              : apr_psprintf(p, "%" PRIu64 "/%s", rate->count, period);
}

/* Sets a member, or none for a NULL text. 0, or -1 when memory ran out. */
static int text_set(json_t *object, const char *name, const char *text)
{
    return text ? json_object_set_new(object, name, json_string(text)) : 0;
}

static const char *shown_text(apr_pool_t *p, const aq_limit_t *limit)
{
    switch (limit->shown) {
    case AQ_SHOWN_PRIMARY:
        return "primary";
    case AQ_SHOWN_SUFFIX:
        return apr_pstrcat(p, "suffix:", limit->header_suffix, NULL);
    case AQ_SHOWN_NONE:
        return "none";
    case AQ_SHOWN_AUTO:
    case AQ_SHOWN_LISTED:
        break;
    }
    return NULL;
}

/* The algorithm of a total, and of what runs at once, follows from the rate and is no option. */
static const char *algorithm_text(const aq_limit_t *limit)
{
    const aq_algorithm_t algorithm = limit->window.algorithm;

    return algorithm == AQ_ALGORITHM_TOTAL || algorithm == AQ_ALGORITHM_CONCURRENT ? NULL
                                                                                   : aq_algorithm_name(algorithm);
}

static const char *burst_text(apr_pool_t *p, const aq_limit_t *limit)
{
    return limit->window.algorithm == AQ_ALGORITHM_TOKEN_BUCKET ? apr_psprintf(p, "%" PRIu64, limit->capacity) : NULL;
}

static const char *anchor_text(apr_pool_t *p, const aq_limit_t *limit)
{
    const int anchor = limit->window.anchor;

    if (limit->window.period != AQ_PERIOD_MONTH || anchor == 1) {
        return NULL;
    }
    return anchor == AQ_ANCHOR_TENANT ? "tenant" : apr_itoa(p, anchor);
}

static const char *per_text(apr_pool_t *p, const aq_limit_t *limit)
{
    const char *name = aq_per_name(limit->per);

    return limit->per == AQ_PER_EXPR ? apr_pstrcat(p, name, "=", limit->expression, NULL) : name;
}

static const char *mode_text(const aq_limit_t *limit)
{
    static const char *const texts[] = {
        [AQ_LIMIT_AS_STORE] = NULL, [AQ_LIMIT_STRICT] = "strict", [AQ_LIMIT_LEASED] = "leased"};

    return texts[limit->mode];
}

static json_t *limit_write(apr_pool_t *ptemp, const aq_limit_t *limit)
{
    json_t *json = json_object();

    if (text_set(json, "name", limit->name) || text_set(json, "rate", aq_rate_text(ptemp, &limit->rate)) ||
        text_set(json, "algorithm", algorithm_text(limit)) || text_set(json, "burst", burst_text(ptemp, limit)) ||
        text_set(json, "anchor", anchor_text(ptemp, limit)) || text_set(json, "per", per_text(ptemp, limit)) ||
        text_set(json, "phase", limit->is_early ? "early" : NULL) ||
        text_set(json, "headers", shown_text(ptemp, limit)) || text_set(json, "store", mode_text(limit)) ||
        text_set(json, "message", limit->message)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *aq_runtime_limits_write(apr_pool_t *ptemp, const apr_array_header_t *limits)
{
    json_t *json = json_array();

    for (int i = 0; json && limits && i < limits->nelts; i++) {
        if (json_array_append_new(json, limit_write(ptemp, APR_ARRAY_IDX(limits, i, const aq_limit_t *)))) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static json_t *plan_write(apr_pool_t *ptemp, const aq_plan_t *plan)
{
    return json_pack("{s:o}", "limits", aq_runtime_limits_write(ptemp, plan->limits));
}

json_t *aq_runtime_plans_write(apr_hash_t *plans)
{
    const apr_array_header_t *names;
    json_t *json = json_object();
    apr_pool_t *ptemp;

    if (!json || apr_pool_create(&ptemp, apr_hash_pool_get(plans)) != APR_SUCCESS) {
        json_decref(json);
        return NULL;
    }
    names = aq_names_sorted(ptemp, plans);
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);

        if (json_object_set_new(json, name, plan_write(ptemp, apr_hash_get(plans, name, APR_HASH_KEY_STRING)))) {
            json_decref(json);
            json = NULL;
            break;
        }
    }
    apr_pool_destroy(ptemp);
    return json;
}

static apr_status_t limit_read(apr_pool_t *p, const json_t *json, aq_limit_t **limit, const char **error)
{
    const char *arguments[2 + OPTION_COUNT] = {aq_json_string(json, "name"), aq_json_string(json, "rate")};
    int count = 2;

    if (!arguments[0] || !arguments[1]) {
        *error = "a limit needs \"name\" and \"rate\"";
        return APR_EGENERAL;
    }
    for (int i = 0; i < OPTION_COUNT; i++) {
        const char *value = aq_json_string(json, option_names[i]);
        if (value) {
            arguments[count++] = apr_pstrcat(p, option_names[i], "=", value, NULL);
        }
    }
    return aq_limit_parse(p, arguments, count, limit, error);
}

apr_status_t aq_runtime_limits_read(apr_pool_t *p, const json_t *json, const aq_hash_secret_t *secret,
                                    apr_array_header_t **limits, const char **error)
{
    const json_t *item;
    size_t i;

    *limits = apr_array_make(p, AQ_LIMITS_MAX, sizeof(const aq_limit_t *));
    if (!json_is_array(json)) {
        *error = "\"limits\" is no array";
        return APR_EGENERAL;
    }
    json_array_foreach(json, i, item)
    {
        aq_limit_t *limit;
        apr_status_t rv = limit_read(p, item, &limit, error);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (secret) {
            aq_limit_identify(limit, secret);
        }
        APR_ARRAY_PUSH(*limits, aq_limit_t *) = limit;
    }
    return APR_SUCCESS;
}

static apr_status_t plan_read(apr_pool_t *p, const char *name, const json_t *json, const aq_hash_secret_t *secret,
                              aq_plan_t **plan, const char **error)
{
    apr_array_header_t *limits;
    apr_status_t rv = aq_plan_create(p, name, plan, error);

    if (rv == APR_SUCCESS) {
        rv = aq_runtime_limits_read(p, json_object_get(json, "limits"), secret, &limits, error);
    }
    for (int i = 0; rv == APR_SUCCESS && i < limits->nelts; i++) {
        rv = aq_plan_limit_add(p, *plan, APR_ARRAY_IDX(limits, i, aq_limit_t *), error);
    }
    if (rv == APR_SUCCESS) {
        aq_plan_seal(*plan);
    }
    return rv;
}

apr_status_t aq_runtime_plans_read(apr_pool_t *p, json_t *json, const aq_hash_secret_t *secret, apr_hash_t **plans,
                                   const char **error)
{
    const char *name, *reason = NULL;
    json_t *item;

    *error = NULL;
    *plans = apr_hash_make(p);
    if (!json_is_object(json)) {
        *error = "\"plans\" is no object";
        return APR_EGENERAL;
    }
    json_object_foreach(json, name, item)
    {
        aq_plan_t *plan;
        apr_status_t rv = plan_read(p, name, item, secret, &plan, &reason);
        if (rv != APR_SUCCESS) {
            *error = apr_psprintf(p, "plan \"%s\": %s", name, reason ? reason : "cannot be read");
            return rv;
        }
        apr_hash_set(*plans, plan->name, APR_HASH_KEY_STRING, plan);
    }
    return APR_SUCCESS;
}
