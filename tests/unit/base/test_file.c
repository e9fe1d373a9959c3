/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files: safe opening, durable replace, folders, locks that die with their owner.
 */
#include "base/aq_file.h"
#include "unit/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static mode_t mode_of(const char *path)
{
    struct stat info;

    ck_assert_int_eq(stat(path, &info), 0);
    return info.st_mode & 07777;
}

START_TEST(a_symbolic_link_is_not_followed)
{
    const char *target = fixture_path("target"), *link = fixture_path("link");
    int fd;

    fixture_write(target, "x");
    ck_assert_int_eq(symlink(target, link), 0);
    ck_assert_int_eq(aq_file_open(link, O_RDONLY, 0, &fd), ELOOP);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(aq_file_open(target, O_RDONLY, 0, &fd), APR_SUCCESS);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(replace_sets_content_and_mode_whatever_the_umask)
{
    const char *path = fixture_path("replaced");

    fixture_write(path, "old and longer");
    umask(0777);
    ck_assert_int_eq(aq_file_replace(path, "new", 3, 0640), APR_SUCCESS);
    ck_assert_str_eq(fixture_read(path), "new");
    ck_assert_uint_eq(mode_of(path), 0640);
}
END_TEST

START_TEST(replace_gives_the_file_its_owner)
{
    const char *path = fixture_path("owned");
    uid_t uid = geteuid() == 0 ? 65534 : geteuid();
    struct stat info;

    ck_assert_int_eq(aq_file_replace_as(path, "x", 1, 0600, uid, getegid()), APR_SUCCESS);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_uid, uid);
    ck_assert_uint_eq(info.st_gid, getegid());
}
END_TEST

START_TEST(a_replace_that_fails_leaves_the_old_file_and_no_other)
{
    const char *folder = fixture_path("in-the-way"), *inside = fixture_path("in-the-way/file");
    glob_t left;

    ck_assert_int_eq(mkdir(folder, 0700), 0);
    fixture_write(inside, "old");
    ck_assert_int_ne(aq_file_replace(folder, "new", 3, 0600), APR_SUCCESS);
    ck_assert_str_eq(fixture_read(inside), "old");
    ck_assert_int_eq(glob(fixture_path("in-the-way.*"), 0, NULL, &left), GLOB_NOMATCH);
    ck_assert_int_eq(aq_file_replace(fixture_path("nowhere/file"), "new", 3, 0600), ENOENT);
}
END_TEST

