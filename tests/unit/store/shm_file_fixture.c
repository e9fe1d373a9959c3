/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/store/shm_file_fixture.h"

#include <apr_strings.h>
#include <glob.h>
#include <unistd.h>

const char *shm_file_path(void)
{
    return fixture_path("counters");
}

apr_status_t shm_file_try(apr_pool_t *p, uint64_t size, int may_resize, aq_counter_store_t **store, const char **error)
{
    return aq_shm_counters_open(p, shm_file_path(), size, may_resize, NOON, store, error);
}

aq_counter_store_t *shm_file_open(apr_pool_t *p, uint64_t size, aq_time_ms_t now_ms)
{
    aq_counter_store_t *store;
    const char *error;
    apr_status_t rv = aq_shm_counters_open(p, shm_file_path(), size, 1, now_ms, &store, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    ck_assert_ptr_null(error);
    return store;
}

apr_pool_t *shm_file_pool(void)
{
    apr_pool_t *p;

    ck_assert_int_eq(apr_pool_create(&p, fixture_pool), APR_SUCCESS);
    return p;
}

void shm_file_fresh(void)
{
    glob_t found;

    if (glob(apr_pstrcat(fixture_pool, shm_file_path(), "*", NULL), 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            ck_assert(unlink(found.gl_pathv[i]) == 0 || rmdir(found.gl_pathv[i]) == 0);
        }
        globfree(&found);
    }
    fixture_log_keep();
}

unsigned shm_file_aside(void)
{
    glob_t found;
    unsigned count = 0;

    if (glob(apr_pstrcat(fixture_pool, shm_file_path(), ".bad-*", NULL), 0, NULL, &found) == 0) {
        count = (unsigned)found.gl_pathc;
        globfree(&found);
    }
    return count;
}

uint64_t shm_file_used(aq_counter_store_t *store, aq_time_ms_t now_ms)
{
    return counter_used(store, counter_of(store, counter_limit(store, "day", "99/day", NULL), "a"), now_ms);
}

void shm_file_take(aq_counter_store_t *store, uint32_t cost, aq_time_ms_t now_ms)
{
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "99/day", NULL), "a");

    ck_assert(counter_take(store, &counter, cost, now_ms));
}
