/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spool: what is committed is there and unchanged, what is not leaves nothing, and the disk's end is told.
 */
#include "batch/spool.h"

#include "unit/fixture.h"

#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* SHA-256 of "hello". */
static const char HELLO[] = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
static const char ID[] = "batch_01aryz6s410000000000000000";
static const char OTHER_ID[] = "batch_01aryz6s410000000000000001";

static const char *folder;
static aq_spool_t *spool;

static aq_spool_t *open_at(const char *path, int64_t max_bytes)
{
    aq_spool_t *opened;
    const char *error;

    ck_assert_msg(aq_spool_prepare(path, (uid_t)-1, (gid_t)-1, fixture_pool, &error) == APR_SUCCESS, "%s", error);
    ck_assert_msg(aq_spool_open(fixture_pool, path, max_bytes, &opened, &error) == APR_SUCCESS, "%s", error);
    return opened;
}

/* A spool of its own for each test. */
static void setup_bounded(int64_t max_bytes)
{
    char *made = apr_pstrdup(fixture_pool, fixture_path("spool-XXXXXX"));

    ck_assert_ptr_nonnull(mkdtemp(made));
    folder = made;
    spool = open_at(folder, max_bytes);
}

static void setup(void)
{
    setup_bounded(0);
}

static apr_pool_t *pool_make(void)
{
    apr_pool_t *pool;

    ck_assert_int_eq(apr_pool_create(&pool, fixture_pool), APR_SUCCESS);
    return pool;
}

static unsigned count_in(const char *name)
{
    DIR *walk = opendir(apr_pstrcat(fixture_pool, folder, "/", name, NULL));
    unsigned count = 0;

    ck_assert_ptr_nonnull(walk);
    for (const struct dirent *entry; (entry = readdir(walk)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(walk);
    return count;
}

static aq_batch_body_t store(const char *id, const char *text)
{
    aq_batch_body_t body = {.content_type = "text/plain"};
    aq_spool_file_t *file;

    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, text, strlen(text)), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_commit(file, id, &body), APR_SUCCESS);
    return body;
}

static int64_t used(void)
{
    int64_t bytes;

    ck_assert_int_eq(aq_spool_used(spool, fixture_pool, &bytes), APR_SUCCESS);
    return bytes;
}

