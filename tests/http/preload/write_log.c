/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write log: a library for LD_PRELOAD that notes, in one file and in their true order, all that processes do to the files
 * below a folder: what a power cut may undo, and what it may not. harness/power_cut.py replays it.
 *
 *   AQ_WRITE_LOG       the log; it must exist, beside it NAME.lock
 *   AQ_WRITE_LOG_ROOT  the folder
 *
 * An operation and its record are one step under a lock over all processes, so that the log's order is the order in which
 * it happened. Syncs run outside of the lock, between two records: what was written before the first is on disk at the
 * second. A process that is killed amid a step leaves the lock to the kernel, and a torn record to nobody: records are
 * written in one piece.
 *
 * A record, integers in the machine's order: u32 size of what follows it in all, u8 kind, u8[3] zero, u64 device, u64
 * inode, i64 a, i64 b, u32 length of path, u32 length of path2 or data, then both. Memory maps are not seen: only the
 * queue's -shm file and the spool's figure of use are mapped, and neither has to survive.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, RENAME, UNLINK, MAKE_FOLDER, SYNC_BEGIN, SYNC_END };

typedef struct {
    uint32_t size;
    uint8_t kind, zero[3];
    uint64_t device, inode;
    int64_t a, b;
    uint32_t path_length, data_length;
} record_t;

static const char *root, *log_path;
static size_t root_length;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* flock is by open file: threads exclude each other first */
static int log_fd = -1, lock_fd = -1;
static pid_t log_owner;

__attribute__((constructor)) static void setup(void)
{
    root = getenv("AQ_WRITE_LOG_ROOT");
    log_path = getenv("AQ_WRITE_LOG");
    root_length = root != NULL ? strlen(root) : 0;
    if (log_path == NULL) {
        root = NULL;
    }
}

/* A forked child has descriptors of its own: with the parent's it would share the lock. */
static void step_begin(void)
{
    char lock_path[4096];

    (void)pthread_mutex_lock(&mutex);
    if (log_owner != getpid()) {
        (void)snprintf(lock_path, sizeof lock_path, "%s.lock", log_path);
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
        lock_fd = (int)syscall(SYS_openat, AT_FDCWD, lock_path, O_RDONLY | O_CLOEXEC, 0);
        log_owner = getpid();
    }
    while (flock(lock_fd, LOCK_EX) != 0 && errno == EINTR) {
    }
}

static void step_end(void)
{
    int saved = errno;

    (void)flock(lock_fd, LOCK_UN);
    (void)pthread_mutex_unlock(&mutex);
    errno = saved;
}

static void note(uint8_t kind, const struct stat *info, int64_t a, int64_t b, const char *path, const void *data,
                 size_t length)
{
    record_t record = {.kind = kind, .a = a, .b = b};
    int saved = errno;

    record.path_length = path != NULL ? (uint32_t)strlen(path) : 0;
    record.data_length = (uint32_t)length;
    record.size = (uint32_t)(sizeof record - sizeof record.size) + record.path_length + record.data_length;
    if (info != NULL) {
        record.device = info->st_dev;
        record.inode = info->st_ino;
    }
    const struct iovec pieces[] = {{&record, sizeof record},
                                   {(void *)(uintptr_t)path, record.path_length},
                                   {(void *)(uintptr_t)data, record.data_length}};
    if (syscall(SYS_writev, log_fd, pieces, 3) < 0) {
        abort(); /* a log with a hole would prove nothing */
    }
    errno = saved;
}

/* The path of the file or folder `fd`, where it is below the root. */
static int is_ours(int fd, char path[4096])
{
    char link[64];

    if (root == NULL || fd < 0) {
        return 0;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    if (length < (ssize_t)root_length) {
        return 0;
    }
    path[length] = '\0';
    return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == '\0');
}

/* A path as the program gave it; those of ours are absolute, or relative to a folder that is open. */
static int is_ours_at(int folder, const char *name, char path[4096])
{
    char base[4096];

    if (root == NULL) {
        return 0;
    }
    if (name[0] == '/') {
        (void)snprintf(path, 4096, "%s", name);
    } else if (is_ours(folder, base)) {
        if (snprintf(path, 4096, "%s/%s", base, name) >= 4096) {
            abort();
        }
    } else {
        return 0;
    }
    return strncmp(path, root, root_length) == 0 && path[root_length] == '/';
}

static int open_at(int folder, const char *name, int flags, mode_t mode)
{
    char path[4096];
    struct stat info;
    int fd;

    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !is_ours_at(folder, name, path)) {
        return (int)syscall(SYS_openat, folder, name, flags, mode);
    }
    step_begin();
    int is_new = lstat(path, &info) != 0;
    fd = (int)syscall(SYS_openat, folder, name, flags, mode);
    if (fd >= 0 && fstat(fd, &info) == 0) {
        if (is_new) {
            note(CREATE, &info, 0, 0, path, NULL, 0);
        } else if (flags & O_TRUNC) {
            note(TRUNCATE, &info, 0, 0, NULL, NULL, 0);
        }
    }
    step_end();
    return fd;
}

#define OPEN(name, ...)                                                                                                \
    {                                                                                                                  \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                        \
        va_end(more);                                                                                                  \
        return open_at(__VA_ARGS__, name, flags, mode);                                                                \
    }
