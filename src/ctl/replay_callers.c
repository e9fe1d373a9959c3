/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: who a line is charged to, and what is counted for him. All is made when a caller first appears; afterwards a
 * line costs one look-up, and one more for each limit by address.
 */
#include "ctl/replay_private.h"

#include "base/aq_address.h"
#include "limit/runtime_plans.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define UNKNOWN_SHOWN 5
#define SUBJECT_KEY_SIZE offsetof(aq_replay_subject_t, name)

/* ---- limits ----------------------------------------------------------------------------------------------------- */

static aq_replay_from_t from_of(const aq_limit_t *limit)
{
    static const struct {
        const char *per;
        aq_replay_from_t from;
    } known[] = {{"key", AQ_FROM_KEY}, {"tenant", AQ_FROM_TENANT}, {"user", AQ_FROM_KEY}, {"ip", AQ_FROM_ADDRESS}};
    const char *per = aq_per_name(limit->per);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(per, known[i].per) == 0) {
            return known[i].from;
        }
    }
    return AQ_FROM_NOWHERE;
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

static aq_replay_limit_t *limit_find(aq_replay_t *replay, aq_replay_plan_t *plan, const aq_limit_t *limit)
{
    const char *text = apr_pstrcat(replay->p, plan->name, " ", limit->name, " ", aq_rate_text(replay->p, &limit->rate),
                                   " ", aq_algorithm_name(limit->window.algorithm), " ", aq_per_name(limit->per), NULL);
    aq_replay_limit_t *row = apr_hash_get(replay->limits, text, APR_HASH_KEY_STRING);

    if (!row) {
        row = apr_pcalloc(replay->p, sizeof(*row));
        row->plan = plan;
        row->limit = limit;
        row->unbounded = unbounded_of(replay, limit);
        row->needs.p = replay->p;
        apr_hash_set(replay->limits, text, APR_HASH_KEY_STRING, row);
        APR_ARRAY_PUSH(replay->result.limits, aq_replay_limit_t *) = row;
    }
    return row;
}

static void note(aq_replay_t *replay, const char *text)
{
    for (int i = 0; i < replay->result.notes->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(replay->result.notes, i, const char *), text) == 0) {
            return;
        }
    }
    APR_ARRAY_PUSH(replay->result.notes, const char *) = text;
}

/* Why a limit cannot be replayed; NULL: it can. */
static const char *left_out(const aq_limit_t *limit)
{
    if (limit->rate.period == AQ_PERIOD_CONCURRENT) {
        return "a log does not tell what ran at once";
    }
    return from_of(limit) == AQ_FROM_NOWHERE ? "a log does not tell what it counts by" : NULL;
}

static const aq_replay_limits_t *limits_of(aq_replay_t *replay, const char *plan, const apr_array_header_t *limits)
{
    const void *key = limits;
    aq_replay_limits_t *made = apr_hash_get(replay->limit_sets, &key, sizeof(key));

    if (made) {
        return made;
    }
    made = apr_pcalloc(replay->p, sizeof(*made));
    made->plan = plan_find(replay, plan);
    for (int i = 0; i < limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(limits, i, const aq_limit_t *);
        const char *why = made->count == AQ_LIMITS_MAX ? "there are too many" : left_out(limit);
        if (why) {
            note(replay, apr_psprintf(replay->p, "plan \"%s\", limit \"%s\" (per=%s): left out, since %s", plan,
                                      limit->name, aq_per_name(limit->per), why));
            continue;
        }
        made->rows[made->count].limit = limit_find(replay, made->plan, limit);
        made->rows[made->count].from = from_of(limit);
        replay->is_by_address |= made->rows[made->count].from == AQ_FROM_ADDRESS;
        made->count++;
    }
    apr_hash_set(replay->limit_sets, apr_pmemdup(replay->p, &key, sizeof(key)), sizeof(key), made);
    return made;
}

/* ---- subjects --------------------------------------------------------------------------------------------------- */

static aq_replay_subject_t *subject_find(aq_replay_t *replay, aq_replay_limit_t *limit, const char *name)
{
    const aq_limit_t *counted = limit->limit;
    aq_hash128_t hash = aq_subject_hash(&replay->settings.store->secret, counted->per, name);
    aq_replay_subject_t wanted = {.key = aq_hash_join(counted->identity, hash), .limit = limit, .name = name};
    aq_replay_subject_t *subject = apr_hash_get(replay->result.subjects, &wanted, SUBJECT_KEY_SIZE);

    if (!subject) {
        subject = apr_pmemdup(replay->p, &wanted, sizeof(wanted));
        limit->subjects++;
        apr_hash_set(replay->result.subjects, subject, SUBJECT_KEY_SIZE, subject);
    }
    return subject;
}

unsigned aq_replay_subjects_of(aq_replay_t *replay, const aq_caller_t *caller, const aq_replay_address_t *address,
                               aq_replay_subject_t *subjects[AQ_LIMITS_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < caller->limits->count; i++) {
        aq_replay_subject_t *subject = caller->subjects[i];
        if (!subject && address) {
            subject = subject_find(replay, caller->limits->rows[i].limit, address->name);
        }
        if (subject) {
            subjects[count++] = subject;
        }
    }
    return count;
}

/* ---- callers ---------------------------------------------------------------------------------------------------- */

