/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side: pipes to the program and its keeper, watched by one loop.
 *
 * To end the program it is sent TERM, and KILL when it takes too long. What it says after TERM does not count as its
 * answer: many programs leave with 0 then, with half of their work done. The keeper knows which came first.
 */
#include "worker/exec.h"

#include "base/aq_clock.h"
#include "base/aq_log.h"
#include "worker/exec_lines.h"
#include "worker/keeper.h"
#include "worker/leases.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define SCHEME "exec:"
#define LOOK_EVERY_MS 100
#define GRACE_MS 5000      /* between TERM and KILL */
#define STOP_GRACE_MS 1000 /* the same where the worker itself has to end soon */
#define PROGRESS_EVERY_MS 500
#define PIECE_BYTES 65536

/* The worker's ends of the pipes; -1: closed. */
enum { OUTPUT, ERRORS, PROGRESS, STATUS, LIFELINE, PIPE_COUNT };

typedef struct {
    const aq_target_call_t *call;
    apr_pool_t *pool;
    pid_t keeper;
    int ours[PIPE_COUNT];
    int theirs[PIPE_COUNT];
    char *piece;
    aq_exec_lines_t errors, progress;
    int64_t result_bytes;
    int is_too_large, has_timed_out, has_ended;
    apr_status_t result_error;
    aq_time_ms_t end_at_ms, kill_at_ms, progress_at_ms; /* boot time; 0: not set */
    char told;                                          /* the last that the keeper was asked for */
    aq_keeper_end_t end;
} run_t;

int aq_exec_is_target(const char *target)
{
    return strncmp(target, SCHEME, sizeof SCHEME - 1) == 0;
}

static void pair_close(int ends[PIPE_COUNT])
{
    for (int i = 0; i < PIPE_COUNT; i++) {
        if (ends[i] >= 0) {
            (void)close(ends[i]);
            ends[i] = -1;
        }
    }
}

static apr_status_t run_end(void *data)
{
    run_t *run = data;

    pair_close(run->ours);
    pair_close(run->theirs);
    return APR_SUCCESS;
}

/* The worker reads from all but the lifeline. */
static apr_status_t pipes_open(run_t *run)
{
    for (int i = 0; i < PIPE_COUNT; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) {
            return errno;
        }
        run->ours[i] = ends[i == LIFELINE];
        run->theirs[i] = ends[i != LIFELINE];
        if (fcntl(run->ours[i], F_SETFL, O_NONBLOCK) != 0) {
            return errno;
        }
    }
    return APR_SUCCESS;
}

static void environment_add(apr_pool_t *p, apr_array_header_t *environment, const char *name, const char *value)
{
    if (value != NULL) {
        APR_ARRAY_PUSH(environment, char *) = apr_pstrcat(p, name, "=", value, NULL);
    }
}

/* "x-trace-id" is APIQUOTA_HEADER_X_TRACE_ID. */
static void headers_add(apr_pool_t *p, apr_array_header_t *environment, const char *headers)
{
    json_t *kept = headers != NULL ? json_loads(headers, 0, NULL) : NULL;
    const char *name;
    json_t *value;

    json_object_foreach(kept, name, value)
    {
        char *variable = apr_pstrcat(p, "APIQUOTA_HEADER_", name, NULL);
        for (char *c = variable; *c != '\0'; c++) {
            *c = apr_isalnum(*c) ? (char)apr_toupper(*c) : '_';
        }
        environment_add(p, environment, variable, json_string_value(value));
    }
    json_decref(kept);
}

static char *const *environment_make(apr_pool_t *p, const aq_batch_t *batch)
{
    apr_array_header_t *environment = apr_array_make(p, 24, sizeof(char *));
    const char *path = getenv("PATH");
    const struct {
        const char *name, *value;
    } ours[] = {
        {"PATH", path != NULL ? path : "/usr/local/bin:/usr/bin:/bin"},
        {"LANG", "C.UTF-8"},
        {"APIQUOTA_BATCH_ID", batch->id},
        {"APIQUOTA_BATCH_TENANT", batch->tenant},
        {"APIQUOTA_BATCH_KEY_ID", batch->key_id},
        {"APIQUOTA_BATCH_ATTEMPT", apr_itoa(p, batch->attempt)},
        {"APIQUOTA_BATCH_METHOD", batch->method},
        {"APIQUOTA_BATCH_PATH", batch->path},
        {"APIQUOTA_BATCH_QUERY", batch->query},
        {"APIQUOTA_BATCH_CONTENT_TYPE", batch->request.content_type},
    };

    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        environment_add(p, environment, ours[i].name, ours[i].value);
    }
    headers_add(p, environment, batch->headers);
    APR_ARRAY_PUSH(environment, char *) = NULL;
    return (char *const *)environment->elts;
}

