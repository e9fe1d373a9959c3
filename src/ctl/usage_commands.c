/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl usage: show and top look at what is used of each limit in the counter store; reset has it begin anew.
 *
 * The limits are those of plans and their overrides. Limits of a location alone are no part of a plan and do not show.
 */
#include "ctl/ctl.h"

#include "limit/daily.h"
#include "limit/runtime_plans.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

/* What the rows are gathered with. */
typedef struct {
    const aq_ctl_t *ctl;
    aq_counter_store_t *store;
    apr_hash_t *tenants_seen; /* limits per tenant that have a row already, by tenant, limit and rate */
    json_t *rows;
    int is_reset;
} usage_t;

/* A limit per tenant is the same for all its keys: one row will do. */
static int is_seen(usage_t *usage, const aq_principal_t *principal, const aq_limit_t *limit)
{
    const char *name;

    if (limit->per != AQ_PER_TENANT) {
        return 0;
    }
    name = apr_pstrcat(usage->ctl->p, principal->tenant, " ", limit->name, " ",
                       aq_rate_text(usage->ctl->p, &limit->rate), NULL);
    if (apr_hash_get(usage->tenants_seen, name, APR_HASH_KEY_STRING)) {
        return 1;
    }
    apr_hash_set(usage->tenants_seen, name, APR_HASH_KEY_STRING, name);
    return 0;
}

static json_t *number_or_null(uint64_t number, int is_null)
{
    return is_null ? json_null() : json_integer((json_int_t)number);
}

static json_t *row_of(const aq_ctl_t *ctl, const aq_principal_t *principal, const aq_counter_t *counter)
{
    const aq_limit_t *limit = counter->limit;
    int is_unlimited = limit->rate.is_unlimited, is_endless = counter->reset_at_ms == AQ_TIME_NEVER;

    return json_pack("{s:s, s:s, s:s?, s:s, s:s, s:I, s:o, s:o, s:o}", "tenant", principal->tenant, "plan",
                     principal->plan, "key", limit->per == AQ_PER_KEY ? principal->key_id : NULL, "limit", limit->name,
                     "rate", aq_rate_text(ctl->p, &limit->rate), "used", (json_int_t)counter->used, "count",
                     number_or_null(limit->capacity, is_unlimited), "remaining",
                     number_or_null(counter->remaining, is_unlimited), "reset",
                     is_endless ? json_null() : aq_json_time(counter->reset_at_ms));
}

static int limit_is_wanted(const usage_t *usage, const aq_limit_t *limit)
{
    const apr_array_header_t *names = usage->ctl->limits;

    /* The keys file knows no addresses, users or endpoints. What a tenant's keys share is not one key's to reset. */
    if (limit->per > AQ_PER_TENANT || aq_daily_is(limit) ||
        (usage->is_reset && usage->ctl->key && limit->per == AQ_PER_TENANT)) {
        return 0;
    }
    for (int i = 0; i < names->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(names, i, const char *), limit->name) == 0) {
            return 1;
        }
    }
    return names->nelts == 0;
}

static unsigned counters_of(const usage_t *usage, const aq_principal_t *principal, aq_counter_t counters[AQ_LIMITS_MAX])
{
    unsigned count = 0;

    memset(counters, 0, AQ_LIMITS_MAX * sizeof(*counters));
    for (int i = 0; i < principal->limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(principal->limits, i, const aq_limit_t *);
        if (limit_is_wanted(usage, limit)) {
            counters[count].limit = limit;
            counters[count].home = &principal->subject[AQ_PER_TENANT];
            counters[count++].key = aq_hash_join(limit->identity, principal->subject[limit->per]);
        }
    }
    return count;
}

/* Looks at, or resets, what that principal has used, and makes rows of it. */
static aq_ctl_exit_t principal_look(usage_t *usage, const aq_principal_t *principal)
{
    aq_counter_t counters[AQ_LIMITS_MAX];
    const unsigned count = counters_of(usage, principal, counters);
    apr_status_t rv = usage->is_reset ? aq_counter_store_reset(usage->store, counters, count, usage->ctl->now_ms)
                                      : aq_counter_store_look(usage->store, counters, count, usage->ctl->now_ms);

    if (rv != APR_SUCCESS) {
        char reason[128];
        return aq_ctl_fail(AQ_CTL_REFUSED, "the counter store: %s", apr_strerror(rv, reason, sizeof(reason)));
    }
    for (unsigned i = 0; i < count; i++) {
        if (!is_seen(usage, principal, counters[i].limit)) {
            (void)json_array_append_new(usage->rows, row_of(usage->ctl, principal, &counters[i]));
        }
    }
    return AQ_CTL_DONE;
}

static int is_wanted(const aq_ctl_t *ctl, const aq_principal_t *principal)
{
    return (!ctl->tenant || strcmp(ctl->tenant, principal->tenant) == 0) &&
           (!ctl->key || strcmp(ctl->key, principal->key_id) == 0);
}

static aq_ctl_exit_t rows_gather(usage_t *usage, const aq_key_set_t *set)
{
    const apr_array_header_t *principals = aq_key_set_list(set, usage->ctl->p);
    aq_ctl_exit_t code = AQ_CTL_DONE;
    int wanted = 0;

    for (int i = 0; code == AQ_CTL_DONE && i < principals->nelts; i++) {
        const aq_principal_t *principal = APR_ARRAY_IDX(principals, i, const aq_principal_t *);
        if (is_wanted(usage->ctl, principal)) {
            wanted++;
            code = principal_look(usage, principal);
        }
    }
    if (code == AQ_CTL_DONE && wanted == 0 && (usage->ctl->tenant || usage->ctl->key)) {
        code = aq_ctl_fail(AQ_CTL_REFUSED, "no key in force is of that tenant or id (see apiquotactl config check)");
    }
    return code;
}

