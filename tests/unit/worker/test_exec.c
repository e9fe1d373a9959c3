/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec: targets: real programs (shell scripts), what they are given, how they may end, and that nothing of them stays.
 */
#include "worker/exec.h"

#include "base/aq_clock.h"
#include "contract/queue_fixture.h"
#include "worker/exec_lines.h"
#include "worker/leases.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BODY "one\ntwo\n"
#define PATIENCE_MS 30000

static const char *folder;
static aq_spool_t *spool;
static aq_batch_t batch;
static aq_batch_location_t location;
static aq_target_answer_t answer;
static _Atomic int stop;
static int64_t told[3], tellings;

static void nap(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static const char *in_folder(const char *name)
{
    return apr_pstrcat(fixture_pool, folder, "/", name, NULL);
}

static void setup(void)
{
    char *made = apr_pstrdup(fixture_pool, fixture_path("exec-XXXXXX"));
    const char *error;

    ck_assert_ptr_nonnull(mkdtemp(made));
    folder = made;
    ck_assert_int_eq(aq_spool_prepare(in_folder("spool"), (uid_t)-1, (gid_t)-1, fixture_pool, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_open(fixture_pool, in_folder("spool"), 0, &spool, &error), APR_SUCCESS);
    batch = queue_batch("acme", 1);
    batch.attempt = 2;
    batch.query = "a=b";
    batch.headers = "{\"x-trace-id\":\"t 1\"}";
    location = (aq_batch_location_t){.timeout_ms = 20000, .target_is_idempotent = 1};
    fixture_write(in_folder("body"), BODY);
    atomic_store(&stop, AQ_GO_ON);
    tellings = 0;
}

/* A target that is this script; $HERE is the test's folder. */
static void script(const char *text)
{
    const char *path = in_folder("program");

    fixture_write(path, apr_pstrcat(fixture_pool, "#!/bin/sh\nHERE='", folder, "'\n", text, "\n", NULL));
    ck_assert_int_eq(chmod(path, 0755), 0);
    location.target = apr_pstrcat(fixture_pool, "exec:", path, NULL);
}

static void note_progress(void *data, int64_t done, int64_t total, int64_t failed)
{
    (void)data;
    told[0] = done;
    told[1] = total;
    told[2] = failed;
    tellings++;
}

/* Runs the target; what it wrote, as text. */
static const char *run(int64_t result_max_bytes)
{
    aq_spool_file_t *result;
    aq_batch_body_t body = {.bytes = 0};
    int body_fd = open(in_folder("body"), O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(body_fd, 0);
    ck_assert_int_eq(aq_spool_result_begin(spool, fixture_pool, batch.id, 1, &result), APR_SUCCESS);
    aq_exec_run(fixture_pool,
                &(aq_target_call_t){.batch = &batch,
                                    .location = &location,
                                    .body_fd = body_fd,
                                    .result = result,
                                    .result_max_bytes = result_max_bytes,
                                    .progress = note_progress,
                                    .stop = &stop},
                &answer);
    ck_assert_int_eq(close(body_fd), 0);
    ck_assert_int_eq(aq_spool_result_commit(result, &body), APR_SUCCESS);
    return body.bytes > 0 ? fixture_read(aq_spool_result_path(spool, fixture_pool, batch.id, 1)) : "";
}

static int is_there(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

/* The process whose number the script wrote there. */
static pid_t pid_in(const char *name)
{
    return (pid_t)atoi(fixture_read(in_folder(name)));
}

/* Zombies count as gone: whoever inherited them reaps them when it likes. */
static int is_alive(pid_t pid)
{
    char text[512] = "";
    FILE *file = fopen(apr_psprintf(fixture_pool, "/proc/%ld/stat", (long)pid), "re");

    if (file == NULL) {
        return 0;
    }
    size_t got = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    const char *state = got > 0 ? strrchr(text, ')') : NULL;
    return state != NULL && state[2] != 'Z';
}

static int wait_gone(pid_t pid)
{
    for (aq_time_ms_t until_ms = aq_clock_boot_ms() + PATIENCE_MS; is_alive(pid) && aq_clock_boot_ms() < until_ms;) {
        nap(10);
    }
    return !is_alive(pid);
}

START_TEST(a_program_reads_the_body_and_writes_the_result)
{
    script("cat; echo $APIQUOTA_BATCH_ID $APIQUOTA_BATCH_TENANT $APIQUOTA_BATCH_KEY_ID $APIQUOTA_BATCH_ATTEMPT"
           " $APIQUOTA_BATCH_METHOD $APIQUOTA_BATCH_PATH $APIQUOTA_BATCH_QUERY $APIQUOTA_BATCH_CONTENT_TYPE"
           " \"$APIQUOTA_HEADER_X_TRACE_ID\"; pwd");
    const char *wanted =
        apr_pstrcat(fixture_pool, BODY, batch.id, " acme k_1 2 POST /v1/import a=b text/csv t 1\n/\n", NULL);
    ck_assert_str_eq(run(10000), wanted);
    ck_assert_int_eq(answer.end, AQ_TARGET_ANSWERED);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_ptr_null(answer.detail);
}
END_TEST

/* 32 and 33, as bits of /proc: glibc's posix_spawn ignores them for its child, and lets nobody change them. */
#define SIGNALS_OF_LIBC (UINT64_C(3) << 31)

START_TEST(a_program_inherits_its_four_descriptors_and_no_signal_mask)
{
    int leaked = open("/dev/null", O_RDONLY); /* as a library might leave one */
    sigset_t blocked;

    ck_assert_int_eq(sigemptyset(&blocked), 0);
    ck_assert_int_eq(sigaddset(&blocked, SIGTERM), 0);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
    script("exec ls /proc/self/fd");
    ck_assert_str_eq(run(10000), "0\n1\n2\n3\n4\n"); /* 4 is the folder that ls reads */
    ck_assert(signal(SIGINT, SIG_IGN) != SIG_ERR);
    script("sed -n 's/^SigBlk:[[:space:]]*//p' /proc/self/status");
    ck_assert_str_eq(run(10000), "0000000000000000\n");
    script("sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status");
    ck_assert_uint_eq(strtoull(run(10000), NULL, 16) & ~SIGNALS_OF_LIBC, 0);
    ck_assert_int_eq(close(leaked), 0);
}
END_TEST

static const struct {
    const char *text;
    aq_target_end_t end;
    int status;
    const char *detail;
} EXITS[] = {
    {"exit 0", AQ_TARGET_ANSWERED, 200, NULL},
    {"echo no; exit 1", AQ_TARGET_ANSWERED, 500, "exit code 1"},
    {"exit 75", AQ_TARGET_ANSWERED, 503, "exit code 75"},
    {"exit 255", AQ_TARGET_ANSWERED, 500, "exit code 255"},
    {"kill -SEGV $$", AQ_TARGET_LOST, 0, "signal 11"},
    {"kill -KILL $$", AQ_TARGET_LOST, 0, "signal 9"},
};

START_TEST(how_a_program_ends_is_its_answer)
{
    script(EXITS[_i].text);
    (void)run(10000);
    ck_assert_int_eq(answer.end, EXITS[_i].end);
    ck_assert_int_eq(answer.status, EXITS[_i].status);
    ck_assert_int_eq(answer.was_stopped, 0);
    ck_assert(EXITS[_i].detail == NULL ? answer.detail == NULL : strstr(answer.detail, EXITS[_i].detail) != NULL);
}
END_TEST

START_TEST(a_program_that_cannot_be_started_had_no_effect)
{
    location.target = apr_pstrcat(fixture_pool, "exec:", in_folder("none"), NULL);
    (void)run(100);
    ck_assert_int_eq(answer.end, AQ_TARGET_REFUSED);
    location.target = apr_pstrcat(fixture_pool, "exec:", in_folder("body"), NULL); /* not executable */
    (void)run(100);
    ck_assert_int_eq(answer.end, AQ_TARGET_REFUSED);
    ck_assert_ptr_null(strstr(answer.detail, folder));
}
END_TEST

START_TEST(progress_comes_by_lines_on_descriptor_3)
{
    script("echo 1 10 >&3; echo nonsense >&3; echo 4 10 2 x >&3; printf '7 1' >&3; printf '0 3\\n' >&3; printf 8 >&3");
    (void)run(100);
    ck_assert_int_ge(tellings, 1);
    ck_assert_int_eq(told[0], 7);
    ck_assert_int_eq(told[1], 10);
    ck_assert_int_eq(told[2], 3);
}
END_TEST

START_TEST(lines_of_progress_are_read_strictly)
{
    static const struct {
        const char *line;
        int is_good;
    } lines[] = {{"1 2\n", 1},    {" 1  2 0 \r\n", 1}, {"0 0\n", 1}, {"1\n", 0},
                 {"-1 2\n", 0},   {"1 2 3 4\n", 0},    {"1,2\n", 0}, {"99999999999999999999 2\n", 0},
                 {"1 2 -3\n", 0}, {"1 2", 0},          {"\n", 0},    {"1.5 2\n", 0}};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        aq_exec_lines_t read = {.batch_id = NULL, .done = 77};
        aq_exec_lines_add(&read, lines[i].line, strlen(lines[i].line));
        ck_assert_msg(read.is_new == lines[i].is_good, "%s", lines[i].line);
    }
}
END_TEST

START_TEST(f50_a_program_without_end_is_told_to_and_then_killed)
{
    script("trap 'echo told >$HERE/told' TERM; (echo $(exec sh -c 'echo $PPID') >$HERE/child; sleep 60) & echo $$ "
           ">$HERE/pid;"
           " while :; do sleep 0.1; done");
    location.timeout_ms = 3000; /* for the shells to be up, also on a busy machine */
    aq_time_ms_t began_ms = aq_clock_boot_ms();
    (void)run(100);
    ck_assert_int_eq(answer.end, AQ_TARGET_TIMED_OUT);
    ck_assert_int_ge(aq_clock_boot_ms() - began_ms, 5000); /* it had time to end by itself */
    ck_assert(is_there("told"));
    ck_assert(wait_gone(pid_in("pid")));
    ck_assert(wait_gone(pid_in("child")));
}
END_TEST

START_TEST(a_program_that_leaves_with_0_when_told_to_has_not_done_its_work)
{
    script("trap 'exit 0' TERM; while :; do sleep 0.05; done");
    location.timeout_ms = 500;
    (void)run(100);
    ck_assert_int_eq(answer.end, AQ_TARGET_TIMED_OUT);
}
END_TEST

START_TEST(f50_output_without_end_is_bounded)
{
    script("exec cat /dev/zero");
    (void)run(100000);
    ck_assert_int_eq(answer.end, AQ_TARGET_TOO_LARGE);
}
END_TEST

START_TEST(what_a_program_leaves_behind_in_its_group_ends_with_it)
{
    script("sleep 60 & echo $! >$HERE/child; echo done");
    ck_assert_str_eq(run(100), "done\n");
    ck_assert_int_eq(answer.status, 200);
    ck_assert(wait_gone(pid_in("child")));
}
END_TEST

START_TEST(f48_a_stop_ends_the_program)
{
    int64_t took_ms = INT64_MAX;

    script("echo $$ >$HERE/pid; exec sleep 60");
    atomic_store(&stop, _i);
    /* Seen once in some: a busy machine may take any time. */
    for (int i = 0; i < 8 && took_ms >= 4000; i++) {
        aq_time_ms_t began_ms = aq_clock_boot_ms();
        (void)run(100);
        took_ms = aq_clock_boot_ms() - began_ms;
        ck_assert_int_eq(answer.was_stopped, 1);
        ck_assert_int_eq(answer.end, AQ_TARGET_LOST);
    }
    ck_assert_int_lt(took_ms, 4000);
}
END_TEST

START_TEST(f41_a_program_does_not_outlive_its_killed_worker)
{
    script(
        "trap '' TERM; (echo $(exec sh -c 'echo $PPID') >$HERE/child; sleep 60) & echo $$ >$HERE/pid; touch $HERE/up;"
        " while :; do sleep 1; done");
    pid_t worker = fixture_fork();
    if (worker == 0) {
        (void)run(100);
        _exit(0);
    }
    for (int i = 0; i < 3000 && (!is_there("up") || !is_there("child")); i++) {
        nap(10);
    }
    nap(50);
    pid_t program = pid_in("pid"), child = pid_in("child");
    ck_assert(is_alive(program));
    ck_assert_int_eq(kill(worker, SIGKILL), 0);
    ck_assert_int_eq(waitpid(worker, NULL, 0), worker);
    ck_assert(wait_gone(program));
    ck_assert(wait_gone(child));
}
END_TEST

START_TEST(a_program_that_writes_much_to_its_log_is_bounded_and_not_held_up)
{
    script("i=0; while [ $i -lt 3000 ]; do echo \"a line of the log that is long enough to fill a pipe $i\" >&2;"
           " i=$((i+1)); done; cat");
    ck_assert_str_eq(run(100), BODY);
    ck_assert_int_eq(answer.status, 200);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, a_program_reads_the_body_and_writes_the_result);
    tcase_add_test(tests, a_program_inherits_its_four_descriptors_and_no_signal_mask);
    tcase_add_loop_test(tests, how_a_program_ends_is_its_answer, 0, sizeof EXITS / sizeof EXITS[0]);
    tcase_add_test(tests, a_program_that_cannot_be_started_had_no_effect);
    tcase_add_test(tests, progress_comes_by_lines_on_descriptor_3);
    tcase_add_test(tests, lines_of_progress_are_read_strictly);
    tcase_add_test(tests, f50_a_program_without_end_is_told_to_and_then_killed);
    tcase_add_test(tests, a_program_that_leaves_with_0_when_told_to_has_not_done_its_work);
    tcase_add_test(tests, f50_output_without_end_is_bounded);
    tcase_add_test(tests, what_a_program_leaves_behind_in_its_group_ends_with_it);
    tcase_add_loop_test(tests, f48_a_stop_ends_the_program, AQ_STOP_CANCEL, AQ_STOP_LOST + 1);
    tcase_add_test(tests, f41_a_program_does_not_outlive_its_killed_worker);
    tcase_add_test(tests, a_program_that_writes_much_to_its_log_is_bounded_and_not_held_up);
}

int main(void)
{
    return fixture_run("exec", add_tests);
}
