/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counter file: making, opening, checking, resizing. What is in it is in shm_layout.h.
 *
 * Who has the file open holds a shared lock on PATH.lock; its forked children hold it too, as long as one of them lives
 * (open file description locks go with the descriptor). Only who holds that lock alone may set the file aside or replace
 * it by one of another size. So nobody ever counts in a file that has no name any more, and two servers on one folder
 * count in one file.
 *
 * A new file is written under another name and then renamed: there is never a half made one. Its blocks are allocated at
 * once: a full disk shows when httpd starts, and not as a SIGBUS in a child.
 */
#ifndef AQ_SHM_FILE_H
#define AQ_SHM_FILE_H

#include "store/shm_table.h"

#include <apr_pools.h>

/* The smallest and the largest size of a counter file that may be asked for. */
#define AQ_SHM_SIZE_MIN (UINT64_C(64) << 10)
#define AQ_SHM_SIZE_MAX (UINT64_C(1) << 40)

typedef struct {
    const char *path;
    aq_shm_header_t *header; /* of the mapping; the slots follow */
    aq_shm_table_t table;
    uint64_t size_bytes;
    int lock_fd; /* -1: opened to be looked at only */
} aq_shm_file_t;

/*
 * Opens the file at `path`, or makes it. One that cannot be used (truncated, damaged, of another version, no regular
 * file) is renamed to PATH.bad-<seconds>, with a line in the log, and made anew; a symbolic link is refused. Where it has
 * another size than `size_bytes` its live counters are carried over into a new one, if `may_resize` and nobody else has
 * it open and they fit; else the old size stays, with a warning. `file` lives as long as `p`; children that are forked
 * inherit it. APR_SUCCESS, or the reason as a status and as a sentence in `p` at `*error`. Waits up to five seconds
 * for another process that is doing the same. Not thread-safe.
 */
apr_status_t aq_shm_file_open(apr_pool_t *p, const char *path, uint64_t size_bytes, int may_resize, int64_t now_ms,
                              aq_shm_file_t **file, const char **error);

/* Opens an existing file to look at it: changes nothing, sets nothing aside, takes no lock. Errors as above. */
apr_status_t aq_shm_file_open_readonly(apr_pool_t *p, const char *path, aq_shm_file_t **file, const char **error);

/*
 * Opens an existing file to change counters in it, beside servers that have it open or not: makes nothing, sets nothing
 * aside, resizes nothing. APR_EAGAIN while a server is just opening it. Errors as above.
 */
apr_status_t aq_shm_file_open_beside(apr_pool_t *p, const char *path, aq_shm_file_t **file, const char **error);

/*
 * Why `size_bytes` bytes that begin with `header` are no counter file of this version and machine; NULL: they are one.
 * Reads nothing behind the header. Pure.
 */
const char *aq_shm_header_wrong(const aq_shm_header_t *header, uint64_t size_bytes);

#endif
