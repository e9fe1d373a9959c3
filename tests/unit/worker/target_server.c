/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/worker/target_server.h"

#include "unit/fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX (1 << 20)

static target_server_t *shared;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

typedef struct {
    int fd;
    char head[4096];
    char *body;
    size_t body_bytes;
} exchange_t;

static void nap(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        data += sent;
        size -= (size_t)sent;
    }
}

static void answer(int fd, int status, const char *headers, const char *body, size_t size)
{
    char head[2048];

    int length =
        snprintf(head, sizeof head, "HTTP/1.1 %d Said\r\nContent-Length: %zu\r\n%s\r\n", status, size, headers);
    send_all(fd, head, (size_t)length);
    send_all(fd, body, size);
}

/* Reads one request; 0 where the client is gone. */
static int take(exchange_t *exchange)
{
    size_t have = 0, body_bytes = 0;
    char *end = NULL;

    memset(exchange->head, 0, sizeof exchange->head);
    while (end == NULL && have < sizeof exchange->head - 1) {
        ssize_t got = recv(exchange->fd, exchange->head + have, 1, 0);
        if (got <= 0) {
            return 0;
        }
        have++;
        end = strstr(exchange->head, "\r\n\r\n");
    }
    const char *length = strstr(exchange->head, "Content-Length: ");
    size_t wanted = length != NULL ? strtoul(length + 16, NULL, 10) : 0;
    while (body_bytes < wanted) {
        char skipped[4096];
        char *at = body_bytes < BODY_MAX - sizeof skipped ? exchange->body + body_bytes : skipped;
        size_t left = wanted - body_bytes;
        ssize_t got = recv(exchange->fd, at, left < sizeof skipped ? left : sizeof skipped, 0);
        if (got <= 0) {
            return 0;
        }
        body_bytes += (size_t)got;
    }
    exchange->body_bytes = body_bytes;
    return 1;
}

/* Notes the request; counts an effect where its key is new. */
static void note(const exchange_t *exchange, int has_effect)
{
    char key[64] = "";
    const char *at = strstr(exchange->head, "Idempotency-Key: ");

    if (at != NULL) {
        (void)sscanf(at + 17, "%63[^\r]", key);
    }
    (void)pthread_mutex_lock(&mutex);
    memcpy(shared->head, exchange->head, sizeof shared->head);
    shared->body_bytes = exchange->body_bytes;
    int known = 0;
    for (int i = 0; i < shared->keys; i++) {
        known |= strcmp(shared->key[i], key) == 0;
    }
    if (has_effect && !known && shared->keys < TARGET_KEYS_MAX) {
        strcpy(shared->key[shared->keys], key);
        shared->keys++;
        shared->effects++;
    }
    (void)pthread_mutex_unlock(&mutex);
}

static void ok(const exchange_t *exchange)
{
    note(exchange, 1);
    answer(exchange->fd, 201, "Content-Type: text/plain\r\n", exchange->body, exchange->body_bytes);
}

static void slow(const exchange_t *exchange, long ms)
{
    note(exchange, 0);
    nap(ms);
    ok(exchange);
}

static void held(const exchange_t *exchange)
{
    note(exchange, 0);
    while (!atomic_load(&shared->go_on)) {
        nap(5);
    }
    ok(exchange);
}

static void trickle(int fd)
{
    static const char head[] = "HTTP/1.1 200 Said\r\nContent-Length: 100000\r\n\r\n";

    send_all(fd, head, sizeof head - 1);
    for (int i = 0; i < 60 && send(fd, "x", 1, MSG_NOSIGNAL) == 1; i++) {
        nap(1000);
    }
}

static void big(int fd, size_t size)
{
    char *body = calloc(1, size + 1);

    answer(fd, 200, "", body, size);
    free(body);
}

static void serve(const exchange_t *exchange, const char *path)
{
    static const char headers[] = "Content-Type: text/csv\r\nX-Kept: one\r\nX-Kept: two\r\nSet-Cookie: a=b\r\n"
                                  "X-RateLimit-Limit: 5\r\nRetry-After: 9\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n";

    if (strncmp(path, "/status/", 8) == 0) {
        note(exchange, 0);
        answer(exchange->fd, atoi(path + 8), "Content-Type: text/plain\r\n", "no\n", 3);
    } else if (strncmp(path, "/slow/", 6) == 0) {
        slow(exchange, atol(path + 6));
    } else if (strcmp(path, "/held") == 0) {
        held(exchange);
    } else if (strcmp(path, "/flaky") == 0 && shared->requests == 1) {
        answer(exchange->fd, 503, "", "", 0);
    } else if (strcmp(path, "/headers") == 0) {
        answer(exchange->fd, 200, headers, "a,b\n", 4);
    } else if (strcmp(path, "/redirect") == 0) {
        answer(exchange->fd, 302, "Location: /ok\r\n", "", 0);
    } else if (strcmp(path, "/reset") == 0) {
        note(exchange, 0);
    } else if (strcmp(path, "/trickle") == 0) {
        trickle(exchange->fd);
    } else if (strncmp(path, "/big/", 5) == 0) {
        big(exchange->fd, strtoul(path + 5, NULL, 10));
    } else {
        ok(exchange);
    }
}

static void *connection(void *data)
{
    exchange_t exchange = {.fd = (int)(intptr_t)data, .body = calloc(1, BODY_MAX)};
    char path[128];

    while (take(&exchange) && sscanf(exchange.head, "%*s %127[^ ?]", path) == 1) {
        atomic_fetch_add(&shared->requests, 1);
        serve(&exchange, path);
        if (strcmp(path, "/reset") == 0) {
            break;
        }
    }
    (void)close(exchange.fd);
    free(exchange.body);
    return NULL;
}

static void run(int listener)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, NULL, connection, (void *)(intptr_t)fd) == 0) {
            (void)pthread_detach(thread);
        }
    }
}

target_server_t *target_server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED);
    memset(shared, 0, sizeof(*shared));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    shared->port = ntohs(address.sin_port);
    pid_t child = fixture_fork();
    if (child == 0) {
        run(listener);
    }
    shared->pid = child;
    ck_assert_int_eq(close(listener), 0);
    return shared;
}

void target_server_stop(target_server_t *server)
{
    (void)kill(server->pid, SIGKILL);
    (void)waitpid(server->pid, NULL, 0);
}
