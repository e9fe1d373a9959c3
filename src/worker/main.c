/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquota-worker: runs the batches that httpd has taken.
 *
 * Started by httpd's parent, as httpd's user, or by an operator's own unit. It learns where the queue and the spool are,
 * and which target each location has, from runtime.json, which httpd's parent writes. SIGHUP: read it again. SIGTERM and
 * SIGINT: stop, giving back what cannot be ended. It writes to standard error, in the form of httpd's error log.
 */
#include "base/aq_log.h"
#include "base/aq_version.h"
#include "worker/worker.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define LEASE_MS 30000
#define STOP_WAIT_MS 8000 /* httpd kills what is left of its children about nine seconds after it told them to stop */
#define RESULT_MAX_BYTES (INT64_C(1) << 30)

static const char usage[] =
    "usage: apiquota-worker --state-dir DIR [--config FILE] [--parent-pid PID] [--log-level LEVEL]\n"
    "\n"
    "  --state-dir DIR    where httpd keeps the state (APIQuotaStateDir)\n"
    "  --config FILE      what httpd wrote for the worker (default: DIR/runtime.json)\n"
    "  --parent-pid PID   stop when this parent is gone\n"
    "  --log-socket FD    where httpd hands over its error log when it has opened it anew\n"
    "  --log-level LEVEL  crit, error, warn, notice, info (default) or debug\n"
    "  --help             this\n"
    "  --version          which version this is\n";

static const char *const level_names[] = {
    [AQ_LOG_CRIT] = "crit",     [AQ_LOG_ERROR] = "error", [AQ_LOG_WARNING] = "warn",
    [AQ_LOG_NOTICE] = "notice", [AQ_LOG_INFO] = "info",   [AQ_LOG_DEBUG] = "debug",
};

/* "[Sun Nov 22 01:29:17.123456 2026] [apiquota-worker:info] [pid 42] AQ00610: …", in one write. */
static void write_line(void *data, aq_log_level_t level, unsigned number, apr_status_t status, const char *text)
{
    char line[4096], reason[256] = "", day[32] = "", year[8] = "";
    struct timeval now;
    struct tm local;

    (void)data;
    (void)gettimeofday(&now, NULL);
    if (localtime_r(&now.tv_sec, &local) != NULL) {
        (void)strftime(day, sizeof day, "%a %b %d %H:%M:%S", &local);
        (void)strftime(year, sizeof year, "%Y", &local);
    }
    if (status != APR_SUCCESS) {
        char words[160];
        (void)snprintf(reason, sizeof reason, "(%d)%s: ", status, apr_strerror(status, words, sizeof words));
    }
    int size = snprintf(line, sizeof line, "[%s.%06ld %s] [apiquota-worker:%s] [pid %ld] %sAQ%05u: %s\n", day,
                        (long)now.tv_usec, year, level_names[level], (long)getpid(), reason, number, text);
    if (size > 0) {
        size_t length = (size_t)size < sizeof line ? (size_t)size : sizeof line - 1;
        line[length - 1] = '\n';
        /* A log that cannot be written has nowhere to say so. */
        ssize_t written = write(STDERR_FILENO, line, length);
        (void)written;
    }
}

/* ---- options ------------------------------------------------------------------------------------------------------- */

/* Those whose value is a number, and where it goes. L, S and R are for tests. */
typedef struct {
    int letter;
    long long least, most;
    size_t offset; /* in aq_worker_options_t: of an int, or of an int64_t */
    int is_wide;
} number_option_t;

static const number_option_t numbers[] = {
    {.letter = 'p', .least = 1, .most = INT_MAX, .offset = offsetof(aq_worker_options_t, parent_pid)},
    {.letter = 'f', .least = 0, .most = INT_MAX, .offset = offsetof(aq_worker_options_t, log_socket)},
    {.letter = 'L', .least = 60, .most = 3600000, .offset = offsetof(aq_worker_options_t, lease_ms)},
    {.letter = 'S', .least = 0, .most = 3600000, .offset = offsetof(aq_worker_options_t, stop_wait_ms)},
    {.letter = 'R',
     .least = 1,
     .most = INT64_MAX,
     .offset = offsetof(aq_worker_options_t, result_max_bytes),
     .is_wide = 1},
};
static_assert(sizeof(pid_t) == sizeof(int), "a process id is set as an int");

