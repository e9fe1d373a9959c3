/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's own process, and what happens between fork and exec of the program. System calls only: no memory, no
 * stdio, no log.
 */
#include "worker/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Descriptors in the keeper: those of the program first, since it inherits them as they are. */
enum { INPUT, OUTPUT, ERROR, PROGRESS, LIFELINE, STATUS, DESCRIPTOR_COUNT };

#define ABOVE_ALL 64
#define LOOK_EVERY_MS 20 /* where the kernel knows no descriptors of processes */
#define EXIT_NOT_STARTED 127

/* Puts the six in their places and closes everything else: other programs' lifelines, the queue, the log. */
static int descriptors_arrange(const aq_keeper_t *keeper)
{
    int from[DESCRIPTOR_COUNT] = {
        [INPUT] = keeper->input_fd,       [OUTPUT] = keeper->output_fd,     [ERROR] = keeper->error_fd,
        [PROGRESS] = keeper->progress_fd, [LIFELINE] = keeper->lifeline_fd, [STATUS] = keeper->status_fd,
    };

    for (int i = 0; i < DESCRIPTOR_COUNT; i++) {
        from[i] = fcntl(from[i], F_DUPFD, ABOVE_ALL);
        if (from[i] < 0) {
            return 0;
        }
    }
    for (int i = 0; i < DESCRIPTOR_COUNT; i++) {
        if (dup2(from[i], i) < 0) {
            return 0;
        }
    }
    return syscall(SYS_close_range, (unsigned)DESCRIPTOR_COUNT, UINT_MAX, 0U) == 0 &&
           fcntl(LIFELINE, F_SETFD, FD_CLOEXEC) == 0 && fcntl(STATUS, F_SETFD, FD_CLOEXEC) == 0;
}

/* The worker ignores and blocks what a program expects to be told; so may whoever started it, as a shell does with "&". */
static void signals_reset(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* KILL, STOP and those of libc refuse, and need none */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void program_become(const aq_keeper_t *keeper, pid_t parent, int failure_fd)
{
    char *const arguments[] = {(char *)(uintptr_t)keeper->program, NULL};

    /* Should even the keeper be killed. */
    if (setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && chdir("/") == 0) {
        signals_reset();
        (void)execve(keeper->program, arguments, keeper->environment);
    }
    int reason = errno;
    ssize_t written = write(failure_fd, &reason, sizeof reason);
    (void)written;
    _exit(EXIT_NOT_STARTED);
}

/* Starts the program: 0, or why it cannot be started. */
static int program_start(const aq_keeper_t *keeper, pid_t *program)
{
    int ends[2], reason = 0;
    pid_t self = getpid();

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    *program = fork();
    if (*program < 0) {
        return errno;
    }
    if (*program == 0) {
        program_become(keeper, self, ends[1]);
    }
    (void)setpgid(*program, *program); /* here too: a signal for the group may come before the program has run */
    (void)close(ends[1]);
    ssize_t got;
    do {
        got = read(ends[0], &reason, sizeof reason); /* ends without a word when exec has closed the other end */
    } while (got < 0 && errno == EINTR);
    (void)close(ends[0]);
    return got > 0 ? reason : 0;
}

static int has_ended(pid_t program)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)program, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == program;
}

/* Passes on what the worker asks for; a lifeline that is broken asks for the end at once. 0 when nobody holds it. */
static int lifeline_serve(pid_t program)
{
    char wish;
    ssize_t got = read(LIFELINE, &wish, 1);

    if (got < 0) {
        return 1;
    }
    (void)kill(-program, got == 1 && wish == AQ_KEEPER_TERM ? SIGTERM : SIGKILL);
    return got == 1;
}

/* Until the program has ended; 1 where it was told to. */
static int watch(pid_t program)
{
    struct pollfd looked_at[] = {{.fd = LIFELINE, .events = POLLIN},
                                 {.fd = (int)syscall(SYS_pidfd_open, program, 0), .events = POLLIN}};
    int was_told = 0;

    while (!has_ended(program)) {
        (void)poll(looked_at, 2, looked_at[1].fd >= 0 ? -1 : LOOK_EVERY_MS);
        if (!has_ended(program) && looked_at[0].revents != 0) {
            was_told = 1;
            looked_at[0].fd = lifeline_serve(program) ? LIFELINE : -1;
            looked_at[0].revents = 0;
        }
    }
    return was_told;
}

static _Noreturn void keep(const aq_keeper_t *keeper)
{
    aq_keeper_end_t end = {.was_told = 0};
    pid_t program = -1;

    (void)prctl(PR_SET_NAME, "apiquota-keeper"); /* for those who look at processes */
    if (!descriptors_arrange(keeper)) {
        _exit(1);
    }
    end.exec_errno = program_start(keeper, &program);
    for (int i = INPUT; i <= PROGRESS; i++) {
        (void)close(i); /* so that the worker sees the end of what the program writes */
    }
    if (program > 0) {
        end.was_told = watch(program);
        /* What it left behind in its group; before it is reaped, so that the number is still its own. */
        (void)kill(-program, SIGKILL);
        (void)waitpid(program, &end.wait_status, 0);
    }
    ssize_t written = write(STATUS, &end, sizeof end);
    _exit(written == (ssize_t)sizeof end ? 0 : 1);
}

apr_status_t aq_keeper_start(const aq_keeper_t *keeper, pid_t *pid)
{
    *pid = fork();
    if (*pid < 0) {
        return errno;
    }
    if (*pid == 0) {
        keep(keeper);
    }
    return APR_SUCCESS;
}
