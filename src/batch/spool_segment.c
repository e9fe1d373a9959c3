/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments on the spool: files that grow while a batch of items runs, one for each lease, and what is left of them when
 * their worker died.
 *
 * Room is taken ahead of what is written, as the size of the file, so that the figure of use, a sweep and the disk agree at
 * any time. A worker that dies leaves the rest as zeros, which its successor cuts off.
 */
#include "batch/spool_private.h"

#include "base/aq_file.h"
#include "base/aq_hash.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct aq_spool_segment_t {
    aq_spool_t *spool;
    int fd;
    int64_t reserved_bytes, written_bytes;
};

static const char *segment_path(const aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token)
{
    return apr_psprintf(p, "%s/%s.%" APR_INT64_T_FMT, spool->segment, id, token);
}

static apr_status_t segment_close(void *data)
{
    aq_spool_segment_t *segment = data;
    apr_status_t rv = aq_spool_segment_cut(segment->spool, segment->fd, segment->written_bytes);

    (void)close(segment->fd);
    segment->fd = -1;
    return rv;
}

apr_status_t aq_spool_segment_begin(aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token,
                                    aq_spool_segment_t **segment)
{
    aq_spool_segment_t *begun = apr_palloc(p, sizeof(*begun));
    const char *path = segment_path(spool, p, id, token);

    *segment = NULL;
    *begun = (aq_spool_segment_t){.spool = spool};
    apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &begun->fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = aq_file_folder_sync(spool->segment)) != APR_SUCCESS) {
        (void)unlink(path);
        (void)close(begun->fd);
        return rv;
    }
    apr_pool_cleanup_register(p, begun, segment_close, apr_pool_cleanup_null);
    *segment = begun;
    return APR_SUCCESS;
}

/* Takes the file to `bytes`, and the figure of use with it; both are taken back where there is no room. */
static apr_status_t segment_reserve(aq_spool_segment_t *segment, int64_t bytes)
{
    aq_spool_t *spool = segment->spool;
    int64_t more_bytes = bytes - segment->reserved_bytes;

    apr_status_t rv = aq_spool_allocate(segment->fd, bytes);
    if (rv != APR_SUCCESS) {
        /* Some blocks may have been there before the disk was full. */
        return ftruncate(segment->fd, (off_t)segment->reserved_bytes) == 0 ? rv : errno;
    }
    atomic_fetch_add(spool->stored_bytes, more_bytes);
    if ((rv = aq_spool_bounds_check(spool, "", 0)) != APR_SUCCESS) {
        (void)aq_spool_segment_cut(spool, segment->fd, segment->reserved_bytes);
        return rv;
    }
    segment->reserved_bytes = bytes;
    return APR_SUCCESS;
}

static apr_status_t write_at(int fd, const char *data, size_t size, int64_t at)
{
    while (size > 0) {
        ssize_t put = pwrite(fd, data, size, (off_t)at);
        if (put < 0 && errno != EINTR) {
            return errno;
        }
        if (put > 0) {
            data += put;
            size -= (size_t)put;
            at += put;
        }
    }
    return APR_SUCCESS;
}

apr_status_t aq_spool_segment_add(aq_spool_segment_t *segment, const void *data, size_t size)
{
    int64_t end = segment->written_bytes + (int64_t)size;
    apr_status_t rv = APR_SUCCESS;

    if (end > segment->reserved_bytes) {
        rv = segment_reserve(segment, end + aq_spool_ahead(end));
        rv = rv == APR_ENOSPC ? segment_reserve(segment, end) : rv;
    }
    if (rv == APR_SUCCESS) {
        rv = write_at(segment->fd, data, size, segment->written_bytes);
    }
    if (rv == APR_SUCCESS) {
        segment->written_bytes = end;
    }
    return rv;
}

apr_status_t aq_spool_segment_sync(const aq_spool_segment_t *segment)
{
    return fdatasync(segment->fd) == 0 ? APR_SUCCESS : errno;
}

typedef struct {
    const char *id;
    apr_array_header_t *tokens;
} search_t;

static void note_token(void *data, int folder_fd, const char *name, const struct stat *info)
{
    const search_t *search = data;
    char id[AQ_BATCH_ID_SIZE];
    int64_t token;

    (void)folder_fd;
    (void)info;
    if (aq_spool_name_parse(name, id, &token) && token > 0 && strcmp(id, search->id) == 0) {
        APR_ARRAY_PUSH(search->tokens, int64_t) = token;
    }
}

static int token_compare(const void *a, const void *b)
{
    const int64_t *first = a, *second = b;

    return (*first > *second) - (*first < *second);
}

apr_status_t aq_spool_segments(const aq_spool_t *spool, apr_pool_t *p, const char *id, apr_array_header_t **tokens)
{
    search_t search = {.id = id, .tokens = apr_array_make(p, 4, sizeof(int64_t))};
    apr_status_t rv = aq_spool_walk(spool->segment, note_token, &search);

    qsort(search.tokens->elts, (size_t)search.tokens->nelts, sizeof(int64_t), token_compare);
    *tokens = search.tokens;
    return rv;
}

apr_status_t aq_spool_segment_open(const aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t token, int *fd)
{
    return aq_file_open(segment_path(spool, ptemp, id, token), O_RDWR, 0, fd);
}

apr_status_t aq_spool_segment_cut(aq_spool_t *spool, int fd, int64_t bytes)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return errno;
    }
    if (info.st_size <= bytes) {
        return APR_SUCCESS;
    }
    if (ftruncate(fd, bytes) != 0) {
        return errno;
    }
    /* Of a file that was removed meanwhile nothing counts any more. */
    if (info.st_nlink > 0) {
        atomic_fetch_sub(spool->stored_bytes, (int64_t)info.st_size - bytes);
    }
    return APR_SUCCESS;
}

apr_status_t aq_spool_segment_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t token)
{
    return aq_spool_path_remove(spool, segment_path(spool, ptemp, id, token));
}

apr_status_t aq_spool_segments_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id)
{
    apr_array_header_t *tokens;

    apr_status_t rv = aq_spool_segments(spool, ptemp, id, &tokens);
    for (int i = 0; rv == APR_SUCCESS && i < tokens->nelts; i++) {
        rv = aq_spool_segment_remove(spool, ptemp, id, APR_ARRAY_IDX(tokens, i, int64_t));
    }
    return rv;
}

apr_status_t aq_spool_scratch_open(const aq_spool_t *spool, apr_pool_t *ptemp, int *fd)
{
    unsigned char random[12];
    char hex[2 * sizeof random + 1];

    *fd = -1;
    apr_status_t rv = aq_hash_random(random, sizeof random);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    aq_hash_hex_write(hex, random, sizeof random);
    const char *path = apr_pstrcat(ptemp, spool->incoming, "/", hex, AQ_SPOOL_PART_SUFFIX, NULL);
    rv = aq_file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, fd);
    /* A sweep that comes in between unlinks it as well. */
    if (rv == APR_SUCCESS && unlink(path) != 0 && errno != ENOENT) {
        rv = errno;
        (void)close(*fd);
        *fd = -1;
    }
    return rv;
}