START_TEST(a_committed_body_is_there_with_size_hash_and_mode)
{
    struct stat info;
    int fd;

    setup();
    aq_batch_body_t body = store(ID, "hello");
    ck_assert_int_eq(body.bytes, 5);
    ck_assert_str_eq(body.sha256, HELLO);
    ck_assert_str_eq(body.content_type, "text/plain");
    ck_assert_str_eq(fixture_read(aq_spool_body_path(spool, fixture_pool, ID)), "hello");
    ck_assert_int_eq(stat(aq_spool_body_path(spool, fixture_pool, ID), &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0600);
    ck_assert_int_eq(stat(folder, &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0700);
    ck_assert_uint_eq(count_in("incoming"), 0);
    ck_assert_int_eq(used(), 5);
    ck_assert_int_eq(aq_spool_body_open(spool, fixture_pool, ID, &body, &fd), APR_SUCCESS);
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(a_body_that_was_declared_is_cut_to_what_came)
{
    aq_batch_body_t body = {.bytes = 0};
    aq_spool_file_t *file;

    setup();
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, 100000, &file), APR_SUCCESS);
    ck_assert_int_eq(used(), 100000);
    ck_assert_int_eq(aq_spool_write(file, "hello", 5), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_commit(file, ID, &body), APR_SUCCESS);
    ck_assert_int_eq(used(), 5);
    ck_assert_str_eq(body.sha256, HELLO);
}
END_TEST

START_TEST(an_empty_body_is_a_body)
{
    int fd;

    setup();
    aq_batch_body_t body = store(ID, "");
    ck_assert_int_eq(body.bytes, 0);
    ck_assert_int_eq(aq_spool_body_open(spool, fixture_pool, ID, &body, &fd), APR_SUCCESS);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(what_is_not_committed_leaves_nothing)
{
    aq_spool_file_t *file;
    apr_pool_t *pool;

    setup();
    pool = pool_make();
    ck_assert_int_eq(aq_spool_body_begin(spool, pool, NULL, 1000, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "hello", 5), APR_SUCCESS);
    ck_assert_uint_eq(count_in("incoming"), 1);
    apr_pool_destroy(pool);
    ck_assert_uint_eq(count_in("incoming"), 0);
    ck_assert_int_eq(used(), 0);
}
END_TEST

START_TEST(f47_a_body_that_is_gone_or_changed_is_told)
{
    aq_batch_body_t body;
    int fd;

    setup();
    body = store(ID, "hello");
    fixture_write(aq_spool_body_path(spool, fixture_pool, ID), "hellO");
    ck_assert_int_eq(aq_spool_body_open(spool, fixture_pool, ID, &body, &fd), APR_EGENERAL);
    ck_assert_int_eq(fd, -1);
    fixture_write(aq_spool_body_path(spool, fixture_pool, ID), "hello and more");
    ck_assert_int_eq(aq_spool_body_open(spool, fixture_pool, ID, &body, &fd), APR_EGENERAL);
    ck_assert_int_eq(aq_spool_body_remove(spool, fixture_pool, ID), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_open(spool, fixture_pool, ID, &body, &fd), APR_ENOENT);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(aq_spool_body_remove(spool, fixture_pool, ID), APR_SUCCESS);
}
END_TEST

START_TEST(f71_symbolic_links_are_refused)
{
    const char *secret = fixture_path("secret"), *error;
    aq_batch_body_t body;
    aq_spool_t *linked;
    int fd;

    setup();
    body = store(ID, "hello");
    fixture_write(secret, "hello");
    ck_assert_int_eq(unlink(aq_spool_body_path(spool, fixture_pool, ID)), 0);
    ck_assert_int_eq(symlink(secret, aq_spool_body_path(spool, fixture_pool, ID)), 0);
    ck_assert_int_eq(aq_spool_body_open(spool, fixture_pool, ID, &body, &fd), APR_EGENERAL);

    const char *link = apr_pstrcat(fixture_pool, folder, "-link", NULL);
    ck_assert_int_eq(symlink(folder, link), 0);
    ck_assert_int_ne(aq_spool_prepare(link, (uid_t)-1, (gid_t)-1, fixture_pool, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, link));
    ck_assert_int_ne(aq_spool_open(fixture_pool, link, 0, &linked, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, link));
    ck_assert_int_eq(unlink(apr_pstrcat(fixture_pool, folder, "/usage", NULL)), 0);
    ck_assert_int_eq(symlink(secret, apr_pstrcat(fixture_pool, folder, "/usage", NULL)), 0);
    ck_assert_int_ne(aq_spool_open(fixture_pool, folder, 0, &linked, &error), APR_SUCCESS);
    ck_assert_str_eq(fixture_read(secret), "hello");
}
END_TEST

START_TEST(a_folder_that_others_may_write_to_is_refused)
{
    aq_spool_t *opened;
    const char *error;

    setup();
    ck_assert_int_eq(chmod(apr_pstrcat(fixture_pool, folder, "/body", NULL), 0777), 0);
    ck_assert_int_ne(aq_spool_open(fixture_pool, folder, 0, &opened, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "/body"));
    ck_assert_ptr_null(opened);
}
END_TEST

START_TEST(the_bound_holds_for_declared_and_growing_bodies)
{
    char *block = apr_pcalloc(fixture_pool, 100000);
    aq_spool_file_t *first, *second;
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *pool;

    setup_bounded(1000000);
    pool = pool_make();
    ck_assert_int_eq(aq_spool_body_begin(spool, pool, NULL, 600000, &first), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(spool, pool, NULL, 600000, &second), APR_ENOSPC);
    ck_assert_ptr_null(second);
    ck_assert_uint_eq(count_in("incoming"), 1);
    ck_assert_int_eq(aq_spool_body_begin(spool, pool, NULL, -1, &second), APR_SUCCESS);
    for (int i = 0; rv == APR_SUCCESS && i < 20; i++) {
        rv = aq_spool_write(second, block, 100000);
    }
    ck_assert_int_eq(rv, APR_ENOSPC);
    apr_pool_destroy(pool);
    ck_assert_int_eq(used(), 0);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, 1000000, &first), APR_SUCCESS);
}
END_TEST

