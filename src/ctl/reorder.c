/* SPDX-License-Identifier: Apache-2.0 */
/* Reorder. See reorder.h. */
#include "ctl/reorder.h"

#include <stdlib.h>

#define ROWS (AQ_REORDER_HOLD_S + 1)

typedef struct {
    aq_pending_t *lines;
    size_t count, room;
    int is_unordered; /* a line is older than the one before it */
} row_t;

struct aq_reorder_t {
    aq_reorder_fn *release;
    void *data;
    row_t rows[ROWS];           /* the second s waits in row s modulo ROWS */
    int64_t oldest_s, newest_s; /* seconds that may wait */
    aq_time_ms_t released_ms;
    uint64_t late;
    size_t waiting;
    int has_begun;
};

static apr_status_t rows_free(void *data)
{
    aq_reorder_t *reorder = data;

    for (int i = 0; i < ROWS; i++) {
        free(reorder->rows[i].lines);
    }
    return APR_SUCCESS;
}

aq_reorder_t *aq_reorder_create(apr_pool_t *p, aq_reorder_fn *release, void *data)
{
    aq_reorder_t *reorder = apr_pcalloc(p, sizeof(*reorder));

    reorder->release = release;
    reorder->data = data;
    apr_pool_cleanup_register(p, reorder, rows_free, apr_pool_cleanup_null);
    return reorder;
}

/* Hands a line on; time never runs back. */
static apr_status_t line_release(aq_reorder_t *reorder, aq_pending_t *line)
{
    if (line->time_ms < reorder->released_ms) {
        line->time_ms = reorder->released_ms;
    }
    reorder->released_ms = line->time_ms;
    return reorder->release(reorder->data, line);
}

static apr_status_t row_add(row_t *row, const aq_pending_t *pending)
{
    if (row->count == row->room) {
        size_t room = row->room ? row->room * 2 : 64;
        aq_pending_t *lines = realloc(row->lines, room * sizeof(*lines));
        if (!lines) {
            return APR_ENOMEM;
        }
        row->lines = lines;
        row->room = room;
    }
    row->is_unordered |= row->count > 0 && row->lines[row->count - 1].time_ms > pending->time_ms;
    row->lines[row->count] = *pending;
    row->lines[row->count].order = (uint32_t)row->count;
    row->count++;
    return APR_SUCCESS;
}

static int pending_compare(const void *a, const void *b)
{
    const aq_pending_t *one = a, *other = b;

    return one->time_ms != other->time_ms ? (one->time_ms > other->time_ms ? 1 : -1)
                                          : (one->order > other->order) - (one->order < other->order);
}

static apr_status_t row_release(aq_reorder_t *reorder, row_t *row)
{
    apr_status_t rv = APR_SUCCESS;

    if (row->is_unordered) {
        qsort(row->lines, row->count, sizeof(*row->lines), pending_compare);
    }
    for (size_t i = 0; rv == APR_SUCCESS && i < row->count; i++) {
        rv = line_release(reorder, &row->lines[i]);
    }
    reorder->waiting -= row->count;
    row->count = 0;
    row->is_unordered = 0;
    return rv;
}

/* Releases all seconds before `until_s`. A gap in the log is not walked second by second. */
static apr_status_t release_until(aq_reorder_t *reorder, int64_t until_s)
{
    apr_status_t rv = APR_SUCCESS;

    for (; rv == APR_SUCCESS && reorder->oldest_s < until_s && reorder->oldest_s <= reorder->newest_s;
         reorder->oldest_s++) {
        rv = row_release(reorder, &reorder->rows[reorder->oldest_s % ROWS]);
    }
    reorder->oldest_s = reorder->oldest_s < until_s ? until_s : reorder->oldest_s;
    return rv;
}

/* The newest second stays open. */
static apr_status_t all_release(aq_reorder_t *reorder)
{
    apr_status_t rv = release_until(reorder, reorder->newest_s);

    return rv == APR_SUCCESS ? row_release(reorder, &reorder->rows[reorder->newest_s % ROWS]) : rv;
}

apr_status_t aq_reorder_add(aq_reorder_t *reorder, const aq_pending_t *pending)
{
    int64_t second = pending->time_ms / AQ_MS_PER_S;

    if (!reorder->has_begun) {
        reorder->has_begun = 1;
        reorder->newest_s = second;
        reorder->oldest_s = second > AQ_REORDER_HOLD_S ? second - AQ_REORDER_HOLD_S : 0;
    }
    if (second < reorder->oldest_s) {
        aq_pending_t late = *pending;
        reorder->late++;
        return line_release(reorder, &late);
    }
    if (second > reorder->newest_s) {
        apr_status_t rv = release_until(reorder, second - AQ_REORDER_HOLD_S);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        reorder->newest_s = second;
    }
    if (reorder->waiting == AQ_REORDER_LINES_MAX) {
        apr_status_t rv = all_release(reorder);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    reorder->waiting++;
    return row_add(&reorder->rows[second % ROWS], pending);
}

apr_status_t aq_reorder_finish(aq_reorder_t *reorder)
{
    return reorder->has_begun ? release_until(reorder, reorder->newest_s + 1) : APR_SUCCESS;
}

uint64_t aq_reorder_late(const aq_reorder_t *reorder)
{
    return reorder->late;
}
