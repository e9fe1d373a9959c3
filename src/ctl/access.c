/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access: whether another user may use a file. Mode bits alone would not tell: folders above, groups and access lists
 * have their say too. So a child becomes that user, groups included, and asks.
 */
#include "ctl/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#define COULD_NOT_ASK 255

static int ask_as(const char *path, int mode, uid_t uid, gid_t gid)
{
    const struct passwd *user = getpwuid(uid);
    int rc = user ? initgroups(user->pw_name, gid) : setgroups(0, NULL);

    if (rc != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
        return COULD_NOT_ASK;
    }
    return access(path, mode) == 0 ? 0 : errno;
}

apr_status_t aq_access_check(const char *path, int mode, uid_t uid, gid_t gid)
{
    int status;

    if (geteuid() != 0) {
        return geteuid() != uid ? APR_ENOTIMPL : access(path, mode) == 0 ? APR_SUCCESS : errno;
    }
    pid_t child = fork();
    if (child < 0) {
        return errno;
    }
    if (child == 0) {
        _exit(ask_as(path, mode, uid, gid)); /* error numbers are small */
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return !WIFEXITED(status) || WEXITSTATUS(status) == COULD_NOT_ASK ? APR_ENOTIMPL : WEXITSTATUS(status);
}
