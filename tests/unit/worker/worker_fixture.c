/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/worker/worker_fixture.h"

#include "base/aq_clock.h"

#include <apr_strings.h>
#include <curl/curl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

world_t world;

void world_nap(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

void world_config_write(void)
{
    json_t *json = json_pack("{s:o}", "worker", aq_batch_config_json(&world.config, fixture_pool));

    ck_assert_int_eq(aq_json_file_replace(world.options.config_file, json, 0600, fixture_pool), APR_SUCCESS);
    json_decref(json);
}

/* A location for each path of the backend, named by it. */
aq_batch_location_t *world_location(const char *path)
{
    aq_batch_location_t *made = apr_palloc(fixture_pool, sizeof(*made));

    *made = (aq_batch_location_t){
        .name = path,
        .target = apr_psprintf(fixture_pool, "http://127.0.0.1:%d%s", world.server->port, path),
        .timeout_ms = 10000,
        .max_attempts = 3,
        .target_is_idempotent = 1,
        .retention_ms = 1000000,
        .max_wait_ms = 86400000,
        .items_parallel = 4,
        .items_timeout_ms = 5000,
    };
    apr_hash_set(world.config.locations, path, APR_HASH_KEY_STRING, made);
    return made;
}

void world_setup(void)
{
    static const char *const paths[] = {"/ok",       "/status/422", "/flaky",   "/slow/400",   "/held",      "/headers",
                                        "/redirect", "/reset",      "/trickle", "/big/100000", "/status/503"};
    char *folder = apr_pstrdup(fixture_pool, fixture_path("state-XXXXXX"));
    const char *error;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    world.server = target_server_start();
    world.config = (aq_batch_config_t){.queue_file = apr_pstrcat(fixture_pool, folder, "/queue.db", NULL),
                                       .spool_folder = apr_pstrcat(fixture_pool, folder, "/spool", NULL),
                                       .threads = 3,
                                       .locations = apr_hash_make(fixture_pool)};
    world.options = (aq_worker_options_t){.config_file = apr_pstrcat(fixture_pool, folder, "/runtime.json", NULL),
                                          .lease_ms = 30000,
                                          .stop_wait_ms = 500,
                                          .result_max_bytes = 50000};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        (void)world_location(paths[i]);
    }
    world_config_write();
    ck_assert_int_eq(aq_spool_prepare(world.config.spool_folder, (uid_t)-1, (gid_t)-1, fixture_pool, &error),
                     APR_SUCCESS);
    ck_assert_int_eq(aq_spool_open(fixture_pool, world.config.spool_folder, 0, &world.spool, &error), APR_SUCCESS);
    world.queue = queue_open(world.config.queue_file);
}

void worker_start(void)
{
    world.worker = fixture_fork();
    if (world.worker == 0) {
        apr_pool_t *pool;
        int code = 1;
        if (apr_pool_create(&pool, NULL) == APR_SUCCESS && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
            code = aq_worker_run(&world.options, pool);
        }
        _exit(code);
    }
}

void worker_kill(int number)
{
    if (world.worker > 0) {
        ck_assert_int_eq(kill(world.worker, number), 0);
    }
}

/* The exit code of the worker, which has been told to end. */
int worker_end(void)
{
    int status = -1;

    ck_assert_int_eq(waitpid(world.worker, &status, 0), world.worker);
    world.worker = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void world_teardown(void)
{
    if (world.worker > 0) {
        worker_kill(SIGKILL);
        (void)worker_end();
    }
    target_server_stop(world.server);
    aq_queue_close(world.queue);
}

const char *world_submit_to(const char *path, void (*change)(aq_batch_t *batch))
{
    aq_batch_t batch = queue_batch("acme", ++world.submitted);
    aq_spool_file_t *file;

    batch.location = path;
    batch.created_at_ms = aq_clock_now_ms();
    batch.query = "from=client";
    batch.headers = "{\"accept\":\"application/json\",\"authorization\":\"secret\",\"x-evil\":\"a\\r\\nb: c\"}";
    ck_assert_int_eq(aq_spool_body_begin(world.spool, fixture_pool, NULL, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, WORLD_BODY, sizeof WORLD_BODY - 1), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_commit(file, batch.id, &batch.request), APR_SUCCESS);
    if (change != NULL) {
        change(&batch);
    }
    ck_assert_int_eq(aq_queue_submit(world.queue, &batch, NULL, fixture_pool), APR_SUCCESS);
    return apr_pstrdup(fixture_pool, batch.id);
}

const char *world_submit(const char *path)
{
    return world_submit_to(path, NULL);
}

/* Waits until the batch has this status. */
aq_batch_t *world_wait_for(const char *id, aq_batch_status_t status)
{
    aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;
    aq_batch_t *batch = queue_find(world.queue, id);

    while (batch->status != status && aq_clock_boot_ms() < until_ms) {
        world_nap(10);
        batch = queue_find(world.queue, id);
    }
    ck_assert_msg(batch->status == status, "%s is %s (%s: %s), not %s", id, aq_batch_status_name(batch->status),
                  batch->error_code, batch->error_detail, aq_batch_status_name(status));
    return batch;
}

void world_wait_for_effects(int count)
{
    aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;

    while (world.server->effects < count && aq_clock_boot_ms() < until_ms) {
        world_nap(5);
    }
    ck_assert_int_eq(world.server->effects, count);
}

void world_wait_for_requests(int count)
{
    aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS;

    while (world.server->requests < count && aq_clock_boot_ms() < until_ms) {
        world_nap(5);
    }
    ck_assert_int_ge(world.server->requests, count);
}

void unrepeatable(aq_batch_t *batch)
{
    batch->never_repeat = 1;
}

void one_attempt(aq_batch_t *batch)
{
    batch->max_attempts = 1;
}
