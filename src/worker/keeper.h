/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeper: a small process between the worker and the program of an exec: target.
 *
 *     worker --- lifeline ---> keeper --- signals ---> the program's process group
 *            <--- status -----
 *
 * The program must not outlive its worker, however that ends, and nothing may be signalled whose number could be
 * another's by now. So each program has a keeper, which is its parent: it knows that the program is not reaped yet, sends
 * it what the worker asks for, and kills its whole group when the lifeline breaks or when the program itself has ended.
 *
 * It is made by fork without exec in a program with threads, so all that it runs is async-signal-safe.
 */
#ifndef AQ_KEEPER_H
#define AQ_KEEPER_H

#include <apr_errno.h>
#include <sys/types.h>

/* What may be written into the lifeline. */
#define AQ_KEEPER_TERM 'T'
#define AQ_KEEPER_KILL 'K'

typedef struct {
    const char *program;
    char *const *environment;
    int input_fd, output_fd, error_fd, progress_fd; /* 0, 1, 2 and 3 of the program */
    int lifeline_fd, status_fd;                     /* the keeper's ends */
} aq_keeper_t;

/* What the keeper writes to its status end, at once, before it ends. */
typedef struct {
    int wait_status; /* as of waitpid */
    int was_told;    /* 1: it was sent a signal before it ended */
    int exec_errno;  /* not 0: it could not be started */
} aq_keeper_end_t;

/* Starts the keeper and its program. The caller closes the keeper's ends and waits for `*pid`. Thread-safe. */
apr_status_t aq_keeper_start(const aq_keeper_t *keeper, pid_t *pid);

#endif
