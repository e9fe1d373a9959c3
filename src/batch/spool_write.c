/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a body: incoming/<who>-<random>.part, reserved ahead, hashed as it passes, then synced and renamed into its
 * place. <who> is a hash of the tenant, so that what one tenant has reserved is told by the names alone.
 *
 * The writer holds a flock on its file. It belongs to the open file, so a sweep of the same process sees it too, and the
 * kernel frees it at death. (The write lock of the queue is an fcntl lock instead: it must not stay with a forked
 * grandchild. Here the worst of that is an orphan that is removed later.)
 */
#include "batch/spool_private.h"

#include "base/aq_file.h"
#include "base/aq_hash.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define RESERVE_MIN_BYTES INT64_C(65536)
#define RESERVE_MAX_BYTES INT64_C(16777216)
#define MARK_BYTES 8
/* So much is gathered before the disk is asked to begin with it. */
#define WRITEBACK_BYTES INT64_C(8388608)

struct aq_spool_file_t {
    aq_spool_t *spool;
    apr_pool_t *pool;
    const char *path;
    const char *result_path; /* NULL for a request body */
    const char *mark;        /* how the name of each file of this owner begins; "" without an owner */
    int64_t room_bytes;      /* for all of them */
    int fd;                  /* -1: committed, or given up */
    int64_t reserved_bytes, written_bytes;
    int64_t begun_bytes; /* which the disk was told to write already */
    aq_sha256_t *sha;
};

static apr_status_t file_drop(void *data)
{
    aq_spool_file_t *file = data;

    if (file->fd >= 0) {
        (void)unlink(file->path);
        (void)close(file->fd);
        file->fd = -1;
    }
    aq_sha256_destroy(file->sha);
    file->sha = NULL;
    return APR_SUCCESS;
}

/* Makes the file and locks it; a sweep that came in between has unlinked it, then a new one is made. */
static apr_status_t file_create(aq_spool_file_t *file)
{
    unsigned char random[12];
    char hex[2 * sizeof random + 1];
    struct stat info;
    apr_status_t rv;

    do {
        if ((rv = aq_hash_random(random, sizeof random)) != APR_SUCCESS) {
            return rv;
        }
        aq_hash_hex_write(hex, random, sizeof random);
        file->path = apr_pstrcat(file->pool, file->spool->incoming, "/", file->mark, hex, AQ_SPOOL_PART_SUFFIX, NULL);
        if (file->fd >= 0) {
            (void)close(file->fd);
        }
        rv = aq_file_open(file->path, O_RDWR | O_CREAT | O_EXCL, 0600, &file->fd);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    } while (flock(file->fd, LOCK_EX | LOCK_NB) != 0 || fstat(file->fd, &info) != 0 || info.st_nlink == 0);
    return APR_SUCCESS;
}

apr_status_t aq_spool_bounds_check(const aq_spool_t *spool, const char *mark, int64_t room_bytes)
{
    int64_t incoming_bytes, owned_bytes;

    if (spool->max_bytes == 0 && mark[0] == '\0') {
        return APR_SUCCESS;
    }
    apr_status_t rv = aq_spool_marked_bytes(spool->incoming, mark, &incoming_bytes, &owned_bytes);
    if (rv == APR_SUCCESS && mark[0] != '\0' && owned_bytes > room_bytes) {
        return EDQUOT;
    }
    /* The figure last: a body that moves meanwhile is then counted twice, not never. */
    if (rv == APR_SUCCESS && spool->max_bytes > 0 &&
        atomic_load(spool->stored_bytes) + incoming_bytes > spool->max_bytes) {
        return APR_ENOSPC;
    }
    return rv;
}

apr_status_t aq_spool_allocate(int fd, int64_t bytes)
{
    int rc;

    do {
        rc = fallocate(fd, 0, 0, bytes);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno != EOPNOTSUPP) {
        return errno;
    }
    return rc == 0 || ftruncate(fd, bytes) == 0 ? APR_SUCCESS : errno;
}

int64_t aq_spool_ahead(int64_t end)
{
    int64_t ahead = end / 4;

    return ahead < RESERVE_MIN_BYTES ? RESERVE_MIN_BYTES : ahead > RESERVE_MAX_BYTES ? RESERVE_MAX_BYTES : ahead;
}

/*
 * Sets the file's size to `bytes`. Reserving first and adding up afterwards means that of two that come together both may
 * be refused, but never both be let in.
 */
static apr_status_t reserve(aq_spool_file_t *file, int64_t bytes)
{
    apr_status_t rv = aq_spool_allocate(file->fd, bytes);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    file->reserved_bytes = bytes;
    return aq_spool_bounds_check(file->spool, file->mark, file->room_bytes);
}

/* Takes `begun`, whose first members are set, into use. */
static apr_status_t file_begin(aq_spool_file_t *begun, int64_t declared_bytes, aq_spool_file_t **file)
{
    apr_pool_t *p = begun->pool;

    *file = NULL;
    begun->sha = aq_sha256_create();
    if (begun->sha == NULL) {
        return APR_ENOMEM;
    }
    apr_pool_cleanup_register(p, begun, file_drop, apr_pool_cleanup_null);
    apr_status_t rv = file_create(begun);
    if (rv == APR_SUCCESS && declared_bytes > 0) {
        rv = reserve(begun, declared_bytes);
    }
    if (rv != APR_SUCCESS) {
        apr_pool_cleanup_run(p, begun, file_drop);
        return rv;
    }
    *file = begun;
    return APR_SUCCESS;
}

