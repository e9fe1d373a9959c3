/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to a server that has several addresses. */
#include "store/redis_private.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILLERS 8
#define PORTS_TRIED 50

/* A listening socket, or -1; `*port` 0: any, which it then is. */
static int listen_at(const char *ip, in_port_t *port, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = *port};
    socklen_t size = sizeof(at);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(inet_pton(AF_INET, ip, &at.sin_addr), 1);
    if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, backlog) != 0) {
        (void)close(fd);
        return -1;
    }
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = at.sin_port;
    return fd;
}

/* A socket that is full answers nobody, as an address does whose packets are dropped on the way. */
static void deafen(const char *ip, in_port_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = port};

    ck_assert_int_eq(inet_pton(AF_INET, ip, &at.sin_addr), 1);
    for (int i = 0; i < FILLERS; i++) { /* they are closed with the test's process */
        const int filler = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        ck_assert(connect(filler, (const struct sockaddr *)&at, sizeof(at)) == 0 || errno == EINPROGRESS);
    }
}

/* Answers one connection's PINGs. */
static void *pong(void *listening)
{
    const int fd = accept(*(const int *)listening, NULL, NULL);
    char word[64];

    while (read(fd, word, sizeof(word)) > 0 && write(fd, "+PONG\r\n", 7) == 7) {
    }
    (void)close(fd);
    return NULL;
}

static aq_redis_failure_t ping(aq_redis_link_t *link)
{
    const char *words[] = {"PING"};
    const size_t sizes[] = {4};

    atomic_store(&link->nodes[0].is_down, 0);
    return aq_redis_ask(link, &(aq_redis_command_t){.count = 1, .words = words, .sizes = sizes}, NULL, NULL, NULL);
}

/* As a name with two addresses, of which the first leads nowhere. */
START_TEST(an_address_that_answers_nothing_keeps_no_other_from_being_tried)
{
    int deaf = -1, listening = -1;
    aq_redis_address_t *address;
    aq_redis_link_t *link;
    in_port_t port = 0;
    const char *error;
    pthread_t thread;

    /* Somebody else may have the port at the other address. */
    for (int i = 0; i < PORTS_TRIED && listening < 0; i++) {
        (void)close(deaf);
        port = 0;
        deaf = listen_at("127.0.0.2", &port, 0);
        listening = listen_at("127.0.0.1", &port, 8);
    }
    const char *words[] = {apr_psprintf(fixture_pool, "redis://127.0.0.1:%d", ntohs(port)), "budget=5s"};
    deafen("127.0.0.2", port);
    ck_assert_int_eq(pthread_create(&thread, NULL, pong, &listening), 0);
    ck_assert_int_eq(aq_redis_address_parse(fixture_pool, words, 2, &address, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_redis_link_open(fixture_pool, address, &link, &error), APR_SUCCESS);
    apr_cpystrn(link->nodes[0].ips[0], "127.0.0.2", INET6_ADDRSTRLEN);
    apr_cpystrn(link->nodes[0].ips[1], "127.0.0.1", INET6_ADDRSTRLEN);
    link->nodes[0].ip_count = 2;
    aq_redis_link_budget_set(link, 100);
    ck_assert_int_eq(ping(link), AQ_REDIS_TIMEOUT);
    aq_redis_link_budget_set(link, 5000);
    ck_assert_int_eq(ping(link), AQ_REDIS_DONE);
    aq_redis_link_release(link);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    (void)close(listening);
    (void)close(deaf);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, an_address_that_answers_nothing_keeps_no_other_from_being_tried);
}

int main(void)
{
    return fixture_run("redis_connection", add_tests);
}
