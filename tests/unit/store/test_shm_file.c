/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counter file: kept over restarts, set aside where it is bad, resized where that can be, refused where it must be.
 * Catalogue lines 6, 7, 9, 10, 11.
 */
#include "contract/counter_fixture.h"
#include "store/shm_counters.h"
#include "store/shm_file.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE_SMALL (64 * 1024)
#define SIZE_LARGE (256 * 1024)
#define LOG_SET_ASIDE 300
#define LOG_RESIZED 301
#define LOG_SIZE_KEPT 302

static const char *path(void)
{
    return fixture_path("counters");
}

/* Opens in a pool of its own; what comes out is left to the caller. */
static apr_status_t try_open(apr_pool_t *p, uint64_t size, int may_resize, aq_time_ms_t now_ms,
                             aq_counter_store_t **store, const char **error)
{
    return aq_shm_counters_open(p, path(), size, may_resize, now_ms, store, error);
}

static aq_counter_store_t *open_at(apr_pool_t *p, uint64_t size, aq_time_ms_t now_ms)
{
    aq_counter_store_t *store;
    const char *error;
    apr_status_t rv = try_open(p, size, 1, now_ms, &store, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    ck_assert_ptr_null(error);
    return store;
}

static apr_pool_t *pool_make(void)
{
    apr_pool_t *p;

    ck_assert_int_eq(apr_pool_create(&p, fixture_pool), APR_SUCCESS);
    return p;
}

/* Puts away what another test left. */
static void fresh(void)
{
    glob_t found;

    if (glob(apr_pstrcat(fixture_pool, path(), "*", NULL), 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            ck_assert(unlink(found.gl_pathv[i]) == 0 || rmdir(found.gl_pathv[i]) == 0);
        }
        globfree(&found);
    }
    fixture_log_keep();
}

static unsigned aside_count(void)
{
    glob_t found;
    unsigned count = 0;

    if (glob(apr_pstrcat(fixture_pool, path(), ".bad-*", NULL), 0, NULL, &found) == 0) {
        count = (unsigned)found.gl_pathc;
        globfree(&found);
    }
    return count;
}

static uint64_t day_used(aq_counter_store_t *store, aq_time_ms_t now_ms)
{
    return counter_used(store, counter_of(store, counter_limit(store, "day", "99/day", NULL), "a"), now_ms);
}

static void day_take(aq_counter_store_t *store, uint32_t cost, aq_time_ms_t now_ms)
{
    aq_counter_t counter = counter_of(store, counter_limit(store, "day", "99/day", NULL), "a");

    ck_assert(counter_take(store, &counter, cost, now_ms));
}

/* Overwrites some bytes of the file. */
static void file_damage(off_t at, const void *bytes, size_t size)
{
    int fd = open(path(), O_WRONLY);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, size, at), (ssize_t)size);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(new_file_is_private_and_of_the_size_asked_for)
{
    struct stat status;

    fresh();
    (void)open_at(fixture_pool, SIZE_SMALL, NOON);
    ck_assert_int_eq(stat(path(), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
    ck_assert_int_eq(status.st_size, SIZE_SMALL);
    ck_assert_int_ge(status.st_blocks * 512, SIZE_SMALL);
    ck_assert_int_eq(stat(apr_pstrcat(fixture_pool, path(), ".lock", NULL), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
}
END_TEST

/* Line 6. */
START_TEST(counts_are_kept_over_a_stop_and_start)
{
    apr_pool_t *p = pool_make();
    aq_counter_store_info_t before;
    aq_counter_store_t *store;

    fresh();
    store = open_at(p, SIZE_SMALL, NOON);
    day_take(store, 7, NOON);
    before = counters_info(store, NOON);
    apr_pool_destroy(p);
    store = open_at(fixture_pool, SIZE_SMALL, NOON + HOUR);
    ck_assert_uint_eq(day_used(store, NOON + HOUR), 7);
    ck_assert_uint_eq(day_used(store, NOON + DAY), 0);
    ck_assert_str_eq(counters_info(store, NOON).id, before.id);
    ck_assert_uint_eq(aside_count(), 0);
}
END_TEST

/* Line 7, the full start: larger, and smaller again. */
START_TEST(counts_are_carried_into_another_size)
{
    static const uint64_t sizes[] = {SIZE_SMALL, SIZE_LARGE, SIZE_SMALL + 64 * 100, SIZE_LARGE * 8, SIZE_SMALL};
    const unsigned counters = 500;

    fresh();
    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        apr_pool_t *p = pool_make();
        aq_counter_store_t *store = open_at(p, sizes[s], NOON);
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
    ck_assert_uint_eq(aside_count(), 0);
}
END_TEST

START_TEST(resizing_leaves_the_dead_behind)
{
    apr_pool_t *p = pool_make();
    aq_counter_store_t *store;

    fresh();
    store = open_at(p, SIZE_SMALL, NOON);
    for (uint64_t i = 0; i < 300; i++) {
        aq_counter_t counter = counter_numbered(store, counter_limit(store, "m", "9/minute", NULL), i);

        ck_assert(counter_take(store, &counter, 1, NOON));
    }
    day_take(store, 3, NOON);
    apr_pool_destroy(p);
    store = open_at(fixture_pool, SIZE_LARGE, NOON + HOUR);
    ck_assert_uint_eq(counters_info(store, NOON + HOUR).live, 1);
    ck_assert_uint_eq(counters_info(store, NOON + HOUR).dead, 0);
    ck_assert_uint_eq(day_used(store, NOON + HOUR), 3);
}
END_TEST

/* A file too small for what lives is not made: no live counter is lost. */
START_TEST(size_stays_where_the_counters_would_not_fit)
{
    apr_pool_t *p = pool_make();
    aq_counter_store_t *store;
    struct stat status;

    fresh();
    store = open_at(p, SIZE_LARGE, NOON);
    for (uint64_t i = 0; i < 2000; i++) {
        aq_counter_t counter = counter_numbered(store, counter_limit(store, "d", "9/day", NULL), i);

        ck_assert(counter_take(store, &counter, 1, NOON));
    }
    apr_pool_destroy(p);
    store = open_at(fixture_pool, SIZE_SMALL, NOON);
    ck_assert_uint_eq(counters_info(store, NOON).size_bytes, SIZE_LARGE);
    ck_assert_uint_eq(counters_info(store, NOON).live, 2000);
    ck_assert_int_eq(fixture_log_count(LOG_SIZE_KEPT), 1);
    ck_assert_int_ne(stat(apr_pstrcat(fixture_pool, path(), ".new", NULL), &status), 0);
}
END_TEST

/* Line 7, the graceful restart: the children of before still hold the file. */
START_TEST(size_stays_while_children_use_the_file)
{
    apr_pool_t *p = pool_make();
    aq_counter_store_t *store;
    int ends[2];
    pid_t child;
    char byte;

    fresh();
    store = open_at(p, SIZE_SMALL, NOON);
    day_take(store, 1, NOON);
    ck_assert_int_eq(pipe(ends), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)close(ends[1]);
        (void)!read(ends[0], &byte, 1);
        day_take(store, 2, NOON);
        _exit(0);
    }
    apr_pool_destroy(p);
    store = open_at(fixture_pool, SIZE_LARGE, NOON);
    ck_assert_uint_eq(counters_info(store, NOON).size_bytes, SIZE_SMALL);
    ck_assert_int_eq(fixture_log_count(LOG_SIZE_KEPT), 1);
    day_take(store, 4, NOON);
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert(child_join(child));
    ck_assert_uint_eq(day_used(store, NOON), 7);
}
END_TEST

START_TEST(size_stays_where_it_may_not_change)
{
    apr_pool_t *p = pool_make();
    aq_counter_store_t *store;
    const char *error;

    fresh();
    (void)open_at(p, SIZE_SMALL, NOON);
    apr_pool_destroy(p);
    ck_assert_int_eq(try_open(fixture_pool, SIZE_LARGE, 0, NOON, &store, &error), APR_SUCCESS);
    ck_assert_uint_eq(counters_info(store, NOON).size_bytes, SIZE_SMALL);
    ck_assert_int_eq(fixture_log_count(LOG_SIZE_KEPT), 1);
}
END_TEST

/* Line 11. */
START_TEST(two_servers_count_in_one_file)
{
    aq_counter_store_t *first;
    aq_counter_store_t *second;

    fresh();
    first = open_at(fixture_pool, SIZE_SMALL, NOON);
    second = open_at(fixture_pool, SIZE_LARGE, NOON);
    day_take(first, 3, NOON);
    day_take(second, 4, NOON);
    ck_assert_uint_eq(day_used(first, NOON), 7);
    ck_assert_uint_eq(day_used(second, NOON), 7);
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
        aq_shm_counters_open(p, path(), SIZE_SMALL, 1, NOON, &store, &error) != APR_SUCCESS) {
        return 1;
    }
    day_take(store, 1, NOON);
    return 0;
}

START_TEST(servers_that_start_at_once_meet_in_one_file)
{
    for (int round = 0; round < 10; round++) {
        pid_t pids[8];

        fresh();
        if (round % 2) {
            fixture_write(path(), "bad");
        }
        for (int i = 0; i < 8; i++) {
            pids[i] = child_start(opener_run, NULL);
        }
        for (int i = 0; i < 8; i++) {
            ck_assert(child_join(pids[i]));
        }
        apr_pool_t *p = pool_make();
        ck_assert_uint_eq(day_used(open_at(p, SIZE_SMALL, NOON), NOON), 8);
        apr_pool_destroy(p);
        ck_assert_uint_eq(aside_count(), (unsigned)round % 2);
    }
}
END_TEST

/* Line 9: each kind of bad file. */
typedef enum {
    BAD_CUT,
    BAD_SHORT,
    BAD_EMPTY,
    BAD_GROWN,
    BAD_ZERO,
    BAD_VERSION,
    BAD_ORDER,
    BAD_CHECKSUM,
    BAD_SECRET,
    BAD_TEXT,
    BAD_FOLDER,
    BAD_FIFO,
    BAD_KINDS
} bad_t;

static void file_spoil(bad_t kind)
{
    static const char zero[4096];
    static const uint32_t version = 2;
    static const uint32_t order = 0x04030201;

    switch (kind) {
    case BAD_CUT:
        ck_assert_int_eq(truncate(path(), SIZE_SMALL / 2), 0);
        break;
    case BAD_SHORT:
        ck_assert_int_eq(truncate(path(), 100), 0);
        break;
    case BAD_EMPTY:
        ck_assert_int_eq(truncate(path(), 0), 0);
        break;
    case BAD_GROWN:
        ck_assert_int_eq(truncate(path(), SIZE_SMALL * 2), 0);
        break;
    case BAD_ZERO:
        file_damage(0, zero, sizeof(zero));
        break;
    case BAD_VERSION:
        file_damage(8, &version, sizeof(version));
        break;
    case BAD_ORDER:
        file_damage(12, &order, sizeof(order));
        break;
    case BAD_CHECKSUM:
        file_damage(80, zero, 1);
        file_damage(81, zero, 31);
        break;
    case BAD_SECRET:
        file_damage(48, "someone else's secret", 21);
        break;
    case BAD_TEXT:
        fixture_write(path(), "no counter file at all\n");
        break;
    case BAD_FOLDER:
        ck_assert_int_eq(unlink(path()), 0);
        ck_assert_int_eq(mkdir(path(), 0700), 0);
        break;
    default:
        ck_assert_int_eq(unlink(path()), 0);
        ck_assert_int_eq(mkfifo(path(), 0600), 0);
    }
}

START_TEST(bad_file_is_set_aside_and_made_anew)
{
    apr_pool_t *p = pool_make();
    aq_counter_store_t *store;
    const char *error;

    fresh();
    day_take(open_at(p, SIZE_SMALL, NOON), 5, NOON);
    apr_pool_destroy(p);
    file_spoil((bad_t)_i);
    ck_assert_int_ne(aq_shm_counters_open_readonly(fixture_pool, path(), &store, &error), APR_SUCCESS);
    ck_assert_ptr_null(store);
    ck_assert_ptr_nonnull(strstr(error, path()));
    store = open_at(fixture_pool, SIZE_SMALL, NOON);
    ck_assert_uint_eq(day_used(store, NOON), 0);
    day_take(store, 99, NOON);
    ck_assert_int_eq(fixture_log_count(LOG_SET_ASIDE), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log_last(LOG_SET_ASIDE), ".bad-1795350050"));
    ck_assert_uint_eq(aside_count(), 1);
}
END_TEST

START_TEST(second_bad_file_of_a_second_is_kept_too)
{
    fresh();
    for (unsigned i = 0; i < 3; i++) {
        apr_pool_t *p = pool_make();

        fixture_write(path(), "bad");
        (void)open_at(p, SIZE_SMALL, NOON);
        apr_pool_destroy(p);
        ck_assert_uint_eq(aside_count(), i + 1);
    }
}
END_TEST

START_TEST(bad_file_of_a_running_server_is_an_error)
{
    aq_counter_store_t *store;
    const char *error;

    fresh();
    (void)open_at(fixture_pool, SIZE_SMALL, NOON);
    file_damage(0, "X", 1);
    ck_assert_int_ne(try_open(fixture_pool, SIZE_SMALL, 1, NOON, &store, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "another process holds it"));
    ck_assert_uint_eq(aside_count(), 0);
}
END_TEST

START_TEST(symbolic_link_is_refused)
{
    static const char *const names[] = {"", ".lock"};
    aq_counter_store_t *store;
    const char *error;

    for (unsigned i = 0; i < 2; i++) {
        fresh();
        fixture_write(fixture_path("victim"), "victim");
        ck_assert_int_eq(symlink(fixture_path("victim"), apr_pstrcat(fixture_pool, path(), names[i], NULL)), 0);
        ck_assert_int_ne(try_open(fixture_pool, SIZE_SMALL, 1, NOON, &store, &error), APR_SUCCESS);
        ck_assert_ptr_nonnull(error);
        ck_assert_str_eq(fixture_read(fixture_path("victim")), "victim");
    }
}
END_TEST

START_TEST(size_out_of_bounds_is_refused)
{
    aq_counter_store_t *store;
    const char *error;

    fresh();
    ck_assert_int_eq(try_open(fixture_pool, AQ_SHM_SIZE_MIN - 1, 1, NOON, &store, &error), APR_EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "64k"));
    ck_assert_int_eq(try_open(fixture_pool, AQ_SHM_SIZE_MAX + 1, 1, NOON, &store, &error), APR_EINVAL);
    ck_assert_ptr_null(store);
}
END_TEST