static aq_caller_t *caller_make(aq_replay_t *replay, const char *key, const char *tenant, const char *plan,
                                const apr_array_header_t *limits)
{
    const aq_replay_limits_t *counted = limits_of(replay, plan, limits);
    aq_caller_t *caller = apr_pcalloc(replay->p, sizeof(*caller) + counted->count * sizeof(void *));

    caller->limits = counted;
    caller->key = key;
    caller->tenant = tenant;
    for (unsigned i = 0; i < counted->count; i++) {
        if (counted->rows[i].from != AQ_FROM_ADDRESS) {
            caller->subjects[i] =
                subject_find(replay, counted->rows[i].limit, counted->rows[i].from == AQ_FROM_TENANT ? tenant : key);
        }
    }
    return caller;
}

/* A caller whom no keys file knows: key and tenant in one. NULL without a plan for him. */
static aq_caller_t *caller_of_default(aq_replay_t *replay, const char *name)
{
    const char *plan = replay->settings.default_plan;
    const aq_plan_t *found = plan ? apr_hash_get(replay->settings.plans, plan, APR_HASH_KEY_STRING) : NULL;

    return found ? caller_make(replay, name, name, plan, found->limits) : NULL;
}

static aq_caller_t *caller_of_user(aq_replay_t *replay, aq_log_text_t user)
{
    aq_caller_t *caller = apr_hash_get(replay->users, user.at, (apr_ssize_t)user.size);

    if (caller) {
        return caller;
    }
    const aq_principal_t *principal = apr_hash_get(replay->principals, user.at, (apr_ssize_t)user.size);
    if (!principal && !replay->settings.default_plan) {
        return NULL;
    }
    const char *name = apr_pstrmemdup(replay->p, user.at, user.size);
    if (principal) {
        caller = caller_make(replay, principal->key_id, principal->tenant, principal->plan, principal->limits);
    } else {
        caller = caller_of_default(replay, name);
    }
    apr_hash_set(replay->users, name, (apr_ssize_t)user.size, caller);
    return caller;
}

static void unknown_remember(aq_replay_t *replay, aq_log_text_t user)
{
    apr_array_header_t *unknown = replay->result.unknown;

    for (int i = 0; i < unknown->nelts; i++) {
        const char *name = APR_ARRAY_IDX(unknown, i, const char *);
        if (strlen(name) == user.size && memcmp(name, user.at, user.size) == 0) {
            return;
        }
    }
    if (unknown->nelts < UNKNOWN_SHOWN) {
        APR_ARRAY_PUSH(unknown, const char *) = apr_pstrmemdup(replay->p, user.at, user.size);
    }
}

static aq_replay_address_t *address_find(aq_replay_t *replay, aq_log_text_t text)
{
    char network[AQ_ADDRESS_SIZE];

    if (aq_address_subject(text.at, text.size, AQ_ADDRESS_IPV6_PREFIX, network)) {
        text = (aq_log_text_t){network, strlen(network)};
    }
    aq_replay_address_t *address = apr_hash_get(replay->addresses, text.at, (apr_ssize_t)text.size);
    if (!address) {
        address = apr_pcalloc(replay->p, sizeof(*address));
        address->name = apr_pstrmemdup(replay->p, text.at, text.size);
        apr_hash_set(replay->addresses, address->name, (apr_ssize_t)text.size, address);
    }
    return address;
}

static aq_caller_t *caller_of_address(aq_replay_t *replay, aq_replay_address_t *address)
{
    if (!address->caller) {
        address->caller = caller_of_default(replay, address->name);
    }
    return address->caller;
}

/* With 401 the user is whom somebody claimed to be, unless our module set it, which does so for valid keys alone. */
static int is_claimed(const aq_replay_t *replay, const aq_log_line_t *line)
{
    return line->status == 401 && !apr_hash_get(replay->principals, line->user.at, (apr_ssize_t)line->user.size);
}

aq_caller_t *aq_replay_caller_find(aq_replay_t *replay, const aq_log_line_t *line, void **address)
{
    int has_user = line->user.size > 0 && !is_claimed(replay, line);
    aq_caller_t *caller = has_user ? caller_of_user(replay, line->user) : NULL;

    *address = NULL;
    if (has_user && !caller) {
        unknown_remember(replay, line->user);
    }
    if (line->address.size > 0 && (replay->is_by_address || (!has_user && replay->settings.default_plan))) {
        *address = address_find(replay, line->address);
    }
    return has_user || !*address ? caller : caller_of_address(replay, *address);
}

void aq_replay_callers_prepare(aq_replay_t *replay)
{
    replay->principals = apr_hash_make(replay->p);
    replay->users = apr_hash_make(replay->p);
    replay->addresses = apr_hash_make(replay->p);
    replay->limit_sets = apr_hash_make(replay->p);
    replay->limits = apr_hash_make(replay->p);
    const apr_array_header_t *principals =
        replay->settings.keys ? aq_key_set_list(replay->settings.keys, replay->p) : NULL;
    for (int i = 0; principals && i < principals->nelts; i++) {
        const aq_principal_t *principal = APR_ARRAY_IDX(principals, i, const aq_principal_t *);
        apr_hash_set(replay->principals, principal->key_id, APR_HASH_KEY_STRING, principal);
    }
}
