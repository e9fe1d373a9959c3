/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: changes of several threads of a process that come together share one transaction and one sync.
 *
 *   thread A   ---- lock, begin, A, commit (sync) ----
 *   thread B        waits ............................ lock, begin, B, C, commit (sync)
 *   thread C             waits ................................................... done
 *
 * One thread leads: it takes the write lock, runs all changes that have come by then, each in a savepoint of its own, and
 * commits. Whoever comes meanwhile waits for the next round, which one of them leads. Nobody waits for company: a change
 * that comes alone is a transaction of its own. A change that fails takes back what it wrote and no other's; a commit that
 * fails fails all that were in it. Each waits no longer than the queue's wait_ms for its turn.
 */
#ifndef AQ_SQLITE_GROUP_H
#define AQ_SQLITE_GROUP_H

#include <apr_errno.h>
#include <pthread.h>

typedef struct aq_sqlite_change_t aq_sqlite_change_t;

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t moved;      /* changes are done, or there is no leader any more */
    aq_sqlite_change_t *first; /* those that nobody has taken yet */
    int has_leader;
} aq_sqlite_group_t;

apr_status_t aq_sqlite_group_init(aq_sqlite_group_t *group);
void aq_sqlite_group_destroy(aq_sqlite_group_t *group);

#endif
