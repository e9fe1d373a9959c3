/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend for tests of the worker: a process of its own, on a free port of the loopback, that behaves as the path says
 * and notes what it saw in memory that the test sees too.
 *
 *   /ok            201, the body back; an effect
 *   /status/N      N, with a short body
 *   /flaky         503 the first time, then as /ok
 *   /slow/MS       waits, then as /ok
 *   /held          waits until the test sets go_on, then as /ok
 *   /headers       200 with headers of every kind
 *   /redirect      302 to /ok
 *   /reset         reads the request and closes
 *   /trickle       200 with a long Content-Length, a byte a second
 *   /big/N         200 with N bytes
 */
#ifndef TARGET_SERVER_H
#define TARGET_SERVER_H

#include <stdatomic.h>
#include <sys/types.h>

#define TARGET_KEYS_MAX 64

typedef struct {
    int port;
    pid_t pid;
    _Atomic int requests; /* begun */
    _Atomic int effects;  /* a request whose Idempotency-Key was new */
    _Atomic int keys;
    _Atomic int go_on;
    char key[TARGET_KEYS_MAX][64];
    char head[4096]; /* of the last request */
    size_t body_bytes;
} target_server_t;

/* Starts it. The memory is shared with all children of the test. */
target_server_t *target_server_start(void);
void target_server_stop(target_server_t *server);

#endif