START_TEST(folder_that_is_missing_is_an_error)
{
    aq_counter_store_t *store;
    const char *error;
    apr_status_t rv =
        aq_shm_counters_open(fixture_pool, fixture_path("none/counters"), SIZE_SMALL, 1, NOON, &store, &error);

    ck_assert(APR_STATUS_IS_ENOENT(rv));
    ck_assert_ptr_nonnull(strstr(error, "none/counters"));
}
END_TEST

/* Line 10. Root may write everywhere, so as root the folder is one on a small file system of its own. */
START_TEST(full_disk_is_a_start_up_error)
{
    const char *folder = fixture_path("small");
    const char *file = fixture_path("small/counters");
    aq_counter_store_t *store;
    const char *error;
    apr_status_t rv;

    (void)mkdir(folder, 0700);
    if (mount("none", folder, "tmpfs", MS_NOSUID, "size=1m,mode=700") != 0) {
        printf("not tested: a full disk (a small tmpfs cannot be mounted: %s)\n", strerror(errno));
        ck_assert_int_ne(geteuid() == 0 && errno != EPERM, 1);
        return;
    }
    rv = aq_shm_counters_open(fixture_pool, file, 8 << 20, 1, NOON, &store, &error);
    if (rv == APR_SUCCESS || access(file, F_OK) == 0 || access(fixture_path("small/counters.new"), F_OK) == 0 ||
        strstr(error, "8388608 bytes cannot be allocated") == NULL) {
        (void)umount2(folder, MNT_DETACH);
        ck_abort_msg("%d, %s", rv, error);
    }
    rv = aq_shm_counters_open(fixture_pool, file, SIZE_SMALL, 1, NOON, &store, &error);
    (void)umount2(folder, MNT_DETACH);
    ck_assert(APR_STATUS_IS_ENOSPC(rv) || rv == APR_SUCCESS);
    ck_assert_int_eq(rv, APR_SUCCESS);
}
END_TEST

