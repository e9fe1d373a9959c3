/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's threads.
 *
 * Idle: one thread at a time asks the queue, every 100 ms and without its write lock; the others wait for it. When it has
 * a job others ask too. So a new batch starts within about 100 ms, and idle threads cost nothing however many. Busy: each
 * thread asks for its next job when it has done one; claims and ends that come together share a sync in the queue.
 *
 * Stop (SIGTERM, SIGINT, a parent that is gone): nothing is claimed any more; jobs in hand may end for stop_wait_ms; those
 * left are told to stop and hand their jobs back; then, should the queue be out of reach, they are abandoned, and
 * recovered from the lock of this worker's file, which the kernel frees.
 *
 * The parent is watched by its number: a death signal (PR_SET_PDEATHSIG) comes for the death of the parent's thread, not
 * its process, and is dropped where the user changes between fork and exec.
 */
#include "base/aq_descriptor.h"
#include "base/aq_log.h"
#include "store/queue_open.h"
#include "worker/attempt.h"
#include "worker/janitor.h"
#include "worker/webhooks.h"

#include <apr_tables.h>
#include <apr_thread_proc.h>
#include <apr_time.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_WAIT_MS 5000
#define ASK_EVERY_US 100000
#define CALLED_ON 2       /* how many others a thread calls that found a job */
#define LOOK_EVERY_MS 400 /* for cancels: so that one is noticed within half a second */
#define TROUBLE_PAUSE_US 1000000
#define TICK_MS 250
#define RECOVER_EVERY_MS 2000
#define HAND_BACK_MS 2000
#define ABANDON_MS 3000

aq_queue_now_t aq_worker_now(const aq_worker_t *worker)
{
    return (aq_queue_now_t){.wall_ms = aq_clock_now_ms(), .boot_ms = aq_clock_boot_ms(), .boot_id = worker->boot_id};
}

/*
 * Waits for this thread's turn to ask: as the one that asks again and again (*is_watch), or once, where another found a
 * job and there may be more. 0 when the worker stops.
 */
static int asking_begin(aq_worker_t *worker, int *is_watch)
{
    (void)pthread_mutex_lock(&worker->asking_mutex);
    worker->waiting++;
    while (worker->is_watched && worker->calls == 0 && !atomic_load(&worker->stopping)) {
        (void)pthread_cond_wait(&worker->asking_ended, &worker->asking_mutex);
    }
    worker->waiting--;
    int goes_on = !atomic_load(&worker->stopping);
    *is_watch = goes_on && !worker->is_watched;
    worker->is_watched |= *is_watch;
    worker->calls -= goes_on && !*is_watch;
    (void)pthread_mutex_unlock(&worker->asking_mutex);
    return goes_on;
}

/* Where there was a job there may be more: two others are called, and those call others, so that all are soon at work. */
static void asking_end(aq_worker_t *worker, int is_watch, int has_job)
{
    (void)pthread_mutex_lock(&worker->asking_mutex);
    if (is_watch) {
        worker->is_watched = 0;
    }
    worker->calls += has_job ? CALLED_ON : 0;
    worker->calls = worker->calls < worker->waiting ? worker->calls : worker->waiting;
    for (int i = 0; i < worker->calls + is_watch; i++) {
        (void)pthread_cond_signal(&worker->asking_ended);
    }
    (void)pthread_mutex_unlock(&worker->asking_mutex);
}

/* The limits are read anew each time, so that a reload is in force with the next job. */
static apr_status_t ask(aq_worker_t *worker, apr_pool_t *p, aq_job_t *job, aq_queue_now_t *claimed_at)
{
    aq_queue_limits_t limits;

    *claimed_at = aq_worker_now(worker);
    aq_settings_limits(&worker->settings, p, &limits);
    return aq_queue_claim(worker->queue, p, worker->presence.name, claimed_at, worker->options.lease_ms, &limits, job);
}

/* Asks, in `p`: once, or as the watch until there is a job. */
static apr_status_t watch(aq_worker_t *worker, apr_pool_t *p, int is_watch, aq_job_t *job, aq_queue_now_t *claimed_at)
{
    apr_status_t rv, before = APR_SUCCESS;

    do {
        apr_pool_clear(p);
        rv = ask(worker, p, job, claimed_at);
        if (rv == APR_SUCCESS) {
            break;
        }
        if (rv != APR_NOTFOUND && rv != before) {
            AQ_LOG(AQ_LOG_ERROR, 604, rv, "no job can be claimed");
        }
        before = rv;
        if (is_watch) {
            apr_sleep(rv == APR_NOTFOUND ? ASK_EVERY_US : TROUBLE_PAUSE_US);
        }
    } while (is_watch && !atomic_load(&worker->stopping));
    return rv;
}

