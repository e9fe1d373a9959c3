/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counter files that cannot be used: set aside and made anew, or refused with a sentence. Catalogue lines 9, 10, 71.
 */
#include "unit/store/shm_file_fixture.h"

#include "store/shm_file.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_SET_ASIDE 300

/* Overwrites some bytes of the file. */
static void file_damage(off_t at, const void *bytes, size_t size)
{
    int fd = open(shm_file_path(), O_WRONLY);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, size, at), (ssize_t)size);
    ck_assert_int_eq(close(fd), 0);
}

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
    static const uint32_t version = AQ_SHM_VERSION + 1;
    static const uint32_t order = 0x04030201;

    switch (kind) {
    case BAD_CUT:
        ck_assert_int_eq(truncate(shm_file_path(), SIZE_SMALL / 2), 0);
        break;
    case BAD_SHORT:
        ck_assert_int_eq(truncate(shm_file_path(), 100), 0);
        break;
    case BAD_EMPTY:
        ck_assert_int_eq(truncate(shm_file_path(), 0), 0);
        break;
    case BAD_GROWN:
        ck_assert_int_eq(truncate(shm_file_path(), SIZE_SMALL * 2), 0);
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
        fixture_write(shm_file_path(), "no counter file at all\n");
        break;
    case BAD_FOLDER:
        ck_assert_int_eq(unlink(shm_file_path()), 0);
        ck_assert_int_eq(mkdir(shm_file_path(), 0700), 0);
        break;
    default:
        ck_assert_int_eq(unlink(shm_file_path()), 0);
        ck_assert_int_eq(mkfifo(shm_file_path(), 0600), 0);
    }
}

START_TEST(bad_file_is_set_aside_and_made_anew)
{
    apr_pool_t *p = shm_file_pool();
    aq_counter_store_t *store;
    const char *error;

    shm_file_fresh();
    shm_file_take(shm_file_open(p, SIZE_SMALL, NOON), 5, NOON);
    apr_pool_destroy(p);
    file_spoil((bad_t)_i);
    ck_assert_int_ne(aq_shm_counters_open_readonly(fixture_pool, shm_file_path(), &store, &error), APR_SUCCESS);
    ck_assert_ptr_null(store);
    ck_assert_ptr_nonnull(strstr(error, shm_file_path()));
    store = shm_file_open(fixture_pool, SIZE_SMALL, NOON);
    ck_assert_uint_eq(shm_file_used(store, NOON), 0);
    shm_file_take(store, 99, NOON);
    ck_assert_int_eq(fixture_log_count(LOG_SET_ASIDE), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log_last(LOG_SET_ASIDE), ".bad-1795350050"));
    ck_assert_uint_eq(shm_file_aside(), 1);
}
END_TEST

START_TEST(second_bad_file_of_a_second_is_kept_too)
{
    shm_file_fresh();
    for (unsigned i = 0; i < 3; i++) {
        apr_pool_t *p = shm_file_pool();

        fixture_write(shm_file_path(), "bad");
        (void)shm_file_open(p, SIZE_SMALL, NOON);
        apr_pool_destroy(p);
        ck_assert_uint_eq(shm_file_aside(), i + 1);
    }
}
END_TEST

START_TEST(bad_file_of_a_running_server_is_an_error)
{
    aq_counter_store_t *store;
    const char *error;

    shm_file_fresh();
    (void)shm_file_open(fixture_pool, SIZE_SMALL, NOON);
    file_damage(0, "X", 1);
    ck_assert_int_ne(shm_file_try(fixture_pool, SIZE_SMALL, 1, &store, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "another process holds it"));
    ck_assert_uint_eq(shm_file_aside(), 0);
}
END_TEST

START_TEST(symbolic_link_is_refused)
{
    static const char *const names[] = {"", ".lock"};
    aq_counter_store_t *store;
    const char *error;

    for (unsigned i = 0; i < 2; i++) {
        shm_file_fresh();
        fixture_write(fixture_path("victim"), "victim");
        ck_assert_int_eq(symlink(fixture_path("victim"), apr_pstrcat(fixture_pool, shm_file_path(), names[i], NULL)),
                         0);
        ck_assert_int_ne(shm_file_try(fixture_pool, SIZE_SMALL, 1, &store, &error), APR_SUCCESS);
        ck_assert_ptr_nonnull(error);
        ck_assert_str_eq(fixture_read(fixture_path("victim")), "victim");
    }
}
END_TEST

START_TEST(size_out_of_bounds_is_refused)
{
    aq_counter_store_t *store;
    const char *error;

    shm_file_fresh();
    ck_assert_int_eq(shm_file_try(fixture_pool, AQ_SHM_SIZE_MIN - 1, 1, &store, &error), APR_EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "64k"));
    ck_assert_int_eq(shm_file_try(fixture_pool, AQ_SHM_SIZE_MAX + 1, 1, &store, &error), APR_EINVAL);
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

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, bad_file_is_set_aside_and_made_anew, 0, BAD_KINDS);
    tcase_add_test(tests, second_bad_file_of_a_second_is_kept_too);
    tcase_add_test(tests, bad_file_of_a_running_server_is_an_error);
    tcase_add_test(tests, symbolic_link_is_refused);
    tcase_add_test(tests, size_out_of_bounds_is_refused);
    tcase_add_test(tests, folder_that_is_missing_is_an_error);
    tcase_add_test(tests, full_disk_is_a_start_up_error);
    tcase_add_test(tests, read_only_folder_is_a_start_up_error);
}

int main(void)
{
    return fixture_run("bad counter file", add);
}
