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

/* A mapped file to carry over. */
typedef struct {
    aq_shm_header_t *header;
    const aq_shm_older_t *older; /* NULL: it is of this version */
} source_t;

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

static void header_carry(aq_shm_header_t *to, const aq_shm_header_t *from)
{
    atomic_store(&to->overflows, atomic_load(&from->overflows));
    atomic_store(&to->owners, atomic_load(&from->owners));
}

/* Copies the live counters of `old`. 0 where one finds no place. */
static int carry_over(aq_shm_header_t *header, const source_t *old, aq_time_ms_t now_ms)
{
    static const aq_shm_older_t same = {.slot_carry = aq_shm_table_copy_in, .header_carry = header_carry};
    const aq_shm_older_t *as = old->older != NULL ? old->older : &same;
    const aq_shm_table_t from = aq_shm_table_of(old->header);
    const aq_shm_table_t to = aq_shm_table_of(header);

    for (uint64_t i = 0; i < from.slot_count; i++) {
        if (aq_shm_slot_is_live(&from.slots[i], now_ms) && !as->slot_carry(&to, &from.slots[i])) {
            return 0;
        }
    }
    as->header_carry(header, old->header);
    return 1;
}

/* Fills a new file, given its descriptor. APR_EINCOMPLETE where the counters of `old` do not fit. */
static apr_status_t fill(aq_shm_opening_t *opening, int fd, const source_t *old)
{
    void *mapped = NULL;
    apr_status_t rv = aq_shm_allocate(opening, fd, opening->size_bytes);

    if (rv == APR_SUCCESS) {
        rv = aq_shm_map(opening, fd, opening->size_bytes, PROT_READ | PROT_WRITE, &mapped);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = header_fill(opening, mapped, old != NULL ? old->header : NULL);
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

/* A second name of the older file, for who has to go back. One that is there already is of an upgrade that was undone. */
static apr_status_t older_keep(aq_shm_opening_t *opening, uint32_t version)
{
    const char *kept = apr_psprintf(opening->p, "%s.version-%u", opening->path, version);

    (void)unlink(kept);
    return link(opening->path, kept) == 0 ? APR_SUCCESS
                                          : aq_shm_failed(opening, errno, "a copy of it cannot be kept beside it");
}

/* Makes the file anew, in place of what is there. `old`: to carry over; or NULL. */
static apr_status_t make(aq_shm_opening_t *opening, const source_t *old)
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
    if (rv == APR_SUCCESS && old != NULL && old->older != NULL) {
        rv = older_keep(opening, old->older->version);
    }
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

/* Replaces a good file by one of the size that was asked for, and of this version. */
static apr_status_t replace(aq_shm_opening_t *opening, int fd, uint64_t old_size)
{
    void *mapped = NULL;
    apr_status_t rv = aq_shm_map(opening, fd, old_size, PROT_READ, &mapped);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    const aq_shm_header_t *header = mapped;
    const source_t old = {.header = mapped, .older = aq_shm_older_find(header->version)};
    rv = make(opening, &old);
    (void)munmap(mapped, old_size);
    return rv;
}

static apr_status_t resize(aq_shm_opening_t *opening, int fd, uint64_t old_size)
{
    apr_status_t rv = replace(opening, fd, old_size);

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

/* Carries a file of an older version over: into one of the size that was asked for, or else of its own. */
static apr_status_t upgrade(aq_shm_opening_t *opening, int fd, uint64_t old_size)
{
    const uint64_t asked = opening->size_bytes;
    apr_status_t rv;

    opening->size_bytes = opening->may_resize ? asked : old_size;
    rv = replace(opening, fd, old_size);
    if (rv == APR_EINCOMPLETE && old_size > opening->size_bytes) {
        opening->size_bytes = old_size;
        rv = replace(opening, fd, old_size);
    }
    if (rv == APR_SUCCESS) {
        AQ_LOG(AQ_LOG_NOTICE, 470, APR_SUCCESS,
               "counter file %s: it was of an older version, the counters were carried over; the old one is kept "
               "beside it",
               opening->path);
        if (opening->size_bytes != asked) {
            aq_shm_size_kept(opening, opening->size_bytes, "its live counters would not find a place");
        }
    } else if (rv == APR_EINCOMPLETE) {
        rv = aq_shm_failed(opening, rv, "the counters of its older version find no place: ask for a larger size=");
    }
    opening->size_bytes = asked;
    return rv;
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
    if (rv == APR_SUCCESS && (on_disk == AQ_SHM_ON_DISK_BAD || on_disk == AQ_SHM_ON_DISK_NOTHING)) {
        return make(opening, NULL);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (on_disk == AQ_SHM_ON_DISK_OLDER) {
        rv = upgrade(opening, fd, size_bytes);
    } else if (size_bytes != opening->size_bytes && opening->may_resize) {
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