int open(const char *name, int flags, ...) OPEN(name, AT_FDCWD) int open64(const char *name, int flags, ...)
    OPEN(name, AT_FDCWD) int openat(int folder, const char *name, int flags, ...)
        OPEN(name, folder) int openat64(int folder, const char *name, int flags, ...) OPEN(name, folder)

            ssize_t write(int fd, const void *data, size_t size)
{
    char path[4096];
    struct stat info;

    if (!is_ours(fd, path)) {
        return syscall(SYS_write, fd, data, size);
    }
    step_begin();
    off_t at = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    ssize_t written = syscall(SYS_write, fd, data, size);
    if (written > 0 && fstat(fd, &info) == 0) {
        note(WRITE, &info, at, written, NULL, data, (size_t)written);
    }
    step_end();
    return written;
}

static ssize_t write_at(int fd, const void *data, size_t size, off_t at)
{
    char path[4096];
    struct stat info;

    if (!is_ours(fd, path)) {
        return syscall(SYS_pwrite64, fd, data, size, at);
    }
    step_begin();
    ssize_t written = syscall(SYS_pwrite64, fd, data, size, at);
    if (written > 0 && fstat(fd, &info) == 0) {
        note(WRITE, &info, at, written, NULL, data, (size_t)written);
    }
    step_end();
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return write_at(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return write_at(fd, data, size, at);
}

static int truncate_to(int fd, off_t size)
{
    char path[4096];
    struct stat info;

    if (!is_ours(fd, path)) {
        return (int)syscall(SYS_ftruncate, fd, size);
    }
    step_begin();
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    if (rc == 0 && fstat(fd, &info) == 0) {
        note(TRUNCATE, &info, size, 0, NULL, NULL, 0);
    }
    step_end();
    return rc;
}

int ftruncate(int fd, off_t size)
{
    return truncate_to(fd, size);
}
int ftruncate64(int fd, off_t size)
{
    return truncate_to(fd, size);
}

/* It makes a file longer, or leaves it as it is: as a truncation to its new size. */
static int allocate(int fd, int mode, off_t at, off_t size)
{
    char path[4096];
    struct stat info;

    if (!is_ours(fd, path)) {
        return (int)syscall(SYS_fallocate, fd, mode, at, size);
    }
    step_begin();
    int rc = (int)syscall(SYS_fallocate, fd, mode, at, size);
    if (rc == 0 && fstat(fd, &info) == 0) {
        note(TRUNCATE, &info, info.st_size, 0, NULL, NULL, 0);
    }
    step_end();
    return rc;
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    return allocate(fd, mode, at, size);
}
int fallocate64(int fd, int mode, off_t at, off_t size)
{
    return allocate(fd, mode, at, size);
}

static int sync_fd(long call, int fd)
{
    char path[4096];
    struct stat info;

    if (!is_ours(fd, path) || fstat(fd, &info) != 0) {
        return (int)syscall(call, fd);
    }
    step_begin();
    note(SYNC_BEGIN, &info, gettid(), 0, path, NULL, 0);
    step_end();
    int rc = (int)syscall(call, fd);
    if (rc == 0) {
        step_begin();
        note(SYNC_END, &info, gettid(), 0, path, NULL, 0);
        step_end();
    }
    return rc;
}

int fsync(int fd)
{
    return sync_fd(SYS_fsync, fd);
}
int fdatasync(int fd)
{
    return sync_fd(SYS_fdatasync, fd);
}

static int rename_at(int from_folder, const char *from, int to_folder, const char *to)
{
    char from_path[4096], to_path[4096];
    struct stat info;

    if (!is_ours_at(from_folder, from, from_path) || !is_ours_at(to_folder, to, to_path)) {
        return (int)syscall(SYS_renameat, from_folder, from, to_folder, to);
    }
    step_begin();
    int rc = (int)syscall(SYS_renameat, from_folder, from, to_folder, to);
    if (rc == 0 && lstat(to_path, &info) == 0) {
        note(RENAME, &info, 0, 0, from_path, to_path, strlen(to_path));
    }
    step_end();
    return rc;
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to);
}
int renameat(int a, const char *from, int b, const char *to)
{
    return rename_at(a, from, b, to);
}

static int unlink_at(int folder, const char *name, int flags)
{
    char path[4096];

    if (!is_ours_at(folder, name, path)) {
        return (int)syscall(SYS_unlinkat, folder, name, flags);
    }
    step_begin();
    int rc = (int)syscall(SYS_unlinkat, folder, name, flags);
    if (rc == 0) {
        note(UNLINK, NULL, 0, 0, path, NULL, 0);
    }
    step_end();
    return rc;
}

int unlink(const char *name)
{
    return unlink_at(AT_FDCWD, name, 0);
}
int unlinkat(int folder, const char *name, int flags)
{
    return unlink_at(folder, name, flags);
}

static int make_folder_at(int folder, const char *name, mode_t mode)
{
    char path[4096];
    struct stat info;

    if (!is_ours_at(folder, name, path)) {
        return (int)syscall(SYS_mkdirat, folder, name, mode);
    }
    step_begin();
    int rc = (int)syscall(SYS_mkdirat, folder, name, mode);
    if (rc == 0 && lstat(path, &info) == 0) {
        note(MAKE_FOLDER, &info, 0, 0, path, NULL, 0);
    }
    step_end();
    return rc;
}

int mkdir(const char *name, mode_t mode)
{
    return make_folder_at(AT_FDCWD, name, mode);
}
int mkdirat(int folder, const char *name, mode_t mode)
{
    return make_folder_at(folder, name, mode);
}
