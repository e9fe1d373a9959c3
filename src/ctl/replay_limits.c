/* SPDX-License-Identifier: Apache-2.0 */
/* Replay: the limits that a plan, with its overrides, and sections make, and what of them can be replayed. */
#include "ctl/replay_private.h"

#include "limit/runtime_plans.h"

#include <apr_strings.h>
#include <string.h>

static aq_replay_from_t from_of(const aq_limit_t *limit)
{
    static const aq_replay_from_t known[AQ_PER_COUNT] = {
        [AQ_PER_KEY] = AQ_FROM_KEY,           [AQ_PER_TENANT] = AQ_FROM_TENANT,
        [AQ_PER_ENDPOINT] = AQ_FROM_ENDPOINT, [AQ_PER_TENANT_ENDPOINT] = AQ_FROM_TENANT_ENDPOINT,
        [AQ_PER_IP] = AQ_FROM_ADDRESS,        [AQ_PER_USER] = AQ_FROM_KEY,
        [AQ_PER_EXPR] = AQ_FROM_NOWHERE};

    return known[limit->per];
}

static const aq_limit_t *unbounded_of(const aq_replay_t *replay, const aq_limit_t *limit)
{
    aq_limit_t *copy;

    if (limit->window.algorithm != AQ_ALGORITHM_FIXED && limit->window.algorithm != AQ_ALGORITHM_SLIDING &&
        limit->window.algorithm != AQ_ALGORITHM_TOTAL) {
        return NULL;
    }
    copy = apr_pmemdup(replay->p, limit, sizeof(*limit));
    copy->name = apr_pstrcat(replay->p, limit->name, " unbounded", NULL); /* a space: no limit is called so */
    copy->rate.is_unlimited = 1;
    copy->rate.count = AQ_RATE_COUNT_MAX;
    aq_limit_identify(copy, &replay->settings.store->secret);
    return copy;
}

static aq_replay_plan_t *plan_find(aq_replay_t *replay, const char *name)
{
    aq_replay_plan_t *plan;

    for (int i = 0; i < replay->result.plans->nelts; i++) {
        plan = APR_ARRAY_IDX(replay->result.plans, i, aq_replay_plan_t *);
        if (strcmp(plan->name, name) == 0) {
            return plan;
        }
    }
    plan = apr_pcalloc(replay->p, sizeof(*plan));
    plan->name = apr_pstrdup(replay->p, name);
    APR_ARRAY_PUSH(replay->result.plans, aq_replay_plan_t *) = plan;
    return plan;
}

/* Limits of one name, kind and period are one counter, in whichever section they stand. */
static void sharing_mark(aq_replay_t *replay, aq_replay_limit_t *row)
{
    for (int i = 0; i < replay->result.limits->nelts; i++) {
        aq_replay_limit_t *other = APR_ARRAY_IDX(replay->result.limits, i, aq_replay_limit_t *);
        if (memcmp(&other->limit->identity, &row->limit->identity, sizeof(row->limit->identity)) == 0 &&
            other->limit->section != row->limit->section) {
            other->is_bound = row->is_bound = 1;
        }
    }
}

static aq_replay_limit_t *limit_find(aq_replay_t *replay, aq_replay_plan_t *plan, const aq_limit_t *limit)
{
    const char *text = apr_pstrcat(replay->p, plan->name, " ", limit->name, " ", aq_rate_text(replay->p, &limit->rate),
                                   " ", aq_algorithm_name(limit->window.algorithm), " ", aq_per_name(limit->per), " ",
                                   limit->section ? limit->section : "", NULL);
    aq_replay_limit_t *row = apr_hash_get(replay->limits, text, APR_HASH_KEY_STRING);

    if (!row) {
        row = apr_pcalloc(replay->p, sizeof(*row));
        row->plan = plan;
        row->limit = limit;
        row->unbounded = unbounded_of(replay, limit);
        row->needs.p = replay->p;
        sharing_mark(replay, row);
        apr_hash_set(replay->limits, text, APR_HASH_KEY_STRING, row);
        APR_ARRAY_PUSH(replay->result.limits, aq_replay_limit_t *) = row;
    }
    return row;
}

void aq_replay_note(aq_replay_t *replay, const char *text)
{
    for (int i = 0; i < replay->result.notes->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(replay->result.notes, i, const char *), text) == 0) {
            return;
        }
    }
    APR_ARRAY_PUSH(replay->result.notes, const char *) = text;
}

/* Why a limit cannot be replayed; NULL: it can. */
static const char *left_out(const aq_limit_t *limit, const aq_section_set_t *under)
{
    aq_replay_from_t from = from_of(limit);

    if (limit->rate.period == AQ_PERIOD_CONCURRENT) {
        return "a log does not tell what ran at once";
    }
    if ((from == AQ_FROM_ENDPOINT || from == AQ_FROM_TENANT_ENDPOINT) && !limit->section && !(under && under->name)) {
        return "no <Location> is known that requests came to";
    }
    return from == AQ_FROM_NOWHERE ? "a log does not tell what it counts by" : NULL;
}

static const char *limit_title(apr_pool_t *p, const char *plan, const aq_limit_t *limit)
{
    const char *section = limit->section && *limit->section ? limit->section : NULL;

    return apr_psprintf(p, "plan \"%s\", limit \"%s\"%s%s (per=%s)", plan, limit->name, section ? " of " : "",
                        section ? section : "", aq_per_name(limit->per));
}

static void limit_add(aq_replay_t *replay, aq_replay_limits_t *to, const aq_limit_t *limit,
                      const aq_section_set_t *under)
{
    const char *why = to->count == AQ_LIMITS_MAX ? "there are too many" : left_out(limit, under);

    if (why) {
        const char *title = limit_title(replay->p, to->plan->name, limit);
        aq_replay_note(replay, apr_pstrcat(replay->p, title, ": left out, since ", why, NULL));
        return;
    }
    to->rows[to->count].limit = limit_find(replay, to->plan, limit);
    to->rows[to->count].limit->is_bound |= under && under->cost > 1;
    to->rows[to->count].from = from_of(limit);
    replay->is_by_address |= to->rows[to->count].from == AQ_FROM_ADDRESS;
    to->count++;
}

const aq_replay_limits_t *aq_replay_limits_of(aq_replay_t *replay, const char *plan, apr_array_header_t *own,
                                              const aq_section_set_t *under)
{
    const void *key[] = {own, under};
    aq_replay_limits_t *made = apr_hash_get(replay->limit_sets, key, sizeof(key));

    if (made) {
        return made;
    }
    const apr_array_header_t *limits = under ? aq_limits_merge(replay->p, own, under->limits) : own;
    made = apr_pcalloc(replay->p, sizeof(*made));
    made->plan = plan_find(replay, plan);
    for (int i = 0; i < limits->nelts; i++) {
        limit_add(replay, made, APR_ARRAY_IDX(limits, i, const aq_limit_t *), under);
    }
    apr_hash_set(replay->limit_sets, apr_pmemdup(replay->p, key, sizeof(key)), sizeof(key), made);
    return made;
}
