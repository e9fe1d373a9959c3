/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a counter file, setting one aside, carrying its counters over. See shm_file.h. All of this is done with the lock
 * held alone.
 */
#include "store/shm_file_parts.h"

#include "base/aq_file.h"
#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600
#define ASIDE_NAMES 100

static apr_status_t header_fill(aq_shm_opening_t *opening, aq_shm_header_t *header, const aq_shm_header_t *old)
{
    apr_status_t rv = APR_SUCCESS;

    memcpy(header->magic, AQ_SHM_MAGIC, sizeof(header->magic));
    header->version = AQ_SHM_VERSION;
    header->byte_order = AQ_SHM_BYTE_ORDER;
    header->header_size = AQ_SHM_HEADER_SIZE;
    header->slot_size = AQ_SHM_SLOT_SIZE;
    header->size_bytes = opening->size_bytes;
    header->slot_count = aq_shm_slots_in(opening->size_bytes);
    if (old != NULL) {
        header->made_at_ms = old->made_at_ms;
        header->secret = old->secret;
    } else {
        header->made_at_ms = opening->now_ms;
        rv = aq_hash_random(&header->secret, sizeof(header->secret));
    }
    if (rv == APR_SUCCESS) {
        rv = aq_shm_checksum_make(header, header->checksum);
    }
    return rv == APR_SUCCESS ? rv : aq_shm_failed(opening, rv, "its secret cannot be made");
}

/* Copies the live counters of `old`. 0 where one finds no place. */
static int carry_over(aq_shm_header_t *header, aq_shm_header_t *old, aq_time_ms_t now_ms)
{
    const aq_shm_table_t from = aq_shm_table_of(old);
    const aq_shm_table_t to = aq_shm_table_of(header);

    for (uint64_t i = 0; i < from.slot_count; i++) {
        if (aq_shm_slot_is_live(&from.slots[i], now_ms) && !aq_shm_table_copy_in(&to, &from.slots[i])) {
            return 0;
        }
    }
    atomic_store(&header->overflows, atomic_load(&old->overflows));
    atomic_store(&header->owners, atomic_load(&old->owners));
    return 1;
}

/* Fills a new file, given its descriptor. APR_EINCOMPLETE where the counters of `old` do not fit. */
static apr_status_t fill(aq_shm_opening_t *opening, int fd, aq_shm_header_t *old)
{
    void *mapped = NULL;
    apr_status_t rv = aq_shm_allocate(opening, fd, opening->size_bytes);

    if (rv == APR_SUCCESS) {
        rv = aq_shm_map(opening, fd, opening->size_bytes, PROT_READ | PROT_WRITE, &mapped);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = header_fill(opening, mapped, old);
    if (rv == APR_SUCCESS && old != NULL && !carry_over(mapped, old, opening->now_ms)) {
        rv = APR_EINCOMPLETE;
    }
    if (munmap(mapped, opening->size_bytes) != 0 && rv == APR_SUCCESS) {
        rv = aq_shm_failed(opening, errno, "it cannot be unmapped");
    }
    if (rv == APR_SUCCESS && fsync(fd) != 0) {
        rv = aq_shm_failed(opening, errno, "it cannot be written");
    }
    return rv;
}

static const char *folder_of(apr_pool_t *p, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return ".";
    }
    return slash == path ? "/" : apr_pstrmemdup(p, path, (apr_size_t)(slash - path));
}

