/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the spool share: the open spool, its figure of use, and a walk over a folder.
 */
#ifndef AQ_SPOOL_PRIVATE_H
#define AQ_SPOOL_PRIVATE_H

#include "batch/spool.h"

#include <stdatomic.h>
#include <sys/stat.h>

#define AQ_SPOOL_PART_SUFFIX ".part"

struct aq_spool_t {
    const char *folder, *incoming, *body, *result, *segment;
    int64_t max_bytes;
    _Atomic int64_t *stored_bytes; /* mapped from SPOOL/usage, shared by all processes */
};

/*
 * Calls `each` for every regular file of `folder`, with the folder's descriptor, so that it may act on the entry without
 * building a path. Entries that vanish meanwhile and what is no regular file are passed over.
 */
typedef void aq_spool_each_fn(void *data, int folder_fd, const char *name, const struct stat *info);
apr_status_t aq_spool_walk(const char *folder, aq_spool_each_fn *each, void *data);

/* Unlinks a file that is counted as stored; a missing one is no error. */
apr_status_t aq_spool_path_remove(aq_spool_t *spool, const char *path);

/* Makes the size of `fd` `bytes`, with blocks on the disk where the file system can. */
apr_status_t aq_spool_allocate(int fd, int64_t bytes);

/*
 * Whether what is reserved now is within the bounds: APR_SUCCESS; APR_ENOSPC for the spool's own; EDQUOT where the arriving
 * files whose names begin with `mark` ("": not looked at) take more than `room_bytes`.
 */
apr_status_t aq_spool_bounds_check(const aq_spool_t *spool, const char *mark, int64_t room_bytes);

/* How far ahead of `end` a growing file is made, so that not every piece costs a look at the room left. */
int64_t aq_spool_ahead(int64_t end);

/* Takes "<id>" (a body; `*token` is 0) and "<id>.<token>" apart. 0 for any other name. */
int aq_spool_name_parse(const char *name, char id[AQ_BATCH_ID_SIZE], int64_t *token);

/* Bytes of the files in one folder; `*marked`: of those alone whose names begin with `mark`. */
apr_status_t aq_spool_folder_bytes(const char *folder, int64_t *bytes);
apr_status_t aq_spool_marked_bytes(const char *folder, const char *mark, int64_t *bytes, int64_t *marked);

#endif
