/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: which job is next, and claiming it.
 *
 * The lines are read in the order of their turns, and the first that the limits let through is served. There is one line a
 * tenant and location that has a job ready, so what is read does not grow with the jobs. Looking is done by the reader
 * first: a worker that finds nothing to do, or nothing that it may do, takes no lock.
 */
#include "store/sqlite_private.h"

#include <apr_strings.h>

/* A line as AQ_SQL_LINES tells it. Texts hold until the next row. */
typedef struct {
    const char *tenant, *location;
    int64_t running_here; /* of this tenant at this location */
    int64_t running_at_location, running_of_tenant;
} line_t;

static int is_within(const aq_queue_limits_t *limits, const line_t *line)
{
    const aq_concurrency_t *set = NULL;
    int64_t tenant_most;

    if (limits == NULL) {
        return 1;
    }
    if (limits->locations != NULL) {
        set = apr_hash_get(limits->locations, line->location, APR_HASH_KEY_STRING);
    }
    tenant_most = limits->tenant_most;
    if (set != NULL && set->most > 0) {
        if ((set->per_endpoint ? line->running_at_location : line->running_here) >= set->most) {
            return 0;
        }
        tenant_most = tenant_most > 0 && tenant_most < set->most ? set->most : tenant_most;
    }
    return tenant_most == 0 || line->running_of_tenant < tenant_most;
}

/* The first line that may be served: its row is then still open, to be reset by the caller. APR_NOTFOUND: there is none. */
static apr_status_t line_find(aq_sqlite_link_t *link, const aq_queue_limits_t *limits, sqlite3_stmt **row, line_t *line)
{
    apr_status_t rv = aq_sqlite_query(link, AQ_SQL_LINES, row, "");

    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(link, *row)) {
        *line = (line_t){.tenant = (const char *)sqlite3_column_text(*row, 0),
                         .location = (const char *)sqlite3_column_text(*row, 1),
                         .running_here = sqlite3_column_int64(*row, 2),
                         .running_at_location = sqlite3_column_int64(*row, 3),
                         .running_of_tenant = sqlite3_column_int64(*row, 4)};
        if (is_within(limits, line)) {
            return APR_SUCCESS;
        }
    }
    aq_sqlite_reset(*row);
    return rv;
}

static apr_status_t is_due(aq_sqlite_queue_t *queue, int64_t wall_ms, const aq_queue_limits_t *limits)
{
    sqlite3_stmt *row;
    line_t line;

    (void)pthread_mutex_lock(&queue->reader_mutex);
    apr_status_t rv = line_find(&queue->reader, limits, &row, &line);
    if (rv == APR_NOTFOUND) {
        rv = aq_sqlite_query(&queue->reader, AQ_SQL_IS_WAKING, &row, "i", wall_ms);
    }
    if (rv == APR_SUCCESS) {
        aq_sqlite_reset(row);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    return rv;
}

/* The row, read wholly before the transaction ends: a statement that is still running would keep it open. */
static apr_status_t claim_row(aq_sqlite_queue_t *queue, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                              int lease_ms, const line_t *line, aq_job_t *job)
{
    sqlite3_stmt *row;

    apr_status_t rv = aq_sqlite_query(&queue->writer, AQ_SQL_CLAIM, &row, "tititt", worker, now->boot_ms + lease_ms,
                                      now->boot_id, now->wall_ms, line->tenant, line->location);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    job->batch = aq_sqlite_row_read(row, p);
    job->token = sqlite3_column_int64(row, AQ_SQLITE_COLUMN_COUNT);
    rv = aq_sqlite_next(&queue->writer, row);
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t claim_next(aq_sqlite_queue_t *queue, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                               int lease_ms, const aq_queue_limits_t *limits, aq_job_t *job)
{
    sqlite3_stmt *row;
    line_t line;

    apr_status_t rv = line_find(&queue->writer, limits, &row, &line);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    line.tenant = apr_pstrdup(p, line.tenant);
    line.location = apr_pstrdup(p, line.location);
    aq_sqlite_reset(row);
    rv = claim_row(queue, p, worker, now, lease_ms, &line, job);
    return rv == APR_SUCCESS ? aq_sqlite_run(&queue->writer, AQ_SQL_TURN_TAKEN, NULL, "t", line.tenant) : rv;
}

/* A claim that waits for its turn. */
typedef struct {
    apr_pool_t *p;
    const char *worker;
    const aq_queue_now_t *now;
    int lease_ms;
    const aq_queue_limits_t *limits;
    aq_job_t claimed;
    int is_claimed;
} claim_t;

/* Jobs that were woken but may not run yet stay awake: that there is nothing to claim then takes nothing back. */
static apr_status_t claim_change(aq_sqlite_queue_t *queue, void *data)
{
    claim_t *claim = data;
    int woken = 0;

    apr_status_t rv = aq_sqlite_run(&queue->writer, AQ_SQL_WAKE, &woken, "i", claim->now->wall_ms);
    if (rv == APR_SUCCESS) {
        rv = claim_next(queue, claim->p, claim->worker, claim->now, claim->lease_ms, claim->limits, &claim->claimed);
    }
    claim->is_claimed = rv == APR_SUCCESS;
    return rv == APR_NOTFOUND && woken > 0 ? APR_SUCCESS : rv;
}

apr_status_t aq_sqlite_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                             const aq_queue_limits_t *limits, aq_job_t *job)
{
    aq_sqlite_queue_t *queue = aq_sqlite_queue_of(q);
    claim_t claim = {.p = p, .worker = worker, .now = now, .lease_ms = lease_ms, .limits = limits};

    *job = (aq_job_t){.batch = NULL};
    apr_status_t rv = is_due(queue, now->wall_ms, limits);
    if (rv == APR_SUCCESS) {
        rv = aq_sqlite_write(queue, claim_change, &claim);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *job = claim.claimed;
    return claim.is_claimed ? APR_SUCCESS : APR_NOTFOUND;
}
