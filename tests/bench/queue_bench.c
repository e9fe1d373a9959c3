/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the queue costs, by how much is in it.
 *
 *      queue_bench fill FILE FINISHED WAITING     makes a queue with so many batches
 *      queue_bench claim|list|poll FILE N         does so N times
 *
 * A claim is one with its finish, as a worker does them; a list is the first page of 50; a poll finds one batch that
 * waits. The batches are of one tenant and one location. FILE is closed folded together, so it may be copied alone.
 */
#include "store/sqlite_queue.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MADE_MS INT64_C(1790000000000)
#define WAIT_MS 5000
#define LEASE_MS 30000
#define PAGE 50

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "queue_bench: %s: %s\n", what, why);
    return 1;
}

static aq_queue_t *queue_open(apr_pool_t *p, const char *path)
{
    aq_queue_t *queue = NULL;
    const char *error;

    if (aq_sqlite_queue_open(p, path, WAIT_MS, &queue, &error) != APR_SUCCESS) {
        (void)fail(path, error);
    }
    return queue;
}

/* Rows by SQL, a million in a breath; the triggers count them. */
static int rows_add(sqlite3 *db, const char *first, const char *count, const char *status, const char *finished_ms)
{
    static const char columns[] = "id, tenant, key_id, location, status, created_at_ms, started_at_ms, finished_at_ms,"
                                  " expires_at_ms, cancel_requested_at_ms, next_attempt_at_ms, attempt, max_attempts,"
                                  " never_repeat, retention_ms, method, path, headers, request_type, request_bytes,"
                                  " request_sha256, response_status, response_bytes, result_token, progress_done,"
                                  " progress_total, progress_failed, version";
    char *error = NULL;
    char *sql = sqlite3_mprintf(
        "BEGIN; WITH RECURSIVE n(i) AS (SELECT 0 WHERE %s > 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %s)"
        " INSERT INTO batches (%s) SELECT printf('batch_%%026d', i + %s), 'acme', 'k_1', 'localhost/v1/import', '%s',"
        " %lld + i, 0, %s, iif(%s > 0, %s + 1, 0), 0, 0, 0, 5, 0, 0, 'POST', '/v1/import', '{\"accept\":\"*/*\"}', "
        "'text/csv',"
        " 1000, '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824', 0, -1, 0, 0, 0, 0, 1 FROM n; "
        "COMMIT;"
        " PRAGMA wal_checkpoint(TRUNCATE)",
        count, count, columns, first, status, (long long)MADE_MS, finished_ms, finished_ms, finished_ms);
    int rc = sqlite3_exec(db, sql, NULL, NULL, &error);

    sqlite3_free(sql);
    return rc == SQLITE_OK ? 0 : fail("rows", error);
}

static int fill(apr_pool_t *p, const char *path, const char *finished, const char *waiting)
{
    aq_queue_t *queue = queue_open(p, path);
    sqlite3 *db = NULL;
    int code = 1;

    if (queue == NULL) {
        return 1;
    }
    aq_queue_close(queue);
    if (sqlite3_open(path, &db) == SQLITE_OK) {
        code =
            rows_add(db, "0", finished, "succeeded", "8000000000000") || rows_add(db, finished, waiting, "queued", "0");
    }
    (void)sqlite3_close(db);
    return code;
}

static apr_status_t claim_one(aq_queue_t *queue, apr_pool_t *p)
{
    static const aq_job_result_t done = {
        .status = AQ_BATCH_SUCCEEDED, .response_status = 204, .response = {.bytes = -1}};
    const aq_queue_now_t now = {.wall_ms = MADE_MS, .boot_ms = 1000, .boot_id = "boot"};
    aq_job_t job;

    apr_status_t rv = aq_queue_claim(queue, p, "bench", &now, LEASE_MS, NULL, &job);
    return rv == APR_SUCCESS ? aq_queue_finish(queue, job.batch->id, job.token, &now, &done) : rv;
}

static apr_status_t list_one(aq_queue_t *queue, apr_pool_t *p)
{
    const aq_queue_query_t query = {.tenant = "acme", .status = -1, .limit = PAGE};
    aq_queue_page_t page;

    return aq_queue_list(queue, p, &query, &page);
}

static apr_status_t poll_one(aq_queue_t *queue, apr_pool_t *p)
{
    aq_batch_t *batch;

    return aq_queue_find(queue, p, "batch_00000000000000000000000777", &batch);
}

static const struct {
    const char *name;
    apr_status_t (*run)(aq_queue_t *queue, apr_pool_t *p);
} operations[] = {{"claim", claim_one}, {"list", list_one}, {"poll", poll_one}};

static int repeat(apr_pool_t *p, const char *name, const char *path, unsigned long times)
{
    aq_queue_t *queue = queue_open(p, path);
    apr_status_t rv = queue != NULL ? APR_SUCCESS : APR_EGENERAL;
    apr_pool_t *each;

    apr_pool_create(&each, p);
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        for (unsigned long n = 0; rv == APR_SUCCESS && n < times && strcmp(operations[i].name, name) == 0; n++) {
            rv = operations[i].run(queue, each);
            apr_pool_clear(each);
        }
    }
    return rv == APR_SUCCESS ? 0 : fail(name, "failed");
}

int main(int argc, char **argv)
{
    apr_pool_t *p;
    int code = 2;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 1;
    }
    if (argc == 5 && strcmp(argv[1], "fill") == 0) {
        code = fill(p, argv[2], argv[3], argv[4]);
    } else if (argc == 4) {
        code = repeat(p, argv[1], argv[2], strtoul(argv[3], NULL, 10));
    } else {
        (void)fputs("usage: queue_bench fill FILE FINISHED WAITING | claim|list|poll FILE N\n", stderr);
    }
    apr_pool_destroy(p);
    apr_terminate();
    return code;
}
