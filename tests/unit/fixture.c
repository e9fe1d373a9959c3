/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/fixture.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

apr_pool_t *fixture_pool;
static char folder[64];

typedef struct {
    unsigned number;
    const char *text;
} line_t;

static apr_array_header_t *lines; /* of line_t */

static void test_sink(void *data, aq_log_level_t level, unsigned number, apr_status_t status, const char *text)
{
    (void)data;
    (void)level;
    (void)status;
    APR_ARRAY_PUSH(lines, line_t) = (line_t){.number = number, .text = apr_pstrdup(fixture_pool, text)};
}

static void folder_make(void)
{
    const char *parent = getenv("TMPDIR");

    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    (void)snprintf(folder, sizeof(folder), "%s/aq-test-XXXXXX", parent && strlen(parent) < 32 ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static int entry_remove(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void folder_remove(void)
{
    (void)nftw(folder, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
    apr_terminate();
}

static void pool_make(void)
{
    ck_assert_int_eq(apr_pool_create(&fixture_pool, NULL), APR_SUCCESS);
}

static void pool_destroy(void)
{
    aq_log_sink_set(NULL, NULL);
    apr_pool_destroy(fixture_pool);
}

const char *fixture_path(const char *name)
{
    return apr_pstrcat(fixture_pool, folder, "/", name, NULL);
}

void fixture_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = strlen(text);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
    ck_assert_int_eq(close(fd), 0);
}

const char *fixture_read(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    ck_assert_msg(fd >= 0, "%s cannot be opened", path);
    ck_assert_int_eq(fstat(fd, &info), 0);
    char *text = apr_pcalloc(fixture_pool, (apr_size_t)info.st_size + 1);
    ck_assert_int_eq(read(fd, text, (size_t)info.st_size), info.st_size);
    ck_assert_int_eq(close(fd), 0);
    return text;
}

void fixture_log_keep(void)
{
    lines = apr_array_make(fixture_pool, 8, sizeof(line_t));
    aq_log_sink_set(test_sink, NULL);
}

int fixture_log_count(unsigned number)
{
    int count = 0;

    for (int i = 0; i < lines->nelts; i++) {
        count += APR_ARRAY_IDX(lines, i, line_t).number == number;
    }
    return count;
}

const char *fixture_log_last(unsigned number)
{
    for (int i = lines->nelts - 1; i >= 0; i--) {
        if (APR_ARRAY_IDX(lines, i, line_t).number == number) {
            return APR_ARRAY_IDX(lines, i, line_t).text;
        }
    }
    return "";
}

pid_t fixture_fork(void)
{
    const pid_t pid = fork();

    if (pid != 0) {
        ck_assert_int_gt(pid, 0);
    }
    return pid;
}

static TCase *case_make(const char *name, void (*prepare)(TCase *tests), void (*add)(TCase *tests))
{
    TCase *tests = tcase_create(name);

    tcase_add_unchecked_fixture(tests, folder_make, folder_remove);
    tcase_add_checked_fixture(tests, pool_make, pool_destroy);
    if (prepare != NULL) {
        prepare(tests);
    }
    /* Set here, a timeout would override that of the environment, which valgrind and sanitizers need. */
    if (getenv("CK_DEFAULT_TIMEOUT") == NULL) {
        tcase_set_timeout(tests, 60);
    }
    add(tests);
    return tests;
}

int fixture_run_each(const char *name, int count, void (*const prepare[])(TCase *tests), void (*add)(TCase *tests))
{
    Suite *suite = suite_create(name);

    for (int i = 0; i < count; i++) {
        suite_add_tcase(suite, case_make(name, prepare[i], add));
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int fixture_run(const char *name, void (*add)(TCase *tests))
{
    static void (*const nothing[])(TCase * tests) = {NULL};

    return fixture_run_each(name, 1, nothing, add);
}
