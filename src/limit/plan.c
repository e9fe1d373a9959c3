/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits and plans as data, and what an override makes of them. See plan.h.
 *
 * The identity of a limit is hashed from text, never from the bytes of a struct, since counters outlive the build that
 * made them. Names may hold no ":", so that no two texts can mean the same.
 */
#include "base/aq_names.h"
#include "limit/plan_parts.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define PLAN_NAME_MAX 64

static const char *const per_names[AQ_PER_COUNT] = {
    [AQ_PER_KEY] = "key",
    [AQ_PER_TENANT] = "tenant",
    [AQ_PER_ENDPOINT] = "endpoint",
    [AQ_PER_TENANT_ENDPOINT] = "tenant+endpoint",
    [AQ_PER_IP] = "ip",
    [AQ_PER_USER] = "user",
    [AQ_PER_EXPR] = "expr",
};

static const char *const algorithm_names[] = {
    [AQ_ALGORITHM_FIXED] = "fixed",           [AQ_ALGORITHM_SLIDING] = "sliding",
    [AQ_ALGORITHM_TOTAL] = "total",           [AQ_ALGORITHM_TOKEN_BUCKET] = "token-bucket",
    [AQ_ALGORITHM_CONCURRENT] = "concurrent",
};

const char *aq_per_name(aq_per_t per)
{
    return per_names[per];
}

const char *aq_algorithm_name(aq_algorithm_t algorithm)
{
    return algorithm_names[algorithm];
}

int aq_name_is_valid(const char *name, const char *letters, size_t max)
{
    size_t length = strlen(name);

    return length >= 1 && length <= max && strspn(name, letters) == length;
}

const char *aq_limit_name_error(apr_pool_t *p, const char *name)
{
    if (aq_name_is_valid(name, AQ_LOWER AQ_DIGITS "-_", AQ_LIMIT_NAME_MAX)) {
        return NULL;
    }
    return apr_psprintf(p,
                        "\"%.80s\" is no name for a limit: it may have 1 to %d characters, lower-case letters, digits, "
                        "\"-\" and \"_\"",
                        name, AQ_LIMIT_NAME_MAX);
}

static unsigned life_of(const aq_window_t *window)
{
    const int64_t life_s = aq_window_life_s(window);
    unsigned life = 0;

    if (window->algorithm == AQ_ALGORITHM_CONCURRENT) {
        return AQ_LIFE_MEMBERS;
    }
    while (life < AQ_LIFE_MEMBERS && INT64_C(1) << life < life_s) {
        life++;
    }
    return life < AQ_LIFE_MEMBERS ? life : AQ_LIFE_ENDLESS;
}

static unsigned traits_of(const aq_limit_t *limit)
{
    return (limit->window.algorithm == AQ_ALGORITHM_CONCURRENT ? AQ_LIMIT_IS_HELD : 0) |
           (limit->shown == AQ_SHOWN_SUFFIX ? AQ_LIMIT_HAS_SUFFIX : 0);
}

void aq_limit_identify(aq_limit_t *limit, const aq_hash_secret_t *secret)
{
    static const char *const period_names[] = {
        [AQ_PERIOD_SECONDS] = "seconds",
        [AQ_PERIOD_MONTH] = "month",
        [AQ_PERIOD_TOTAL] = "total",
        [AQ_PERIOD_CONCURRENT] = "concurrent",
    };
    const aq_window_t *window = &limit->window;
    char text[AQ_LIMIT_NAME_MAX + 64];
    int length = apr_snprintf(text, sizeof(text), "limit:%s:%s:%s:%u", limit->name, algorithm_names[window->algorithm],
                              period_names[window->period], window->period_s);

    if (window->anchor > 1) {
        length += apr_snprintf(text + length, sizeof(text) - (size_t)length, ":%d", window->anchor);
    }
    limit->identity = aq_hash_keyed(secret, text, (size_t)length);
    limit->life = life_of(window);
    limit->traits = traits_of(limit);
}

aq_hash128_t aq_subject_hash(const aq_hash_secret_t *secret, aq_per_t per, const char *name)
{
    char text[512];
    int length = apr_snprintf(text, sizeof(text), "subject:%s:", per_names[per]);
    size_t name_length = strlen(name);
    aq_hash128_t head;

    if (name_length <= sizeof(text) - (size_t)length) {
        memcpy(text + length, name, name_length);
        return aq_hash_keyed(secret, text, (size_t)length + name_length);
    }
    /* Too long for one piece: the kind and the hash of the name stand for it. */
    head = aq_hash_keyed(secret, name, name_length);
    memcpy(text + length, &head, sizeof(head));
    return aq_hash_keyed(secret, text, (size_t)length + sizeof(head));
}