/* Gathers the rows of all that were asked for; `usage->store` is open. AQ_CTL_DONE, with rows to be released. */
static aq_ctl_exit_t usage_gather(aq_ctl_t *ctl, usage_t *usage)
{
    const aq_key_set_t *set;
    apr_hash_t *plans;
    aq_ctl_exit_t code = aq_ctl_plans_load(ctl, &usage->store->secret, &plans);

    if (code == AQ_CTL_DONE) {
        code = aq_ctl_keys_load(ctl, plans, &usage->store->secret, &set, NULL);
    }
    if (code != AQ_CTL_DONE) {
        return code;
    }
    usage->tenants_seen = apr_hash_make(ctl->p);
    usage->rows = json_array();
    code = rows_gather(usage, set);
    if (code == AQ_CTL_DONE && json_array_size(usage->rows) == 0 && ctl->limits->nelts > 0) {
        code = aq_ctl_fail(AQ_CTL_REFUSED, "%s",
                           usage->is_reset && ctl->key ? "the key alone has no limit of that name; what the keys of a "
                                                         "tenant share is reset with --tenant NAME"
                                                       : "none of them has a limit of that name");
    }
    if (code != AQ_CTL_DONE) {
        json_decref(usage->rows);
    }
    return code;
}

static const aq_ctl_column_t show_columns[] = {{"TENANT", "tenant"}, {"KEY", "key"},   {"LIMIT", "limit"},
                                               {"RATE", "rate"},     {"USED", "used"}, {"REMAINING", "remaining"},
                                               {"RESET", "reset"},   {.heading = NULL}};

aq_ctl_exit_t aq_ctl_usage_show(aq_ctl_t *ctl)
{
    usage_t usage = {.ctl = ctl};
    aq_ctl_exit_t code = aq_ctl_store_open(ctl, &usage.store);

    if (code == AQ_CTL_DONE) {
        code = usage_gather(ctl, &usage);
    }
    return code != AQ_CTL_DONE ? code
                               : aq_ctl_rows_print(ctl, json_pack("{s:o}", "usage", usage.rows), "usage", show_columns);
}

aq_ctl_exit_t aq_ctl_usage_reset(aq_ctl_t *ctl)
{
    usage_t usage = {.ctl = ctl, .is_reset = 1};

    if (!ctl->tenant && !ctl->key) {
        return aq_ctl_fail(AQ_CTL_USAGE, "say whose use is to begin anew: --tenant NAME or --key ID");
    }
    aq_ctl_exit_t code = aq_ctl_store_open_to_reset(ctl, &usage.store);
    if (code == AQ_CTL_DONE) {
        code = usage_gather(ctl, &usage);
    }
    return code != AQ_CTL_DONE ? code
                               : aq_ctl_rows_print(ctl, json_pack("{s:o}", "reset", usage.rows), "reset", show_columns);
}

/* ---- top -------------------------------------------------------------------------------------------------------- */

#define TOP_DEFAULT 10

/* How much of its limit a row has used; an unlimited one has no share, and comes last. */
static double share_of(const json_t *row)
{
    const double count = (double)json_integer_value(json_object_get(row, "count"));

    return count > 0 ? (double)json_integer_value(json_object_get(row, "used")) / count : -1;
}

static int share_compare(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    const double share_a = share_of(a), share_b = share_of(b);
    const json_int_t used_a = json_integer_value(json_object_get(a, "used"));
    const json_int_t used_b = json_integer_value(json_object_get(b, "used"));

    return share_a != share_b ? (share_a < share_b) - (share_a > share_b) : (used_a < used_b) - (used_a > used_b);
}

/* The first `most` of the rows, those nearest to their limit first; takes the reference to `rows`. */
static json_t *rows_sort(apr_pool_t *p, json_t *rows, size_t most)
{
    const size_t count = json_array_size(rows);
    json_t **sorted = apr_palloc(p, (count + 1) * sizeof(json_t *)), *first = json_array();

    for (size_t i = 0; i < count; i++) {
        sorted[i] = json_array_get(rows, i);
    }
    qsort(sorted, count, sizeof(json_t *), share_compare);
    for (size_t i = 0; i < count && i < most; i++) {
        const double share = share_of(sorted[i]);
        (void)json_object_set_new(sorted[i], "share", share < 0 ? json_null() : json_real(share));
        (void)json_array_append(first, sorted[i]);
    }
    json_decref(rows);
    return first;
}

aq_ctl_exit_t aq_ctl_usage_top(aq_ctl_t *ctl)
{
    static const aq_ctl_column_t columns[] = {{"TENANT", "tenant"}, {"KEY", "key"},   {"LIMIT", "limit"},
                                              {"RATE", "rate"},     {"USED", "used"}, {"SHARE", "share"},
                                              {"RESET", "reset"},   {.heading = NULL}};
    usage_t usage = {.ctl = ctl};
    int most = TOP_DEFAULT;
    aq_ctl_exit_t code = aq_ctl_count_read(ctl, &most);

    if (code == AQ_CTL_DONE) {
        code = aq_ctl_store_open(ctl, &usage.store);
    }
    if (code == AQ_CTL_DONE) {
        code = usage_gather(ctl, &usage);
    }
    if (code != AQ_CTL_DONE) {
        return code;
    }
    usage.rows = rows_sort(ctl->p, usage.rows, (size_t)most);
    return aq_ctl_rows_print(ctl, json_pack("{s:o}", "usage", usage.rows), "usage", columns);
}