/* Makes the file anew, in place of what is there. `old`: mapped, to carry over; or NULL. */
static apr_status_t make(aq_shm_opening_t *opening, aq_shm_header_t *old)
{
    const char *fresh = apr_pstrcat(opening->p, opening->path, ".new", NULL);
    int fd = -1;
    apr_status_t rv;

    (void)unlink(fresh); /* left by a process that died here */
    rv = aq_file_open(fresh, O_RDWR | O_CREAT | O_EXCL, FILE_MODE, &fd);
    if (rv != APR_SUCCESS) {
        return aq_shm_failed(opening, rv, "it cannot be made");
    }
    rv = fill(opening, fd, old);
    (void)close(fd);
    if (rv == APR_SUCCESS && rename(fresh, opening->path) != 0) {
        rv = aq_shm_failed(opening, errno, "it cannot be put in its place");
    }
    if (rv != APR_SUCCESS) {
        (void)unlink(fresh);
        return rv;
    }
    rv = aq_file_folder_sync(folder_of(opening->p, opening->path));
    return rv == APR_SUCCESS ? rv : aq_shm_failed(opening, rv, "its folder cannot be written");
}

/* Gives what is under the opening's name another name. */
static apr_status_t set_aside(aq_shm_opening_t *opening, const char *wrong)
{
    const int64_t now_s = opening->now_ms / AQ_MS_PER_S;
    const char *aside = NULL;
    struct stat status;

    for (int i = 0; i < ASIDE_NAMES; i++) {
        aside = apr_psprintf(opening->p, i == 0 ? "%s.bad-%" APR_INT64_T_FMT : "%s.bad-%" APR_INT64_T_FMT ".%d",
                             opening->path, now_s, i);
        if (lstat(aside, &status) != 0 && errno == ENOENT) {
            break;
        }
    }
    if (rename(opening->path, aside) != 0) {
        return aq_shm_failed(opening, errno,
                             apr_psprintf(opening->p, "%s; it cannot be set aside as %s", wrong, aside));
    }
    AQ_LOG(AQ_LOG_ERROR, 300, APR_SUCCESS, "counter file %s: %s; it is set aside as %s, counting begins anew",
           opening->path, wrong, aside);
    return APR_SUCCESS;
}

/* Replaces a good file by one of the size that was asked for. */
static apr_status_t resize(aq_shm_opening_t *opening, int fd, uint64_t old_size)
{
    void *old = NULL;
    apr_status_t rv = aq_shm_map(opening, fd, old_size, PROT_READ, &old);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = make(opening, old);
    (void)munmap(old, old_size);
    if (rv == APR_SUCCESS) {
        AQ_LOG(AQ_LOG_NOTICE, 301, APR_SUCCESS,
               "counter file %s: its size is now %" APR_UINT64_T_FMT " bytes and no more %" APR_UINT64_T_FMT
               ", the counters were carried over",
               opening->path, opening->size_bytes, old_size);
    }
    return rv;
}

void aq_shm_size_kept(const aq_shm_opening_t *opening, uint64_t size_bytes, const char *why)
{
    AQ_LOG(AQ_LOG_WARNING, 302, APR_SUCCESS,
           "counter file %s: its size stays %" APR_UINT64_T_FMT " bytes and does not become %" APR_UINT64_T_FMT ": %s",
           opening->path, size_bytes, opening->size_bytes, why);
}

apr_status_t aq_shm_prepare(aq_shm_opening_t *opening)
{
    uint64_t size_bytes;
    aq_shm_on_disk_t on_disk;
    const char *wrong;
    int fd;
    apr_status_t rv = aq_shm_inspect(opening, O_RDWR, &on_disk, &wrong, &fd, &size_bytes);

    if (rv == APR_SUCCESS && on_disk == AQ_SHM_ON_DISK_BAD) {
        rv = set_aside(opening, wrong);
    }
    if (rv == APR_SUCCESS && on_disk != AQ_SHM_ON_DISK_GOOD) {
        return make(opening, NULL);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (size_bytes != opening->size_bytes && opening->may_resize) {
        rv = resize(opening, fd, size_bytes);
        if (rv == APR_EINCOMPLETE) {
            aq_shm_size_kept(opening, size_bytes, "its live counters would not find a place");
            rv = APR_SUCCESS;
        }
    } else if (size_bytes != opening->size_bytes) {
        aq_shm_size_kept(opening, size_bytes, "it changes at a full stop and start only");
    }
    (void)close(fd);
    return rv;
}
