/* SPDX-License-Identifier: Apache-2.0 */
/* Spool: what is committed is there and unchanged, and what is not leaves nothing. */
#include "unit/batch/spool_fixture.h"

#include <apr_strings.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(a_committed_body_is_there_with_size_hash_and_mode)
{
    struct stat info;
    int fd;

    spool_setup();
    aq_batch_body_t body = spool_store(SPOOL_ID, "hello");
    ck_assert_int_eq(body.bytes, 5);
    ck_assert_str_eq(body.sha256, SPOOL_HELLO);
    ck_assert_str_eq(body.content_type, "text/plain");
    ck_assert_str_eq(fixture_read(aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID)), "hello");
    ck_assert_int_eq(stat(aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID), &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0600);
    ck_assert_int_eq(stat(spool_folder, &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0700);
    ck_assert_uint_eq(spool_count_in("incoming"), 0);
    ck_assert_int_eq(spool_used(), 5);
    ck_assert_int_eq(aq_spool_body_open(fixture_spool, fixture_pool, SPOOL_ID, &body, &fd), APR_SUCCESS);
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(a_body_that_was_declared_is_cut_to_what_came)
{
    aq_batch_body_t body = {.bytes = 0};
    aq_spool_file_t *file;

    spool_setup();
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, NULL, 100000, &file), APR_SUCCESS);
    ck_assert_int_eq(spool_used(), 100000);
    ck_assert_int_eq(aq_spool_write(file, "hello", 5), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_commit(file, SPOOL_ID, &body), APR_SUCCESS);
    ck_assert_int_eq(spool_used(), 5);
    ck_assert_str_eq(body.sha256, SPOOL_HELLO);
}
END_TEST

START_TEST(an_empty_body_is_a_body)
{
    int fd;

    spool_setup();
    aq_batch_body_t body = spool_store(SPOOL_ID, "");
    ck_assert_int_eq(body.bytes, 0);
    ck_assert_int_eq(aq_spool_body_open(fixture_spool, fixture_pool, SPOOL_ID, &body, &fd), APR_SUCCESS);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(what_is_not_committed_leaves_nothing)
{
    aq_spool_file_t *file;
    apr_pool_t *pool;

    spool_setup();
    pool = spool_pool_make();
    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, pool, NULL, 1000, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "hello", 5), APR_SUCCESS);
    ck_assert_uint_eq(spool_count_in("incoming"), 1);
    apr_pool_destroy(pool);
    ck_assert_uint_eq(spool_count_in("incoming"), 0);
    ck_assert_int_eq(spool_used(), 0);
}
END_TEST

START_TEST(f47_a_body_that_is_gone_or_changed_is_told)
{
    aq_batch_body_t body;
    int fd;

    spool_setup();
    body = spool_store(SPOOL_ID, "hello");
    fixture_write(aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID), "hellO");
    ck_assert_int_eq(aq_spool_body_open(fixture_spool, fixture_pool, SPOOL_ID, &body, &fd), APR_EGENERAL);
    ck_assert_int_eq(fd, -1);
    fixture_write(aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID), "hello and more");
    ck_assert_int_eq(aq_spool_body_open(fixture_spool, fixture_pool, SPOOL_ID, &body, &fd), APR_EGENERAL);
    ck_assert_int_eq(aq_spool_body_remove(fixture_spool, fixture_pool, SPOOL_ID), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_open(fixture_spool, fixture_pool, SPOOL_ID, &body, &fd), APR_ENOENT);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(aq_spool_body_remove(fixture_spool, fixture_pool, SPOOL_ID), APR_SUCCESS);
}
END_TEST

