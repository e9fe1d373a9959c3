/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counter file over the life of servers: kept over restarts, carried into another size where that can be, shared by
 * two servers. Catalogue lines 6, 7, 11.
 */
#include "unit/store/shm_file_fixture.h"

#include <apr_strings.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_RESIZED 301
#define LOG_SIZE_KEPT 302

START_TEST(new_file_is_private_and_of_the_size_asked_for)
{
    struct stat status;

    shm_file_fresh();
    (void)shm_file_open(fixture_pool, SIZE_SMALL, NOON);
    ck_assert_int_eq(stat(shm_file_path(), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
    ck_assert_int_eq(status.st_size, SIZE_SMALL);
    ck_assert_int_ge(status.st_blocks * 512, SIZE_SMALL);
    ck_assert_int_eq(stat(apr_pstrcat(fixture_pool, shm_file_path(), ".lock", NULL), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
}
END_TEST

/* Line 6. */
START_TEST(counts_are_kept_over_a_stop_and_start)
{
    apr_pool_t *p = shm_file_pool();
    aq_counter_store_info_t before;
    aq_counter_store_t *store;

    shm_file_fresh();
    store = shm_file_open(p, SIZE_SMALL, NOON);
    shm_file_take(store, 7, NOON);
    before = counters_info(store, NOON);
    apr_pool_destroy(p);
    store = shm_file_open(fixture_pool, SIZE_SMALL, NOON + HOUR);
    ck_assert_uint_eq(shm_file_used(store, NOON + HOUR), 7);
    ck_assert_uint_eq(shm_file_used(store, NOON + DAY), 0);
    ck_assert_str_eq(counters_info(store, NOON).id, before.id);
    ck_assert_uint_eq(shm_file_aside(), 0);
}
END_TEST

/* Line 7, the full start: larger, and smaller again. */
START_TEST(counts_are_carried_into_another_size)
{
    static const uint64_t sizes[] = {SIZE_SMALL, SIZE_LARGE, SIZE_SMALL + 64 * 100, SIZE_LARGE * 8, SIZE_SMALL};
    const unsigned counters = 500;

    shm_file_fresh();
    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        apr_pool_t *p = shm_file_pool();
        aq_counter_store_t *store = shm_file_open(p, sizes[s], NOON);
        const aq_limit_t *day = counter_limit(store, "day", "99/day", NULL);
        const aq_limit_t *minute = counter_limit(store, "minute", "99/minute", NULL);

        ck_assert_uint_eq(counters_info(store, NOON).size_bytes, sizes[s]);
        for (uint64_t i = 0; i < counters; i++) {
            aq_counter_t counter = counter_numbered(store, i % 3 ? day : minute, i);

            ck_assert_uint_eq(counter_used(store, counter, NOON), s);
            ck_assert(counter_take(store, &counter, 1, NOON));
        }
        apr_pool_destroy(p);
        ck_assert_int_eq(fixture_log_count(LOG_RESIZED), (int)s);
    }
    ck_assert_uint_eq(shm_file_aside(), 0);
}
END_TEST

START_TEST(resizing_leaves_the_dead_behind)
{
    apr_pool_t *p = shm_file_pool();
    aq_counter_store_t *store;

    shm_file_fresh();
    store = shm_file_open(p, SIZE_SMALL, NOON);
    for (uint64_t i = 0; i < 300; i++) {
        aq_counter_t counter = counter_numbered(store, counter_limit(store, "m", "9/minute", NULL), i);

        ck_assert(counter_take(store, &counter, 1, NOON));
    }
    shm_file_take(store, 3, NOON);
    apr_pool_destroy(p);
    store = shm_file_open(fixture_pool, SIZE_LARGE, NOON + HOUR);
    ck_assert_uint_eq(counters_info(store, NOON + HOUR).live, 1);
    ck_assert_uint_eq(counters_info(store, NOON + HOUR).dead, 0);
    ck_assert_uint_eq(shm_file_used(store, NOON + HOUR), 3);
}
END_TEST

/* A file too small for what lives is not made: no live counter is lost. */
START_TEST(size_stays_where_the_counters_would_not_fit)
{
    apr_pool_t *p = shm_file_pool();
    aq_counter_store_t *store;
    struct stat status;

    shm_file_fresh();
    store = shm_file_open(p, SIZE_LARGE, NOON);
    for (uint64_t i = 0; i < 2000; i++) {
        aq_counter_t counter = counter_numbered(store, counter_limit(store, "d", "9/day", NULL), i);

        ck_assert(counter_take(store, &counter, 1, NOON));
    }
    apr_pool_destroy(p);
    store = shm_file_open(fixture_pool, SIZE_SMALL, NOON);
    ck_assert_uint_eq(counters_info(store, NOON).size_bytes, SIZE_LARGE);
    ck_assert_uint_eq(counters_info(store, NOON).live, 2000);
    ck_assert_int_eq(fixture_log_count(LOG_SIZE_KEPT), 1);
    ck_assert_int_ne(stat(apr_pstrcat(fixture_pool, shm_file_path(), ".new", NULL), &status), 0);
}
END_TEST

/* Line 7, the graceful restart: the children of before still hold the file. */
START_TEST(size_stays_while_children_use_the_file)
{
    apr_pool_t *p = shm_file_pool();
    aq_counter_store_t *store;
    int ends[2];
    pid_t child;
    char byte;

    shm_file_fresh();
    store = shm_file_open(p, SIZE_SMALL, NOON);
    shm_file_take(store, 1, NOON);
    ck_assert_int_eq(pipe(ends), 0);
    child = fixture_fork();
    if (child == 0) {
        (void)close(ends[1]);
        (void)!read(ends[0], &byte, 1);
        shm_file_take(store, 2, NOON);
        _exit(0);
    }
    apr_pool_destroy(p);
    store = shm_file_open(fixture_pool, SIZE_LARGE, NOON);
    ck_assert_uint_eq(counters_info(store, NOON).size_bytes, SIZE_SMALL);
    ck_assert_int_eq(fixture_log_count(LOG_SIZE_KEPT), 1);
    shm_file_take(store, 4, NOON);
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert(child_join(child));
    ck_assert_uint_eq(shm_file_used(store, NOON), 7);
}
END_TEST

START_TEST(size_stays_where_it_may_not_change)
{
    apr_pool_t *p = shm_file_pool();
    aq_counter_store_t *store;
    const char *error;

    shm_file_fresh();
    (void)shm_file_open(p, SIZE_SMALL, NOON);
    apr_pool_destroy(p);
    ck_assert_int_eq(shm_file_try(fixture_pool, SIZE_LARGE, 0, &store, &error), APR_SUCCESS);
    ck_assert_uint_eq(counters_info(store, NOON).size_bytes, SIZE_SMALL);
    ck_assert_int_eq(fixture_log_count(LOG_SIZE_KEPT), 1);
}
END_TEST

/* Line 11. */
START_TEST(two_servers_count_in_one_file)
{
    aq_counter_store_t *first;
    aq_counter_store_t *second;

    shm_file_fresh();
    first = shm_file_open(fixture_pool, SIZE_SMALL, NOON);
    second = shm_file_open(fixture_pool, SIZE_LARGE, NOON);
    shm_file_take(first, 3, NOON);
    shm_file_take(second, 4, NOON);
    ck_assert_uint_eq(shm_file_used(first, NOON), 7);
    ck_assert_uint_eq(shm_file_used(second, NOON), 7);
    ck_assert_str_eq(counters_info(first, NOON).id, counters_info(second, NOON).id);
}
END_TEST

static int opener_run(void *data)
{
    aq_counter_store_t *store;
    const char *error;
    apr_pool_t *p;

    (void)data;
    if (apr_pool_create(&p, NULL) != APR_SUCCESS ||
        aq_shm_counters_open(p, shm_file_path(), SIZE_SMALL, 1, NOON, &store, &error) != APR_SUCCESS) {
        return 1;
    }
    shm_file_take(store, 1, NOON);
    return 0;
}

START_TEST(servers_that_start_at_once_meet_in_one_file)
{
    for (int round = 0; round < 10; round++) {
        pid_t pids[8];

        shm_file_fresh();
        if (round % 2) {
            fixture_write(shm_file_path(), "bad");
        }
        for (int i = 0; i < 8; i++) {
            pids[i] = child_start(opener_run, NULL);
        }
        for (int i = 0; i < 8; i++) {
            ck_assert(child_join(pids[i]));
        }
        apr_pool_t *p = shm_file_pool();
        ck_assert_uint_eq(shm_file_used(shm_file_open(p, SIZE_SMALL, NOON), NOON), 8);
        apr_pool_destroy(p);
        ck_assert_uint_eq(shm_file_aside(), (unsigned)round % 2);
    }
}
END_TEST

START_TEST(reader_sees_the_counts_and_changes_nothing)
{
    aq_counter_store_t *store;
    aq_counter_store_t *reader;
    const char *error;
    int is_denied;

    shm_file_fresh();
    ck_assert(APR_STATUS_IS_ENOENT(aq_shm_counters_open_readonly(fixture_pool, shm_file_path(), &reader, &error)));
    ck_assert_ptr_nonnull(strstr(error, "there is none"));
    store = shm_file_open(fixture_pool, SIZE_SMALL, NOON);
    shm_file_take(store, 5, NOON);
    ck_assert_int_eq(aq_shm_counters_open_readonly(fixture_pool, shm_file_path(), &reader, &error), APR_SUCCESS);
    ck_assert_uint_eq(shm_file_used(reader, NOON), 5);
    ck_assert_uint_eq(counters_info(reader, NOON).live, 1);
    ck_assert_str_eq(counters_info(reader, NOON).path, shm_file_path());

    aq_counter_t counter = counter_of(reader, counter_limit(reader, "day", "99/day", NULL), "a");
    ck_assert_int_eq(aq_counter_store_take(reader, &counter, 1, 1, NOON, &is_denied), APR_EACCES);
    ck_assert_int_eq(aq_counter_store_give_back(reader, &counter, 1, NOON), APR_EACCES);
    ck_assert_uint_eq(shm_file_used(store, NOON), 5);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, new_file_is_private_and_of_the_size_asked_for);
    tcase_add_test(tests, counts_are_kept_over_a_stop_and_start);
    tcase_add_test(tests, counts_are_carried_into_another_size);
    tcase_add_test(tests, resizing_leaves_the_dead_behind);
    tcase_add_test(tests, size_stays_where_the_counters_would_not_fit);
    tcase_add_test(tests, size_stays_while_children_use_the_file);
    tcase_add_test(tests, size_stays_where_it_may_not_change);
    tcase_add_test(tests, two_servers_count_in_one_file);
    tcase_add_test(tests, servers_that_start_at_once_meet_in_one_file);
    tcase_add_test(tests, reader_sees_the_counts_and_changes_nothing);
}

int main(void)
{
    return fixture_run("counter file", add);
}
