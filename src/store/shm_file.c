/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and checking the counter file. See shm_file.h. */
#include "store/shm_file_parts.h"

#include "base/aq_file.h"

#include <apr_strings.h>
#include <apr_time.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600
#define LOCK_TRIES 50
#define BAD_TRIES 10
#define LOCK_WAIT_US 100000

apr_status_t aq_shm_failed(aq_shm_opening_t *opening, apr_status_t rv, const char *what)
{
    const apr_status_t why = rv != APR_SUCCESS ? rv : APR_EGENERAL;
    char text[120];

    opening->error =
        apr_psprintf(opening->p, "counter file %s: %s: %s", opening->path, what, apr_strerror(why, text, sizeof(text)));
    return why;
}

uint64_t aq_shm_slots_in(uint64_t size_bytes)
{
    return (size_bytes - AQ_SHM_HEADER_SIZE) / AQ_SHM_SLOT_SIZE;
}

apr_status_t aq_shm_checksum_make(const aq_shm_header_t *header, unsigned char checksum[AQ_SHA256_BYTES])
{
    return aq_hash_sha256(header, AQ_SHM_CHECKED_SIZE, checksum);
}

const char *aq_shm_header_wrong(const aq_shm_header_t *header, uint64_t size_bytes)
{
    return aq_shm_header_wrong_as(header, size_bytes, AQ_SHM_VERSION);
}

const char *aq_shm_header_wrong_as(const aq_shm_header_t *header, uint64_t size_bytes, uint32_t version)
{
    unsigned char checksum[AQ_SHA256_BYTES];

    if (size_bytes < AQ_SHM_HEADER_SIZE) {
        return "it is too short";
    }
    if (memcmp(header->magic, AQ_SHM_MAGIC, sizeof(header->magic)) != 0) {
        return "it does not begin as a counter file does";
    }
    if (header->byte_order != AQ_SHM_BYTE_ORDER) {
        return "it was made on a machine of another byte order";
    }
    if (header->version != version || header->header_size != AQ_SHM_HEADER_SIZE ||
        header->slot_size != AQ_SHM_SLOT_SIZE) {
        return "it is of another version";
    }
    if (aq_shm_checksum_make(header, checksum) != APR_SUCCESS ||
        memcmp(checksum, header->checksum, sizeof(checksum)) != 0) {
        return "the checksum of its header is wrong";
    }
    if (header->size_bytes != size_bytes) {
        return "it was cut or grew";
    }
    if (size_bytes < AQ_SHM_SIZE_MIN || header->slot_count != aq_shm_slots_in(size_bytes)) {
        return "its header contradicts itself";
    }
    return NULL;
}

/* What a file that begins so can be used as. */
static aq_shm_on_disk_t header_judge(const aq_shm_header_t *header, uint64_t size_bytes, const char **wrong)
{
    const aq_shm_older_t *older = aq_shm_older_find(header->version);

    *wrong = aq_shm_header_wrong(header, size_bytes);
    if (*wrong == NULL) {
        return AQ_SHM_ON_DISK_GOOD;
    }
    if (older != NULL && older->wrong(header, size_bytes) == NULL) {
        *wrong = "it is of an older version, and is carried over at a full stop and start";
        return AQ_SHM_ON_DISK_OLDER;
    }
    return AQ_SHM_ON_DISK_BAD;
}

/* Sets or gives up a lock on PATH.lock: F_RDLCK shared, F_WRLCK alone, F_UNLCK none. Does not wait. */
static apr_status_t lock_set(int fd, short kind)
{
    struct flock lock = {.l_type = kind, .l_whence = SEEK_SET};
    int rc;

    do {
        rc = fcntl(fd, F_OFD_SETLK, &lock);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        return errno == EACCES ? APR_EAGAIN : errno;
    }
    return APR_SUCCESS;
}

static apr_status_t mapping_end(void *data)
{
    aq_shm_file_t *file = data;

    if (file->header != NULL) {
        (void)munmap(file->header, file->size_bytes);
        file->header = NULL;
    }
    if (file->lock_fd >= 0) {
        (void)close(file->lock_fd);
        file->lock_fd = -1;
    }
    return APR_SUCCESS;
}

