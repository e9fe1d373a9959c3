/* SPDX-License-Identifier: Apache-2.0 */
#include "contract/queue_fixture.h"

#include "store/redis_queue.h"
#include "store/redis_queue_setting.h"
#include "store/sqlite_queue.h"
#include "unit/redis_fixture.h"

#include <apr_strings.h>
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

static const char *redis_path_new(void)
{
    return redis_fixture_start(NULL).socket;
}

static apr_status_t redis_open(const char *path, aq_queue_t **q, const char **error)
{
    return queue_open_on(path, "machine-a", q, error);
}

apr_status_t queue_open_on(const char *socket, const char *machine, aq_queue_t **q, const char **error)
{
    const char *const words[] = {apr_pstrcat(fixture_pool, "unix:", socket, NULL), "budget=10s", "durability=none"};
    const aq_redis_queue_options_t options = {.machine = machine, .durability = AQ_REDIS_DURABLE_NONE};
    aq_redis_queue_setting_t *setting;
    apr_status_t rv = aq_redis_queue_setting_parse(fixture_pool, words, 3, &setting, error);

    return rv == APR_SUCCESS ? aq_redis_queue_open(fixture_pool, setting->address, &options, q, error) : rv;
}

/* ---- both ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *(*path_new)(void);
    apr_status_t (*open)(const char *path, aq_queue_t **q, const char **error);
} queue_kinds[] = {
    {"sqlite", sqlite_path_new, sqlite_open},
    {"redis", redis_path_new, redis_open},
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

static void kind_sqlite(void)
{
    kind = 0;
}

static void kind_redis(void)
{
    kind = 1;
}

int queue_fixture_run(const char *name, void (*add)(TCase *tests))
{
    static void (*const choose[])(void) = {kind_sqlite, kind_redis};

    return fixture_run_each(name, 2, choose, add);
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
