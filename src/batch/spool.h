/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spool: where request and result bodies lie on disk.
 *
 *   SPOOL/incoming/<who>-<random>.part a body while it arrives; its owner holds a lock on it. <who>: see aq_spool_owner_t
 *   SPOOL/body/<id>                    the body of a batch's request
 *   SPOOL/result/<id>.<token>          the answer of one attempt; the row names the token that counts
 *   SPOOL/segment/<id>.<token>         what a worker noted of a batch's items under that lease (segment.h); a growing file,
 *                                      its room reserved ahead by its size
 *   SPOOL/uploading                    locks of idempotency keys (upload_lock.h)
 *   SPOOL/usage                        8 bytes, mapped: bytes in body/, result/ and segment/, for admission; each sweep counts
 *                                      anew
 *
 * A body is durable when aq_spool_commit has returned: file fsync, rename, fsync of the folder. Only then may the row be
 * written, and only then the client be answered. Bodies pass in pieces, never whole through memory. Files are 0600,
 * folders 0700, owned by the user that httpd runs as; symbolic links are refused.
 *
 * Space is reserved by the size of the incoming file itself, which is set ahead of what is written. So a reservation
 * is seen by all processes, and none outlives its upload: the file goes when its owner does. Of two that come together
 * both may be refused, but never both let in; a body that moves to its place is counted twice for a moment, never not.
 */
#ifndef AQ_SPOOL_H
#define AQ_SPOOL_H

#include "batch/batch.h"

#include <apr_pools.h>
#include <apr_tables.h>

typedef struct aq_spool_t aq_spool_t;
typedef struct aq_spool_file_t aq_spool_file_t; /* a body that is being written */

/* Makes the folders (given to `uid`/`gid` unless (uid_t)-1; the caller may be root). `*error`, in `ptemp`, names what is wrong. */
apr_status_t aq_spool_prepare(const char *folder, uid_t uid, gid_t gid, apr_pool_t *ptemp, const char **error);

/*
 * Opens a prepared spool, as the user that owns it. `max_bytes` bounds all bodies together (0: no bound but the disk).
 * Thread-safe afterwards, for as long as `p` lives. `*error` in `p`.
 */
apr_status_t aq_spool_open(apr_pool_t *p, const char *folder, int64_t max_bytes, aq_spool_t **spool,
                           const char **error);

/* Whose body it is, and how much all its bodies that are arriving may take together, in bytes. */
typedef struct {
    const char *tenant; /* at most so long as names of tenants are; its hash marks the file */
    int64_t room_bytes;
} aq_spool_owner_t;

/*
 * Begins a body. `declared_bytes` (-1: not known) is checked against the room left: APR_ENOSPC when it does not fit the
 * spool or its disk, EDQUOT when it does not fit what `owner` may have (NULL: no bound of its own).
 * The file is unlinked when `p` is cleared before aq_spool_commit.
 */
apr_status_t aq_spool_body_begin(aq_spool_t *spool, apr_pool_t *p, const aq_spool_owner_t *owner,
                                 int64_t declared_bytes, aq_spool_file_t **file);

/* The same for the result of attempt `token` of batch `id`. */
apr_status_t aq_spool_result_begin(aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token,
                                   aq_spool_file_t **file);

/* Appends. APR_ENOSPC or EDQUOT as aq_spool_body_begin: the file is then to be dropped (clear its pool). */
apr_status_t aq_spool_write(aq_spool_file_t *file, const void *data, size_t size);

/*
 * Makes a body durable under its name: for a request body as body/<id>. Fills bytes and sha256 (in the file's pool). A
 * result of no bytes has no file.
 */
apr_status_t aq_spool_body_commit(aq_spool_file_t *file, const char *id, aq_batch_body_t *body);
apr_status_t aq_spool_result_commit(aq_spool_file_t *file, aq_batch_body_t *body);

/* Paths, in `p`: for opening a body to send it. The id must be a valid one. */
const char *aq_spool_body_path(const aq_spool_t *spool, apr_pool_t *p, const char *id);
const char *aq_spool_result_path(const aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token);

