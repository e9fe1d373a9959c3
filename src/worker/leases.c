/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of jobs in hand. It is short (one a thread), so a list under a mutex is enough.
 */
#include "worker/leases.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

apr_status_t aq_leases_init(aq_leases_t *leases)
{
    pthread_condattr_t attributes;
    int rc;

    *leases = (aq_leases_t){.jobs = NULL};
    if ((rc = pthread_mutex_init(&leases->mutex, NULL)) != 0 || (rc = pthread_condattr_init(&attributes)) != 0) {
        return rc;
    }
    if ((rc = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)) == 0) {
        rc = pthread_cond_init(&leases->ended, &attributes);
    }
    (void)pthread_condattr_destroy(&attributes);
    return rc;
}

void aq_leases_add(aq_leases_t *leases, aq_held_job_t *job, const aq_job_t *claimed, aq_time_ms_t until_ms)
{
    apr_cpystrn(job->id, claimed->batch->id, sizeof job->id);
    job->token = claimed->token;
    job->until_ms = until_ms;
    atomic_init(&job->stop, AQ_GO_ON);
    atomic_init(&job->is_ending, 0);
    (void)pthread_mutex_lock(&leases->mutex);
    job->next = leases->jobs;
    leases->jobs = job;
    (void)pthread_mutex_unlock(&leases->mutex);
}

void aq_leases_remove(aq_leases_t *leases, const aq_held_job_t *job)
{
    (void)pthread_mutex_lock(&leases->mutex);
    aq_held_job_t **at = &leases->jobs;
    while (*at != NULL && *at != job) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = job->next;
    }
    (void)pthread_mutex_unlock(&leases->mutex);
}

int aq_leases_holds(aq_leases_t *leases, const aq_held_job_t *job, aq_time_ms_t boot_ms)
{
    (void)pthread_mutex_lock(&leases->mutex);
    int holds = boot_ms < job->until_ms;
    (void)pthread_mutex_unlock(&leases->mutex);
    return holds;
}

static void tell(aq_held_job_t *job, aq_stop_t stop)
{
    if (atomic_load(&job->stop) < (int)stop) {
        atomic_store(&job->stop, stop);
    }
}

void aq_leases_stop(aq_leases_t *leases, aq_stop_t stop)
{
    (void)pthread_mutex_lock(&leases->mutex);
    for (aq_held_job_t *job = leases->jobs; job != NULL; job = job->next) {
        tell(job, stop);
    }
    (void)pthread_mutex_unlock(&leases->mutex);
}