static apr_status_t run_begin(run_t *run)
{
    apr_status_t rv = pipes_open(run);

    if (rv == APR_SUCCESS) {
        rv = aq_keeper_start(&(aq_keeper_t){.program = run->call->location->target + sizeof SCHEME - 1,
                                            .environment = environment_make(run->pool, run->call->batch),
                                            .input_fd = run->call->body_fd,
                                            .output_fd = run->theirs[OUTPUT],
                                            .error_fd = run->theirs[ERRORS],
                                            .progress_fd = run->theirs[PROGRESS],
                                            .lifeline_fd = run->theirs[LIFELINE],
                                            .status_fd = run->theirs[STATUS]},
                             &run->keeper);
    }
    pair_close(run->theirs);
    return rv;
}

static void ask_keeper(run_t *run, char wish)
{
    if (run->told != wish && run->told != AQ_KEEPER_KILL) {
        run->told = wish;
        /* It fails only where the keeper is gone: the status pipe tells that too. */
        ssize_t written = write(run->ours[LIFELINE], &wish, 1);
        (void)written;
    }
}

static void take_output(run_t *run, const char *data, size_t size)
{
    run->result_bytes += (int64_t)size;
    run->is_too_large |= run->result_bytes > run->call->result_max_bytes;
    if (!run->is_too_large && run->result_error == APR_SUCCESS) {
        run->result_error = aq_spool_write(run->call->result, data, size);
    }
    if (run->is_too_large || run->result_error != APR_SUCCESS) {
        ask_keeper(run, AQ_KEEPER_KILL);
    }
}

/* Reads what is there; a pipe at its end is closed. */
static void pipe_read(run_t *run, int which)
{
    ssize_t got = read(run->ours[which], run->piece, PIECE_BYTES);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        (void)close(run->ours[which]);
        run->ours[which] = -1;
    } else if (got > 0 && which == OUTPUT) {
        take_output(run, run->piece, (size_t)got);
    } else if (got > 0) {
        aq_exec_lines_add(which == ERRORS ? &run->errors : &run->progress, run->piece, (size_t)got);
    }
}

/* What is left in the pipes of a program that has ended; something that escaped its group may still hold them. */
static void pipes_drain(run_t *run)
{
    for (int i = OUTPUT; i <= PROGRESS; i++) {
        struct pollfd one = {.fd = run->ours[i], .events = POLLIN};
        while (run->ours[i] >= 0 && poll(&one, 1, 0) == 1 && !run->is_too_large) {
            pipe_read(run, i);
        }
    }
}

static void status_read(run_t *run)
{
    ssize_t got = read(run->ours[STATUS], &run->end, sizeof run->end);

    if (got == (ssize_t)sizeof run->end) {
        run->has_ended = 1;
    } else if (got >= 0) {
        /* The keeper was killed, and its program with it. */
        run->end = (aq_keeper_end_t){.wait_status = SIGKILL, .was_told = run->told != '\0'};
        run->has_ended = 1;
    }
}

/* Whether it is time for TERM or KILL. */
static void look_at_time(run_t *run, aq_time_ms_t now_ms)
{
    int stop = atomic_load(run->call->stop);

    if (stop == AQ_STOP_LOST || (run->kill_at_ms != 0 && now_ms >= run->kill_at_ms)) {
        ask_keeper(run, AQ_KEEPER_KILL);
    } else if (stop != AQ_GO_ON || now_ms >= run->end_at_ms) {
        aq_time_ms_t kill_at_ms = now_ms + (stop == AQ_STOP_ASKED ? STOP_GRACE_MS : GRACE_MS);
        run->has_timed_out |= stop == AQ_GO_ON && run->told == '\0';
        run->kill_at_ms = run->kill_at_ms == 0 || kill_at_ms < run->kill_at_ms ? kill_at_ms : run->kill_at_ms;
        ask_keeper(run, AQ_KEEPER_TERM);
    }
}

