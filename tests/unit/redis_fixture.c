/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/redis_fixture.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MAX 24
#define START_S 40

/* Debian's redis-tools holds the server under the name of one of its tools; its own name is what makes it a server. */
static const char *program_find(void)
{
    static const char *const tools[] = {"/usr/bin/redis-check-rdb", "/usr/bin/valkey-check-rdb"};
    const char *set = getenv("AQ_REDIS_SERVER");
    const char *link = fixture_path("redis-server");

    if (set != NULL) {
        return set;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (access(tools[i], X_OK) == 0 && (symlink(tools[i], link) == 0 || errno == EEXIST)) {
            return link;
        }
    }
    ck_abort_msg("there is no Redis to test with: `make deps` installs it");
}

static void program_run(const char *const *options)
{
    const char *arguments[OPTIONS_MAX + 12] = {
        program_find(),
        "--port",
        "0",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        fixture_path(""),
        "--logfile",
        fixture_path("redis.log"),
    };
    unsigned count = 11;

    for (unsigned i = 0; options[i] != NULL && count < sizeof(arguments) / sizeof(arguments[0]) - 1; i++) {
        arguments[count++] = options[i];
    }
    /* Check ends a test that hangs with SIGKILL: its server must go too. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) {
        (void)execv(arguments[0], (char *const *)arguments);
    }
    _exit(127);
}

pid_t redis_fixture_run(const char *const *options)
{
    const pid_t pid = fixture_fork();

    if (pid == 0) {
        program_run(options);
    }
    return pid;
}

static int is_answering(const redis_fixture_t *server)
{
    redisContext *context = redisConnectUnix(server->socket);
    const int is_connected = context != NULL && context->err == 0;

    if (context != NULL) {
        redisFree(context);
    }
    return is_connected;
}

void redis_fixture_restart(redis_fixture_t *server, const char *const *options)
{
    const time_t began = time(NULL);
    const struct timespec pause = {.tv_nsec = 2000000};
    const char *all[OPTIONS_MAX + 1] = {"--unixsocket", server->socket};
    unsigned count = 2;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)unlink(server->socket);
    for (unsigned i = 0; options != NULL && options[i] != NULL && count < OPTIONS_MAX; i++) {
        all[count++] = options[i];
    }
    server->pid = redis_fixture_run(all);
    while (!is_answering(server)) {
        ck_assert_msg(time(NULL) - began < START_S && waitpid(server->pid, NULL, WNOHANG) == 0, "Redis does not start");
        (void)nanosleep(&pause, NULL);
    }
}

redis_fixture_t redis_fixture_start(const char *const *options)
{
    static unsigned number;
    redis_fixture_t server = {.socket = fixture_path(apr_psprintf(fixture_pool, "redis%u", number++))};
    const char *const words[] = {apr_pstrcat(fixture_pool, "unix:", server.socket, NULL), "budget=5s"};
    aq_redis_address_t *address;
    const char *error;

    redis_fixture_restart(&server, options);
    ck_assert_int_eq(aq_redis_address_parse(fixture_pool, words, 2, &address, &error), APR_SUCCESS);
    server.address = address;
    return server;
}

void redis_fixture_kill(redis_fixture_t *server)
{
    (void)kill(server->pid, SIGCONT);
    ck_assert_int_eq(kill(server->pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server->pid, NULL, 0), server->pid);
}

const char *redis_fixture_say(const redis_fixture_t *server, const char *command)
{
    redisContext *context = redisConnectUnix(server->socket);
    redisReply *reply;
    const char *text;

    ck_assert(context != NULL && context->err == 0);
    reply = redisCommand(context, command);
    ck_assert_ptr_nonnull(reply);
    text = reply->type == REDIS_REPLY_INTEGER
               ? apr_psprintf(fixture_pool, "%" APR_INT64_T_FMT, (apr_int64_t)reply->integer)
               : apr_pstrdup(fixture_pool, reply->str != NULL ? reply->str : "");
    freeReplyObject(reply);
    redisFree(context);
    return text;
}

aq_counter_store_t *redis_fixture_store_with(const redis_fixture_t *server, const aq_redis_counters_options_t *options)
{
    aq_counter_store_t *store;
    const char *error = "";
    apr_status_t rv;

    rv = aq_redis_counters_open(fixture_pool, server->address, options, &store, &error);
    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    return store;
}

aq_counter_store_t *redis_fixture_store(const redis_fixture_t *server)
{
    return redis_fixture_store_with(server, &(aq_redis_counters_options_t){.is_clock_given = 1, .waits_to_settle = 1});
}