/* The beginning of a hash of its name: two tenants with one mark would share the smaller room, and nothing else. */
static apr_status_t mark_make(apr_pool_t *p, const char *tenant, const char **mark)
{
    unsigned char digest[AQ_SHA256_BYTES];
    char hex[2 * MARK_BYTES + 1] = "";

    apr_status_t rv = aq_hash_sha256(tenant, strlen(tenant), digest);
    if (rv == APR_SUCCESS) {
        aq_hash_hex_write(hex, digest, MARK_BYTES);
    }
    *mark = apr_pstrcat(p, hex, "-", NULL);
    return rv;
}

apr_status_t aq_spool_body_begin(aq_spool_t *spool, apr_pool_t *p, const aq_spool_owner_t *owner,
                                 int64_t declared_bytes, aq_spool_file_t **file)
{
    aq_spool_file_t *begun = apr_palloc(p, sizeof(*begun));

    *file = NULL;
    *begun = (aq_spool_file_t){.spool = spool, .pool = p, .mark = "", .fd = -1};
    if (owner != NULL) {
        begun->room_bytes = owner->room_bytes;
        apr_status_t rv = mark_make(p, owner->tenant, &begun->mark);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return file_begin(begun, declared_bytes, file);
}

apr_status_t aq_spool_result_begin(aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token,
                                   aq_spool_file_t **file)
{
    aq_spool_file_t *begun = apr_palloc(p, sizeof(*begun));

    *begun = (aq_spool_file_t){
        .spool = spool, .pool = p, .mark = "", .result_path = aq_spool_result_path(spool, p, id, token), .fd = -1};
    return file_begin(begun, -1, file);
}

/* Room up to `end`, and some ahead of it. */
static apr_status_t reserve_ahead(aq_spool_file_t *file, int64_t end)
{
    apr_status_t rv = reserve(file, end + aq_spool_ahead(end));
    if (rv == APR_ENOSPC || rv == EDQUOT) {
        /* The file may have grown before the room was found too small. */
        rv = ftruncate(file->fd, end) == 0 ? reserve(file, end) : errno;
    }
    return rv;
}

/*
 * Has the disk write while the body still comes, so that the fsync at its end has little left to wait for. A hint: what it
 * returns tells nothing of what is on disk.
 */
static void writeback_begin(aq_spool_file_t *file)
{
    if (file->written_bytes - file->begun_bytes >= WRITEBACK_BYTES) {
        (void)sync_file_range(file->fd, file->begun_bytes, file->written_bytes - file->begun_bytes,
                              SYNC_FILE_RANGE_WRITE);
        file->begun_bytes = file->written_bytes;
    }
}

apr_status_t aq_spool_write(aq_spool_file_t *file, const void *data, size_t size)
{
    int64_t end = file->written_bytes + (int64_t)size;
    apr_status_t rv;

    if (end > file->reserved_bytes && (rv = reserve_ahead(file, end)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = aq_file_write(file->fd, data, size)) != APR_SUCCESS ||
        (rv = aq_sha256_add(file->sha, data, size)) != APR_SUCCESS) {
        return rv;
    }
    file->written_bytes = end;
    writeback_begin(file);
    return APR_SUCCESS;
}

/* The content on disk, with its true size, and with an age that counts from now. */
static apr_status_t content_sync(const aq_spool_file_t *file)
{
    if (ftruncate(file->fd, file->written_bytes) != 0 || futimens(file->fd, NULL) != 0 || fsync(file->fd) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

static apr_status_t file_commit(aq_spool_file_t *file, const char *folder, const char *path, aq_batch_body_t *body)
{
    unsigned char digest[AQ_SHA256_BYTES];
    char *hex = apr_palloc(file->pool, AQ_SHA256_HEX_SIZE);
    apr_status_t rv;

    if ((rv = aq_sha256_finish(file->sha, digest)) != APR_SUCCESS || (rv = content_sync(file)) != APR_SUCCESS) {
        return rv;
    }
    /* In the figure before it is out of incoming/: for a moment twice, never in neither. */
    atomic_fetch_add(file->spool->stored_bytes, file->written_bytes);
    if (rename(file->path, path) != 0) {
        rv = errno;
        atomic_fetch_sub(file->spool->stored_bytes, file->written_bytes);
        return rv;
    }
    file->path = path;
    if ((rv = aq_file_folder_sync(folder)) != APR_SUCCESS) {
        atomic_fetch_sub(file->spool->stored_bytes, file->written_bytes);
        return rv; /* the pool's end unlinks it under its new name */
    }
    aq_hash_hex_write(hex, digest, sizeof digest);
    body->bytes = file->written_bytes;
    body->sha256 = hex;
    (void)close(file->fd); /* synced: nothing is left that close could fail to write */
    file->fd = -1;
    return APR_SUCCESS;
}

/* A result of no bytes has no file: there is nothing to keep, and nothing to sync. */
static apr_status_t empty_commit(aq_spool_file_t *file, aq_batch_body_t *body)
{
    unsigned char digest[AQ_SHA256_BYTES];
    char *hex = apr_palloc(file->pool, AQ_SHA256_HEX_SIZE);

    apr_status_t rv = aq_sha256_finish(file->sha, digest);
    if (rv == APR_SUCCESS) {
        aq_hash_hex_write(hex, digest, sizeof digest);
        body->bytes = 0;
        body->sha256 = hex;
        apr_pool_cleanup_run(file->pool, file, file_drop);
    }
    return rv;
}

apr_status_t aq_spool_body_commit(aq_spool_file_t *file, const char *id, aq_batch_body_t *body)
{
    return file_commit(file, file->spool->body, aq_spool_body_path(file->spool, file->pool, id), body);
}

apr_status_t aq_spool_result_commit(aq_spool_file_t *file, aq_batch_body_t *body)
{
    if (file->written_bytes == 0) {
        return empty_commit(file, body);
    }
    return file_commit(file, file->spool->result, file->result_path, body);
}
