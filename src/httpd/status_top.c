/* SPDX-License-Identifier: Apache-2.0 */
/* Who uses most: see status_top.h. */
#include "httpd/status_top.h"

#include <apr_strings.h>
#include <pthread.h>
#include <string.h>

#define EVERY_MS 1000
#define REST 20 /* a walk is followed by so many times its length without one */

/* Of this child. */
static struct {
    pthread_mutex_t mutex;
    int is_walking;
    aq_time_ms_t next_ms;
    aq_top_t top;
} cache = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- a walk ------------------------------------------------------------------------------------------------------ */

typedef struct {
    aq_counter_store_t *store;
    aq_time_ms_t now_ms;
    apr_hash_t *tenants_seen; /* by the address of their name, which all their keys share */
    aq_top_t *top;
} walk_t;

typedef double measure_fn(const aq_top_row_t *row);

static double by_use(const aq_top_row_t *row)
{
    return (double)row->used;
}

static double by_share(const aq_top_row_t *row)
{
    return aq_top_share(row);
}

/* Puts a row where it belongs, if it belongs there at all. */
static void list_add(aq_top_list_t *list, const aq_top_row_t *row, measure_fn *measure)
{
    unsigned at = list->count;

    if (at == AQ_TOP_ROWS && measure(row) <= measure(&list->rows[at - 1])) {
        return;
    }
    at = at < AQ_TOP_ROWS ? at : AQ_TOP_ROWS - 1;
    for (; at > 0 && measure(row) > measure(&list->rows[at - 1]); at--) {
        list->rows[at] = list->rows[at - 1];
    }
    list->rows[at] = *row;
    list->count += list->count < AQ_TOP_ROWS;
}

static void row_fill(aq_top_row_t *row, const aq_principal_t *principal, const aq_counter_t *counter)
{
    const aq_limit_t *limit = counter->limit;

    memset(row, 0, sizeof(*row));
    apr_cpystrn(row->tenant, principal->tenant, sizeof(row->tenant));
    if (limit->per == AQ_PER_KEY) {
        apr_cpystrn(row->key_id, principal->key_id, sizeof(row->key_id));
    }
    apr_cpystrn(row->limit, limit->name, sizeof(row->limit));
    apr_cpystrn(row->window, limit->rate.text, sizeof(row->window));
    row->used = counter->used;
    row->capacity = limit->capacity;
    row->is_unlimited = limit->rate.is_unlimited;
    row->reset_at_ms = counter->reset_at_ms;
}

/* The counters of one kind of a principal: each may be near its end, the one that counted most stands for its owner. */
static void counters_add(const walk_t *walk, const aq_principal_t *principal, const aq_counter_t *counters,
                         unsigned count, aq_per_t per)
{
    aq_top_row_t row, most = {.used = 0};

    for (unsigned i = 0; i < count; i++) {
        if (counters[i].limit->per != per || counters[i].used == 0) {
            continue;
        }
        row_fill(&row, principal, &counters[i]);
        if (row.used > most.used) {
            most = row;
        }
        if (!row.is_unlimited) {
            list_add(&walk->top->nearest, &row, by_share);
        }
    }
    if (most.used != 0) {
        list_add(per == AQ_PER_KEY ? &walk->top->keys : &walk->top->tenants, &most, by_use);
    }
}

/* 1 at the first of a tenant's keys. */
static int is_new_tenant(const walk_t *walk, const aq_principal_t *principal)
{
    if (apr_hash_get(walk->tenants_seen, &principal->tenant, sizeof(principal->tenant))) {
        return 0;
    }
    apr_hash_set(walk->tenants_seen, &principal->tenant, sizeof(principal->tenant), principal);
    return 1;
}

static void principal_add(const walk_t *walk, const aq_principal_t *principal)
{
    const int is_new = is_new_tenant(walk, principal);
    aq_counter_t counters[AQ_LIMITS_MAX];
    unsigned count = 0;

    for (int i = 0; i < principal->limits->nelts && count < AQ_LIMITS_MAX; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(principal->limits, i, const aq_limit_t *);

        if (limit->per == AQ_PER_KEY || (limit->per == AQ_PER_TENANT && is_new)) {
            counters[count] =
                (aq_counter_t){.limit = limit, .key = aq_hash_join(limit->identity, principal->subject[limit->per])};
            count++;
        }
    }
    if (count != 0 && aq_counter_store_look(walk->store, counters, count, walk->now_ms) == APR_SUCCESS) {
        counters_add(walk, principal, counters, count, AQ_PER_KEY);
        counters_add(walk, principal, counters, count, AQ_PER_TENANT);
    }
}

static void walk_keys(request_rec *r, aq_time_ms_t now_ms, aq_top_t *top)
{
    const aq_key_set_t *set = aq_request_key_set(r, aq_request_state(r));
    const walk_t walk = {.store = aq_config_server(r->server)->runtime->store,
                         .now_ms = now_ms,
                         .tenants_seen = apr_hash_make(r->pool),
                         .top = top};
    const apr_array_header_t *principals = set ? aq_key_set_list(set, r->pool) : NULL;

    memset(top, 0, sizeof(*top));
    top->at_ms = now_ms;
    for (int i = 0; principals && i < principals->nelts; i++) {
        principal_add(&walk, APR_ARRAY_IDX(principals, i, const aq_principal_t *));
    }
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

static int walk_is_ours(aq_time_ms_t boot_ms)
{
    int is_ours;

    (void)pthread_mutex_lock(&cache.mutex);
    is_ours = !cache.is_walking && boot_ms >= cache.next_ms;
    cache.is_walking |= is_ours;
    (void)pthread_mutex_unlock(&cache.mutex);
    return is_ours;
}

static void walk_keep(const aq_top_t *top, aq_time_ms_t began_ms)
{
    const aq_time_ms_t ended_ms = aq_clock_boot_ms();
    const aq_time_ms_t rest_ms = REST * (ended_ms - began_ms);

    (void)pthread_mutex_lock(&cache.mutex);
    cache.top = *top;
    cache.next_ms = ended_ms + (rest_ms > EVERY_MS ? rest_ms : EVERY_MS);
    cache.is_walking = 0;
    (void)pthread_mutex_unlock(&cache.mutex);
}

void aq_status_top(request_rec *r, aq_time_ms_t now_ms, aq_top_t *top)
{
    const aq_time_ms_t began_ms = aq_clock_boot_ms();

    if (walk_is_ours(began_ms)) {
        walk_keys(r, now_ms, top);
        walk_keep(top, began_ms);
        return;
    }
    (void)pthread_mutex_lock(&cache.mutex);
    *top = cache.top;
    (void)pthread_mutex_unlock(&cache.mutex);
}
