/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind shm_file.h share; for them alone: shm_file.c opens, shm_make.c makes, sets aside and resizes. */
#ifndef AQ_SHM_FILE_PARTS_H
#define AQ_SHM_FILE_PARTS_H

#include "store/shm_file.h"
#include "store/shm_older.h"

/* What the disk holds under a name. */
typedef enum {
    AQ_SHM_ON_DISK_NOTHING,
    AQ_SHM_ON_DISK_GOOD,
    AQ_SHM_ON_DISK_OLDER, /* good, of an older version that can be carried over */
    AQ_SHM_ON_DISK_BAD
} aq_shm_on_disk_t;

typedef struct {
    apr_pool_t *p;
    const char *path;
    uint64_t size_bytes; /* that was asked for */
    int may_resize;
    int64_t now_ms;
    const char *error;
} aq_shm_opening_t;

/* Sets the sentence that goes with `rv`, which it returns; APR_EGENERAL for an errno that was not set. */
apr_status_t aq_shm_failed(aq_shm_opening_t *opening, apr_status_t rv, const char *what);

/*
 * Reads what is under the opening's name, with `flags` as for open(2). `*wrong` says why it cannot be used as it is; where
 * it is good or older `*fd` is open, for the caller to close, and `*size_bytes` its size.
 */
apr_status_t aq_shm_inspect(aq_shm_opening_t *opening, int flags, aq_shm_on_disk_t *on_disk, const char **wrong,
                            int *fd, uint64_t *size_bytes);

/* aq_shm_header_wrong for a layout whose checked half is as now but for its version. */
const char *aq_shm_header_wrong_as(const aq_shm_header_t *header, uint64_t size_bytes, uint32_t version);

/* Allocates the file's blocks, also holes that a copying program left. */
apr_status_t aq_shm_allocate(aq_shm_opening_t *opening, int fd, uint64_t size_bytes);

/* Maps a whole file, shared. */
apr_status_t aq_shm_map(aq_shm_opening_t *opening, int fd, uint64_t size_bytes, int protection, void **mapped);

/* The table behind a good header. */
aq_shm_table_t aq_shm_table_of(aq_shm_header_t *header);

/* How many slots a file of that size has. */
uint64_t aq_shm_slots_in(uint64_t size_bytes);

apr_status_t aq_shm_checksum_make(const aq_shm_header_t *header, unsigned char checksum[AQ_SHA256_BYTES]);

/* Says in the log that the size stays as it is. */
void aq_shm_size_kept(const aq_shm_opening_t *opening, uint64_t size_bytes, const char *why);

/* Leaves a good file under the opening's name, of the right size if that can be. The lock must be held alone. */
apr_status_t aq_shm_prepare(aq_shm_opening_t *opening);

#endif
