/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: which job is next, and claiming it.
 *
 * The lines are read in the order of their turns, and the first tenant that the limits let through is served. There is one
 * line a tenant and location that has a job ready, so what is read does not grow with the jobs; and what runs, which is little,
 * is read before, so that a line which may not be served costs next to nothing. Looking is done by the reader first: a worker
 * that finds nothing to do, or nothing that it may do, takes no lock.
 */
#include "store/sqlite_private.h"

#include <apr_strings.h>
#include <string.h>

/* What runs: of a tenant at a location. */
typedef struct {
    const char *tenant, *location;
    int64_t jobs;
} running_t;

typedef struct {
    apr_array_header_t *running; /* of running_t: no more than there are threads of workers */
    apr_hash_t *at;              /* location -> int64_t *: of all tenants */
} load_t;

/* The line that is next. */
typedef struct {
    const char *tenant, *location; /* NULL: there is none */
    int64_t seq;                   /* of its first job */
} line_t;

/* All of it, in `p`. */
static apr_status_t load_read(aq_sqlite_link_t *link, apr_pool_t *p, load_t *load)
{
    sqlite3_stmt *row;

    *load = (load_t){.running = apr_array_make(p, 8, sizeof(running_t)), .at = apr_hash_make(p)};
    apr_status_t rv = aq_sqlite_query(link, AQ_SQL_RUNNING, &row, "");
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(link, row)) {
        running_t *running = apr_array_push(load->running);
        *running = (running_t){.tenant = apr_pstrdup(p, (const char *)sqlite3_column_text(row, 0)),
                               .location = apr_pstrdup(p, (const char *)sqlite3_column_text(row, 1)),
                               .jobs = sqlite3_column_int64(row, 2)};
        int64_t *sum = apr_hash_get(load->at, running->location, APR_HASH_KEY_STRING);
        if (sum == NULL) {
            sum = apr_pcalloc(p, sizeof(*sum));
            apr_hash_set(load->at, running->location, APR_HASH_KEY_STRING, sum);
        }
        *sum += running->jobs;
    }
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static int64_t running_at(const load_t *load, const char *location)
{
    const int64_t *sum = apr_hash_get(load->at, location, APR_HASH_KEY_STRING);

    return sum != NULL ? *sum : 0;
}

/* `location` NULL: wherever. */
static int64_t running_of(const load_t *load, const char *tenant, const char *location)
{
    int64_t jobs = 0;

    for (int i = 0; i < load->running->nelts; i++) {
        const running_t *running = &APR_ARRAY_IDX(load->running, i, running_t);
        if (strcmp(running->tenant, tenant) == 0 && (location == NULL || strcmp(running->location, location) == 0)) {
            jobs += running->jobs;
        }
    }
    return jobs;
}

static int is_within(const aq_queue_limits_t *limits, const load_t *load, const char *tenant, const char *location)
{
    const aq_concurrency_t *set = NULL;
    int64_t tenant_most;

    if (limits == NULL) {
        return 1;
    }
    if (limits->locations != NULL) {
        set = apr_hash_get(limits->locations, location, APR_HASH_KEY_STRING);
    }
    tenant_most = limits->tenant_most;
    if (set != NULL && set->most > 0) {
        if ((set->per_endpoint ? running_at(load, location) : running_of(load, tenant, location)) >= set->most) {
            return 0;
        }
        tenant_most = tenant_most > 0 && tenant_most < set->most ? set->most : tenant_most;
    }
    return tenant_most == 0 || running_of(load, tenant, NULL) < tenant_most;
}

/* Takes the line at the row for the next one, in `p`, where its first job came before. */
static apr_status_t line_weigh(aq_sqlite_link_t *link, apr_pool_t *p, const char *tenant, const char *location,
                               line_t *line)
{
    sqlite3_stmt *row;

    apr_status_t rv = aq_sqlite_query(link, AQ_SQL_LINE_FIRST, &row, "tt", tenant, location);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    int64_t seq = sqlite3_column_int64(row, 0);
    aq_sqlite_reset(row);
    if (line->tenant == NULL || seq < line->seq) {
        *line = (line_t){.tenant = apr_pstrdup(p, tenant), .location = apr_pstrdup(p, location), .seq = seq};
    }
    return APR_SUCCESS;
}

/* Of the first tenant that has a line which may be served, that whose first job came first. APR_NOTFOUND: there is none. */
static apr_status_t line_find(aq_sqlite_link_t *link, apr_pool_t *p, const aq_queue_limits_t *limits, line_t *line)
{
    int64_t first_turn = 0;
    sqlite3_stmt *row;
    load_t load;

    *line = (line_t){.tenant = NULL};
    apr_status_t rv = load_read(link, p, &load);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_sqlite_query(link, AQ_SQL_LINES, &row, "");
    for (; rv == APR_SUCCESS; rv = aq_sqlite_next(link, row)) {
        const char *tenant = (const char *)sqlite3_column_text(row, 0);
        const char *location = (const char *)sqlite3_column_text(row, 1);
        int64_t turn = sqlite3_column_int64(row, 2);
        if (line->tenant != NULL && turn != first_turn) {
            break;
        }
        if (is_within(limits, &load, tenant, location)) {
            first_turn = turn;
            if ((rv = line_weigh(link, p, tenant, location, line)) != APR_SUCCESS) {
                break;
            }
        }
    }
    aq_sqlite_reset(row);
    return rv == APR_NOTFOUND && line->tenant != NULL ? APR_SUCCESS : rv;
}

static apr_status_t is_due(aq_sqlite_queue_t *queue, int64_t wall_ms, const aq_queue_limits_t *limits)
{
    sqlite3_stmt *row;
    apr_pool_t *ptemp;
    line_t line;

    apr_status_t rv = apr_pool_create(&ptemp, NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    (void)pthread_mutex_lock(&queue->reader_mutex);
    rv = line_find(&queue->reader, ptemp, limits, &line);
    if (rv == APR_NOTFOUND &&
        (rv = aq_sqlite_query(&queue->reader, AQ_SQL_IS_WAKING, &row, "i", wall_ms)) == APR_SUCCESS) {
        aq_sqlite_reset(row);
    }
    (void)pthread_mutex_unlock(&queue->reader_mutex);
    apr_pool_destroy(ptemp);
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
    line_t line;

    apr_status_t rv = line_find(&queue->writer, p, limits, &line);
    if (rv == APR_SUCCESS) {
        rv = claim_row(queue, p, worker, now, lease_ms, &line, job);
    }
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