START_TEST(f71_symbolic_links_are_refused)
{
    const char *secret = fixture_path("secret"), *error;
    aq_batch_body_t body;
    aq_spool_t *linked;
    int fd;

    spool_setup();
    body = spool_store(SPOOL_ID, "hello");
    fixture_write(secret, "hello");
    ck_assert_int_eq(unlink(aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID)), 0);
    ck_assert_int_eq(symlink(secret, aq_spool_body_path(fixture_spool, fixture_pool, SPOOL_ID)), 0);
    ck_assert_int_eq(aq_spool_body_open(fixture_spool, fixture_pool, SPOOL_ID, &body, &fd), APR_EGENERAL);

    const char *link = apr_pstrcat(fixture_pool, spool_folder, "-link", NULL);
    ck_assert_int_eq(symlink(spool_folder, link), 0);
    ck_assert_int_ne(aq_spool_prepare(link, (uid_t)-1, (gid_t)-1, fixture_pool, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, link));
    ck_assert_int_ne(aq_spool_open(fixture_pool, link, 0, &linked, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, link));
    ck_assert_int_eq(unlink(apr_pstrcat(fixture_pool, spool_folder, "/usage", NULL)), 0);
    ck_assert_int_eq(symlink(secret, apr_pstrcat(fixture_pool, spool_folder, "/usage", NULL)), 0);
    ck_assert_int_ne(aq_spool_open(fixture_pool, spool_folder, 0, &linked, &error), APR_SUCCESS);
    ck_assert_str_eq(fixture_read(secret), "hello");
}
END_TEST

START_TEST(a_folder_that_others_may_write_to_is_refused)
{
    aq_spool_t *opened;
    const char *error;

    spool_setup();
    ck_assert_int_eq(chmod(apr_pstrcat(fixture_pool, spool_folder, "/body", NULL), 0777), 0);
    ck_assert_int_ne(aq_spool_open(fixture_pool, spool_folder, 0, &opened, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "/body"));
    ck_assert_ptr_null(opened);
}
END_TEST

START_TEST(results_are_kept_by_attempt)
{
    aq_batch_body_t body = {.bytes = 0};
    aq_spool_file_t *file;

    spool_setup();
    ck_assert_int_eq(aq_spool_result_begin(fixture_spool, fixture_pool, SPOOL_ID, 3, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "hel", 3), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, "lo", 2), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_result_commit(file, &body), APR_SUCCESS);
    ck_assert_str_eq(body.sha256, SPOOL_HELLO);
    ck_assert_str_eq(fixture_read(aq_spool_result_path(fixture_spool, fixture_pool, SPOOL_ID, 3)), "hello");
    ck_assert_int_eq(aq_spool_result_remove(fixture_spool, fixture_pool, SPOOL_ID, 2), APR_SUCCESS);
    ck_assert_uint_eq(spool_count_in("result"), 1);
    ck_assert_int_eq(aq_spool_result_remove(fixture_spool, fixture_pool, SPOOL_ID, 3), APR_SUCCESS);
    ck_assert_uint_eq(spool_count_in("result"), 0);
}
END_TEST

START_TEST(a_result_of_no_bytes_has_no_file)
{
    aq_batch_body_t body = {.bytes = -1};
    aq_spool_file_t *file;

    spool_setup();
    ck_assert_int_eq(aq_spool_result_begin(fixture_spool, fixture_pool, SPOOL_ID, 1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_result_commit(file, &body), APR_SUCCESS);
    ck_assert_int_eq(body.bytes, 0);
    ck_assert_str_eq(body.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    ck_assert_uint_eq(spool_count_in("result"), 0);
    ck_assert_uint_eq(spool_count_in("incoming"), 0);
    ck_assert_int_eq(aq_spool_result_remove(fixture_spool, fixture_pool, SPOOL_ID, 1), APR_SUCCESS);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, a_committed_body_is_there_with_size_hash_and_mode);
    tcase_add_test(tests, a_body_that_was_declared_is_cut_to_what_came);
    tcase_add_test(tests, an_empty_body_is_a_body);
    tcase_add_test(tests, what_is_not_committed_leaves_nothing);
    tcase_add_test(tests, f47_a_body_that_is_gone_or_changed_is_told);
    tcase_add_test(tests, f71_symbolic_links_are_refused);
    tcase_add_test(tests, a_folder_that_others_may_write_to_is_refused);
    tcase_add_test(tests, results_are_kept_by_attempt);
    tcase_add_test(tests, a_result_of_no_bytes_has_no_file);
}

int main(void)
{
    return fixture_run("spool", add_tests);
}
