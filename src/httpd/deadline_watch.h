/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadline watch: ends, from outside, what a request waits for.
 *
 * A thread that reads from a backend sleeps in the kernel, and no time-out of a single read ends a backend that sends a
 * byte now and then. So each child has a timer (mod_watchdog, ten times a second) over the requests with a deadline.
 * When one is due, the timer shuts down the socket of its backend, or ends its script; the thread then wakes by itself,
 * finds that its deadline is over, and answers. An answer that has begun cannot be taken back: then the client's
 * connection is shut down, too. So is it a second later where nothing could be woken, for instance since a handler of
 * another module computes on.
 *
 * Sockets are shut down by descriptors of our own (duplicates), so that a number that was given to another socket
 * meanwhile is never hit.
 */
#ifndef AQ_DEADLINE_WATCH_H
#define AQ_DEADLINE_WATCH_H

#include "base/aq_clock.h"

#include <apr_pools.h>
#include <stdatomic.h>

#define AQ_DEADLINE_TAG "APIQUOTA_DEADLINE"
#define AQ_DEADLINE_TAG_SIZE 48

typedef struct aq_deadline_t aq_deadline_t;

/* One request. What is atomic is read by its thread and by the timer. */
struct aq_deadline_t {
    aq_time_ms_t due_ms;                   /* by aq_clock_boot_ms */
    char script_tag[AQ_DEADLINE_TAG_SIZE]; /* NAME=VALUE that a script has in its environment; "": no script */
    atomic_int is_over;                    /* the time has come */
    atomic_int has_begun;                  /* the answer's head is on its way */
    int is_refused;                        /* it was answered with 504; of the request's thread alone */
    /* guarded by the watch */
    int client_fd;       /* -1: none */
    int backend_fd;      /* -1: none */
    const void *backend; /* whose socket backend_fd is */
    int stage;           /* what the timer has done */
    aq_deadline_t *next;
    aq_deadline_t *previous;
};

/* In post_config: has mod_watchdog run the timer in each child. Without it deadlines are never over. */
apr_status_t aq_deadline_watch_prepare(apr_pool_t *pconf);

/* Watches until aq_deadline_forget, which a cleanup of the deadline's pool must call. `client_fd` -1: there is none. */
void aq_deadline_watch(aq_deadline_t *deadline, int client_fd);

/* Ends the watch. Can be called again. */
void aq_deadline_forget(aq_deadline_t *deadline);

/*
 * The request now waits for `backend`, of that socket: NULL and -1 for none. Where its time is over already, the socket
 * is shut down at once.
 */
void aq_deadline_backend_set(aq_deadline_t *deadline, const void *backend, int fd);

#endif
