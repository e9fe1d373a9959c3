/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker: what its parts share.
 *
 *   main.c       options, and the log on standard error        settings.c   runtime.json, read again on SIGHUP
 *   run.c        threads, signals, the loop that keeps house   presence.c   a lock that shows that this worker lives
 *   leases.c     the jobs in hand, and their renewal           attempt.c    one attempt of one job
 *   target.c     the call of the target                        answer.c     which headers of an answer are kept
 *   janitor.c    recovery; janitor_spool.c: expiry, orphans    exec.c       a program as target; keeper.c ends it
 *   tally.c      what is counted for metrics                    items.c      the lines of a batch, one by one
 *   request.c    what all requests to targets share            webhooks.c   messages to tenants' webhooks
 *   sending.c    one of them                                   receivers.c  where they go
 *   trouble.c    when a failure that goes on is told again
 *
 * Threads claim one job at a time. One more thread renews the leases of all jobs in hand and nothing else, so that no
 * slow disk walk makes a job lose its lease; one delivers to webhooks; one sweeps the spool; the main thread takes signals
 * and recovers the jobs of others.
 */
#ifndef AQ_WORKER_H
#define AQ_WORKER_H

#include "batch/queue.h"
#include "batch/spool.h"
#include "worker/leases.h"
#include "worker/presence.h"
#include "worker/settings.h"
#include "worker/tally.h"
#include "worker/trouble.h"

typedef struct {
    const char *config_file;
    pid_t parent_pid; /* 0: it has no parent to follow */
    int log_socket;   /* over which a restarted httpd hands its new error log; -1: none */
    int lease_ms;
    int stop_wait_ms; /* how long jobs may go on after a stop was asked for */
    int64_t result_max_bytes;
} aq_worker_options_t;

typedef struct {
    apr_pool_t *pool;
    aq_worker_options_t options;
    char boot_id[40];
    aq_presence_t presence;
    aq_settings_t settings;
    aq_leases_t leases;
    aq_queue_t *queue;
    aq_spool_t *spool;
    aq_worker_tally_t tally;

    aq_trouble_t recovery_trouble, room_trouble; /* of the janitor, each of one of its threads */
    char looked_at[AQ_BATCH_ID_SIZE]; /* by the janitor: up to where rows were looked at for lost files; "": all */

    _Atomic int stopping; /* claim no more */
    _Atomic int threads;  /* that still claim or run jobs */
    _Atomic int sweeps;   /* 1 while there is a thread that does */
    pthread_mutex_t asking_mutex;
    pthread_cond_t asking_ended;
    int is_watched; /* a thread asks again and again; those that have nothing to do wait, so that idle ones cost nothing */
    int waiting;    /* threads that do */
    int calls;      /* how many of them are to ask once, since there was a job */
} aq_worker_t;

/* Both clocks, now. */
aq_queue_now_t aq_worker_now(const aq_worker_t *worker);

/* Runs until it is told to stop. The exit code of the program. */
int aq_worker_run(const aq_worker_options_t *options, apr_pool_t *p);

#endif
