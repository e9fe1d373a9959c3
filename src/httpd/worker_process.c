/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker process: httpd's parent starts apiquota-worker, watches it, starts it again when it dies, and ends it.
 *
 *   start              fork, a session of its own, SIGPIPE as usual, httpd's user, exec
 *   it died            started again after 1 s, then 2 s, and so on to 60 s; a minute of life makes it 1 s again
 *   restart            graceful or not, the process stays: it is told to read runtime.json again (SIGHUP)
 *   stop               SIGTERM: it ends its jobs or hands them back; the parent waits, so that nothing is left behind
 *   the parent died    the worker sees that by itself (--parent-pid)
 *
 * A delayed start is a forked process that waits before it execs: httpd offers its parent no timer. What must outlive a
 * restart, in which this very module is unloaded, is retained by httpd. What httpd tells of a process of ours ("other
 * child"): DEATH, and UNREGISTER when the configuration goes. Its RESTART comes at stops and restarts alike and cannot
 * tell them apart; at UNREGISTER the state of the server does.
 */
#include "httpd/phases.h"

#include "base/aq_descriptor.h"
#include "base/aq_log.h"
#include "httpd/worker_exec.h"

#include <ap_mpm.h>
#include <apr_file_info.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <errno.h>
#include <http_config.h>
#include <http_core.h>
#include <mpm_common.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RETAINED_KEY "apiquota-worker"
#define BACKOFF_MAX_S 60
#define HEALTHY_S 60
#define STOP_WAIT_MS 15000
#define WAIT_STEP_MS 20

/* What outlives a restart. */
typedef struct {
    apr_proc_t proc; /* pid 0: there is none */
    apr_time_t started;
    int log_socket;       /* our end of the pair over which it gets a new error log; while there is a process */
    int deaths;           /* one after the other, each in less than HEALTHY_S */
    int starts;           /* of the parent: the first may fail, a restart must not end the server */
    const char *identity; /* see identity_make; in the pool of httpd's parent */
} worker_t;

/* Of this configuration. NULL where no worker is wanted. */
static server_rec *watched_server;
static apr_pool_t *watched_pool;

static worker_t *worker_get(void)
{
    worker_t *worker = ap_retained_data_get(RETAINED_KEY);

    return worker ? worker : ap_retained_data_create(RETAINED_KEY, sizeof(*worker));
}

static const char *program_of(const aq_server_config_t *server)
{
    return server->worker_program ? server->worker_program : AQ_WORKER_PATH;
}

static void sleep_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void maintain(int reason, void *data, int status);

/* Watched from now on, by httpd's main loop. */
static void process_register(worker_t *worker)
{
    apr_proc_other_child_register(&worker->proc, maintain, worker, NULL, watched_pool);
}

static apr_status_t process_fork(worker_t *worker, int log_socket, int64_t delay_ms)
{
    const aq_server_config_t *server = aq_config_server(watched_server);
    const aq_worker_exec_t exec = {
        .program = program_of(server), .state_dir = server->state_dir, .delay_ms = delay_ms, .log_socket = log_socket};
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        aq_worker_exec(&exec, parent, watched_pool, watched_server);
    }
    if (pid < 0) {
        return errno;
    }
    worker->proc.pid = pid;
    return APR_SUCCESS;
}

static apr_status_t process_begin(worker_t *worker, int64_t delay_ms)
{
    int ends[2];
    apr_status_t rv = aq_descriptor_pair(ends);

    if (rv == APR_SUCCESS) {
        rv = process_fork(worker, ends[1], delay_ms);
        (void)close(ends[1]);
        if (rv != APR_SUCCESS) {
            (void)close(ends[0]);
        }
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 1302, rv, "apiquota-worker cannot be started now");
        return rv;
    }
    worker->log_socket = ends[0];
    worker->started = apr_time_now() + delay_ms * 1000;
    process_register(worker);
    AQ_LOG(AQ_LOG_INFO, 1303, 0, "apiquota-worker is process %ld", (long)worker->proc.pid);
    return APR_SUCCESS;
}

static void process_forget(worker_t *worker)
{
    worker->proc.pid = 0;
    (void)close(worker->log_socket);
}

/* 1 when it has ended and was reaped. */
static int process_has_ended(worker_t *worker)
{
    int status;
    pid_t pid;

    do {
        pid = waitpid(worker->proc.pid, &status, WNOHANG);
    } while (pid < 0 && errno == EINTR);
    if (pid == 0) {
        return 0;
    }
    process_forget(worker);
    return 1;
}

/* Ends it and waits: it ends its jobs or hands them back meanwhile, which takes it 13 seconds at most. */
static void process_stop(worker_t *worker)
{
    if (worker->proc.pid == 0) {
        return;
    }
    (void)kill(worker->proc.pid, SIGTERM);
    for (int waited_ms = 0; !process_has_ended(worker); waited_ms += WAIT_STEP_MS) {
        if (waited_ms == STOP_WAIT_MS) {
            AQ_LOG(AQ_LOG_WARNING, 1304, 0, "apiquota-worker does not end by itself and is killed");
            (void)kill(worker->proc.pid, SIGKILL);
        }
        sleep_ms(WAIT_STEP_MS);
    }
}

