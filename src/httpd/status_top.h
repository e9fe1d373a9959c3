/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses most, and who is nearest to a limit's end: for the status page.
 *
 * Counters are known by hashes, and hashes do not tell whose they are. So the keys file is walked, and each key's and
 * tenant's counters are looked at; of addresses, users and what expressions name nobody keeps a list, so they do not show.
 * A walk takes as long as there are keys (about half a second for a million). It is made in one thread of a child at a
 * time, at most once a second and never for more than a twentieth of the time; meanwhile the others have the last one.
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
    aq_time_ms_t at_ms;          /* when it was looked at; 0: not yet */
} aq_top_t;

/* The lists, at most a few seconds old. Thread-safe. */
void aq_status_top(request_rec *r, aq_time_ms_t now_ms, aq_top_t *top);

/* The share that is used, 0 to 1, and more where a limit was lowered; 0 where it is unlimited. */
static inline double aq_top_share(const aq_top_row_t *row)
{
    return row->is_unlimited || row->capacity == 0 ? 0.0 : (double)row->used / (double)row->capacity;
}

#endif