START_TEST(read_only_folder_is_a_start_up_error)
{
    const char *folder = fixture_path("locked");
    aq_counter_store_t *store;
    const char *error;
    apr_status_t rv;
    int is_mounted;

    (void)mkdir(folder, 0500);
    is_mounted = geteuid() == 0 && mount("none", folder, "tmpfs", MS_RDONLY, "size=64k") == 0;
    if (geteuid() == 0 && !is_mounted) {
        printf("not tested: a read-only folder (root may write to any, and cannot mount: %s)\n", strerror(errno));
        return;
    }
    rv = aq_shm_counters_open(fixture_pool, fixture_path("locked/counters"), SIZE_SMALL, 1, NOON, &store, &error);
    if (is_mounted) {
        (void)umount2(folder, MNT_DETACH);
    }
    ck_assert_int_eq(rv, is_mounted ? EROFS : EACCES);
    ck_assert_ptr_nonnull(strstr(error, "locked/counters"));
}
END_TEST

START_TEST(reader_sees_the_counts_and_changes_nothing)
{
    aq_counter_store_t *store;
    aq_counter_store_t *reader;
    const char *error;
    int is_denied;

    fresh();
    ck_assert(APR_STATUS_IS_ENOENT(aq_shm_counters_open_readonly(fixture_pool, path(), &reader, &error)));
    ck_assert_ptr_nonnull(strstr(error, "there is none"));
    store = open_at(fixture_pool, SIZE_SMALL, NOON);
    day_take(store, 5, NOON);
    ck_assert_int_eq(aq_shm_counters_open_readonly(fixture_pool, path(), &reader, &error), APR_SUCCESS);
    ck_assert_uint_eq(day_used(reader, NOON), 5);
    ck_assert_uint_eq(counters_info(reader, NOON).live, 1);
    ck_assert_str_eq(counters_info(reader, NOON).path, path());

    aq_counter_t counter = counter_of(reader, counter_limit(reader, "day", "99/day", NULL), "a");
    ck_assert_int_eq(aq_counter_store_take(reader, &counter, 1, 1, NOON, &is_denied), APR_EACCES);
    ck_assert_int_eq(aq_counter_store_give_back(reader, &counter, 1, NOON), APR_EACCES);
    ck_assert_uint_eq(day_used(store, NOON), 5);
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
    tcase_add_loop_test(tests, bad_file_is_set_aside_and_made_anew, 0, BAD_KINDS);
    tcase_add_test(tests, second_bad_file_of_a_second_is_kept_too);
    tcase_add_test(tests, bad_file_of_a_running_server_is_an_error);
    tcase_add_test(tests, symbolic_link_is_refused);
    tcase_add_test(tests, size_out_of_bounds_is_refused);
    tcase_add_test(tests, folder_that_is_missing_is_an_error);
    tcase_add_test(tests, full_disk_is_a_start_up_error);
    tcase_add_test(tests, read_only_folder_is_a_start_up_error);
    tcase_add_test(tests, reader_sees_the_counts_and_changes_nothing);
}

int main(void)
{
    return fixture_run("counter file", add);
}
