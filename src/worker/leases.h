/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: the jobs in hand. They are renewed together; a job whose lease was lost is told to stop at once.
 */
#ifndef AQ_LEASES_H
#define AQ_LEASES_H

#include "batch/queue.h"

#include <pthread.h>

typedef enum {
    AQ_GO_ON,
    AQ_STOP_CANCEL, /* its client wants no more of it */
    AQ_STOP_ASKED,  /* the worker ends: give the job back */
    AQ_STOP_LOST    /* the job is another's by now: change nothing */
} aq_stop_t;

typedef struct aq_held_job_t aq_held_job_t;
struct aq_held_job_t {
    char id[AQ_BATCH_ID_SIZE];
    int64_t token;
    aq_time_ms_t until_ms; /* boot time; what the last renewal that went well gave */
    _Atomic int stop;      /* aq_stop_t; only ever grows */
    _Atomic int is_ending; /* 1: its end is being written; if the queue has it no longer, that is no loss to tell of */
    aq_held_job_t *next;
};

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    aq_held_job_t *jobs;
    int has_ended;
} aq_leases_t;

apr_status_t aq_leases_init(aq_leases_t *leases);

/* From add to remove the job is renewed. The caller owns it. */
void aq_leases_add(aq_leases_t *leases, aq_held_job_t *job, const aq_job_t *claimed, aq_time_ms_t until_ms);
void aq_leases_remove(aq_leases_t *leases, const aq_held_job_t *job);

/* 1 while the last renewal that went well still holds at `boot_ms`. */
int aq_leases_holds(aq_leases_t *leases, const aq_held_job_t *job, aq_time_ms_t boot_ms);

/* Tells all jobs in hand to stop. */
void aq_leases_stop(aq_leases_t *leases, aq_stop_t stop);

/*
 * Renews once. A job that is no longer ours, or whose lease would be over before the next renewal in `period_ms` while
 * the queue cannot be reached, is told to stop. The queue's status.
 */
apr_status_t aq_leases_renew(aq_leases_t *leases, aq_queue_t *queue, const char *worker, const aq_queue_now_t *now,
                             int lease_ms, int period_ms);

/* Tells the jobs whose cancel was asked for to stop. Cheap, and without the queue's write lock. The queue's status. */
apr_status_t aq_leases_look_for_cancels(aq_leases_t *leases, aq_queue_t *queue, const char *worker);

/* Waits `ms`, or less where aq_leases_end comes meanwhile: then 0, else 1. */
int aq_leases_wait(aq_leases_t *leases, int ms);
void aq_leases_end(aq_leases_t *leases);

#endif