static void tell_progress(run_t *run, aq_time_ms_t now_ms, int is_last)
{
    const aq_exec_lines_t *lines = &run->progress;

    if (lines->is_new && (is_last || now_ms >= run->progress_at_ms)) {
        run->progress.is_new = 0;
        run->progress_at_ms = now_ms + PROGRESS_EVERY_MS;
        if (run->call->progress != NULL) {
            run->call->progress(run->call->progress_data, lines->done, lines->total, lines->failed);
        }
    }
}

static void serve(run_t *run)
{
    while (!run->has_ended) {
        struct pollfd looked_at[LIFELINE];
        for (int i = 0; i < LIFELINE; i++) {
            looked_at[i] = (struct pollfd){.fd = run->ours[i], .events = POLLIN};
        }
        int ready = poll(looked_at, LIFELINE, LOOK_EVERY_MS);
        for (int i = OUTPUT; ready > 0 && i <= PROGRESS; i++) {
            if (looked_at[i].revents != 0) {
                pipe_read(run, i);
            }
        }
        if (ready > 0 && looked_at[STATUS].revents != 0) {
            status_read(run);
        }
        aq_time_ms_t now_ms = aq_clock_boot_ms();
        look_at_time(run, now_ms);
        tell_progress(run, now_ms, 0);
    }
    pipes_drain(run);
    tell_progress(run, 0, 1);
    (void)waitpid(run->keeper, NULL, 0);
}

/* What the program itself had to say. */
static void read_exit(const run_t *run, aq_target_answer_t *answer)
{
    int code = WEXITSTATUS(run->end.wait_status);

    if (!WIFEXITED(run->end.wait_status)) {
        answer->end = AQ_TARGET_LOST;
        answer->detail = apr_psprintf(run->pool, "the program was ended by signal %d", WTERMSIG(run->end.wait_status));
        return;
    }
    answer->end = AQ_TARGET_ANSWERED;
    answer->status = code == 0 ? 200 : code == EX_TEMPFAIL ? 503 : 500;
    answer->content_type = "application/octet-stream";
    answer->headers = "{}";
    answer->detail = code != 0 ? apr_psprintf(run->pool, "the program ended with exit code %d", code) : NULL;
}

static void read_end(const run_t *run, aq_target_answer_t *answer)
{
    const char *id = run->call->batch->id;

    *answer = (aq_target_answer_t){.end = AQ_TARGET_LOST};
    if (run->end.exec_errno != 0) {
        AQ_LOG(AQ_LOG_ERROR, 644, run->end.exec_errno, "batch %s: %s cannot be started", id,
               run->call->location->target);
        answer->end = AQ_TARGET_REFUSED;
        answer->detail = "the program could not be started";
    } else if (run->is_too_large) {
        answer->end = AQ_TARGET_TOO_LARGE;
        answer->detail = "the program's output is larger than may be stored";
    } else if (run->result_error != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 645, run->result_error, "batch %s: the program's output cannot be stored", id);
        answer->detail = "the program's output could not be stored";
    } else if (!run->end.was_told) {
        read_exit(run, answer);
    } else if (run->has_timed_out) {
        answer->end = AQ_TARGET_TIMED_OUT;
        answer->detail = "the program did not end in time";
    } else {
        answer->was_stopped = 1;
    }
}

void aq_exec_run(apr_pool_t *p, const aq_target_call_t *call, aq_target_answer_t *answer)
{
    run_t *run = apr_pcalloc(p, sizeof(*run));

    *answer = (aq_target_answer_t){.end = AQ_WORKER_TROUBLE, .detail = "the program could not be started"};
    *run = (run_t){.call = call, .pool = p, .piece = apr_palloc(p, PIECE_BYTES)};
    memset(run->ours, -1, sizeof run->ours);
    memset(run->theirs, -1, sizeof run->theirs);
    run->end_at_ms = aq_clock_boot_ms() + call->location->timeout_ms;
    run->errors.batch_id = call->batch->id;
    apr_pool_cleanup_register(p, run, run_end, apr_pool_cleanup_null);
    apr_status_t rv = run_begin(run);
    if (rv == APR_SUCCESS) {
        serve(run);
        read_end(run, answer);
    } else {
        AQ_LOG(AQ_LOG_ERROR, 646, rv, "batch %s: no program can be started", call->batch->id);
    }
    apr_pool_cleanup_run(p, run, run_end);
}
