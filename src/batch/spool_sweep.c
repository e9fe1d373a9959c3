/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on the spool, and what a crash left there.
 *
 * Nobody is harmed: an incoming file goes only while its lock is ours, a body or result only when it is old and its
 * owner says that it knows nothing of it. What has no name of ours is left alone.
 */
#include "batch/spool_private.h"

#include "base/aq_file.h"
#include "base/aq_log.h"

#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

apr_status_t aq_spool_walk(const char *folder, aq_spool_each_fn *each, void *data)
{
    const struct dirent *entry;
    struct stat info;
    DIR *walk = opendir(folder);

    if (walk == NULL) {
        return errno;
    }
    /* cppcheck-suppress readdirCalled ; safe in glibc for a stream of one's own; readdir_r is deprecated */
    while (errno = 0, (entry = readdir(walk)) != NULL) {
        if (fstatat(dirfd(walk), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode)) {
            each(data, dirfd(walk), entry->d_name, &info);
        }
    }
    apr_status_t rv = errno;
    (void)closedir(walk);
    return rv;
}

static void add_bytes(void *data, int folder_fd, const char *name, const struct stat *info)
{
    (void)folder_fd;
    (void)name;
    *(int64_t *)data += info->st_size;
}

apr_status_t aq_spool_folder_bytes(const char *folder, int64_t *bytes)
{
    *bytes = 0;
    return aq_spool_walk(folder, add_bytes, bytes);
}

apr_status_t aq_spool_used(aq_spool_t *spool, apr_pool_t *ptemp, int64_t *bytes)
{
    const char *folders[] = {spool->incoming, spool->body, spool->result};
    apr_status_t rv = APR_SUCCESS;
    int64_t folder_bytes;

    (void)ptemp;
    *bytes = 0;
    for (size_t i = 0; rv == APR_SUCCESS && i < 3; i++) {
        rv = aq_spool_folder_bytes(folders[i], &folder_bytes);
        *bytes += folder_bytes;
    }
    return rv;
}

typedef struct {
    aq_time_ms_t older_than_ms;
    aq_spool_known_fn *is_known;
    void *known_data;
    unsigned removed;
    int64_t kept_bytes;
} sweep_t;

static void remove_entry(sweep_t *sweep, int folder_fd, const char *name)
{
    if (unlinkat(folder_fd, name, 0) == 0) {
        sweep->removed++;
    } else if (errno != ENOENT) {
        AQ_LOG(AQ_LOG_WARNING, 500, errno, "spool: the orphan %s cannot be removed", name);
    }
}

static void sweep_incoming(void *data, int folder_fd, const char *name, const struct stat *info)
{
    const char *dot = strrchr(name, '.');

    (void)info;
    if (dot == NULL || strcmp(dot, AQ_SPOOL_PART_SUFFIX) != 0) {
        return;
    }
    int fd = openat(folder_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        remove_entry(data, folder_fd, name);
    }
    (void)close(fd);
}

/* "<id>" is a body, "<id>.<token>" a result. 0 for any other name. */
static int name_parse(const char *name, char id[AQ_BATCH_ID_SIZE], int64_t *token)
{
    const char *digits = name + AQ_BATCH_ID_SIZE;
    size_t length = strlen(name);

    if (length < AQ_BATCH_ID_SIZE - 1) {
        return 0;
    }
    memcpy(id, name, AQ_BATCH_ID_SIZE - 1);
    id[AQ_BATCH_ID_SIZE - 1] = '\0';
    *token = 0;
    if (length == AQ_BATCH_ID_SIZE - 1) {
        return aq_batch_id_is_valid(id);
    }
    if (name[AQ_BATCH_ID_SIZE - 1] != '.' || *digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        return 0;
    }
    *token = apr_atoi64(digits);
    return *token > 0 && aq_batch_id_is_valid(id);
}

static void sweep_stored(void *data, int folder_fd, const char *name, const struct stat *info)
{
    sweep_t *sweep = data;
    aq_time_ms_t written_ms = (aq_time_ms_t)info->st_mtim.tv_sec * AQ_MS_PER_S + info->st_mtim.tv_nsec / 1000000;
    char id[AQ_BATCH_ID_SIZE];
    int64_t token;

    if (written_ms < sweep->older_than_ms && name_parse(name, id, &token) &&
        !sweep->is_known(sweep->known_data, id, token)) {
        remove_entry(sweep, folder_fd, name);
    } else {
        sweep->kept_bytes += info->st_size;
    }
}

apr_status_t aq_spool_sweep(aq_spool_t *spool, apr_pool_t *ptemp, aq_time_ms_t older_than_ms,
                            aq_spool_known_fn *is_known, void *data, unsigned *removed)
{
    sweep_t sweep = {.older_than_ms = older_than_ms, .is_known = is_known, .known_data = data};
    int64_t before_bytes = atomic_load(spool->stored_bytes);
    apr_status_t rv;

    (void)ptemp;
    rv = aq_spool_walk(spool->incoming, sweep_incoming, &sweep);
    if (rv == APR_SUCCESS && is_known != NULL &&
        (rv = aq_spool_walk(spool->body, sweep_stored, &sweep)) == APR_SUCCESS &&
        (rv = aq_spool_walk(spool->result, sweep_stored, &sweep)) == APR_SUCCESS) {
        /* What came meanwhile may be counted twice until the next sweep: rather too much than too little. */
        atomic_fetch_add(spool->stored_bytes, sweep.kept_bytes - before_bytes);
    }
    *removed = sweep.removed;
    return rv;
}
