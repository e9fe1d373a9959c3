/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files: durable replace, safe opening, locks that die with their owner.
 */
#include "base/aq_file.h"

#include "base/aq_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_POLL_NS 1000000L

/* errno, or a general failure where a function failed without setting it. */
static apr_status_t last_error(void)
{
    return errno ? errno : APR_EGENERAL;
}

apr_status_t aq_file_open(const char *path, int flags, int mode, int *fd)
{
    do {
        *fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode);
    } while (*fd < 0 && errno == EINTR);
    return *fd < 0 ? last_error() : APR_SUCCESS;
}

aq_file_version_t aq_file_version(const char *path)
{
    struct stat info;
    aq_file_version_t version;

    memset(&version, 0, sizeof(version)); /* versions are compared with their padding */
    if (stat(path, &info) == 0) {
        version.device = info.st_dev;
        version.inode = info.st_ino;
        version.size = info.st_size;
        version.modified = info.st_mtim;
        version.changed = info.st_ctim;
    }
    return version;
}

int aq_file_version_equal(const aq_file_version_t *a, const aq_file_version_t *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

int aq_file_version_is_young(const aq_file_version_t *version, int64_t now_ms)
{
    int64_t age_ms = now_ms - ((int64_t)version->changed.tv_sec * AQ_MS_PER_S + version->changed.tv_nsec / 1000000);

    return age_ms > -AQ_FILE_GRAIN_MS && age_ms < AQ_FILE_GRAIN_MS;
}

/* A file system that cannot sync a folder at all (EINVAL) has no better way either. */
static apr_status_t sync_fd(int fd, int is_folder)
{
    int rc;

    do {
        rc = fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 || (is_folder && errno == EINVAL) ? APR_SUCCESS : last_error();
}

apr_status_t aq_file_folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return last_error();
    }
    apr_status_t rv = sync_fd(fd, 1);
    (void)close(fd);
    return rv;
}

apr_status_t aq_file_write(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t wrote = write(fd, at, size);
        if (wrote < 0 && errno != EINTR) {
            return last_error();
        }
        if (wrote > 0) {
            at += wrote;
            size -= (size_t)wrote;
        }
    }
    return APR_SUCCESS;
}

apr_status_t aq_file_allocate(int fd, uint64_t size)
{
    int rc;

    do {
        rc = posix_fallocate(fd, 0, (off_t)size);
    } while (rc == EINTR);
    return rc;
}

/* Syncs the folder that holds `path`. */
static apr_status_t parent_sync(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);

    memcpy(folder, path, size);
    folder[size] = '\0';
    return aq_file_folder_sync(size ? folder : ".");
}

apr_status_t aq_file_replace(const char *path, const void *data, size_t size, int mode)
{
    return aq_file_replace_as(path, data, size, mode, (uid_t)-1, (gid_t)-1);
}

/* Owner before mode: a change of owner takes set-ID bits away, and nobody may read the file too early. */
static apr_status_t fill_temporary(int fd, const void *data, size_t size, int mode, uid_t uid, gid_t gid)
{
    apr_status_t rv = aq_file_write(fd, data, size);

    if (rv == APR_SUCCESS && (uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) != 0) {
        rv = last_error();
    }
    if (rv == APR_SUCCESS && fchmod(fd, (mode_t)mode) != 0) {
        rv = last_error();
    }
    return rv == APR_SUCCESS ? sync_fd(fd, 0) : rv;
}

apr_status_t aq_file_replace_as(const char *path, const void *data, size_t size, int mode, uid_t uid, gid_t gid)
{
    char temporary[PATH_MAX];
    apr_status_t rv;
    int fd;

    int length = snprintf(temporary, sizeof(temporary), "%s.new-XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof(temporary)) {
        return ENAMETOOLONG;
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return last_error();
    }
    rv = fill_temporary(fd, data, size, mode, uid, gid);
    if (close(fd) != 0 && rv == APR_SUCCESS) {
        rv = last_error();
    }
    if (rv == APR_SUCCESS && rename(temporary, path) != 0) {
        rv = last_error();
    }
    if (rv != APR_SUCCESS) {
        (void)unlink(temporary);
        return rv;
    }
    return parent_sync(path);
}

/* What must hold for a folder that we are about to trust, looked at through its descriptor. */
static apr_status_t folder_check(int fd)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return last_error();
    }
    return info.st_mode & (S_IWGRP | S_IWOTH) ? EPERM : APR_SUCCESS;
}

static apr_status_t folder_give(int fd, int mode, uid_t uid, gid_t gid)
{
    if (uid != (uid_t)-1 && fchown(fd, uid, gid) != 0) {
        return last_error();
    }
    return fchmod(fd, (mode_t)mode) == 0 ? APR_SUCCESS : last_error();
}

apr_status_t aq_file_folder_make_in(int parent, const char *name, int mode, uid_t uid, gid_t gid, int *fd)
{
    int is_new = mkdirat(parent, name, (mode_t)mode & 0755) == 0;

    *fd = -1;
    if (!is_new && errno != EEXIST) {
        return last_error();
    }
    *fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0) {
        return last_error();
    }
    apr_status_t rv = is_new ? folder_give(*fd, mode, uid, gid) : folder_check(*fd);
    if (rv == APR_SUCCESS && is_new) {
        rv = parent == AT_FDCWD ? parent_sync(name) : sync_fd(parent, 1);
    }
    if (rv != APR_SUCCESS) {
        (void)close(*fd);
        *fd = -1;
    }
    return rv;
}

apr_status_t aq_file_folder_make(const char *path, int mode, uid_t uid, gid_t gid)
{
    int fd;
    apr_status_t rv = aq_file_folder_make_in(AT_FDCWD, path, mode, uid, gid, &fd);

    if (rv == APR_SUCCESS) {
        (void)close(fd);
    }
    return rv;
}

static apr_status_t lock_set(int fd, int command, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
    int rc;

    do {
        rc = fcntl(fd, command, &lock);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) {
        return APR_SUCCESS;
    }
    return errno == EACCES || errno == EAGAIN ? APR_EBUSY : last_error();
}

apr_status_t aq_file_lock(int fd, int wait_ms)
{
    if (wait_ms < 0) {
        return lock_set(fd, F_SETLKW, F_WRLCK);
    }
    /* fcntl has no lock with a time-out but by a signal, which a library must not take: so ask again and again. */
    aq_time_ms_t give_up_ms = aq_clock_boot_ms() + wait_ms;
    apr_status_t rv = lock_set(fd, F_SETLK, F_WRLCK);
    while (rv == APR_EBUSY && aq_clock_boot_ms() < give_up_ms) {
        (void)nanosleep(&(struct timespec){.tv_nsec = LOCK_POLL_NS}, NULL);
        rv = lock_set(fd, F_SETLK, F_WRLCK);
    }
    return rv;
}

apr_status_t aq_file_unlock(int fd)
{
    return lock_set(fd, F_SETLK, F_UNLCK);
}
