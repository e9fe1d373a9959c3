/* SPDX-License-Identifier: Apache-2.0 */
#include "contract/counter_fixture.h"

#include "store/memory_counters.h"
#include "store/shm_counters.h"
#include "unit/redis_cluster_fixture.h"
#include "unit/redis_fixture.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static aq_counter_store_t *memory_open(uint64_t slots)
{
    aq_counter_store_t *store;

    ck_assert_int_eq(aq_memory_counters_create(fixture_pool, slots, &store), APR_SUCCESS);
    return store;
}

aq_counter_store_t *counters_open_shm(uint64_t slots)
{
    const char *path = fixture_path("counters");
    aq_counter_store_t *store;
    const char *error;
    apr_status_t rv;

    (void)unlink(path);
    rv = aq_shm_counters_open(fixture_pool, path, 4096 + slots * 64, 1, NOON, &store, &error);
    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    return store;
}

/* A server of its own for each test, since a store is to be new and empty. */
static aq_counter_store_t *redis_open_with(const aq_redis_counters_options_t *options)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_counter_store_t *store;

    fixture_log_keep();
    store = redis_fixture_store_with(&server, options);
    ck_assert_int_eq(fixture_log_count(425), 1);
    return store;
}

static aq_counter_store_t *redis_open(uint64_t slots)
{
    (void)slots;
    return redis_open_with(&(aq_redis_counters_options_t){.is_clock_given = 1, .waits_to_settle = 1});
}

/* One machine alone, whose slices show to nobody. */
static aq_counter_store_t *leased_open(uint64_t slots)
{
    (void)slots;
    return redis_open_with(&(aq_redis_counters_options_t){.is_clock_given = 1, .waits_to_settle = 1, .is_leased = 1});
}

/* Of three masters; the counters of a test lie on any of them. */
static aq_counter_store_t *cluster_open(uint64_t slots)
{
    (void)slots;
    return redis_cluster_fixture_store(&(aq_redis_counters_options_t){.is_clock_given = 1, .waits_to_settle = 1});
}

const counter_kind_t counter_kinds[COUNTER_KINDS] = {
    {"memory", memory_open, 1, 1},  {"shm", counters_open_shm, 1, 1}, {"redis", redis_open, 0, 200},
    {"redis", leased_open, 0, 200}, {"redis", cluster_open, 0, 1000},
};

void counters_prepare(TCase *tests)
{
    redis_cluster_fixture_add(tests);
}

aq_counter_store_t *counters_open(int kind, uint64_t slots)
{
    aq_counter_store_t *store = counter_kinds[kind].open(slots);

    ck_assert_str_eq(store->ops->name, counter_kinds[kind].name);
    return store;
}

aq_limit_t *counter_limit(const aq_counter_store_t *store, const char *name, const char *rate, const char *option)
{
    const char *arguments[] = {name, rate, option};
    const char *error;
    aq_limit_t *limit;
    apr_status_t rv = aq_limit_parse(fixture_pool, arguments, option != NULL ? 3 : 2, &limit, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    aq_limit_identify(limit, &store->secret);
    return limit;
}

aq_counter_t counter_of(const aq_counter_store_t *store, const aq_limit_t *limit, const char *subject)
{
    const aq_hash128_t hash = aq_subject_hash(&store->secret, limit->per, subject);

    return (aq_counter_t){.limit = limit, .key = aq_hash_join(limit->identity, hash)};
}

aq_counter_t counter_numbered(const aq_counter_store_t *store, const aq_limit_t *limit, uint64_t number)
{
    const aq_hash128_t hash = aq_hash_keyed(&store->secret, &number, sizeof(number));

    return (aq_counter_t){.limit = limit, .key = aq_hash_join(limit->identity, hash)};
}

int counters_take(aq_counter_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost, aq_time_ms_t now_ms)
{
    int is_denied = -1;

    ck_assert_int_eq(aq_counter_store_take(store, counters, count, cost, now_ms, &is_denied), APR_SUCCESS);
    return !is_denied;
}

int counter_take(aq_counter_store_t *store, aq_counter_t *counter, uint32_t cost, aq_time_ms_t now_ms)
{
    return counters_take(store, counter, 1, cost, now_ms);
}

void counter_give_back(aq_counter_store_t *store, aq_counter_t *counter, aq_time_ms_t now_ms)
{
    ck_assert_int_eq(aq_counter_store_give_back(store, counter, 1, now_ms), APR_SUCCESS);
}

uint64_t counter_used(aq_counter_store_t *store, aq_counter_t counter, aq_time_ms_t now_ms)
{
    ck_assert_int_eq(aq_counter_store_look(store, &counter, 1, now_ms), APR_SUCCESS);
    return counter.used;
}

aq_counter_store_info_t counters_info(aq_counter_store_t *store, aq_time_ms_t now_ms)
{
    aq_counter_store_info_t info;

    ck_assert_int_eq(aq_counter_store_info(store, now_ms, &info), APR_SUCCESS);
    return info;
}

void *memory_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

pid_t child_start(int (*run)(void *data), void *data)
{
    pid_t pid = fixture_fork();

    if (pid == 0) {
        _exit(run(data) == 0 ? 0 : 1);
    }
    return pid;
}

int child_join(pid_t pid)
{
    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