static int is_held(const apr_array_header_t *held, const char *id, int64_t token)
{
    for (int i = 0; i < held->nelts; i++) {
        const aq_lease_t *lease = &APR_ARRAY_IDX(held, i, aq_lease_t);
        if (lease->token == token && strcmp(lease->id, id) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The jobs in hand before the queue is asked: one that is claimed meanwhile must not look lost. */
static apr_array_header_t *snapshot(aq_leases_t *leases, apr_pool_t *ptemp)
{
    apr_array_header_t *known = apr_array_make(ptemp, 8, sizeof(aq_lease_t));

    (void)pthread_mutex_lock(&leases->mutex);
    for (const aq_held_job_t *job = leases->jobs; job != NULL; job = job->next) {
        aq_lease_t *lease = apr_array_push(known);
        apr_cpystrn(lease->id, job->id, sizeof lease->id);
        lease->token = job->token;
    }
    (void)pthread_mutex_unlock(&leases->mutex);
    return known;
}

/* A job that ended meanwhile is in neither list any more, or its end is being written. */
static void judge(aq_leases_t *leases, const apr_array_header_t *known, const apr_array_header_t *held,
                  aq_time_ms_t until_ms)
{
    (void)pthread_mutex_lock(&leases->mutex);
    for (aq_held_job_t *job = leases->jobs; job != NULL; job = job->next) {
        if (is_held(held, job->id, job->token)) {
            job->until_ms = until_ms;
        } else if (is_held(known, job->id, job->token)) {
            tell(job, AQ_STOP_LOST);
            if (!atomic_load(&job->is_ending)) {
                AQ_LOG(AQ_LOG_WARNING, 620, APR_SUCCESS, "batch %s: the lease was lost; its transfer is stopped",
                       job->id);
            }
        }
    }
    (void)pthread_mutex_unlock(&leases->mutex);
}

static void judge_unreachable(aq_leases_t *leases, aq_time_ms_t next_ms)
{
    (void)pthread_mutex_lock(&leases->mutex);
    for (aq_held_job_t *job = leases->jobs; job != NULL; job = job->next) {
        if (job->until_ms <= next_ms && atomic_load(&job->stop) != AQ_STOP_LOST) {
            tell(job, AQ_STOP_LOST);
            AQ_LOG(AQ_LOG_WARNING, 621, APR_SUCCESS, "batch %s: the lease cannot be renewed; its transfer is stopped",
                   job->id);
        }
    }
    (void)pthread_mutex_unlock(&leases->mutex);
}

apr_status_t aq_leases_renew(aq_leases_t *leases, aq_queue_t *queue, const char *worker, const aq_queue_now_t *now,
                             int lease_ms, int period_ms)
{
    apr_array_header_t *known, *held;
    apr_pool_t *ptemp;

    apr_status_t rv = apr_pool_create(&ptemp, NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    known = snapshot(leases, ptemp);
    if (known->nelts == 0) {
        goto cleanup;
    }
    rv = aq_queue_renew(queue, ptemp, worker, now, lease_ms, &held);
    if (rv == APR_SUCCESS) {
        judge(leases, known, held, now->boot_ms + lease_ms);
    } else {
        judge_unreachable(leases, now->boot_ms + period_ms);
    }
cleanup:
    apr_pool_destroy(ptemp);
    return rv;
}

static void tell_canceled(aq_leases_t *leases, const apr_array_header_t *asked)
{
    (void)pthread_mutex_lock(&leases->mutex);
    for (aq_held_job_t *job = leases->jobs; job != NULL; job = job->next) {
        if (is_held(asked, job->id, job->token) && atomic_load(&job->stop) == AQ_GO_ON) {
            tell(job, AQ_STOP_CANCEL);
            AQ_LOG(AQ_LOG_INFO, 640, APR_SUCCESS, "batch %s: cancel was asked for; its transfer is stopped", job->id);
        }
    }
    (void)pthread_mutex_unlock(&leases->mutex);
}

apr_status_t aq_leases_look_for_cancels(aq_leases_t *leases, aq_queue_t *queue, const char *worker)
{
    apr_array_header_t *asked;
    apr_pool_t *ptemp;

    (void)pthread_mutex_lock(&leases->mutex);
    int is_idle = leases->jobs == NULL;
    (void)pthread_mutex_unlock(&leases->mutex);
    apr_status_t rv = is_idle ? APR_SUCCESS : apr_pool_create(&ptemp, NULL);
    if (rv != APR_SUCCESS || is_idle) {
        return rv;
    }
    rv = aq_queue_cancels(queue, ptemp, worker, &asked);
    if (rv == APR_SUCCESS) {
        tell_canceled(leases, asked);
    }
    apr_pool_destroy(ptemp);
    return rv;
}

int aq_leases_wait(aq_leases_t *leases, int ms)
{
    struct timespec until;
    int rc = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&leases->mutex);
    while (!leases->has_ended && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&leases->ended, &leases->mutex, &until);
    }
    int goes_on = !leases->has_ended;
    (void)pthread_mutex_unlock(&leases->mutex);
    return goes_on;
}

void aq_leases_end(aq_leases_t *leases)
{
    (void)pthread_mutex_lock(&leases->mutex);
    leases->has_ended = 1;
    (void)pthread_cond_signal(&leases->ended);
    (void)pthread_mutex_unlock(&leases->mutex);
}