aq_hash128_t aq_subject_join(const aq_hash_secret_t *secret, aq_per_t per, const aq_hash128_t *first,
                             const aq_hash128_t *second)
{
    char text[96];
    const size_t length = (size_t)apr_snprintf(text, sizeof(text), "subject:%s:", per_names[per]);

    memcpy(text + length, first, sizeof(*first));
    memcpy(text + length + sizeof(*first), second, sizeof(*second));
    return aq_hash_keyed(secret, text, length + sizeof(*first) + sizeof(*second));
}

apr_status_t aq_plan_create(apr_pool_t *p, const char *name, aq_plan_t **plan, const char **error)
{
    *plan = NULL;
    *error = NULL;
    if (!aq_name_is_valid(name, AQ_LOWER AQ_UPPER AQ_DIGITS "._-", PLAN_NAME_MAX)) {
        *error = apr_psprintf(p,
                              "\"%.80s\" is no name for a plan: it may have 1 to %d characters, letters, digits, "
                              "\".\", \"-\" and \"_\"",
                              name, PLAN_NAME_MAX);
        return APR_EGENERAL;
    }
    *plan = apr_palloc(p, sizeof(**plan));
    (*plan)->name = apr_pstrdup(p, name);
    (*plan)->limits = apr_array_make(p, 4, sizeof(const aq_limit_t *));
    return APR_SUCCESS;
}

static const aq_limit_t **limits_begin(const apr_array_header_t *limits)
{
    return (const aq_limit_t **)(void *)limits->elts;
}

const char *aq_limit_clash(apr_pool_t *p, const aq_limit_t *limit, const aq_limit_t *other)
{
    if (strcmp(limit->name, other->name) == 0) {
        return apr_psprintf(p, "there is a limit \"%s\" already", limit->name);
    }
    if (limit->shown == AQ_SHOWN_PRIMARY && other->shown == AQ_SHOWN_PRIMARY) {
        return apr_psprintf(p, "limit \"%s\" cannot be primary, since \"%s\" is", limit->name, other->name);
    }
    if (limit->shown == AQ_SHOWN_SUFFIX && other->shown == AQ_SHOWN_SUFFIX &&
        strcasecmp(limit->header_suffix, other->header_suffix) == 0) {
        return apr_psprintf(p, "limit \"%s\" cannot have the suffix \"%s\", since \"%s\" has it", limit->name,
                            limit->header_suffix, other->name);
    }
    return NULL;
}

apr_status_t aq_plan_limit_add(apr_pool_t *p, aq_plan_t *plan, aq_limit_t *limit, const char **error)
{
    *error = NULL;
    for (int i = 0; *error == NULL && i < plan->limits->nelts; i++) {
        *error = aq_limit_clash(p, limit, limits_begin(plan->limits)[i]);
    }
    if (*error == NULL && plan->limits->nelts >= AQ_LIMITS_MAX) {
        *error = apr_psprintf(p, "a plan may have %d limits, \"%s\" is one more", AQ_LIMITS_MAX, limit->name);
    }
    if (*error != NULL) {
        return APR_EGENERAL;
    }
    APR_ARRAY_PUSH(plan->limits, const aq_limit_t *) = limit;
    return APR_SUCCESS;
}

void aq_plan_seal(aq_plan_t *plan)
{
    const aq_limit_t **limits = limits_begin(plan->limits);
    int has_primary = 0;

    for (int i = 0; i < plan->limits->nelts; i++) {
        has_primary |= limits[i]->shown == AQ_SHOWN_PRIMARY;
    }
    for (int i = 0; i < plan->limits->nelts; i++) {
        if (limits[i]->shown == AQ_SHOWN_AUTO) {
            aq_limit_t *sealed = apr_pmemdup(plan->limits->pool, limits[i], sizeof(*sealed));

            sealed->shown = has_primary ? AQ_SHOWN_LISTED : AQ_SHOWN_PRIMARY;
            sealed->traits = traits_of(sealed);
            has_primary = 1;
            limits[i] = sealed;
        }
    }
}

const aq_limit_t *aq_plan_limit_find(const aq_plan_t *plan, const char *name)
{
    for (int i = 0; i < plan->limits->nelts; i++) {
        const aq_limit_t *limit = limits_begin(plan->limits)[i];

        if (strcmp(limit->name, name) == 0) {
            return limit;
        }
    }
    return NULL;
}

/* `*limit` as a copy with another rate. */
static const char *rate_override(apr_pool_t *p, const char *text, const aq_hash_secret_t *secret,
                                 const aq_limit_t **limit)
{
    aq_limit_t *copy = apr_pmemdup(p, *limit, sizeof(*copy));
    const char *error = aq_limit_rate_override(p, text, copy);

    if (error != NULL) {
        return apr_psprintf(p, "limit \"%s\": %s", copy->name, error);
    }
    aq_limit_identify(copy, secret);
    *limit = copy;
    return NULL;
}