/*
 * Whether the body of batch `id` is still there, with its size: asked under the queue's write lock, under which orphans are
 * removed, before the row is added. APR_ENOENT, or APR_EGENERAL for a file of another size.
 */
apr_status_t aq_spool_body_check(const aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t bytes);

/* 1 while its folders are there. 0 where what they lie on is not mounted now: that a file is missing then tells nothing. */
int aq_spool_is_there(const aq_spool_t *spool);

/* Removes; a missing file is no error. With a body go the segments of its batch. */
apr_status_t aq_spool_body_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id);
apr_status_t aq_spool_result_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t token);

/* A segment that is being written. One thread at a time. */
typedef struct aq_spool_segment_t aq_spool_segment_t;

/* Makes the segment of lease `token`, in `p`; its name is on disk. Closed, and cut to what was written, with `p`. */
apr_status_t aq_spool_segment_begin(aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token,
                                    aq_spool_segment_t **segment);

/*
 * Appends. APR_ENOSPC when the disk or the spool's bound is full: part of `data` may then be in the file, and nothing more
 * may be appended.
 */
apr_status_t aq_spool_segment_add(aq_spool_segment_t *segment, const void *data, size_t size);

/* Makes durable what was appended. */
apr_status_t aq_spool_segment_sync(const aq_spool_segment_t *segment);

/* `*tokens`, in `p`: of all segments of the batch, ascending; int64_t. */
apr_status_t aq_spool_segments(const aq_spool_t *spool, apr_pool_t *p, const char *id, apr_array_header_t **tokens);

/* Opens one to be read (or cut), for the caller to close. */
apr_status_t aq_spool_segment_open(const aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t token, int *fd);

/* Cuts it off behind `bytes`. */
apr_status_t aq_spool_segment_cut(aq_spool_t *spool, int fd, int64_t bytes);

/* Removes one, or all segments of the batch; a missing file is no error. */
apr_status_t aq_spool_segment_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, int64_t token);
apr_status_t aq_spool_segments_remove(aq_spool_t *spool, apr_pool_t *ptemp, const char *id);

/* A file without a name, for the caller to close: it is gone then. */
apr_status_t aq_spool_scratch_open(const aq_spool_t *spool, apr_pool_t *ptemp, int *fd);

/*
 * Opens a request body, reads it whole, and compares size and SHA-256. APR_SUCCESS; APR_ENOENT; APR_EGENERAL where it
 * changed; another error where it could not be read. `*fd` is the verified file, at its beginning, for the caller to
 * close: who reads from it reads what was verified. -1 on failure.
 */
apr_status_t aq_spool_body_open(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, const aq_batch_body_t *body,
                                int *fd);

/*
 * Removes what a crash left in incoming/: files whose owner is gone (its lock is free). And calls `judge` for each body and
 * result last written before `older_than_ms` (wall time), for it to remove those that nobody knows, with the functions
 * above: then it returns 1. `token` 0: the body of batch `id`; above 0: the result of that attempt; below 0: the segment of
 * lease -token. With `judge` NULL only incoming files are looked at, which is cheap. `*removed`: how many files.
 */
typedef int aq_spool_judge_fn(void *data, const char *id, int64_t token);
apr_status_t aq_spool_sweep(aq_spool_t *spool, apr_pool_t *ptemp, aq_time_ms_t older_than_ms, aq_spool_judge_fn *judge,
                            void *data, unsigned *removed);

/* Bytes of all bodies and results on disk, as admission counts them: one look at shared memory. Thread-safe. */
int64_t aq_spool_stored(const aq_spool_t *spool);

/* Bytes of all bodies and results on disk and of all reservations (walks the folders). */
apr_status_t aq_spool_used(aq_spool_t *spool, apr_pool_t *ptemp, int64_t *bytes);

/* The same by the figure that admission goes by: cheap. */
apr_status_t aq_spool_filled(aq_spool_t *spool, int64_t *bytes);

#endif
