/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spool: its folders, opening it, and reading and removing what lies there. How a body is written is in spool_write.c,
 * what is left behind in spool_sweep.c.
 */
#include "batch/spool_private.h"

#include "base/aq_file.h"
#include "base/aq_hash.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define READ_BYTES 65536

static const char *const subfolders[] = {"incoming", "body", "result", "segment"};

static const char *sentence(apr_pool_t *p, const char *path, apr_status_t status)
{
    char reason[128];

    return apr_psprintf(p, "%s cannot be used for the spool: %s", path, apr_strerror(status, reason, sizeof reason));
}

/* Root may be at work in a folder of another user's, so each is made in the one that was opened, not by its path. */
apr_status_t aq_spool_prepare(const char *folder, uid_t uid, gid_t gid, apr_pool_t *ptemp, const char **error)
{
    const char *path = folder;
    int fd, subfolder_fd;
    apr_status_t rv = aq_file_folder_make_in(AT_FDCWD, folder, 0700, uid, gid, &fd);

    *error = NULL;
    for (size_t i = 0; rv == APR_SUCCESS && i < sizeof subfolders / sizeof subfolders[0]; i++) {
        path = apr_pstrcat(ptemp, folder, "/", subfolders[i], NULL);
        rv = aq_file_folder_make_in(fd, subfolders[i], 0700, uid, gid, &subfolder_fd);
        if (subfolder_fd >= 0) {
            (void)close(subfolder_fd);
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rv != APR_SUCCESS) {
        *error = sentence(ptemp, path, rv);
    }
    return rv;
}

/* A folder that someone else owns, or a link, could send bodies anywhere. */
static apr_status_t folder_check(apr_pool_t *p, const char *path, const char **error)
{
    struct stat info;

    if (lstat(path, &info) != 0) {
        apr_status_t rv = errno;
        *error = sentence(p, path, rv);
        return rv;
    }
    if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        *error = apr_psprintf(
            p, "the spool folder %s must be a folder that this user owns and nobody else may write to", path);
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}

static apr_status_t usage_unmap(void *data)
{
    return munmap(data, sizeof(int64_t)) == 0 ? APR_SUCCESS : errno;
}

/* Maps SPOOL/usage; the first to come counts what is there. */
static apr_status_t usage_map(aq_spool_t *spool, apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, spool->folder, "/usage", NULL);
    struct stat info;
    int64_t body_bytes, result_bytes, segment_bytes;
    void *mapped;
    int fd;

    apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT, 0600, &fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (fstat(fd, &info) != 0) {
        rv = errno;
        goto cleanup;
    }
    if ((rv = aq_spool_allocate(fd, sizeof(int64_t))) != APR_SUCCESS) {
        goto cleanup;
    }
    mapped = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        rv = errno;
        goto cleanup;
    }
    spool->stored_bytes = mapped;
    apr_pool_cleanup_register(p, mapped, usage_unmap, apr_pool_cleanup_null);
    if (info.st_size == 0 && (rv = aq_spool_folder_bytes(spool->body, &body_bytes)) == APR_SUCCESS &&
        (rv = aq_spool_folder_bytes(spool->result, &result_bytes)) == APR_SUCCESS &&
        (rv = aq_spool_folder_bytes(spool->segment, &segment_bytes)) == APR_SUCCESS) {
        atomic_store(spool->stored_bytes, body_bytes + result_bytes + segment_bytes);
    }
cleanup:
    (void)close(fd);
    return rv;
}

apr_status_t aq_spool_open(apr_pool_t *p, const char *folder, int64_t max_bytes, aq_spool_t **spool, const char **error)
{
    aq_spool_t *opened = apr_palloc(p, sizeof(*opened));
    const char **paths[] = {&opened->incoming, &opened->body, &opened->result, &opened->segment};

    *spool = NULL;
    *error = NULL;
    *opened = (aq_spool_t){.folder = apr_pstrdup(p, folder), .max_bytes = max_bytes};
    apr_status_t rv = folder_check(p, folder, error);
    for (size_t i = 0; rv == APR_SUCCESS && i < sizeof subfolders / sizeof subfolders[0]; i++) {
        *paths[i] = apr_pstrcat(p, folder, "/", subfolders[i], NULL);
        rv = folder_check(p, *paths[i], error);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = usage_map(opened, p)) != APR_SUCCESS) {
        *error = sentence(p, apr_pstrcat(p, folder, "/usage", NULL), rv);
        return rv;
    }
    *spool = opened;
    return APR_SUCCESS;
}

