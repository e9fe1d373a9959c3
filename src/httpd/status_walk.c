/* SPDX-License-Identifier: Apache-2.0 */
/* Who uses most: looking at the counters of all keys, in slices. See status_top.h. */
#include "httpd/status_top.h"

#include <apr_strings.h>
#include <string.h>

typedef struct {
    aq_counter_store_t *store;
    aq_time_ms_t now_ms;
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

/* 0 where the store failed. */
static int principal_add(const walk_t *walk, const aq_principal_t *principal)
{
    aq_counter_t counters[AQ_LIMITS_MAX];
    unsigned count = 0;

    for (int i = 0; i < principal->limits->nelts && count < AQ_LIMITS_MAX; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(principal->limits, i, const aq_limit_t *);

        if (limit->per == AQ_PER_KEY || (limit->per == AQ_PER_TENANT && principal->is_first_of_tenant)) {
            counters[count] =
                (aq_counter_t){.limit = limit, .key = aq_hash_join(limit->identity, principal->subject[limit->per])};
            count++;
        }
    }
    if (count == 0) {
        return 1;
    }
    if (aq_counter_store_look(walk->store, counters, count, walk->now_ms) != APR_SUCCESS) {
        return 0;
    }
    counters_add(walk, principal, counters, count, AQ_PER_KEY);
    counters_add(walk, principal, counters, count, AQ_PER_TENANT);
    return 1;
}

void aq_top_walk(aq_counter_store_t *store, const aq_key_set_t *set, aq_time_ms_t now_ms, aq_time_ms_t until_ms,
                 aq_top_t *top)
{
    const walk_t walk = {.store = store, .now_ms = now_ms, .top = top};

    if (top->seen >= top->key_count) {
        memset(top, 0, sizeof(*top));
    }
    top->key_count = aq_key_set_count(set);
    top->at_ms = now_ms;
    while (top->seen < top->key_count) {
        if (!principal_add(&walk, aq_key_set_at(set, top->seen++)) || aq_clock_boot_ms() >= until_ms) {
            return;
        }
    }
}
