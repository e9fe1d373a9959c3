/* SPDX-License-Identifier: Apache-2.0 */
/* Spool: its bounds, what the sweep makes of files that nobody knows, and the disk's end. */
#include "unit/batch/spool_fixture.h"

#include <apr_strings.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(the_bound_holds_for_declared_and_growing_bodies)
{
    char *block = apr_pcalloc(fixture_pool, 100000);
    aq_spool_file_t *first, *second;
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *pool;

    spool_setup_bounded(1000000);
    pool = spool_pool_make();
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, pool, NULL, 600000, &first), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, pool, NULL, 600000, &second), APR_ENOSPC);
    ck_assert_ptr_null(second);
    ck_assert_uint_eq(spool_count_in("incoming"), 1);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, pool, NULL, -1, &second), APR_SUCCESS);
    for (int i = 0; rv == APR_SUCCESS && i < 20; i++) {
        rv = aq_spool_write(second, block, 100000);
    }
    ck_assert_int_eq(rv, APR_ENOSPC);
    apr_pool_destroy(pool);
    ck_assert_int_eq(spool_used(), 0);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, NULL, 1000000, &first), APR_SUCCESS);
}
END_TEST

START_TEST(what_a_tenant_reserves_is_bounded_and_bounds_no_other)
{
    const aq_spool_owner_t acme = {.tenant = "acme", .room_bytes = 1000},
                           other = {.tenant = "other", .room_bytes = 1000};
    char *block = apr_pcalloc(fixture_pool, 2000);
    aq_spool_file_t *file;
    apr_pool_t *pool;

    spool_setup();
    pool = spool_pool_make();
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, pool, &acme, 600, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, &acme, 600, &file), EDQUOT);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, &other, 600, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, pool, &acme, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, block, 400), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, block, 1), EDQUOT);
    apr_pool_destroy(pool);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, &acme, 1000, &file), APR_SUCCESS);
}
END_TEST