/* Waits for a job, in `p`; 0 when the worker stops. A thread that has just done one asks for the next without waiting. */
static int next_job(aq_worker_t *worker, apr_pool_t *p, int is_at_work, aq_job_t *job, aq_queue_now_t *claimed_at)
{
    int is_watch = 0;

    while (!atomic_load(&worker->stopping) && (is_at_work || asking_begin(worker, &is_watch))) {
        apr_status_t rv = watch(worker, p, is_watch, job, claimed_at);
        asking_end(worker, is_watch, rv == APR_SUCCESS);
        if (rv == APR_SUCCESS) {
            return 1;
        }
        is_at_work = is_watch = 0;
    }
    return 0;
}

static void *APR_THREAD_FUNC run_jobs(apr_thread_t *thread, void *data)
{
    aq_worker_t *worker = data;
    aq_queue_now_t claimed_at;
    apr_pool_t *pool = apr_thread_pool_get(thread), *job_pool;
    aq_job_t job;

    aq_target_t *target = aq_target_open(pool);
    apr_status_t rv = target != NULL ? apr_pool_create(&job_pool, pool) : APR_ENOMEM;
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 605, rv, "a thread cannot start");
        goto cleanup;
    }
    for (int is_at_work = 0; next_job(worker, job_pool, is_at_work, &job, &claimed_at); is_at_work = 1) {
        aq_attempt_run(worker, target, job_pool, &job, &claimed_at);
        apr_pool_clear(job_pool);
    }
cleanup:
    atomic_fetch_sub(&worker->threads, 1);
    return NULL;
}

static void *APR_THREAD_FUNC renew_leases(apr_thread_t *thread, void *data)
{
    aq_worker_t *worker = data;
    const int period_ms = worker->options.lease_ms / 6;
    const int look_ms = period_ms < LOOK_EVERY_MS ? period_ms : LOOK_EVERY_MS;
    aq_time_ms_t renew_at_ms = aq_clock_boot_ms() + period_ms;
    aq_trouble_t look_trouble = {.is_there = 0}, renew_trouble = {.is_there = 0};

    (void)thread;
    while (aq_leases_wait(&worker->leases, look_ms)) {
        aq_queue_now_t now = aq_worker_now(worker);
        aq_worker_tally_beat(&worker->tally, now.boot_ms);
        apr_status_t rv = aq_leases_look_for_cancels(&worker->leases, worker->queue, worker->presence.name);
        if (aq_trouble_note(&look_trouble, rv, now.boot_ms) == AQ_TROUBLE_LASTS) {
            AQ_LOG(AQ_LOG_WARNING, 641, rv, "cancels cannot be looked for%s", look_trouble.lasting);
        }
        if (now.boot_ms < renew_at_ms) {
            continue;
        }
        renew_at_ms = now.boot_ms + period_ms;
        rv = aq_leases_renew(&worker->leases, worker->queue, worker->presence.name, &now, worker->options.lease_ms,
                             period_ms);
        if (aq_trouble_note(&renew_trouble, rv, now.boot_ms) == AQ_TROUBLE_LASTS) {
            AQ_LOG(AQ_LOG_WARNING, 606, rv, "leases cannot be renewed%s", renew_trouble.lasting);
        }
    }
    return NULL;
}

static apr_status_t fail(const char *what, const char *error, apr_status_t rv)
{
    AQ_LOG(AQ_LOG_ERROR, 607, error != NULL ? APR_SUCCESS : rv, "cannot start: %s", error != NULL ? error : what);
    return rv;
}

static apr_status_t worker_open(aq_worker_t *worker, apr_pool_t *p)
{
    const char *error = NULL;
    apr_status_t rv;

    aq_clock_boot_id(worker->boot_id);
    if ((rv = aq_settings_load(&worker->settings, p, worker->options.config_file, &error)) != APR_SUCCESS) {
        return fail("the configuration", error, rv);
    }
    const aq_batch_config_t *config = worker->settings.config;
    if ((rv = aq_spool_open(p, config->spool_folder, config->spool_max_bytes, &worker->spool, &error)) != APR_SUCCESS ||
        (rv = aq_queue_open(p, config, QUEUE_WAIT_MS, &worker->queue, &error)) != APR_SUCCESS) {
        return fail("the queue", error, rv);
    }
    if ((rv = aq_presence_begin(&worker->presence, p, config->worker_files, aq_clock_boot_ms())) != APR_SUCCESS) {
        return fail("a file that shows that this worker lives cannot be made", NULL, rv);
    }
    aq_worker_tally_open(&worker->tally, p, config->worker_files);
    if ((rv = aq_leases_init(&worker->leases)) != APR_SUCCESS ||
        (rv = pthread_mutex_init(&worker->asking_mutex, NULL)) != APR_SUCCESS ||
        (rv = pthread_cond_init(&worker->asking_ended, NULL)) != APR_SUCCESS) {
        return fail("locks", NULL, rv);
    }
    return APR_SUCCESS;
}