START_TEST(what_a_tenant_reserves_is_bounded_and_bounds_no_other)
{
    const aq_spool_owner_t acme = {.tenant = "acme", .room_bytes = 1000},
                           other = {.tenant = "other", .room_bytes = 1000};
    char *block = apr_pcalloc(fixture_pool, 2000);
    aq_spool_file_t *file;
    apr_pool_t *pool;

    setup();
    pool = pool_make();
    ck_assert_int_eq(aq_spool_body_begin(spool, pool, &acme, 600, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, &acme, 600, &file), EDQUOT);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, &other, 600, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(spool, pool, &acme, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, block, 400), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, block, 1), EDQUOT);
    apr_pool_destroy(pool);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, &acme, 1000, &file), APR_SUCCESS);
}
END_TEST

START_TEST(what_is_stored_counts_for_every_process_until_it_is_removed)
{
    aq_spool_file_t *file;
    aq_spool_t *other;
    const char *error;

    setup_bounded(1000);
    (void)store(ID, "hello");
    ck_assert_int_eq(aq_spool_open(fixture_pool, folder, 1000, &other, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(other, fixture_pool, NULL, 996, &file), APR_ENOSPC);
    ck_assert_int_eq(aq_spool_body_remove(spool, fixture_pool, ID), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(other, fixture_pool, NULL, 996, &file), APR_SUCCESS);
}
END_TEST

START_TEST(results_are_kept_by_attempt)
{
    aq_batch_body_t body = {.bytes = 0};
    aq_spool_file_t *file;

    setup();
    ck_assert_int_eq(aq_spool_result_begin(spool, fixture_pool, ID, 3, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "hel", 3), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "lo", 2), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_result_commit(file, &body), APR_SUCCESS);
    ck_assert_str_eq(body.sha256, HELLO);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(spool, fixture_pool, ID, 3)), "hello");
    ck_assert_int_eq(aq_spool_result_remove(spool, fixture_pool, ID, 2), APR_SUCCESS);
    ck_assert_uint_eq(count_in("result"), 1);
    ck_assert_int_eq(aq_spool_result_remove(spool, fixture_pool, ID, 3), APR_SUCCESS);
    ck_assert_uint_eq(count_in("result"), 0);
}
END_TEST

START_TEST(a_result_of_no_bytes_has_no_file)
{
    aq_batch_body_t body = {.bytes = -1};
    aq_spool_file_t *file;

    setup();
    ck_assert_int_eq(aq_spool_result_begin(spool, fixture_pool, ID, 1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_result_commit(file, &body), APR_SUCCESS);
    ck_assert_int_eq(body.bytes, 0);
    ck_assert_str_eq(body.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    ck_assert_uint_eq(count_in("result"), 0);
    ck_assert_uint_eq(count_in("incoming"), 0);
    ck_assert_int_eq(aq_spool_result_remove(spool, fixture_pool, ID, 1), APR_SUCCESS);
}
END_TEST

/* Knows ID's body and the result of its attempt 2, and nothing else: that it removes. */
static int judge(void *data, const char *id, int64_t token)
{
    (*(int *)data)++;
    if (strcmp(id, ID) == 0 && (token == 0 || token == 2)) {
        return 0;
    }
    ck_assert_int_eq(token == 0 ? aq_spool_body_remove(spool, fixture_pool, id)
                                : aq_spool_result_remove(spool, fixture_pool, id, token),
                     APR_SUCCESS);
    return 1;
}

static void store_result(const char *id, int64_t token)
{
    aq_batch_body_t body = {.bytes = 0};
    aq_spool_file_t *file;

    ck_assert_int_eq(aq_spool_result_begin(spool, fixture_pool, id, token, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "x", 1), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_result_commit(file, &body), APR_SUCCESS);
}

START_TEST(the_sweep_removes_old_files_that_nobody_knows)
{
    unsigned removed;
    int asked = 0;

    setup();
    (void)store(ID, "known");
    (void)store(OTHER_ID, "orphan");
    store_result(ID, 1);
    store_result(ID, 2);
    fixture_write(apr_pstrcat(fixture_pool, folder, "/body/README", NULL), "not ours");
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, 1000, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 0); /* all of them are younger than a second after the epoch */
    ck_assert_int_eq(asked, 0);
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, INT64_MAX, NULL, NULL, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 0); /* incoming files only */
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, INT64_MAX, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 2);
    ck_assert_int_eq(asked, 4);
    ck_assert_uint_eq(count_in("body"), 2);
    ck_assert_uint_eq(count_in("result"), 1);
    ck_assert_str_eq(fixture_read(aq_spool_body_path(spool, fixture_pool, ID)), "known");
}
END_TEST