START_TEST(what_is_stored_counts_for_every_process_until_it_is_removed)
{
    aq_spool_file_t *file;
    aq_spool_t *other;
    const char *error;

    spool_setup_bounded(1000);
    (void)spool_store(SPOOL_ID, "hello");
    ck_assert_int_eq(aq_spool_open(fixture_pool, spool_folder, 1000, &other, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(other, fixture_pool, NULL, 996, &file), APR_ENOSPC);
    ck_assert_int_eq(aq_spool_body_remove(fixture_spool, fixture_pool, SPOOL_ID), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(other, fixture_pool, NULL, 996, &file), APR_SUCCESS);
}
END_TEST

/* Knows SPOOL_ID's body and the result of its attempt 2, and nothing else: that it removes. */
static int judge(void *data, const char *id, int64_t token)
{
    (*(int *)data)++;
    if (strcmp(id, SPOOL_ID) == 0 && (token == 0 || token == 2)) {
        return 0;
    }
    ck_assert_int_eq(token == 0 ? aq_spool_body_remove(fixture_spool, fixture_pool, id)
                                : aq_spool_result_remove(fixture_spool, fixture_pool, id, token),
                     APR_SUCCESS);
    return 1;
}

static void store_result(const char *id, int64_t token)
{
    aq_batch_body_t body = {.bytes = 0};
    aq_spool_file_t *file;

    ck_assert_int_eq(aq_spool_result_begin(fixture_spool, fixture_pool, id, token, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "x", 1), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_result_commit(file, &body), APR_SUCCESS);
}

START_TEST(the_sweep_removes_old_files_that_nobody_knows)
{
    unsigned removed;
    int asked = 0;

    spool_setup();
    (void)spool_store(SPOOL_ID, "known");
    (void)spool_store(SPOOL_OTHER_ID, "orphan");
    store_result(SPOOL_ID, 1);
    store_result(SPOOL_ID, 2);
    fixture_write(apr_pstrcat(fixture_pool, spool_folder, "/body/README", NULL), "not ours");
    ck_assert_int_eq(aq_spool_sweep(fixture_spool, fixture_pool, 1000, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 0); /* all of them are younger than a second after the epoch */
    ck_assert_int_eq(asked, 0);
    ck_assert_int_eq(aq_spool_sweep(fixture_spool, fixture_pool, INT64_MAX, NULL, NULL, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 0); /* incoming files only */
    ck_assert_int_eq(aq_spool_sweep(fixture_spool, fixture_pool, INT64_MAX, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 2);
    ck_assert_int_eq(asked, 4);
    ck_assert_uint_eq(spool_count_in("body"), 2);
    ck_assert_uint_eq(spool_count_in("result"), 1);
    ck_assert_str_eq(fixture_read(aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID)), "known");
}
END_TEST

START_TEST(the_sweep_leaves_an_upload_of_a_living_owner_alone)
{
    aq_spool_file_t *file;
    aq_batch_body_t body;
    unsigned removed;
    int asked = 0;

    spool_setup();
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, NULL, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "hello", 5), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_sweep(fixture_spool, fixture_pool, INT64_MAX, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 0);
    ck_assert_int_eq(aq_spool_body_commit(file, SPOOL_ID, &body), APR_SUCCESS);
}
END_TEST

/* Begins an upload in a process that is then killed. */
static void killed_upload(void)
{
    aq_spool_file_t *file;
    int begun[2];
    char byte;

    ck_assert_int_eq(pipe(begun), 0);
    pid_t child = fixture_fork();
    if (child == 0) {
        if (aq_spool_body_begin(fixture_spool, fixture_pool, NULL, 500000, &file) == APR_SUCCESS &&
            write(begun[1], "x", 1) == 1) {
            (void)pause();
        }
        _exit(1);
    }
    ck_assert_int_eq(close(begun[1]), 0);
    ck_assert_int_eq(read(begun[0], &byte, 1), 1);
    ck_assert_int_eq(close(begun[0]), 0);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

START_TEST(f74_no_reservation_outlives_a_killed_upload)
{
    unsigned removed;
    int asked = 0;

    spool_setup_bounded(1000000);
    killed_upload();
    killed_upload();
    ck_assert_uint_eq(spool_count_in("incoming"), 2);
    ck_assert_int_eq(aq_spool_sweep(fixture_spool, fixture_pool, 0, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 2);
    ck_assert_int_eq(spool_used(), 0);
}
END_TEST

/* The figure for admission drifts when a process dies between a file and the figure; a sweep counts anew. */
START_TEST(the_sweep_mends_the_figure_of_use)
{
    aq_spool_file_t *file;
    unsigned removed;
    int asked = 0;

    spool_setup_bounded(1000);
    (void)spool_store(SPOOL_ID, "hello");
    ck_assert_int_eq(unlink(aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID)), 0);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, NULL, 1000, &file), APR_ENOSPC);
    ck_assert_int_eq(aq_spool_sweep(fixture_spool, fixture_pool, 0, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, NULL, 1000, &file), APR_SUCCESS);
}
END_TEST

START_TEST(f44_a_full_disk_is_told_and_leaves_nothing_behind)
{
    char *block = apr_pcalloc(fixture_pool, 65536);
    apr_status_t rv = APR_SUCCESS;
    aq_spool_file_t *file;
    apr_pool_t *pool;

    char *disk = apr_pstrdup(fixture_pool, fixture_path("disk-XXXXXX"));
    ck_assert_ptr_nonnull(mkdtemp(disk));
    ck_assert_msg(mount("tmpfs", disk, "tmpfs", 0, "size=1m,mode=0700") == 0, "mount: %s", strerror(errno));
    spool_folder = apr_pstrcat(fixture_pool, disk, "/spool", NULL);
    fixture_spool = spool_open_at(spool_folder, 0);
    pool = spool_pool_make();

    apr_status_t declared = aq_spool_body_begin(fixture_spool, pool, NULL, 2000000, &file);
    apr_status_t begun = aq_spool_body_begin(fixture_spool, pool, NULL, -1, &file);
    for (int i = 0; begun == APR_SUCCESS && rv == APR_SUCCESS && i < 32; i++) {
        rv = aq_spool_write(file, block, 65536);
    }
    apr_pool_destroy(pool);
    unsigned left = spool_count_in("incoming");
    apr_pool_t *again = spool_pool_make();
    aq_batch_body_t body = {.bytes = 0};
    apr_status_t works = aq_spool_body_begin(fixture_spool, again, NULL, 65536, &file);
    if (works == APR_SUCCESS && (works = aq_spool_write(file, block, 65536)) == APR_SUCCESS) {
        works = aq_spool_body_commit(file, SPOOL_ID, &body);
    }
    apr_pool_destroy(again);
    ck_assert_int_eq(umount2(disk, MNT_DETACH), 0); /* before anything can fail */
    ck_assert_int_eq(declared, APR_ENOSPC);
    ck_assert_int_eq(begun, APR_SUCCESS);
    ck_assert_int_eq(rv, APR_ENOSPC);
    ck_assert_uint_eq(left, 0);
    ck_assert_int_eq(works, APR_SUCCESS);
}
END_TEST

static int may_mount(void)
{
    char probe[] = "/tmp/aq-mount-XXXXXX";
    int is_mounted = mkdtemp(probe) != NULL && mount("tmpfs", probe, "tmpfs", 0, "size=64k") == 0;

    if (is_mounted) {
        (void)umount2(probe, MNT_DETACH);
    }
    (void)rmdir(probe);
    return is_mounted;
}

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, the_bound_holds_for_declared_and_growing_bodies);
    tcase_add_test(tests, what_a_tenant_reserves_is_bounded_and_bounds_no_other);
    tcase_add_test(tests, what_is_stored_counts_for_every_process_until_it_is_removed);
    tcase_add_test(tests, the_sweep_removes_old_files_that_nobody_knows);
    tcase_add_test(tests, the_sweep_leaves_an_upload_of_a_living_owner_alone);
    tcase_add_test(tests, f74_no_reservation_outlives_a_killed_upload);
    tcase_add_test(tests, the_sweep_mends_the_figure_of_use);
    if (may_mount()) {
        tcase_add_test(tests, f44_a_full_disk_is_told_and_leaves_nothing_behind);
    } else {
        (void)printf("not run: f44 on a full disk takes the right to mount a tmpfs\n");
    }
}

int main(void)
{
    return fixture_run("room of the spool", add_tests);
}
