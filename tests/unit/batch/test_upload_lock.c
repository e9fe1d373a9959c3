/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upload lock: who is kept out, and when the lock is given back.
 */
#include "batch/upload_lock.h"

#include "unit/fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static aq_spool_t *spool;

static void setup(void)
{
    const char *error, *folder = fixture_path("spool");

    ck_assert_int_eq(aq_spool_prepare(folder, (uid_t)-1, (gid_t)-1, fixture_pool, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_open(fixture_pool, folder, 0, &spool, &error), APR_SUCCESS);
}

static apr_pool_t *pool_new(void)
{
    apr_pool_t *p;

    ck_assert_int_eq(apr_pool_create(&p, fixture_pool), APR_SUCCESS);
    return p;
}

static apr_status_t take(apr_pool_t *p, const char *tenant, const char *key)
{
    return aq_upload_lock_take(spool, p, tenant, key);
}

START_TEST(of_one_key_there_is_one_upload_until_its_end)
{
    apr_pool_t *first = pool_new(), *second = pool_new();

    ck_assert_int_eq(take(first, "acme", "order-1"), APR_SUCCESS);
    ck_assert_int_eq(take(second, "acme", "order-1"), APR_EBUSY);
    ck_assert_int_eq(take(second, "acme", "order-1"), APR_EBUSY); /* the refused one has closed the file: no matter */
    apr_pool_destroy(first);
    ck_assert_int_eq(take(second, "acme", "order-1"), APR_SUCCESS);
    apr_pool_destroy(second);
}
END_TEST

START_TEST(keys_and_tenants_do_not_meet)
{
    static const struct {
        const char *tenant, *key;
    } others[] = {{"acme", "order-2"}, {"globex", "order-1"}, {"acm", "eorder-1"}, {"acmeo", "rder-1"}, {"acme", ""}};

    ck_assert_int_eq(take(fixture_pool, "acme", "order-1"), APR_SUCCESS);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ck_assert_int_eq(take(fixture_pool, others[i].tenant, others[i].key), APR_SUCCESS);
    }
}
END_TEST

START_TEST(a_killed_process_blocks_nobody)
{
    apr_pool_t *p = pool_new();
    int held[2], status;
    char byte = 1;

    ck_assert_int_eq(pipe(held), 0);
    pid_t child = fork();
    if (child == 0) {
        byte = take(fixture_pool, "acme", "order-1") == APR_SUCCESS;
        (void)!write(held[1], &byte, 1);
        (void)pause();
        _exit(0);
    }
    ck_assert_int_eq(read(held[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 1);
    ck_assert_int_eq(take(p, "acme", "order-1"), APR_EBUSY);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(take(p, "acme", "order-1"), APR_SUCCESS);
    apr_pool_destroy(p);
}
END_TEST

/* As a CGI program of httpd's is, between its fork and its exec. */
START_TEST(a_process_forked_meanwhile_does_not_keep_it)
{
    apr_pool_t *p = pool_new();
    int status;

    ck_assert_int_eq(take(p, "acme", "order-1"), APR_SUCCESS);
    pid_t child = fork();
    if (child == 0) {
        (void)pause();
        _exit(0);
    }
    apr_pool_destroy(p);
    ck_assert_int_eq(take(fixture_pool, "acme", "order-1"), APR_SUCCESS);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
}
END_TEST

START_TEST(f71_its_file_is_for_its_owner_alone_and_no_link)
{
    const char *path = fixture_path("spool/uploading");
    struct stat info;

    ck_assert_int_eq(take(fixture_pool, "acme", "order-1"), APR_SUCCESS);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0600);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink(fixture_path("elsewhere"), path), 0);
    ck_assert_int_ne(take(fixture_pool, "acme", "order-2"), APR_SUCCESS);
    ck_assert_int_ne(access(fixture_path("elsewhere"), F_OK), 0);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, of_one_key_there_is_one_upload_until_its_end);
    tcase_add_test(tests, keys_and_tenants_do_not_meet);
    tcase_add_test(tests, a_killed_process_blocks_nobody);
    tcase_add_test(tests, a_process_forked_meanwhile_does_not_keep_it);
    tcase_add_test(tests, f71_its_file_is_for_its_owner_alone_and_no_link);
}

int main(void)
{
    return fixture_run("upload_lock", add_tests);
}
