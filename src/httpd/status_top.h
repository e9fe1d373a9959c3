/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses most, and who is nearest to a limit's end: for the status page.
 *
 * Counters are known by hashes, and hashes do not tell whose they are. So the keys file is walked, and each key's and
 * tenant's counters are looked at; of addresses, users and what expressions name nobody keeps a list, so they do not show.
 * A walk takes as long as there are keys, and with Redis a round trip for each. So it is made in slices of a bounded time:
 * one by the page, at most once a second, and where that was not all of them, more by the child's timer, as long as somebody
 * looks. One thread of a child walks at a time; the page shows the last whole walk, or before there is one, how far the
 * first has come.
 */
#ifndef AQ_STATUS_TOP_H
#define AQ_STATUS_TOP_H

#include "httpd/request.h"

#define AQ_TOP_ROWS 10

/* A counter, whose it is, and how it stood. Plain data, so that it can be copied out of the cache. */
typedef struct {
    char tenant[AQ_PRINCIPAL_NAME_MAX + 1];
    char key_id[AQ_PRINCIPAL_NAME_MAX + 1]; /* "": it is the tenant's */
    char limit[AQ_LIMIT_NAME_MAX + 1];
    char window[16]; /* "1m" */
    uint64_t used, capacity;
    int is_unlimited;
    aq_time_ms_t reset_at_ms; /* AQ_TIME_NEVER: it never ends */
} aq_top_row_t;

typedef struct {
    aq_top_row_t rows[AQ_TOP_ROWS]; /* the first is the greatest */
    unsigned count;
} aq_top_list_t;

typedef struct {
    aq_top_list_t tenants, keys; /* by what was used of the limit of which most was used */
    aq_top_list_t nearest;       /* by the share that was used */
    aq_time_ms_t at_ms;          /* when the last of it was looked at; 0: not yet */
    unsigned seen, key_count;    /* so many keys were looked at, of so many */
} aq_top_t;

/* The lists, at most a few seconds old unless there are very many keys. Takes 50 ms at most. Thread-safe. */
void aq_status_top(request_rec *r, aq_time_ms_t now_ms, aq_top_t *top);

/*
 * A slice: goes on with the walk in `top` (zeroed: a new one; one that is whole is begun anew) until the boot time
 * `until_ms` has come, the store fails, or all keys were seen; one key at least. Keys that came or went since the last
 * slice are right again in the next walk. (status_walk.c)
 */
void aq_top_walk(aq_counter_store_t *store, const aq_key_set_t *set, aq_time_ms_t now_ms, aq_time_ms_t until_ms,
                 aq_top_t *top);

/* To be called twice a second in each child: goes on with a walk that has not come to its end. Takes 25 ms at most. */
void aq_status_top_tick(const aq_runtime_t *runtime, aq_time_ms_t now_ms);

/* The share that is used, 0 to 1, and more where a limit was lowered; 0 where it is unlimited. */
static inline double aq_top_share(const aq_top_row_t *row)
{
    return row->is_unlimited || row->capacity == 0 ? 0.0 : (double)row->used / (double)row->capacity;
}

#endif
