/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on the spool, and what a crash left there.
 *
 * Nobody is harmed: an incoming file goes only while its lock is ours, a body or result only when it is old and the
 * caller, who can hold the lock under which rows are added, has found no row. What has no name of ours is left alone.
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

typedef struct {
    const char *mark;
    int64_t bytes, marked;
} sum_t;

static void add_bytes(void *data, int folder_fd, const char *name, const struct stat *info)
{
    sum_t *sum = data;

    (void)folder_fd;
    sum->bytes += info->st_size;
    if (strncmp(name, sum->mark, strlen(sum->mark)) == 0) {
        sum->marked += info->st_size;
    }
}

apr_status_t aq_spool_marked_bytes(const char *folder, const char *mark, int64_t *bytes, int64_t *marked)
{
    sum_t sum = {.mark = mark};
    apr_status_t rv = aq_spool_walk(folder, add_bytes, &sum);

    *bytes = sum.bytes;
    *marked = sum.marked;
    return rv;
}

apr_status_t aq_spool_folder_bytes(const char *folder, int64_t *bytes)
{
    int64_t marked;

    return aq_spool_marked_bytes(folder, "", bytes, &marked);
}

apr_status_t aq_spool_filled(aq_spool_t *spool, int64_t *bytes)
{
    apr_status_t rv = aq_spool_folder_bytes(spool->incoming, bytes);

    *bytes += atomic_load(spool->stored_bytes);
    return rv;
}

int64_t aq_spool_stored(const aq_spool_t *spool)
{
    return atomic_load(spool->stored_bytes);
}

apr_status_t aq_spool_used(aq_spool_t *spool, apr_pool_t *ptemp, int64_t *bytes)
{
    const char *folders[] = {spool->incoming, spool->body, spool->result, spool->segment};
    apr_status_t rv = APR_SUCCESS;
    int64_t folder_bytes;

    (void)ptemp;
    *bytes = 0;
    for (size_t i = 0; rv == APR_SUCCESS && i < sizeof folders / sizeof folders[0]; i++) {
        rv = aq_spool_folder_bytes(folders[i], &folder_bytes);
        *bytes += folder_bytes;
    }
    return rv;
}

typedef struct {
    aq_time_ms_t older_than_ms;
    aq_spool_judge_fn *judge;
    void *judge_data;
    int is_segments; /* the folder that is walked */
    unsigned removed;
    int64_t found_bytes;
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

int aq_spool_name_parse(const char *name, char id[AQ_BATCH_ID_SIZE], int64_t *token)
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

    (void)folder_fd;
    /* A file that is removed now was in the figure before, and its removal takes it out. */
    sweep->found_bytes += info->st_size;
    if (written_ms < sweep->older_than_ms && aq_spool_name_parse(name, id, &token)) {
        sweep->removed += sweep->judge(sweep->judge_data, id, sweep->is_segments ? -token : token) != 0;
    }
}

static apr_status_t segments_sweep(const aq_spool_t *spool, sweep_t *sweep)
{
    sweep->is_segments = 1;
    apr_status_t rv = aq_spool_walk(spool->segment, sweep_stored, sweep);
    sweep->is_segments = 0;
    return rv;
}

apr_status_t aq_spool_sweep(aq_spool_t *spool, apr_pool_t *ptemp, aq_time_ms_t older_than_ms, aq_spool_judge_fn *judge,
                            void *data, unsigned *removed)
{
    sweep_t sweep = {.older_than_ms = older_than_ms, .judge = judge, .judge_data = data};
    int64_t before_bytes = atomic_load(spool->stored_bytes);
    apr_status_t rv;

    (void)ptemp;
    rv = aq_spool_walk(spool->incoming, sweep_incoming, &sweep);
    /* Segments go with their body: they are found first, so that the figure takes each out once. */
    if (rv == APR_SUCCESS && judge != NULL && (rv = segments_sweep(spool, &sweep)) == APR_SUCCESS &&
        (rv = aq_spool_walk(spool->body, sweep_stored, &sweep)) == APR_SUCCESS &&
        (rv = aq_spool_walk(spool->result, sweep_stored, &sweep)) == APR_SUCCESS) {
        /* What came meanwhile may be counted twice until the next sweep: rather too much than too little. */
        atomic_fetch_add(spool->stored_bytes, sweep.found_bytes - before_bytes);
    }
    *removed = sweep.removed;
    return rv;
}