/* What a signal or the parent's death asks for. */
typedef enum { NOTHING, RELOAD, STOP } wish_t;

static wish_t wait_for_wish(const aq_worker_t *worker, const sigset_t *signals)
{
    const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    int number = sigtimedwait(signals, NULL, &tick);

    if (number == SIGHUP) {
        return RELOAD;
    }
    if (number > 0) {
        AQ_LOG(AQ_LOG_NOTICE, 608, APR_SUCCESS, "stopping: signal %d", number);
        return STOP;
    }
    if (worker->options.parent_pid != 0 && getppid() != worker->options.parent_pid) {
        AQ_LOG(AQ_LOG_NOTICE, 609, APR_SUCCESS, "stopping: the parent %ld is gone", (long)worker->options.parent_pid);
        return STOP;
    }
    return NOTHING;
}

/* Standard error is httpd's error log. The last one handed over is the one that httpd writes to now. */
static void take_log(const aq_worker_t *worker)
{
    int fd;

    while (worker->options.log_socket >= 0 && aq_descriptor_receive(worker->options.log_socket, &fd) == APR_SUCCESS) {
        (void)dup2(fd, STDERR_FILENO);
        (void)close(fd);
    }
}

static void keep_house(aq_worker_t *worker, const sigset_t *signals)
{
    aq_time_ms_t recover_at_ms = 0;
    wish_t wish = NOTHING;

    while (wish != STOP && atomic_load(&worker->threads) > 0) {
        aq_time_ms_t now_ms = aq_clock_boot_ms();
        if (now_ms >= recover_at_ms) {
            aq_janitor_recover(worker);
            recover_at_ms = now_ms + RECOVER_EVERY_MS;
        }
        wish = wait_for_wish(worker, signals);
        if (wish == RELOAD) {
            take_log(worker);
        }
        if (wish == RELOAD &&
            aq_settings_reload(&worker->settings, worker->options.config_file) == AQ_SETTINGS_RESTART) {
            AQ_LOG(AQ_LOG_NOTICE, 617, APR_SUCCESS,
                   "stopping: queue, spool or threads changed, which takes a new start");
            wish = STOP;
        }
    }
}

/* 1 when there are none of those threads within `ms`. */
static int wait_for_none(const _Atomic int *threads, int ms)
{
    aq_time_ms_t until_ms = aq_clock_boot_ms() + ms;

    while (atomic_load(threads) > 0 && aq_clock_boot_ms() < until_ms) {
        apr_sleep(10000);
    }
    return atomic_load(threads) == 0;
}

/* 1 when all threads have ended. */
static int stop_threads(aq_worker_t *worker)
{
    atomic_store(&worker->stopping, 1);
    (void)pthread_mutex_lock(&worker->asking_mutex);
    (void)pthread_cond_broadcast(&worker->asking_ended);
    (void)pthread_mutex_unlock(&worker->asking_mutex);
    if (wait_for_none(&worker->threads, worker->options.stop_wait_ms)) {
        return 1;
    }
    aq_leases_stop(&worker->leases, AQ_STOP_ASKED);
    if (wait_for_none(&worker->threads, HAND_BACK_MS)) {
        return 1;
    }
    aq_leases_stop(&worker->leases, AQ_STOP_LOST);
    return wait_for_none(&worker->threads, ABANDON_MS);
}

/* Before any thread: they inherit the mask, so that only the main thread takes these signals. */
static void signals_block(sigset_t *signals)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP};

    (void)sigemptyset(signals);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        (void)sigaddset(signals, ours[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, signals, NULL);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        (void)signal(ours[i], SIG_DFL); /* a starter may have left one ignored, which then would not even wait */
    }
}

