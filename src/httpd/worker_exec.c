/* SPDX-License-Identifier: Apache-2.0 */
/* Between fork and exec. See worker_exec.h. */
#include "httpd/worker_exec.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <mpm_common.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PROCESS_NAME "apiquota-worker"
#define LOG_SOCKET 3
#define LOG_SOCKET_TEXT "3"
#define STEP_MS 20
#define EXIT_NO_USER 126
#define EXIT_NO_PROGRAM 127

/*
 * A session of its own, so that no signal to httpd's process group reaches it. SIGHUP stays ignored until the worker has
 * set its handler.
 */
static void signals_reset(void)
{
    static const int defaults[] = {SIGTERM, SIGINT, SIGPIPE, SIGCHLD, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM};
    sigset_t none;

    (void)setsid();
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        (void)signal(defaults[i], SIG_DFL);
    }
    (void)signal(SIGHUP, SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* None of httpd's sockets and logs; the error log is also standard error. */
static void descriptors_close(int log_socket)
{
    if (log_socket != LOG_SOCKET) {
        (void)dup2(log_socket, LOG_SOCKET);
    } else {
        (void)fcntl(LOG_SOCKET, F_SETFD, 0);
    }
    aq_log_sink_set(NULL, NULL);
    if (close_range(LOG_SOCKET + 1, ~0U, 0) != 0) {
        for (int fd = (int)sysconf(_SC_OPEN_MAX) - 1; fd > LOG_SOCKET; fd--) {
            (void)close(fd);
        }
    }
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd >= 0) {
        (void)dup2(null_fd, STDIN_FILENO);
    }
}

static void wait_for_start(pid_t parent, int64_t delay_ms)
{
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};

    for (int64_t waited_ms = 0; waited_ms < delay_ms; waited_ms += STEP_MS) {
        if (getppid() != parent) {
            _exit(0);
        }
        (void)nanosleep(&step, NULL);
    }
}

void aq_worker_exec(const aq_worker_exec_t *exec, pid_t parent, apr_pool_t *p, server_rec *s)
{
    const char *parent_text = apr_psprintf(p, "%ld", (long)parent);

    signals_reset();
    descriptors_close(exec->log_socket);
    (void)prctl(PR_SET_NAME, PROCESS_NAME);
    wait_for_start(parent, exec->delay_ms);
    if (ap_run_drop_privileges(p, s) != OK) {
        AQ_LOG(AQ_LOG_CRIT, 1300, 0, "apiquota-worker is not started: httpd's user cannot be taken");
        _exit(EXIT_NO_USER);
    }
    (void)execl(exec->program, PROCESS_NAME, "--state-dir", exec->state_dir, "--parent-pid", parent_text,
                "--log-socket", LOG_SOCKET_TEXT, (char *)NULL);
    AQ_LOG(AQ_LOG_CRIT, 1301, errno, "apiquota-worker is not started: %s cannot be run", exec->program);
    _exit(EXIT_NO_PROGRAM);
}