apr_status_t aq_shm_inspect(aq_shm_opening_t *opening, int flags, aq_shm_on_disk_t *on_disk, const char **wrong,
                            int *fd, uint64_t *size_bytes)
{
    aq_shm_header_t header;
    struct stat status = {0};
    apr_status_t rv = aq_file_open(opening->path, flags | O_NONBLOCK, 0, fd);

    *on_disk = AQ_SHM_ON_DISK_BAD;
    *wrong = NULL;
    *size_bytes = 0;
    if (rv == ENOENT) {
        *on_disk = AQ_SHM_ON_DISK_NOTHING;
        return APR_SUCCESS;
    }
    if (rv == EISDIR || rv == ENXIO) {
        *wrong = "it is no regular file";
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        return aq_shm_failed(opening, rv, rv == ELOOP ? "it is a symbolic link" : "it cannot be opened");
    }
    if (fstat(*fd, &status) != 0) {
        rv = aq_shm_failed(opening, errno, "its state cannot be read");
        goto cleanup;
    }
    memset(&header, 0, sizeof(header));
    if (!S_ISREG(status.st_mode)) {
        *wrong = "it is no regular file";
    } else if (pread(*fd, &header, sizeof(header), 0) < 0) {
        rv = aq_shm_failed(opening, errno, "it cannot be read");
    } else {
        *size_bytes = (uint64_t)status.st_size;
        *on_disk = header_judge(&header, *size_bytes, wrong);
    }
cleanup:
    if (*on_disk != AQ_SHM_ON_DISK_GOOD && *on_disk != AQ_SHM_ON_DISK_OLDER) {
        (void)close(*fd);
        *fd = -1;
    }
    return rv;
}

apr_status_t aq_shm_allocate(aq_shm_opening_t *opening, int fd, uint64_t size_bytes)
{
    const apr_status_t rv = aq_file_allocate(fd, size_bytes);

    if (rv == APR_SUCCESS) {
        return rv;
    }
    return aq_shm_failed(
        opening, rv, apr_psprintf(opening->p, "%" APR_UINT64_T_FMT " bytes cannot be allocated for it", size_bytes));
}

apr_status_t aq_shm_map(aq_shm_opening_t *opening, int fd, uint64_t size_bytes, int protection, void **mapped)
{
    *mapped = mmap(NULL, size_bytes, protection, MAP_SHARED, fd, 0);
    if (*mapped == MAP_FAILED) {
        *mapped = NULL;
        return aq_shm_failed(opening, errno != 0 ? errno : EIO, "it cannot be mapped");
    }
    return APR_SUCCESS;
}

aq_shm_table_t aq_shm_table_of(aq_shm_header_t *header)
{
    return aq_shm_table((aq_shm_slot_t *)(void *)(header + 1), header->slot_count);
}

/* Maps the good file under the opening's name. APR_ENOENT or APR_EGENERAL where there is none. */
static apr_status_t file_map(aq_shm_opening_t *opening, int is_readonly, aq_shm_file_t *file)
{
    const int protection = is_readonly ? PROT_READ : PROT_READ | PROT_WRITE;
    uint64_t size_bytes;
    aq_shm_on_disk_t on_disk;
    const char *wrong;
    void *mapped = NULL;
    int fd;
    apr_status_t rv = aq_shm_inspect(opening, is_readonly ? O_RDONLY : O_RDWR, &on_disk, &wrong, &fd, &size_bytes);

    if (rv == APR_SUCCESS && on_disk != AQ_SHM_ON_DISK_GOOD) {
        rv = on_disk == AQ_SHM_ON_DISK_NOTHING ? APR_ENOENT : APR_EGENERAL;
        opening->error = apr_psprintf(opening->p, "counter file %s: %s", opening->path,
                                      on_disk == AQ_SHM_ON_DISK_NOTHING ? "there is none" : wrong);
        (void)(fd >= 0 && close(fd));
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!is_readonly) {
        rv = fchmod(fd, FILE_MODE) == 0 ? aq_shm_allocate(opening, fd, size_bytes)
                                        : aq_shm_failed(opening, errno, "its mode cannot be set");
    }
    if (rv == APR_SUCCESS) {
        rv = aq_shm_map(opening, fd, size_bytes, protection, &mapped);
    }
    (void)close(fd);
    if (mapped != NULL) {
        file->header = mapped;
        file->size_bytes = size_bytes;
        file->table = aq_shm_table_of(mapped);
    }
    return rv;
}

static aq_shm_file_t *file_create(apr_pool_t *p, const char *path)
{
    aq_shm_file_t *file = apr_pcalloc(p, sizeof(*file));

    file->path = apr_pstrdup(p, path);
    file->lock_fd = -1;
    apr_pool_cleanup_register(p, file, mapping_end, apr_pool_cleanup_null);
    return file;
}