/* Starts as many threads as it can; the first is the one that renews leases. */
static apr_status_t threads_start(aq_worker_t *worker, apr_array_header_t *threads)
{
    const int wanted = worker->settings.config->threads;
    apr_pool_t *p = worker->pool;
    apr_status_t rv = apr_thread_create(apr_array_push(threads), NULL, renew_leases, worker, p);

    for (int i = 0; rv == APR_SUCCESS && i < wanted; i++) {
        atomic_fetch_add(&worker->threads, 1);
        rv = apr_thread_create(apr_array_push(threads), NULL, run_jobs, worker, p);
        if (rv != APR_SUCCESS) {
            atomic_fetch_sub(&worker->threads, 1);
        }
    }
    if (rv != APR_SUCCESS) {
        (void)apr_array_pop(threads);
        AQ_LOG(AQ_LOG_ERROR, 618, rv, "only %d of %d threads can start", threads->nelts, wanted + 1);
    }
    return threads->nelts > 1 ? APR_SUCCESS : rv;
}

/* Jobs are done without it too: their messages wait. */
static void webhooks_start(aq_worker_t *worker, apr_array_header_t *threads)
{
    apr_status_t rv = apr_thread_create(apr_array_push(threads), NULL, aq_webhooks_run, worker, worker->pool);

    if (rv != APR_SUCCESS) {
        (void)apr_array_pop(threads);
        AQ_LOG(AQ_LOG_ERROR, 668, rv, "the thread that delivers to webhooks cannot start");
    }
}

/* Jobs are done without it too, as long as the disk has room. NULL: it could not be started. */
static apr_thread_t *sweep_start(aq_worker_t *worker)
{
    apr_thread_t *thread = NULL;

    atomic_store(&worker->sweeps, 1);
    apr_status_t rv = apr_thread_create(&thread, NULL, aq_janitor_run, worker, worker->pool);
    if (rv != APR_SUCCESS) {
        atomic_store(&worker->sweeps, 0);
        AQ_LOG(AQ_LOG_ERROR, 622, rv, "the thread that sweeps the spool cannot start");
        return NULL;
    }
    return thread;
}

/* A disk that stands still must not keep the worker from ending: then what it holds is left to the system. */
static void sweep_end(aq_worker_t *worker, apr_thread_t *thread)
{
    apr_status_t ended;

    if (!wait_for_none(&worker->sweeps, ABANDON_MS)) {
        AQ_LOG(AQ_LOG_NOTICE, 623, APR_SUCCESS, "stopped in the middle of a sweep of the spool");
        _exit(0);
    }
    if (thread != NULL) {
        (void)apr_thread_join(&ended, thread);
    }
}

static void threads_join(const apr_array_header_t *threads)
{
    apr_status_t ended;

    for (int i = 0; i < threads->nelts; i++) {
        (void)apr_thread_join(&ended, APR_ARRAY_IDX(threads, i, apr_thread_t *));
    }
}

int aq_worker_run(const aq_worker_options_t *options, apr_pool_t *p)
{
    aq_worker_t *worker = apr_pcalloc(p, sizeof(*worker));
    apr_array_header_t *threads = apr_array_make(p, 8, sizeof(apr_thread_t *));
    apr_thread_t *sweeper = NULL;
    sigset_t signals;

    worker->pool = p;
    worker->options = *options;
    signals_block(&signals);
    /* httpd may have been reloaded before: its signal was still ignored then, but not the log that it sent ahead. */
    take_log(worker);
    if (worker_open(worker, p) != APR_SUCCESS) {
        return 1;
    }
    /* Before the first claim, so that what a killed worker left comes first in its tenants' lines. */
    aq_janitor_recover(worker);
    int has_started = threads_start(worker, threads) == APR_SUCCESS;
    if (has_started) {
        AQ_LOG(AQ_LOG_NOTICE, 600, APR_SUCCESS, "worker %s started: %d threads, %u batch locations",
               worker->presence.name, threads->nelts - 1, apr_hash_count(worker->settings.config->locations));
        webhooks_start(worker, threads);
        sweeper = sweep_start(worker);
        keep_house(worker, &signals);
    }
    if (!stop_threads(worker)) {
        AQ_LOG(AQ_LOG_WARNING, 619, APR_SUCCESS, "stopped with jobs in hand; they are recovered by the next worker");
        _exit(0);
    }
    aq_leases_end(&worker->leases);
    threads_join(threads);
    sweep_end(worker, sweeper);
    aq_queue_close(worker->queue);
    aq_presence_end(&worker->presence);
    AQ_LOG(AQ_LOG_NOTICE, 637, APR_SUCCESS, "stopped");
    return has_started ? 0 : 1;
}
