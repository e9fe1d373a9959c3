/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer and its list. See deadline_watch.h.
 *
 * Under prefork a child that is told to end runs its cleanups, which join the timer, out of a signal, perhaps while it
 * holds the lock itself. So the timer never waits for the lock but tries again at its next tick, and whoever finds that he
 * holds it already leaves the list as it is: his process ends.
 */
#include "httpd/deadline_watch.h"

#include "httpd/script_end.h"
#include "httpd/watchdog.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WATCHDOG_NAME "_apiquota_deadlines_"
#define GRACE_MS 1000
#define SCRIPTS_PER_TICK 16

enum { STAGE_RUNNING, STAGE_OVER, STAGE_CLOSED };

static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static aq_deadline_t *first;

/* Scripts to be ended once the lock is free: /proc is slow. */
typedef struct {
    char tags[SCRIPTS_PER_TICK][AQ_DEADLINE_TAG_SIZE];
    int signals[SCRIPTS_PER_TICK];
    unsigned count;
} scripts_t;

static void socket_end(int fd)
{
    if (fd >= 0) {
        /* A peer that has gone already is as well. */
        (void)shutdown(fd, SHUT_RDWR);
    }
}

static void duplicate_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static int duplicate(int fd)
{
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* 1 where there was room for the script, or none to be ended. */
static int script_note(scripts_t *scripts, const aq_deadline_t *deadline, int signal)
{
    if (!*deadline->script_tag) {
        return 1;
    }
    if (scripts->count == SCRIPTS_PER_TICK) {
        return 0;
    }
    memcpy(scripts->tags[scripts->count], deadline->script_tag, AQ_DEADLINE_TAG_SIZE);
    scripts->signals[scripts->count++] = signal;
    return 1;
}

static void deadline_look(aq_deadline_t *deadline, aq_time_ms_t now_ms, scripts_t *scripts)
{
    if (deadline->stage == STAGE_RUNNING && now_ms >= deadline->due_ms && script_note(scripts, deadline, SIGTERM)) {
        deadline->stage = STAGE_OVER;
        atomic_store(&deadline->is_over, 1);
        socket_end(deadline->backend_fd);
        if (atomic_load(&deadline->has_begun)) {
            socket_end(deadline->client_fd);
        }
    } else if (deadline->stage == STAGE_OVER && now_ms >= deadline->due_ms + GRACE_MS &&
               script_note(scripts, deadline, SIGKILL)) {
        deadline->stage = STAGE_CLOSED;
        socket_end(deadline->client_fd);
    }
}

static apr_status_t tick(int state, void *data, apr_pool_t *pool)
{
    const aq_time_ms_t now_ms = aq_clock_boot_ms();
    scripts_t scripts;

    (void)data;
    scripts.count = 0;
    if (state != AP_WATCHDOG_STATE_RUNNING || pthread_mutex_trylock(&lock) != 0) {
        return APR_SUCCESS;
    }
    for (aq_deadline_t *at = first; at; at = at->next) {
        deadline_look(at, now_ms, &scripts);
    }
    (void)pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < scripts.count; i++) {
        aq_script_end(pool, scripts.tags[i], scripts.signals[i]);
    }
    return APR_SUCCESS;
}

apr_status_t aq_deadline_watch_prepare(apr_pool_t *pconf)
{
    return aq_watchdog_add(pconf, WATCHDOG_NAME, AP_WD_TM_SLICE, NULL, tick);
}

void aq_deadline_watch(aq_deadline_t *deadline, int client_fd)
{
    deadline->client_fd = duplicate(client_fd);
    deadline->backend_fd = -1;
    deadline->backend = NULL;
    deadline->stage = STAGE_RUNNING;
    if (pthread_mutex_lock(&lock) != 0) {
        return;
    }
    deadline->previous = NULL;
    deadline->next = first;
    if (first) {
        first->previous = deadline;
    }
    first = deadline;
    (void)pthread_mutex_unlock(&lock);
}

void aq_deadline_forget(aq_deadline_t *deadline)
{
    if (pthread_mutex_lock(&lock) != 0) {
        return;
    }
    if (deadline->previous) {
        deadline->previous->next = deadline->next;
    } else if (first == deadline) {
        first = deadline->next;
    }
    if (deadline->next) {
        deadline->next->previous = deadline->previous;
    }
    deadline->next = deadline->previous = NULL;
    duplicate_close(&deadline->client_fd);
    duplicate_close(&deadline->backend_fd);
    (void)pthread_mutex_unlock(&lock);
}

void aq_deadline_backend_set(aq_deadline_t *deadline, const void *backend, int fd)
{
    /* Changed by this thread alone. */
    if (deadline->backend == backend) {
        return;
    }
    fd = duplicate(fd);
    if (pthread_mutex_lock(&lock) != 0) {
        duplicate_close(&fd);
        return;
    }
    duplicate_close(&deadline->backend_fd);
    deadline->backend_fd = fd;
    deadline->backend = backend;
    if (atomic_load(&deadline->is_over)) {
        socket_end(fd);
    }
    (void)pthread_mutex_unlock(&lock);
}