static const char *limit_added(apr_pool_t *p, const char *name, const char *text, aq_per_t per,
                               const aq_hash_secret_t *secret, apr_array_header_t *result)
{
    const aq_limit_t fresh = {.name = apr_pstrdup(p, name), .per = per, .shown = AQ_SHOWN_NONE};
    const aq_limit_t *limit = &fresh;
    const char *error = aq_limit_name_error(p, name);

    if (error == NULL) {
        error = rate_override(p, text, secret, &limit);
    }
    if (error == NULL && result->nelts >= AQ_LIMITS_MAX) {
        error = apr_psprintf(p, "limit \"%s\" is one more than the %d that may apply at once", name, AQ_LIMITS_MAX);
    }
    if (error == NULL) {
        APR_ARRAY_PUSH(result, const aq_limit_t *) = limit;
    }
    return error;
}

/* The names in `overrides` that `limits` lacks, sorted, so that each load gives the same order. */
static apr_array_header_t *names_added(apr_pool_t *p, const apr_array_header_t *limits, apr_hash_t *overrides)
{
    apr_array_header_t *names = apr_array_make(p, 4, sizeof(const char *));
    const aq_plan_t plan = {.limits = apr_array_copy(p, limits)};

    const apr_array_header_t *all = aq_names_sorted(p, overrides);

    for (int i = 0; i < all->nelts; i++) {
        const char *name = APR_ARRAY_IDX(all, i, const char *);

        if (aq_plan_limit_find(&plan, name) == NULL) {
            APR_ARRAY_PUSH(names, const char *) = name;
        }
    }
    return names;
}

apr_status_t aq_limits_override(apr_pool_t *p, const apr_array_header_t *limits, apr_hash_t *overrides,
                                aq_per_t added_per, const aq_hash_secret_t *secret, apr_array_header_t **result,
                                const char **error)
{
    apr_array_header_t *merged = apr_array_copy(p, limits);
    const apr_array_header_t *added;

    *error = NULL;
    *result = NULL;
    for (int i = 0; overrides != NULL && *error == NULL && i < merged->nelts; i++) {
        const aq_limit_t **limit = &limits_begin(merged)[i];
        const char *text = apr_hash_get(overrides, (*limit)->name, APR_HASH_KEY_STRING);

        if (text != NULL) {
            *error = rate_override(p, text, secret, limit);
        }
    }
    added = overrides != NULL ? names_added(p, limits, overrides) : apr_array_make(p, 0, sizeof(const char *));
    for (int i = 0; *error == NULL && i < added->nelts; i++) {
        const char *name = APR_ARRAY_IDX(added, i, const char *);
        const char *text = apr_hash_get(overrides, name, APR_HASH_KEY_STRING);

        *error = limit_added(p, name, text, added_per, secret, merged);
    }
    if (*error != NULL) {
        return APR_EGENERAL;
    }
    *result = merged;
    return APR_SUCCESS;
}

apr_array_header_t *aq_limits_anchor(apr_pool_t *p, apr_array_header_t *limits, int billing_day,
                                     const aq_hash_secret_t *secret)
{
    apr_array_header_t *anchored = limits;

    for (int i = 0; i < limits->nelts; i++) {
        const aq_limit_t *limit = limits_begin(limits)[i];

        if (limit->window.period == AQ_PERIOD_MONTH && limit->window.anchor == AQ_ANCHOR_TENANT) {
            aq_limit_t *copy = apr_pmemdup(p, limit, sizeof(*copy));

            anchored = anchored == limits ? apr_array_copy(p, limits) : anchored;
            copy->window.anchor = billing_day;
            aq_limit_identify(copy, secret);
            limits_begin(anchored)[i] = copy;
        }
    }
    return anchored;
}

apr_array_header_t *aq_limits_merge(apr_pool_t *p, apr_array_header_t *outer, apr_array_header_t *inner)
{
    apr_array_header_t *merged;

    if (!outer || !inner) {
        return inner ? inner : outer;
    }
    merged = apr_array_make(p, outer->nelts + inner->nelts, sizeof(aq_limit_t *));
    for (int i = 0; i < outer->nelts; i++) {
        aq_limit_t *limit = APR_ARRAY_IDX(outer, i, aq_limit_t *);
        int is_replaced = 0;
        for (int j = 0; j < inner->nelts && !is_replaced; j++) {
            is_replaced = strcmp(limit->name, APR_ARRAY_IDX(inner, j, aq_limit_t *)->name) == 0;
        }
        if (!is_replaced) {
            APR_ARRAY_PUSH(merged, aq_limit_t *) = limit;
        }
    }
    apr_array_cat(merged, inner);
    return merged;
}