const char *aq_spool_body_path(const aq_spool_t *spool, apr_pool_t *p, const char *id)
{
    return apr_pstrcat(p, spool->body, "/", id, NULL);
}

const char *aq_spool_result_path(const aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token)
{
    return apr_psprintf(p, "%s/%s.%" APR_INT64_T_FMT, spool->result, id, token);
}

apr_status_t aq_spool_body_check(const aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t bytes)
{
    struct stat info;

    if (lstat(aq_spool_body_path(spool, ptemp, id), &info) != 0) {
        return errno;
    }
    return S_ISREG(info.st_mode) && info.st_size == bytes ? APR_SUCCESS : APR_EGENERAL;
}

int aq_spool_is_there(const aq_spool_t *spool)
{
    return access(spool->body, F_OK) == 0 && access(spool->result, F_OK) == 0;
}

apr_status_t aq_spool_path_remove(aq_spool_t *spool, const char *path)
{
    struct stat info;

    if (lstat(path, &info) != 0 || unlink(path) != 0) {
        return errno == ENOENT ? APR_SUCCESS : errno;
    }
    atomic_fetch_sub(spool->stored_bytes, (int64_t)info.st_size);
    return APR_SUCCESS;
}

apr_status_t aq_spool_body_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id)
{
    apr_status_t rv = aq_spool_path_remove(spool, aq_spool_body_path(spool, ptemp, id));

    return rv == APR_SUCCESS ? aq_spool_segments_remove(spool, ptemp, id) : rv;
}

apr_status_t aq_spool_result_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t token)
{
    return aq_spool_path_remove(spool, aq_spool_result_path(spool, ptemp, id, token));
}

/* SHA-256 and size of what `fd` holds from its beginning. */
static apr_status_t content_hash(int fd, apr_pool_t *ptemp, int64_t *bytes, char hex[AQ_SHA256_HEX_SIZE])
{
    unsigned char digest[AQ_SHA256_BYTES];
    char *buffer = apr_palloc(ptemp, READ_BYTES);
    aq_sha256_t *sha = aq_sha256_create();
    apr_status_t rv = sha != NULL ? APR_SUCCESS : APR_ENOMEM;
    ssize_t got = 1;

    *bytes = 0;
    while (rv == APR_SUCCESS && got != 0) {
        got = read(fd, buffer, READ_BYTES);
        if (got > 0) {
            *bytes += got;
            rv = aq_sha256_add(sha, buffer, (size_t)got);
        } else if (got < 0 && errno != EINTR) {
            rv = errno;
        }
    }
    if (rv == APR_SUCCESS && (rv = aq_sha256_finish(sha, digest)) == APR_SUCCESS) {
        aq_hash_hex_write(hex, digest, sizeof digest);
    }
    aq_sha256_destroy(sha);
    return rv;
}

apr_status_t aq_spool_body_open(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, const aq_batch_body_t *body,
                                int *fd)
{
    char hex[AQ_SHA256_HEX_SIZE];
    int64_t bytes;

    apr_status_t rv = aq_file_open(aq_spool_body_path(spool, ptemp, id), O_RDONLY, 0, fd);
    if (rv != APR_SUCCESS) {
        /* A link where a body should be: whatever it points at, it is not what the client sent. */
        return rv == ELOOP ? APR_EGENERAL : rv;
    }
    rv = content_hash(*fd, ptemp, &bytes, hex);
    if (rv == APR_SUCCESS && (bytes != body->bytes || strcmp(hex, body->sha256) != 0)) {
        rv = APR_EGENERAL;
    }
    if (rv == APR_SUCCESS && lseek(*fd, 0, SEEK_SET) < 0) {
        rv = errno;
    }
    if (rv != APR_SUCCESS) {
        (void)close(*fd);
        *fd = -1;
    }
    return rv;
}