static int is_server_stopping(void)
{
    int state;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) != APR_SUCCESS || state == AP_MPMQ_STOPPING;
}

/*
 * One line a death, and deaths get rare: an installation that is broken does not fill the log. httpd passes the exit code
 * or the signal as one number and does not say which.
 */
static void process_died(worker_t *worker, int status)
{
    apr_time_t life = apr_time_now() - worker->started;
    pid_t pid = worker->proc.pid;
    int delay_s;

    process_forget(worker);
    apr_proc_other_child_unregister(worker);
    if (is_server_stopping() || !watched_server) {
        return;
    }
    worker->deaths = life < apr_time_from_sec(HEALTHY_S) ? worker->deaths : 0;
    delay_s = worker->deaths < 6 ? 1 << worker->deaths : BACKOFF_MAX_S;
    worker->deaths++;
    AQ_LOG(AQ_LOG_ERROR, 1305, 0, "apiquota-worker (process %ld) ended with status %d; it is started again in %d s",
           (long)pid, status, delay_s);
    /* Where this fails, the next round of the monitor tries again. */
    (void)process_begin(worker, delay_s * AQ_MS_PER_S);
}

/* Called by httpd's main loop. At a restart the process is left alone: the new configuration takes it over. */
static void maintain(int reason, void *data, int status)
{
    worker_t *worker = data;

    if (worker->proc.pid == 0) {
        return;
    }
    switch (reason) {
    case APR_OC_REASON_DEATH:
    case APR_OC_REASON_LOST:
        process_died(worker, status);
        break;
    case APR_OC_REASON_UNREGISTER:
        if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_DESTROY_CONFIG) {
            process_stop(worker);
        }
        break;
    default:
        break;
    }
}

static int is_wanted(const aq_server_config_t *server)
{
    return server->batch && server->worker != 0;
}

static int is_program(apr_pool_t *p, const char *path)
{
    const apr_fileperms_t executable = APR_FPROT_UEXECUTE | APR_FPROT_GEXECUTE | APR_FPROT_WEXECUTE;
    apr_finfo_t info;

    return apr_stat(&info, path, APR_FINFO_TYPE | APR_FINFO_PROT, p) == APR_SUCCESS && info.filetype == APR_REG &&
           (info.protection & executable);
}

/* What a running process cannot change. A new one is started where it differs. */
static const char *identity_make(apr_pool_t *p, const aq_server_config_t *server)
{
    const aq_batch_config_t *batch = server->batch;

    return apr_psprintf(p, "%s\n%s\n%s\n%s\n%d\n%" APR_INT64_T_FMT "\n%d", program_of(server), server->state_dir,
                        aq_batch_config_queue(p, batch), batch->spool_folder, batch->spool_is_shared,
                        batch->spool_max_bytes, batch->threads);
}

/* httpd has written runtime.json, and opened its error log anew: a rotated one would be written to for ever. */
static void process_tell(worker_t *worker)
{
    apr_status_t rv = aq_descriptor_send(worker->log_socket, STDERR_FILENO);

    if (rv == APR_SUCCESS && kill(worker->proc.pid, SIGHUP) != 0) {
        rv = errno;
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 1307, rv, "apiquota-worker cannot be told of the restart");
    }
}

/* Goes on with the process of before the restart, unless it died or is no longer the right one. */
static apr_status_t process_continue(worker_t *worker, const char *identity)
{
    if (worker->proc.pid && strcmp(worker->identity, identity) != 0) {
        process_stop(worker);
    }
    if (worker->proc.pid && !process_has_ended(worker)) {
        process_register(worker);
        process_tell(worker);
        return APR_SUCCESS;
    }
    worker->identity = apr_pstrdup(watched_server->process->pool, identity);
    return process_begin(worker, 0);
}

int aq_worker_process_start(apr_pool_t *pconf, server_rec *s)
{
    const aq_server_config_t *server = aq_config_server(s);
    worker_t *worker = worker_get();
    int is_first = worker->starts++ == 0;
    apr_status_t rv;

    watched_server = is_wanted(server) ? s : NULL;
    watched_pool = pconf;
    if (!watched_server) {
        process_stop(worker);
        return OK;
    }
    if (!is_program(pconf, program_of(server))) {
        AQ_LOG(is_first ? AQ_LOG_CRIT : AQ_LOG_ERROR, 1306, 0, "APIQuotaWorkerProgram: %s is no program",
               program_of(server));
        return is_first ? HTTP_INTERNAL_SERVER_ERROR : OK;
    }
    rv = process_continue(worker, identity_make(pconf, server));
    return rv == APR_SUCCESS || !is_first ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

int aq_worker_process_monitor(apr_pool_t *p, server_rec *s)
{
    worker_t *worker = worker_get();

    (void)p;
    (void)s;
    if (watched_server && worker->proc.pid == 0 && !is_server_stopping() &&
        is_program(p, program_of(aq_config_server(watched_server)))) {
        (void)process_begin(worker, 0);
    }
    return DECLINED;
}