START_TEST(a_folder_is_made_in_the_one_that_was_opened_whatever_takes_its_place)
{
    const char *parent = fixture_path("given"), *moved = fixture_path("moved"), *elsewhere = fixture_path("elsewhere");
    int fd, inner_fd;

    ck_assert_int_eq(mkdir(elsewhere, 0755), 0);
    ck_assert_int_eq(aq_file_folder_make_in(AT_FDCWD, parent, 0700, geteuid(), getegid(), &fd), APR_SUCCESS);
    ck_assert_int_eq(rename(parent, moved), 0);
    ck_assert_int_eq(symlink(elsewhere, parent), 0);
    ck_assert_int_eq(aq_file_folder_make_in(fd, "inner", 0700, geteuid(), getegid(), &inner_fd), APR_SUCCESS);
    ck_assert_int_eq(rmdir(elsewhere), 0); /* it is empty */
    ck_assert_int_eq(close(inner_fd), 0);
    ck_assert_int_eq(rmdir(fixture_path("moved/inner")), 0);
    ck_assert_int_eq(symlink(moved, fixture_path("moved/inner")), 0);
    ck_assert_int_ne(aq_file_folder_make_in(fd, "inner", 0700, geteuid(), getegid(), &inner_fd), APR_SUCCESS);
    ck_assert_int_eq(inner_fd, -1);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(a_folder_is_made_once_and_accepted_again)
{
    const char *path = fixture_path("folder");

    umask(0);
    ck_assert_int_eq(aq_file_folder_make(path, 0750, geteuid(), getegid()), APR_SUCCESS);
    ck_assert_uint_eq(mode_of(path), 0750);
    ck_assert_int_eq(aq_file_folder_make(path, 0700, (uid_t)-1, (gid_t)-1), APR_SUCCESS);
    ck_assert_uint_eq(mode_of(path), 0750);
    ck_assert_int_eq(aq_file_folder_sync(path), APR_SUCCESS);
}
END_TEST

START_TEST(folders_that_cannot_be_trusted_are_refused)
{
    const char *open_folder = fixture_path("open"), *link = fixture_path("link-to-folder");

    ck_assert_int_eq(mkdir(open_folder, 0700), 0);
    ck_assert_int_eq(chmod(open_folder, 0702), 0);
    ck_assert_int_eq(aq_file_folder_make(open_folder, 0700, (uid_t)-1, (gid_t)-1), EPERM);
    ck_assert_int_eq(chmod(open_folder, 0720), 0);
    ck_assert_int_eq(aq_file_folder_make(open_folder, 0700, (uid_t)-1, (gid_t)-1), EPERM);
    ck_assert_int_eq(chmod(open_folder, 0700), 0);
    ck_assert_int_eq(symlink(open_folder, link), 0);
    ck_assert_int_ne(aq_file_folder_make(link, 0700, (uid_t)-1, (gid_t)-1), APR_SUCCESS);
    fixture_write(fixture_path("plain"), "");
    ck_assert_int_eq(aq_file_folder_make(fixture_path("plain"), 0700, (uid_t)-1, (gid_t)-1), ENOTDIR);
    ck_assert_int_eq(aq_file_folder_make(fixture_path("no/parent"), 0700, (uid_t)-1, (gid_t)-1), ENOENT);
}
END_TEST

static int lock_file_open(void)
{
    int fd = open(fixture_path("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    return fd;
}

/* A child that holds the lock and, with `is_forking`, leaves a grandchild behind; it tells through the pipe. */
static pid_t holder_start(int is_forking, int to_parent)
{
    pid_t child = fork();

    if (child == 0) {
        int fd = lock_file_open();
        char told = aq_file_lock(fd, 0) == APR_SUCCESS ? '1' : '0';
        pid_t grandchild = is_forking ? fork() : 0;
        if (is_forking && grandchild == 0) {
            pause();
        }
        if (write(to_parent, &told, 1) != 1 || write(to_parent, &grandchild, sizeof(grandchild)) < 0) {
            _exit(1);
        }
        pause();
        _exit(0);
    }
    return child;
}

START_TEST(a_lock_is_free_once_its_holder_was_killed_though_its_child_lives)
{
    int ends[2], fd = lock_file_open();
    char told;
    pid_t grandchild;

    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = holder_start(1, ends[1]);
    ck_assert_int_eq(read(ends[0], &told, 1), 1);
    ck_assert_int_eq(told, '1');
    ck_assert_int_eq(read(ends[0], &grandchild, sizeof(grandchild)), (ssize_t)sizeof(grandchild));
    ck_assert_int_eq(aq_file_lock(fd, 0), APR_EBUSY);
    ck_assert_int_eq(aq_file_lock(fd, 20), APR_EBUSY);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(aq_file_lock(fd, 50000), APR_SUCCESS);
    ck_assert_int_eq(kill(grandchild, 0), 0);
    ck_assert_int_eq(kill(grandchild, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

START_TEST(a_lock_that_was_given_up_is_free)
{
    int ends[2], fd = lock_file_open();
    char told;

    ck_assert_int_eq(aq_file_lock(fd, 0), APR_SUCCESS);
    ck_assert_int_eq(aq_file_unlock(fd), APR_SUCCESS);
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = holder_start(0, ends[1]);
    ck_assert_int_eq(read(ends[0], &told, 1), 1);
    ck_assert_int_eq(told, '1');
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(aq_file_lock(fd, -1), APR_SUCCESS);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_folder_is_made_in_the_one_that_was_opened_whatever_takes_its_place);
    tcase_add_test(tests, a_symbolic_link_is_not_followed);
    tcase_add_test(tests, replace_sets_content_and_mode_whatever_the_umask);
    tcase_add_test(tests, replace_gives_the_file_its_owner);
    tcase_add_test(tests, a_replace_that_fails_leaves_the_old_file_and_no_other);
    tcase_add_test(tests, a_folder_is_made_once_and_accepted_again);
    tcase_add_test(tests, folders_that_cannot_be_trusted_are_refused);
    tcase_add_test(tests, a_lock_is_free_once_its_holder_was_killed_though_its_child_lives);
    tcase_add_test(tests, a_lock_that_was_given_up_is_free);
}

int main(void)
{
    return fixture_run("file", add);
}
