/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker exec: what happens between fork and exec of apiquota-worker.
 */
#ifndef AQ_WORKER_EXEC_H
#define AQ_WORKER_EXEC_H

#include <httpd.h>
#include <stdint.h>

typedef struct {
    const char *program;
    const char *state_dir;
    int64_t delay_ms; /* before the start: httpd offers its parent no timer, so the process itself waits */
    int log_socket;   /* its end of the pair over which it gets a new error log; descriptor 3 of the program */
} aq_worker_exec_t;

/*
 * To be called in the forked process; does not return. It leaves all of httpd's behind but standard output and error:
 * session, signal handlers, descriptors, user. It ends without a trace where the parent has gone meanwhile. What goes
 * wrong is said on standard error.
 */
void aq_worker_exec(const aq_worker_exec_t *exec, pid_t parent, apr_pool_t *p, server_rec *s) __attribute__((noreturn));

#endif
