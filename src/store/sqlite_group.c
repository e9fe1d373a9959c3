/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_private.h"

#include <errno.h>

typedef enum { WAITING, TAKEN, DONE } change_state_t;

/* On the stack of the thread that waits for it. */
struct aq_sqlite_change_t {
    aq_sqlite_change_fn *run;
    void *data;
    apr_status_t rv;
    change_state_t state;
    aq_sqlite_change_t *next;
};

apr_status_t aq_sqlite_group_init(aq_sqlite_group_t *group)
{
    *group = (aq_sqlite_group_t){.first = NULL};
    return aq_sqlite_waiting_init(&group->mutex, &group->moved);
}

void aq_sqlite_group_destroy(aq_sqlite_group_t *group)
{
    (void)pthread_cond_destroy(&group->moved);
    (void)pthread_mutex_destroy(&group->mutex);
}

static void append(aq_sqlite_group_t *group, aq_sqlite_change_t *change)
{
    aq_sqlite_change_t **at = &group->first;

    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = change;
}

static void take_out(aq_sqlite_group_t *group, const aq_sqlite_change_t *change)
{
    aq_sqlite_change_t **at = &group->first;

    while (*at != NULL && *at != change) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = change->next;
    }
}

/* What a change that fails has written so far is taken back, and nothing else. */
static apr_status_t run_in_savepoint(aq_sqlite_queue_t *queue, const aq_sqlite_change_t *change)
{
    apr_status_t rv = aq_sqlite_run(&queue->writer, AQ_SQL_SAVEPOINT, NULL, "");

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = change->run(queue, change->data);
    /* Some failures have ended the whole transaction. */
    if (sqlite3_get_autocommit(queue->writer.db) != 0) {
        return rv != APR_SUCCESS ? rv : APR_EGENERAL;
    }
    if (rv != APR_SUCCESS) {
        (void)aq_sqlite_run(&queue->writer, AQ_SQL_SAVEPOINT_UNDO, NULL, "");
    }
    apr_status_t released = aq_sqlite_run(&queue->writer, AQ_SQL_SAVEPOINT_END, NULL, "");
    return rv != APR_SUCCESS ? rv : released;
}

/* Those that went well, or all, end so. */
static void fail_all(aq_sqlite_change_t *changes, apr_status_t rv)
{
    for (aq_sqlite_change_t *change = changes; change != NULL; change = change->next) {
        change->rv = change->rv == APR_SUCCESS ? rv : change->rv;
    }
}

static void commit_many(aq_sqlite_queue_t *queue, aq_sqlite_change_t *changes)
{
    apr_status_t ended = APR_NOTFOUND; /* of all: nothing is to be committed, until one went well */

    for (aq_sqlite_change_t *change = changes; change != NULL; change = change->next) {
        change->rv = run_in_savepoint(queue, change);
        if (sqlite3_get_autocommit(queue->writer.db) != 0) {
            ended = change->rv;
            for (change = change->next; change != NULL; change = change->next) {
                change->rv = ended;
            }
            break;
        }
        ended = change->rv == APR_SUCCESS ? APR_SUCCESS : ended;
    }
    ended = aq_sqlite_write_end(queue, ended);
    if (ended != APR_SUCCESS) {
        fail_all(changes, ended);
    }
}

/* Within a transaction that has begun. */
static void commit(aq_sqlite_queue_t *queue, aq_sqlite_change_t *changes)
{
    if (changes->next == NULL) {
        changes->rv = aq_sqlite_write_end(queue, changes->run(queue, changes->data));
        return;
    }
    commit_many(queue, changes);
}

/* All that wait now; ours is one of them. */
static aq_sqlite_change_t *take_all(aq_sqlite_group_t *group)
{
    (void)pthread_mutex_lock(&group->mutex);
    aq_sqlite_change_t *changes = group->first;
    group->first = NULL;
    for (aq_sqlite_change_t *change = changes; change != NULL; change = change->next) {
        change->state = TAKEN;
    }
    (void)pthread_mutex_unlock(&group->mutex);
    return changes;
}

/* One round. Where the lock is not to be had in time that is told to `mine` alone: the others may have time left. */
static void lead(aq_sqlite_queue_t *queue, aq_sqlite_change_t *mine, aq_time_ms_t until_ms)
{
    aq_sqlite_group_t *group = &queue->group;
    aq_sqlite_change_t *changes = NULL, *next;
    aq_time_ms_t left_ms = until_ms - aq_clock_boot_ms();

    apr_status_t rv = aq_sqlite_write_begin_within(queue, left_ms > 0 ? (int)left_ms : 0);
    if (rv == APR_SUCCESS) {
        changes = take_all(group);
        commit(queue, changes);
    }
    (void)pthread_mutex_lock(&group->mutex);
    if (rv != APR_SUCCESS) {
        take_out(group, mine);
        mine->rv = rv;
    }
    for (; changes != NULL; changes = next) {
        next = changes->next; /* what is done is gone with its thread's stack */
        changes->state = DONE;
    }
    group->has_leader = 0;
    (void)pthread_cond_broadcast(&group->moved);
    (void)pthread_mutex_unlock(&group->mutex);
}

/* Waits under the mutex until the change is done, its time is over, or there is nobody to lead. */
static void wait_for_leader(aq_sqlite_group_t *group, aq_sqlite_change_t *mine, const struct timespec *until)
{
    while (mine->state != DONE && group->has_leader) {
        if (mine->state == TAKEN) {
            (void)pthread_cond_wait(&group->moved, &group->mutex);
        } else if (pthread_cond_timedwait(&group->moved, &group->mutex, until) == ETIMEDOUT && mine->state == WAITING) {
            take_out(group, mine);
            mine->rv = APR_EBUSY;
            mine->state = DONE;
        }
    }
}

apr_status_t aq_sqlite_write(aq_sqlite_queue_t *queue, aq_sqlite_change_fn *change, void *data)
{
    const int wait_ms = queue->lock.wait_ms;
    const struct timespec until = aq_sqlite_wait_until(wait_ms);
    const aq_time_ms_t until_ms = aq_clock_boot_ms() + wait_ms;
    aq_sqlite_change_t mine = {.run = change, .data = data, .state = WAITING};

    (void)pthread_mutex_lock(&queue->group.mutex);
    append(&queue->group, &mine);
    wait_for_leader(&queue->group, &mine, &until);
    int is_leader = mine.state != DONE;
    queue->group.has_leader |= is_leader;
    (void)pthread_mutex_unlock(&queue->group.mutex);
    if (is_leader) {
        lead(queue, &mine, until_ms);
    }
    return mine.rv;
}
