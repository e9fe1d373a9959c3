/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/redis_cluster_fixture.h"

#include "unit/redis_fixture.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 16384
/* Below the range of outgoing connections, as tests/http/harness/ports.py has it. */
#define PORT_LOWEST 15000
#define PORT_HIGHEST 32000
#define START_S 40

typedef struct {
    pid_t pid;
    int port, bus_port;
} node_t;

static node_t nodes[REDIS_CLUSTER_NODES];

/* ---- ports ------------------------------------------------------------------------------------------------------ */

static int is_bindable(int port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int yes = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int is_free = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
                        bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;

    (void)close(fd);
    return is_free;
}

/* A port that no other test takes while this process lives: the same lock as in tests/http/harness/ports.py. */
static int port_lease(void)
{
    for (;;) {
        const int port = PORT_LOWEST + (int)(random() % (PORT_HIGHEST - PORT_LOWEST));
        struct sockaddr_un lock = {.sun_family = AF_UNIX};
        const int size = snprintf(lock.sun_path + 1, sizeof(lock.sun_path) - 1, "apiquota-test-port-%d", port);
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (bind(fd, (const struct sockaddr *)&lock,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)) == 0 &&
            is_bindable(port)) {
            return port; /* the lock goes with the process */
        }
        (void)close(fd);
    }
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

static const char *say(unsigned node, const char *command)
{
    redisContext *context = redisConnect("127.0.0.1", nodes[node].port);
    redisReply *reply = context != NULL && context->err == 0 ? redisCommand(context, command) : NULL;
    const char *text = "";

    if (reply != NULL) {
        text = reply->type == REDIS_REPLY_INTEGER ? apr_psprintf(fixture_pool, "%lld", reply->integer)
                                                  : apr_pstrdup(fixture_pool, reply->str != NULL ? reply->str : "");
        freeReplyObject(reply);
    }
    if (context != NULL) {
        redisFree(context);
    }
    return text;
}

const char *redis_cluster_fixture_say(unsigned node, const char *command)
{
    return say(node, command);
}

/* All nodes know each other and their slots from the first moment. */
static void nodes_write(unsigned reader, const char *folder)
{
    const char *text = "";

    for (unsigned i = 0; i < REDIS_CLUSTER_NODES; i++) {
        text = apr_psprintf(fixture_pool, "%s%040u 127.0.0.1:%d@%d %smaster - 0 0 %u connected %u-%u\n", text, i + 1,
                            nodes[i].port, nodes[i].bus_port, i == reader ? "myself," : "", i + 1,
                            i * SLOTS / REDIS_CLUSTER_NODES, (i + 1) * SLOTS / REDIS_CLUSTER_NODES - 1);
    }
    fixture_write(apr_pstrcat(fixture_pool, folder, "/nodes.conf", NULL),
                  apr_pstrcat(fixture_pool, text, "vars currentEpoch 3 lastVoteEpoch 0\n", NULL));
}

static void node_start(unsigned i)
{
    const char *folder = fixture_path(apr_psprintf(fixture_pool, "node%u", i));
    const char *const options[] = {"--port",
                                   apr_itoa(fixture_pool, nodes[i].port),
                                   "--cluster-port",
                                   apr_itoa(fixture_pool, nodes[i].bus_port),
                                   "--bind",
                                   "127.0.0.1",
                                   "--dir",
                                   folder,
                                   "--cluster-enabled",
                                   "yes",
                                   "--cluster-node-timeout",
                                   "60000",
                                   NULL};

    ck_assert_int_eq(mkdir(folder, 0700), 0);
    nodes_write(i, folder);
    nodes[i].pid = redis_fixture_run(options);
}

static void cluster_start(void)
{
    const time_t began = time(NULL);
    const struct timespec pause = {.tv_nsec = 20000000};

    ck_assert_int_eq(apr_pool_create(&fixture_pool, NULL), APR_SUCCESS);
    srandom((unsigned)getpid());
    for (unsigned i = 0; i < REDIS_CLUSTER_NODES; i++) {
        nodes[i] = (node_t){.port = port_lease(), .bus_port = port_lease()};
    }
    for (unsigned i = 0; i < REDIS_CLUSTER_NODES; i++) {
        node_start(i);
    }
    for (unsigned i = 0; i < REDIS_CLUSTER_NODES; i++) {
        while (strstr(say(i, "CLUSTER INFO"), "cluster_state:ok") == NULL) {
            ck_assert_msg(time(NULL) - began < START_S, "the cluster does not come about");
            (void)nanosleep(&pause, NULL);
        }
    }
    apr_pool_destroy(fixture_pool);
    fixture_pool = NULL;
}

static void cluster_end(void)
{
    for (unsigned i = 0; i < REDIS_CLUSTER_NODES; i++) {
        (void)kill(nodes[i].pid, SIGKILL);
        (void)waitpid(nodes[i].pid, NULL, 0);
    }
}

void redis_cluster_fixture_add(TCase *tests)
{
    tcase_add_unchecked_fixture(tests, cluster_start, cluster_end);
}

/* ---- stores ----------------------------------------------------------------------------------------------------- */

const aq_redis_address_t *redis_cluster_fixture_address(void)
{
    const char *const words[] = {
        apr_psprintf(fixture_pool, "redis+cluster://127.0.0.1:%d,127.0.0.1:%d", nodes[1].port, nodes[0].port),
        "budget=10s"};
    aq_redis_address_t *address;
    const char *error = "";

    ck_assert_msg(aq_redis_address_parse(fixture_pool, words, 2, &address, &error) == APR_SUCCESS, "%s", error);
    return address;
}

void redis_cluster_fixture_empty(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < REDIS_CLUSTER_NODES; i++) {
        ck_assert_str_eq(say(i, "FLUSHALL"), "OK");
    }
}

aq_counter_store_t *redis_cluster_fixture_store(const aq_redis_counters_options_t *options)
{
    aq_counter_store_t *store;
    const char *error = "";
    apr_status_t rv;

    redis_cluster_fixture_empty();
    rv = aq_redis_counters_open(fixture_pool, redis_cluster_fixture_address(), options, &store, &error);
    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    return store;
}
