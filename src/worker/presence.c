/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of living and dead workers. fcntl locks belong to the process and go when any descriptor of the file is closed:
 * so a worker never opens its own file a second time.
 */
#include "worker/presence.h"

#include "base/aq_file.h"
#include "base/aq_hash.h"

#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static apr_status_t name_write(aq_presence_t *presence, aq_time_ms_t boot_ms)
{
    unsigned char random[8];
    char hex[2 * sizeof random + 1];

    apr_status_t rv = aq_hash_random(random, sizeof random);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    aq_hash_hex_write(hex, random, sizeof random);
    int size = snprintf(presence->name, sizeof presence->name, "%ld-%lld-%s", (long)getpid(), (long long)boot_ms, hex);
    return size > 0 && (size_t)size < sizeof presence->name ? APR_SUCCESS : APR_EGENERAL;
}

/* 1 while the locked file is still the one of that name: a scan may have taken the lock first, and removed the file. */
static int is_in_place(int fd, const char *path)
{
    struct stat ours, named;

    return fstat(fd, &ours) == 0 && lstat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

apr_status_t aq_presence_begin(aq_presence_t *presence, apr_pool_t *p, const char *worker_files, aq_time_ms_t boot_ms)
{
    const char *slash = strrchr(worker_files, '/');
    apr_status_t rv;

    *presence = (aq_presence_t){.fd = -1};
    presence->folder = slash != NULL ? apr_pstrmemdup(p, worker_files, (apr_size_t)(slash - worker_files) + 1) : "./";
    presence->prefix = apr_pstrcat(p, slash != NULL ? slash + 1 : worker_files, ".worker-", NULL);
    do {
        if (presence->fd >= 0) {
            (void)close(presence->fd);
            presence->fd = -1;
        }
        if ((rv = name_write(presence, boot_ms)) != APR_SUCCESS) {
            return rv;
        }
        presence->path = apr_pstrcat(p, presence->folder, presence->prefix, presence->name, NULL);
        if ((rv = aq_file_open(presence->path, O_RDWR | O_CREAT | O_EXCL, 0600, &presence->fd)) != APR_SUCCESS) {
            return rv;
        }
    } while ((rv = aq_file_lock(presence->fd, 0)) == APR_EBUSY ||
             (rv == APR_SUCCESS && !is_in_place(presence->fd, presence->path)));
    return rv;
}

void aq_presence_end(aq_presence_t *presence)
{
    if (presence->fd >= 0) {
        (void)unlink(presence->path);
        (void)close(presence->fd);
        presence->fd = -1;
    }
}

static void look_at(const char *path, const char *name, aq_presence_dead_fn *is_dead, void *data)
{
    int fd;

    /* Not there any more, or no file of this user: nothing to be learnt from it. */
    if (aq_file_open(path, O_RDWR, 0, &fd) != APR_SUCCESS) {
        return;
    }
    if (aq_file_lock(fd, 0) == APR_SUCCESS && is_in_place(fd, path) && is_dead(data, name)) {
        (void)unlink(path);
    }
    (void)close(fd);
}

apr_status_t aq_presence_scan(const aq_presence_t *presence, apr_pool_t *ptemp, aq_presence_dead_fn *is_dead,
                              void *data)
{
    size_t prefix_size = strlen(presence->prefix);
    const struct dirent *entry;
    DIR *folder = opendir(presence->folder);

    if (folder == NULL) {
        return errno;
    }
    /* cppcheck-suppress readdirCalled ; safe in glibc for a stream of one's own; readdir_r is deprecated */
    while (errno = 0, (entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name + prefix_size;
        if (strncmp(entry->d_name, presence->prefix, prefix_size) == 0 && strcmp(name, presence->name) != 0) {
            look_at(apr_pstrcat(ptemp, presence->folder, entry->d_name, NULL), name, is_dead, data);
        }
    }
    apr_status_t rv = errno;
    (void)closedir(folder);
    return rv;
}
