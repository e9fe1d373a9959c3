/* SPDX-License-Identifier: Apache-2.0 */
/* The status page for programs: the same data as JSON. docs/operations.md shows it. */
#include "httpd/status_data.h"

#include "base/aq_json.h"
#include "base/aq_version.h"

/* Members of an object or array that could not be made (memory) are left out. */
static void append(json_t *array, json_t *value)
{
    (void)json_array_append_new(array, value);
}

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *troubles_json(const apr_array_header_t *troubles)
{
    json_t *array = json_array();

    for (int i = 0; i < troubles->nelts; i++) {
        const aq_trouble_t *trouble = &APR_ARRAY_IDX(troubles, i, aq_trouble_t);
        append(array, json_pack("{s:s, s:s}", "verdict", aq_verdict_name(trouble->verdict), "text", trouble->text));
    }
    return array;
}

static json_t *minutes_json(const aq_chart_data_t *chart)
{
    json_t *array = json_array();

    for (int i = 0; i < AQ_METRICS_HOUR; i++) {
        append(array, number(chart->minutes[i]));
    }
    return array;
}

static json_t *hour_json(const aq_status_t *status)
{
    static const char *const names[] = {"allowed", "limited", "free", "other"};
    const aq_time_ms_t present_ms = status->health.now_ms - status->health.now_ms % (AQ_S_PER_MIN * AQ_MS_PER_S);
    json_t *hour = json_object(), *totals = json_object();

    set(hour, "first_minute", aq_json_time(present_ms - (AQ_METRICS_HOUR - 1) * AQ_S_PER_MIN * AQ_MS_PER_S));
    for (int i = 0; i < AQ_CHART_COUNT; i++) {
        set(hour, names[i], minutes_json(&status->charts[i]));
        set(totals, names[i], number(status->charts[i].total));
    }
    set(hour, "totals", totals);
    return hour;
}

static json_t *plans_json(const apr_array_header_t *plans)
{
    json_t *array = json_array();

    for (int i = 0; i < plans->nelts; i++) {
        const aq_plan_use_t *plan = &APR_ARRAY_IDX(plans, i, aq_plan_use_t);
        json_t *one = json_pack("{s:s}", "plan", plan->name);
        for (int decision = 0; decision < AQ_DECISION_COUNT; decision++) {
            set(one, aq_decision_name((aq_decision_t)decision), number(plan->hour[decision]));
        }
        append(array, one);
    }
    return array;
}

static json_t *top_json(const aq_top_list_t *list)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < list->count; i++) {
        const aq_top_row_t *row = &list->rows[i];
        json_t *one = json_pack("{s:s, s:o, s:s, s:s}", "tenant", row->tenant, "key_id",
                                *row->key_id ? json_string(row->key_id) : json_null(), "limit", row->limit, "window",
                                row->window);
        set(one, "used", number(row->used));
        set(one, "of", row->is_unlimited ? json_null() : number(row->capacity));
        set(one, "reset_at", row->reset_at_ms == AQ_TIME_NEVER ? json_null() : aq_json_time(row->reset_at_ms));
        append(array, one);
    }
    return array;
}

static json_t *store_json(const aq_health_t *health)
{
    json_t *store = json_pack("{s:s, s:b}", "kind", health->store_kind, "up", health->store_failure == APR_SUCCESS);

    set(store, "errors_in_5_minutes", number(health->store_errors_lately));
    set(store, "counters_live", number(health->counters_live));
    set(store, "counters_dead", number(health->counters_dead));
    set(store, "places", health->slots ? number(health->slots) : json_null());
    set(store, "overflows", number(health->overflows));
    return store;
}

static json_t *keys_json(const aq_health_t *health)
{
    return health->has_keys
               ? json_pack("{s:b, s:o, s:I, s:I, s:I}", "up", !health->keys_are_failing, "loaded_at",
                           aq_json_time(health->keys_loaded_at_ms), "keys", (json_int_t)health->keys, "tenants",
                           (json_int_t)health->tenants, "refused_entries", (json_int_t)health->refused_entries)
               : json_null();
}

static json_t *running_json(const apr_array_header_t *running)
{
    json_t *array = json_array();

    for (int i = 0; i < running->nelts; i++) {
        const aq_batch_t *batch = APR_ARRAY_IDX(running, i, const aq_batch_t *);
        append(array, json_pack("{s:s, s:s, s:o, s:I, s:I}", "id", batch->id, "tenant", batch->tenant, "started_at",
                                aq_json_time(batch->started_at_ms), "done", (json_int_t)batch->progress_done, "total",
                                (json_int_t)batch->progress_total));
    }
    return array;
}

static json_t *batches_json(const aq_status_t *status)
{
    const aq_health_t *health = &status->health;
    json_t *batches, *by_state = json_object();

    if (!health->has_batches) {
        json_decref(by_state);
        return json_null();
    }
    for (int state = 0; state < AQ_BATCH_STATUS_COUNT; state++) {
        set(by_state, aq_batch_status_name((aq_batch_status_t)state),
            json_integer((json_int_t)health->batches.by_status[state]));
    }
    batches = json_pack("{s:b, s:b, s:I, s:I, s:I, s:o}", "queue_up", health->queue_failure == APR_SUCCESS, "worker_up",
                        health->worker_is_up, "queue_age_s", (json_int_t)(health->queue_age_ms / AQ_MS_PER_S),
                        "spool_bytes", (json_int_t)health->spool_bytes, "spool_max_bytes",
                        (json_int_t)health->spool_max_bytes, "by_state", by_state);
    set(batches, "running", running_json(status->running));
    return batches;
}

const char *aq_status_json(apr_pool_t *p, const aq_status_t *status)
{
    json_t *json = json_pack("{s:s, s:o, s:s}", "verdict", aq_verdict_name(status->verdict), "at",
                             aq_json_time(status->health.now_ms), "version", AQ_VERSION);
    const char *text;

    set(json, "troubles", troubles_json(status->troubles));
    set(json, "last_hour", hour_json(status));
    set(json, "plans", plans_json(status->plans));
    set(json, "lists",
        json_pack("{s:i, s:i, s:o}", "keys_seen", (int)status->top.seen, "keys", (int)status->top.key_count, "at",
                  status->top.at_ms ? aq_json_time(status->top.at_ms) : json_null()));
    set(json, "nearest", top_json(&status->top.nearest));
    set(json, "tenants", top_json(&status->top.tenants));
    set(json, "keys", top_json(&status->top.keys));
    set(json, "store", store_json(&status->health));
    set(json, "key_file", keys_json(&status->health));
    set(json, "batches", batches_json(status));
    text = json ? aq_json_text(p, json) : NULL;
    json_decref(json);
    return text ? text : "{}";
}
