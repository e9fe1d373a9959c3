/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files: what APR does not offer and several parts need: durable replace, safe opening, locks that die with their
 * owner.
 */
#ifndef AQ_FILE_H
#define AQ_FILE_H

#include <apr_errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* What tells one version of a file from another. All zero: there is no file. */
typedef struct {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
} aq_file_version_t;

/*
 * Looks at the file, following symbolic links. Taken before a file is read, so that whatever happens to it from then on
 * shows as another version; but for changes within AQ_FILE_GRAIN_MS of the one before, which may not show in its times.
 */
#define AQ_FILE_GRAIN_MS 50
aq_file_version_t aq_file_version(const char *path);
int aq_file_version_equal(const aq_file_version_t *a, const aq_file_version_t *b);

/* 1 when the file was changed so shortly before `now_ms` (wall time) that another change may not show. */
int aq_file_version_is_young(const aq_file_version_t *version, int64_t now_ms);

/* fsync of a folder, so that a rename or unlink in it is on disk. */
apr_status_t aq_file_folder_sync(const char *path);

/*
 * Opens below a folder without following a symbolic link in the last part (O_NOFOLLOW, O_CLOEXEC). `flags` and `mode`
 * as for open(2). `*fd` is -1 on failure. APR_ELOOP (ELOOP) when it is a symbolic link.
 */
apr_status_t aq_file_open(const char *path, int flags, int mode, int *fd);

/* Writes all `size` bytes, going on after EINTR and short writes. */
apr_status_t aq_file_write(int fd, const void *data, size_t size);

/*
 * Has the disk keep room for `size` bytes, and makes the file so long: what is mapped and finds the disk full when it is
 * first written to would end the process. APR_ENOSPC.
 */
apr_status_t aq_file_allocate(int fd, uint64_t size);

/*
 * Replaces `path` by `size` bytes of `data`, atomically and durably: temporary file, fsync, rename, folder sync. The
 * new file has exactly `mode`, whatever the umask. On failure the old file stays and the temporary one is removed.
 */
apr_status_t aq_file_replace(const char *path, const void *data, size_t size, int mode);

/*
 * The same, and the new file belongs to that user and group before it takes the old one's place ((uid_t)-1 and
 * (gid_t)-1: whoever calls). EPERM where the caller may not give files away.
 */
apr_status_t aq_file_replace_as(const char *path, const void *data, size_t size, int mode, uid_t uid, gid_t gid);

/*
 * Makes a folder (and no parents) with `mode`, or accepts an existing one. Refuses a symbolic link and a folder that is
 * writable for group or others (EPERM). With `uid` not (uid_t)-1 a new folder is given to that user and group. The name
 * of a new one is on disk when this returns: what is durable inside it would be lost with it.
 */
apr_status_t aq_file_folder_make(const char *path, int mode, uid_t uid, gid_t gid);

/*
 * The same in the open folder `parent` (AT_FDCWD: as above), left open at `*fd` for the caller to close; -1 on failure. For
 * folders in one that somebody else owns, who could put a link in its place meanwhile.
 */
apr_status_t aq_file_folder_make_in(int parent, const char *name, int mode, uid_t uid, gid_t gid, int *fd);

/*
 * A whole-file fcntl write lock. The kernel frees it when the process dies, also where a forked grandchild lives on.
 * Waits at most `wait_ms` (0: do not wait), asking each millisecond: APR_EBUSY when that was too short. Below zero it
 * waits until the lock is free, in the kernel's queue. fcntl locks belong to the process: two threads of one process
 * must exclude each other by other means, and closing any descriptor of the file gives its lock up.
 */
apr_status_t aq_file_lock(int fd, int wait_ms);
apr_status_t aq_file_unlock(int fd);

#endif