static const struct option known[] = {
    {"state-dir", required_argument, NULL, 's'},
    {"config", required_argument, NULL, 'c'},
    {"parent-pid", required_argument, NULL, 'p'},
    {"log-socket", required_argument, NULL, 'f'},
    {"log-level", required_argument, NULL, 'l'},
    {"lease-ms", required_argument, NULL, 'L'},
    {"stop-wait-ms", required_argument, NULL, 'S'},
    {"result-max-bytes", required_argument, NULL, 'R'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* Says what is wrong with the value of an option; 0, as they do who find it wrong. */
static int value_refuse(const struct option *option, const char *value, const char *allowed)
{
    (void)fprintf(stderr, "apiquota-worker: --%s %s: allowed: %s\n", option->name, value, allowed);
    return 0;
}

static int level_take(const struct option *option, const char *value)
{
    for (int level = AQ_LOG_CRIT; level <= AQ_LOG_DEBUG; level++) {
        if (strcmp(value, level_names[level]) == 0) {
            aq_log_level_set((aq_log_level_t)level);
            return 1;
        }
    }
    return value_refuse(option, value, "crit, error, warn, notice, info, debug");
}

static int number_take(const struct option *option, const char *value, aq_worker_options_t *options)
{
    const number_option_t *of = numbers;
    char allowed[96], *end;

    while (of->letter != option->val) {
        of++;
    }
    errno = 0;
    const long long number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end || number < of->least || number > of->most) {
        (void)snprintf(allowed, sizeof allowed, "a whole number from %lld to %lld", of->least, of->most);
        return value_refuse(option, value, allowed);
    }
    void *at = (char *)options + of->offset;
    if (of->is_wide) {
        *(int64_t *)at = number;
    } else {
        *(int *)at = (int)number;
    }
    return 1;
}

/* Takes one option; 0 where its value is wrong, which is said. */
static int option_take(const struct option *option, const char *value, apr_pool_t *p, aq_worker_options_t *options,
                       int *asked)
{
    switch (option->val) {
    case 's':
        options->config_file =
            options->config_file != NULL ? options->config_file : apr_pstrcat(p, value, "/runtime.json", NULL);
        return 1;
    case 'c':
        options->config_file = value;
        return 1;
    case 'l':
        return level_take(option, value);
    case 'h':
    case 'V':
        *asked = option->val;
        return 1;
    default:
        return number_take(option, value, options);
    }
}

static int options_parse(int argc, char **argv, apr_pool_t *p, aq_worker_options_t *options, int *asked)
{
    int got, index = 0;

    *options = (aq_worker_options_t){
        .log_socket = -1, .lease_ms = LEASE_MS, .stop_wait_ms = STOP_WAIT_MS, .result_max_bytes = RESULT_MAX_BYTES};
    while ((got = getopt_long(argc, argv, "", known, &index)) != -1) {
        if (got == '?' || !option_take(&known[index], optarg, p, options, asked)) {
            return 0; /* getopt_long has said what it does not know */
        }
    }
    if (!*asked && (optind != argc || options->config_file == NULL)) {
        (void)fprintf(stderr, "apiquota-worker: %s\n",
                      optind != argc ? "it takes options alone" : "--state-dir DIR or --config FILE is missing");
        return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    aq_worker_options_t options;
    apr_pool_t *pool;
    int asked = 0; /* 'h': for help, 'V': for the version */

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return 1;
    }
    aq_log_sink_set(write_line, NULL);
    if (!options_parse(argc, argv, pool, &options, &asked)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (asked) {
        const char *told = asked == 'h' ? usage : "apiquota-worker (mod_apiquota) " AQ_VERSION "\n";
        return fputs(told, stdout) < 0 || fflush(stdout) != 0;
    }
    /* A target or a log that closes its end is told by errors. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        AQ_LOG(AQ_LOG_ERROR, 638, APR_SUCCESS, "libcurl cannot start");
        return 1;
    }
    int code = aq_worker_run(&options, pool);
    curl_global_cleanup();
    apr_pool_destroy(pool);
    apr_terminate();
    return code;
}
