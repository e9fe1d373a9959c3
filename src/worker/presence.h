/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Presence: a worker's name, and a file whose lock shows that it lives.
 *
 *   FILES.worker-<pid>-<boot ms>-<random>     locked by fcntl for as long as the process lives
 *
 * The kernel frees the lock when the process dies, however it dies. Who gets the lock of another's file knows that this
 * worker is dead, and that its jobs are nobody's, without waiting for their leases. A name is never used twice. A worker
 * that merely hangs keeps its lock; its jobs are recovered when their leases are over.
 */
#ifndef AQ_PRESENCE_H
#define AQ_PRESENCE_H

#include "base/aq_clock.h"

#include <apr_pools.h>

typedef struct {
    char name[64];
    const char *folder, *prefix; /* of the files: prefix + name */
    const char *path;
    int fd;
} aq_presence_t;

/* Makes this process's file, whose name begins with `worker_files`, and locks it. Gone with aq_presence_end, and with the process. */
apr_status_t aq_presence_begin(aq_presence_t *presence, apr_pool_t *p, const char *worker_files, aq_time_ms_t boot_ms);
void aq_presence_end(aq_presence_t *presence);

/*
 * Calls `is_dead` for each worker whose lock is free; where it answers 1, the file is removed. Several workers may look
 * at once: one of them gets the lock.
 */
typedef int aq_presence_dead_fn(void *data, const char *name);
apr_status_t aq_presence_scan(const aq_presence_t *presence, apr_pool_t *ptemp, aq_presence_dead_fn *is_dead,
                              void *data);

#endif