/* One attempt to get the file open. APR_EAGAIN where another process is at work. */
static apr_status_t try_open(aq_shm_opening_t *opening, aq_shm_file_t *file)
{
    apr_status_t rv = lock_set(file->lock_fd, F_WRLCK);

    if (rv == APR_SUCCESS) {
        rv = aq_shm_prepare(opening);
        if (rv == APR_SUCCESS) {
            rv = lock_set(file->lock_fd, F_RDLCK);
        }
        return rv == APR_SUCCESS ? file_map(opening, 0, file) : rv;
    }
    if (rv == APR_EAGAIN) {
        rv = lock_set(file->lock_fd, F_RDLCK);
    }
    if (rv != APR_SUCCESS) {
        return rv == APR_EAGAIN ? rv : aq_shm_failed(opening, rv, "its lock file cannot be locked");
    }
    rv = file_map(opening, 0, file);
    if (rv == APR_ENOENT || rv == APR_EGENERAL) {
        /* Taken away under somebody's hands, or that one was just starting: who gets the lock alone will mend it. */
        (void)lock_set(file->lock_fd, F_UNLCK);
        return APR_EAGAIN;
    }
    if (rv == APR_SUCCESS && file->size_bytes != opening->size_bytes) {
        aq_shm_size_kept(opening, file->size_bytes, "a running server uses it");
    }
    return rv;
}

static apr_status_t open_locked(aq_shm_opening_t *opening, aq_shm_file_t *file)
{
    const char *lock_path = apr_pstrcat(opening->p, opening->path, ".lock", NULL);
    apr_status_t rv = aq_file_open(lock_path, O_RDWR | O_CREAT, FILE_MODE, &file->lock_fd);

    if (rv != APR_SUCCESS) {
        return aq_shm_failed(opening, rv, apr_psprintf(opening->p, "its lock file %s cannot be opened", lock_path));
    }
    rv = try_open(opening, file);
    for (int tries = 1; rv == APR_EAGAIN && tries < (opening->error != NULL ? BAD_TRIES : LOCK_TRIES); tries++) {
        apr_sleep(LOCK_WAIT_US);
        rv = try_open(opening, file);
    }
    if (rv == APR_EAGAIN) {
        return aq_shm_failed(opening, rv,
                             opening->error != NULL
                                 ? apr_pstrcat(opening->p, "another process holds it: ", opening->error, NULL)
                                 : "another process is opening it and does not finish");
    }
    return rv;
}

apr_status_t aq_shm_file_open(apr_pool_t *p, const char *path, uint64_t size_bytes, int may_resize, int64_t now_ms,
                              aq_shm_file_t **file, const char **error)
{
    aq_shm_opening_t opening = {
        .p = p,
        .path = path,
        .size_bytes = size_bytes,
        .may_resize = may_resize,
        .now_ms = now_ms,
    };
    aq_shm_file_t *opened;
    apr_status_t rv;

    *file = NULL;
    *error = NULL;
    if (size_bytes < AQ_SHM_SIZE_MIN || size_bytes > AQ_SHM_SIZE_MAX) {
        *error = apr_psprintf(p, "counter file %s: its size may be 64k to 1t", path);
        return APR_EINVAL;
    }
    opened = file_create(p, path);
    rv = open_locked(&opening, opened);
    if (rv != APR_SUCCESS) {
        apr_pool_cleanup_run(p, opened, mapping_end);
        *error = opening.error;
        return rv;
    }
    *file = opened;
    return APR_SUCCESS;
}

apr_status_t aq_shm_file_open_readonly(apr_pool_t *p, const char *path, aq_shm_file_t **file, const char **error)
{
    aq_shm_opening_t opening = {.p = p, .path = path};
    aq_shm_file_t *opened = file_create(p, path);
    apr_status_t rv = file_map(&opening, 1, opened);

    *error = opening.error;
    *file = rv == APR_SUCCESS ? opened : NULL;
    if (rv != APR_SUCCESS) {
        apr_pool_cleanup_run(p, opened, mapping_end);
    }
    return rv;
}

apr_status_t aq_shm_file_open_beside(apr_pool_t *p, const char *path, aq_shm_file_t **file, const char **error)
{
    aq_shm_opening_t opening = {.p = p, .path = path};
    aq_shm_file_t *opened = file_create(p, path);
    apr_status_t rv = aq_file_open(apr_pstrcat(p, path, ".lock", NULL), O_RDWR, 0, &opened->lock_fd);

    if (rv == APR_SUCCESS) {
        rv = lock_set(opened->lock_fd, F_RDLCK);
    }
    rv = rv == APR_SUCCESS ? file_map(&opening, 0, opened) : aq_shm_failed(&opening, rv, "its lock cannot be had");
    *error = opening.error;
    *file = rv == APR_SUCCESS ? opened : NULL;
    if (rv != APR_SUCCESS) {
        apr_pool_cleanup_run(p, opened, mapping_end);
    }
    return rv;
}