START_TEST(the_sweep_leaves_an_upload_of_a_living_owner_alone)
{
    aq_spool_file_t *file;
    aq_batch_body_t body;
    unsigned removed;
    int asked = 0;

    setup();
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "hello", 5), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, INT64_MAX, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 0);
    ck_assert_int_eq(aq_spool_body_commit(file, ID, &body), APR_SUCCESS);
}
END_TEST

/* Begins an upload in a process that is then killed. */
static void killed_upload(void)
{
    aq_spool_file_t *file;
    int begun[2];
    char byte;

    ck_assert_int_eq(pipe(begun), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (aq_spool_body_begin(spool, fixture_pool, NULL, 500000, &file) == APR_SUCCESS &&
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

    setup_bounded(1000000);
    killed_upload();
    killed_upload();
    ck_assert_uint_eq(count_in("incoming"), 2);
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, 0, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 2);
    ck_assert_int_eq(used(), 0);
}
END_TEST

/* The figure for admission drifts when a process dies between a file and the figure; a sweep counts anew. */
START_TEST(the_sweep_mends_the_figure_of_use)
{
    aq_spool_file_t *file;
    unsigned removed;
    int asked = 0;

    setup_bounded(1000);
    (void)store(ID, "hello");
    ck_assert_int_eq(unlink(aq_spool_body_path(spool, fixture_pool, ID)), 0);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, 1000, &file), APR_ENOSPC);
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, 0, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, 1000, &file), APR_SUCCESS);
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
    folder = apr_pstrcat(fixture_pool, disk, "/spool", NULL);
    spool = open_at(folder, 0);
    pool = pool_make();

    apr_status_t declared = aq_spool_body_begin(spool, pool, NULL, 2000000, &file);
    apr_status_t begun = aq_spool_body_begin(spool, pool, NULL, -1, &file);
    for (int i = 0; begun == APR_SUCCESS && rv == APR_SUCCESS && i < 32; i++) {
        rv = aq_spool_write(file, block, 65536);
    }
    apr_pool_destroy(pool);
    unsigned left = count_in("incoming");
    apr_pool_t *again = pool_make();
    aq_batch_body_t body = {.bytes = 0};
    apr_status_t works = aq_spool_body_begin(spool, again, NULL, 65536, &file);
    if (works == APR_SUCCESS && (works = aq_spool_write(file, block, 65536)) == APR_SUCCESS) {
        works = aq_spool_body_commit(file, ID, &body);
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
    tcase_add_test(tests, a_committed_body_is_there_with_size_hash_and_mode);
    tcase_add_test(tests, a_body_that_was_declared_is_cut_to_what_came);
    tcase_add_test(tests, an_empty_body_is_a_body);
    tcase_add_test(tests, what_is_not_committed_leaves_nothing);
    tcase_add_test(tests, f47_a_body_that_is_gone_or_changed_is_told);
    tcase_add_test(tests, f71_symbolic_links_are_refused);
    tcase_add_test(tests, a_folder_that_others_may_write_to_is_refused);
    tcase_add_test(tests, the_bound_holds_for_declared_and_growing_bodies);
    tcase_add_test(tests, what_a_tenant_reserves_is_bounded_and_bounds_no_other);
    tcase_add_test(tests, what_is_stored_counts_for_every_process_until_it_is_removed);
    tcase_add_test(tests, results_are_kept_by_attempt);
    tcase_add_test(tests, a_result_of_no_bytes_has_no_file);
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
    return fixture_run("spool", add_tests);
}
