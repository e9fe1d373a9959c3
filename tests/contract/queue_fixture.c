/* SPDX-License-Identifier: Apache-2.0 */
#include "contract/queue_fixture.h"

#include "store/redis_queue.h"
#include "store/sqlite_queue.h"
#include "unit/redis_cluster_fixture.h"
#include "unit/redis_fixture.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MADE_MS INT64_C(1700000000000)

const aq_job_result_t QUEUE_DONE = {
    .status = AQ_BATCH_SUCCEEDED,
    .response_status = 200,
    .response_headers = "{}",
    .response = {.content_type = "text/plain", .bytes = 5, .sha256 = "2cf2"},
};

static int kind; /* of queue_kinds, of the test that runs */

/* ---- SQLite ----------------------------------------------------------------------------------------------------- */

static const char *sqlite_path_new(void)
{
    static int count;

    return fixture_path(apr_psprintf(fixture_pool, "queue-%ld-%d.db", (long)getpid(), ++count));
}

static apr_status_t sqlite_open(const char *path, aq_queue_t **q, const char **error)
{
    return aq_sqlite_queue_open(fixture_pool, path, 20000, q, error);
}

/* ---- Redis: a server of its own for each queue, since one holds one queue ---------------------------------------- */

static const aq_redis_queue_options_t redis_options = {.machine = "machine-a", .durability = AQ_REDIS_DURABLE_NONE};

static const char *redis_path_new(void)
{
    return redis_fixture_start(NULL).socket;
}

static apr_status_t redis_open(const char *path, aq_queue_t **q, const char **error)
{
    const char *const words[] = {apr_pstrcat(fixture_pool, "unix:", path, NULL), "budget=10s"};
    aq_redis_address_t *address;
    apr_status_t rv = aq_redis_address_parse(fixture_pool, words, 2, &address, error);

    return rv == APR_SUCCESS ? aq_redis_queue_open(fixture_pool, address, &redis_options, q, error) : rv;
}

/* ---- A cluster: of this program, emptied for each queue ----------------------------------------------------------- */

static const char *cluster_path_new(void)
{
    redis_cluster_fixture_empty();
    return "";
}

static apr_status_t cluster_open(const char *path, aq_queue_t **q, const char **error)
{
    (void)path;
    return aq_redis_queue_open(fixture_pool, redis_cluster_fixture_address(), &redis_options, q, error);
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *(*path_new)(void);
    apr_status_t (*open)(const char *path, aq_queue_t **q, const char **error);
} queue_kinds[] = {
    {"sqlite", sqlite_path_new, sqlite_open},
    {"redis", redis_path_new, redis_open},
    {"redis", cluster_path_new, cluster_open},
};

const char *queue_path_new(void)
{
    return queue_kinds[kind].path_new();
}

aq_queue_t *queue_open(const char *path)
{
    const char *error;
    aq_queue_t *q;

    ck_assert_msg(queue_kinds[kind].open(path, &q, &error) == APR_SUCCESS, "%s", error);
    ck_assert_str_eq(q->ops->name, queue_kinds[kind].name);
    return q;
}

aq_queue_t *queue_open_or_exit(const char *path)
{
    const char *error;
    aq_queue_t *q;

    if (queue_kinds[kind].open(path, &q, &error) != APR_SUCCESS) {
        (void)fprintf(stderr, "%s\n", error);
        _exit(1);
    }
    return q;
}

static void kind_sqlite(void)
{
    kind = 0;
}

static void kind_redis(void)
{
    kind = 1;
}

static void kind_cluster(void)
{
    kind = 2;
}

static void prepare_sqlite(TCase *tests)
{
    tcase_add_checked_fixture(tests, kind_sqlite, NULL);
}

static void prepare_redis(TCase *tests)
{
    tcase_add_checked_fixture(tests, kind_redis, NULL);
}

static void prepare_cluster(TCase *tests)
{
    redis_cluster_fixture_add(tests);
    tcase_add_checked_fixture(tests, kind_cluster, NULL);
}

int queue_fixture_run(const char *name, void (*add)(TCase *tests))
{
    static void (*const prepare[])(TCase * tests) = {prepare_sqlite, prepare_redis, prepare_cluster};

    return fixture_run_each(name, 3, prepare, add);
}

aq_batch_t queue_batch(const char *tenant, int n)
{
    aq_batch_t batch = {
        .status = AQ_BATCH_QUEUED,
        .tenant = tenant,
        .key_id = "k_1",
        .location = "localhost:80/v1/import",
        .created_at_ms = MADE_MS + n,
        .max_attempts = 3,
        .method = "POST",
        .path = "/v1/import",
        .request = {.content_type = "text/csv", .bytes = 12, .sha256 = "abcd"},
        .response = {.bytes = -1},
        .version = 1,
    };
    unsigned char random[10] = {0};

    memcpy(random, &n, sizeof n);
    memcpy(random + sizeof n, tenant, strlen(tenant) < 5 ? strlen(tenant) : 5);
    aq_batch_id_write(batch.id, batch.created_at_ms, random);
    return batch;
}

const char *queue_submit(aq_queue_t *q, const char *tenant, int n)
{
    aq_batch_t batch = queue_batch(tenant, n);

    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_SUCCESS);
    return apr_pstrdup(fixture_pool, batch.id);
}

aq_queue_now_t queue_at(int64_t ms)
{
    return (aq_queue_now_t){.wall_ms = MADE_MS + ms, .boot_ms = 5000 + ms, .boot_id = "this-boot"};
}

aq_job_t queue_claim(aq_queue_t *q, const char *worker, aq_queue_now_t now)
{
    aq_job_t job;

    ck_assert_int_eq(aq_queue_claim(q, fixture_pool, worker, &now, LEASE_MS, NULL, &job), APR_SUCCESS);
    ck_assert_ptr_nonnull(job.batch);
    ck_assert_int_gt(job.token, 0);
    return job;
}

void queue_claim_none(aq_queue_t *q, aq_queue_now_t now)
{
    aq_job_t job;

    ck_assert_int_eq(aq_queue_claim(q, fixture_pool, "nobody", &now, LEASE_MS, NULL, &job), APR_NOTFOUND);
    ck_assert_ptr_null(job.batch);
}

aq_batch_t *queue_find(aq_queue_t *q, const char *id)
{
    aq_batch_t *batch;

    ck_assert_int_eq(aq_queue_find(q, fixture_pool, id, &batch), APR_SUCCESS);
    return batch;
}

const char *queue_finished(aq_queue_t *q, const char *tenant, int n, const aq_job_result_t *result)
{
    aq_queue_now_t now = queue_at(n);
    const char *id = queue_submit(q, tenant, n);
    aq_job_t job = queue_claim(q, "w", now);

    ck_assert_str_eq(job.batch->id, id);
    ck_assert_int_eq(aq_queue_finish(q, id, job.token, &now, result), APR_SUCCESS);
    return id;
}
