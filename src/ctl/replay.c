/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: the charges. See replay.h; replay_callers.c tells whom a line is charged to.
 *
 * What a response will be is known in a log beforehand, so each line is charged and settled at once.
 */
#include "ctl/replay_private.h"

#include <apr_strings.h>
#include <string.h>

static int is_free(const aq_replay_t *replay, int status)
{
    for (int i = 0; i < replay->settings.free_count; i++) {
        if (replay->settings.free_statuses[i] == status) {
            return 1;
        }
    }
    return 0;
}

static aq_charge_t *charge_begin(aq_charge_t *charge)
{
    charge->state = AQ_CHARGE_OPEN;
    charge->count = 0;
    charge->primary = charge->refusing = -1;
    return charge;
}

static void counter_add(aq_charge_t *charge, const aq_limit_t *limit, aq_hash128_t key)
{
    charge->counters[charge->count++] = (aq_counter_t){.limit = limit, .key = key};
}

static void refusals_tally(const aq_charge_t *charge, aq_replay_subject_t *const *subjects, aq_replay_plan_t *plan)
{
    for (unsigned i = 0; i < charge->count; i++) {
        if (charge->counters[i].is_denied) {
            subjects[i]->limit->subjects_refused += subjects[i]->tally.refused == 0;
            aq_tally_refuse(&subjects[i]->tally, charge->now_ms);
            aq_tally_refuse(&subjects[i]->limit->tally, charge->now_ms);
        }
    }
    aq_tally_refuse(&plan->tally, charge->now_ms);
}

/* What one line is charged to, and how much. */
typedef struct {
    aq_replay_subject_t *subjects[AQ_LIMITS_MAX];
    unsigned count;
    uint32_t cost;
} charged_t;

/* The limits as they are. */
static apr_status_t limits_charge(aq_replay_t *replay, const charged_t *of, aq_replay_plan_t *plan, int is_free_status,
                                  aq_time_ms_t now_ms)
{
    aq_charge_t *charge = charge_begin(replay->charge);

    for (unsigned i = 0; i < of->count; i++) {
        counter_add(charge, of->subjects[i]->limit->limit, of->subjects[i]->key);
        of->subjects[i]->tally.requests++;
        of->subjects[i]->limit->tally.requests++;
    }
    plan->tally.requests++;
    apr_status_t rv = aq_charge_take(charge, replay->settings.store, of->cost, now_ms);
    if (rv == APR_SUCCESS && charge->state == AQ_CHARGE_DENIED) {
        refusals_tally(charge, of->subjects, plan);
    } else if (rv == APR_SUCCESS && is_free_status) {
        replay->result.free_of_charge++;
        rv = aq_charge_settle(charge, replay->settings.store, 1, now_ms);
    }
    return rv;
}

/* The same without a bound. An unlimited counter never refuses. */
static apr_status_t needs_charge(aq_replay_t *replay, const charged_t *of, int is_free_status, aq_time_ms_t now_ms)
{
    aq_charge_t *charge = charge_begin(replay->needs_charge);
    aq_replay_limit_t *limits[AQ_LIMITS_MAX] = {NULL};

    for (unsigned i = 0; i < of->count; i++) {
        aq_replay_limit_t *limit = of->subjects[i]->limit;
        if (limit->unbounded) {
            limits[charge->count] = limit;
            aq_hash128_t subject = aq_hash_join(of->subjects[i]->key, limit->limit->identity);
            counter_add(charge, limit->unbounded, aq_hash_join(subject, limit->unbounded->identity));
        }
    }
    apr_status_t rv = aq_charge_take(charge, replay->settings.store, of->cost, now_ms);
    for (unsigned i = 0; rv == APR_SUCCESS && i < charge->count; i++) {
        aq_needs_add(&limits[i]->needs, charge->counters[i].used);
    }
    return rv == APR_SUCCESS && is_free_status ? aq_charge_settle(charge, replay->settings.store, 1, now_ms) : rv;
}

static apr_status_t pending_charge(void *data, const aq_pending_t *pending)
{
    aq_replay_t *replay = data;
    const aq_caller_t *caller = pending->caller;
    charged_t charged = {.cost = caller->under && caller->under->cost > 0 ? caller->under->cost : 1};
    int is_free_status = is_free(replay, pending->status);

    charged.count = aq_replay_subjects_of(replay, caller, pending->address, charged.subjects);
    replay->result.first_ms = replay->result.replayed == 0 ? pending->time_ms : replay->result.first_ms;
    replay->result.last_ms = pending->time_ms;
    replay->result.replayed++;
    apr_status_t rv = limits_charge(replay, &charged, caller->limits->plan, is_free_status, pending->time_ms);
    return rv == APR_SUCCESS ? needs_charge(replay, &charged, is_free_status, pending->time_ms) : rv;
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

apr_status_t aq_replay_line(aq_replay_t *replay, const aq_log_line_t *line)
{
    aq_pending_t pending = {.time_ms = line->time_ms, .status = line->status};

    if (!line->is_request) {
        replay->result.without_request++;
        return APR_SUCCESS;
    }
    pending.caller = aq_replay_caller_find(replay, line, &pending.address);
    if (!pending.caller) {
        replay->result.unidentified++;
        return APR_SUCCESS;
    }
    return aq_reorder_add(replay->reorder, &pending);
}

apr_status_t aq_replay_finish(aq_replay_t *replay, const aq_replay_result_t **result)
{
    apr_status_t rv = aq_reorder_finish(replay->reorder);

    replay->result.late = aq_reorder_late(replay->reorder);
    *result = &replay->result;
    return rv;
}

apr_status_t aq_replay_create(apr_pool_t *p, const aq_replay_settings_t *settings, aq_replay_t **replay,
                              const char **error)
{
    aq_replay_t *made = apr_pcalloc(p, sizeof(*made));

    *replay = NULL;
    *error = NULL;
    if (settings->default_plan && !apr_hash_get(settings->plans, settings->default_plan, APR_HASH_KEY_STRING)) {
        *error = apr_psprintf(p, "there is no plan \"%s\"", settings->default_plan);
        return APR_EGENERAL;
    }
    made->p = p;
    made->settings = *settings;
    made->charge = aq_charge_create(p, AQ_LIMITS_MAX);
    made->needs_charge = aq_charge_create(p, AQ_LIMITS_MAX);
    made->reorder = aq_reorder_create(p, pending_charge, made);
    made->result.plans = apr_array_make(p, 8, sizeof(aq_replay_plan_t *));
    made->result.limits = apr_array_make(p, 8, sizeof(aq_replay_limit_t *));
    made->result.unknown = apr_array_make(p, 8, sizeof(const char *));
    made->result.notes = apr_array_make(p, 8, sizeof(const char *));
    made->result.subjects = apr_hash_make(p);
    aq_replay_callers_prepare(made);
    *replay = made;
    return APR_SUCCESS;
}
