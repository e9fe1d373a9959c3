/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write lock of an SQLite queue: one writer at a time, over all threads and processes.
 *
 *   threads of one process    a flag, waited for by the monotonic clock
 *   processes                 an fcntl lock on QUEUE.lock, behind the flag: such locks belong to the process
 *
 * SQLite's own locks would do for correctness, but its busy handler has no queue, and versions before 3.51.3 can corrupt
 * a WAL when two checkpoints race a commit. So commits, checkpoints and closing all happen under this lock. The kernel
 * frees it when its owner dies, at any instruction.
 */
#ifndef AQ_SQLITE_LOCK_H
#define AQ_SQLITE_LOCK_H

#include "base/aq_clock.h"

#include <pthread.h>
#include <time.h>

typedef struct {
    pthread_mutex_t mutex; /* of is_taken, never held for long */
    pthread_cond_t given;
    int is_taken; /* by a thread of this process */
    int fd;       /* of QUEUE.lock; the process must hold no other: closing any of them would free the lock */
    int wait_ms;
} aq_sqlite_lock_t;

/*
 * Opens (and makes, 0600) the lock file. Refuses a symbolic link (ELOOP) and a file of another user (EPERM). Undone by
 * aq_sqlite_lock_close.
 */
apr_status_t aq_sqlite_lock_open(aq_sqlite_lock_t *lock, const char *path, int wait_ms);
void aq_sqlite_lock_close(aq_sqlite_lock_t *lock);

/* Takes the lock, or APR_EBUSY after `wait_ms`. `*left_ms`: what is left of them. */
apr_status_t aq_sqlite_lock_take(aq_sqlite_lock_t *lock, int wait_ms, int *left_ms);
void aq_sqlite_lock_give(aq_sqlite_lock_t *lock);

/* A mutex, and a condition that is waited for by the monotonic clock: a stepped wall clock must not stretch a wait. */
apr_status_t aq_sqlite_waiting_init(pthread_mutex_t *mutex, pthread_cond_t *condition);
/* The end of a wait for such a condition, so many ms from now. */
struct timespec aq_sqlite_wait_until(int wait_ms);

#endif
