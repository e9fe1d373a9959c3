/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to Redis: made, written to and read within a deadline. See redis_link.h.
 *
 * hiredis is used without blocking, and poll waits: its own time-outs hold for each read, so that a server which sends one
 * byte at a time could keep a request for ever.
 */
#include "store/redis_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* TLS may want to read where we want to write, and hiredis does not say so: then it is asked again after so long. */
#define TLS_SLICE_MS 2
#define WORDS_MAX 8
/* As many as the ranges of a cluster's slots can be, and more than any other answer of ours has. */
#define ELEMENTS_MAX AQ_REDIS_SLOTS
#define REPLY_BYTES_MAX (1u << 20)

/* ---- reasons ---------------------------------------------------------------------------------------------------- */

aq_redis_failure_t aq_redis_failure_of(const char *text)
{
    static const struct {
        const char *code;
        aq_redis_failure_t failure;
    } codes[] = {
        {"NOSCRIPT", AQ_REDIS_NOSCRIPT},   {"OOM ", AQ_REDIS_OOM},
        {"MISCONF", AQ_REDIS_MISCONF},     {"READONLY", AQ_REDIS_READONLY},
        {"LOADING", AQ_REDIS_LOADING},     {"NOAUTH", AQ_REDIS_NOAUTH},
        {"WRONGPASS", AQ_REDIS_NOAUTH},    {"NOPERM", AQ_REDIS_NOAUTH},
        {"AUTH", AQ_REDIS_NOAUTH},         {"invalid password", AQ_REDIS_NOAUTH},
        {"WRONGTYPE", AQ_REDIS_WRONGTYPE}, {"BUSY", AQ_REDIS_BUSY},
        {"MASTERDOWN", AQ_REDIS_READONLY}, {"NOREPLICAS", AQ_REDIS_READONLY},
    };
    static const struct {
        const char *code;
        aq_redis_failure_t failure;
    } of_clusters[] = {{"MOVED ", AQ_REDIS_MOVED},
                       {"ASK ", AQ_REDIS_ASK},
                       {"TRYAGAIN", AQ_REDIS_MOVING},
                       {"CLUSTERDOWN", AQ_REDIS_CLUSTERDOWN}};

    for (unsigned i = 0; i < sizeof(of_clusters) / sizeof(of_clusters[0]); i++) {
        if (strncmp(text, of_clusters[i].code, strlen(of_clusters[i].code)) == 0) {
            return of_clusters[i].failure;
        }
    }
    /* Redis before 7 puts the code of what went wrong in a script behind words of its own. */
    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strstr(text, codes[i].code) != NULL) {
            return codes[i].failure;
        }
    }
    return AQ_REDIS_OTHER;
}

/* Why hiredis gave up. */
static aq_redis_failure_t context_failure(const redisContext *context)
{
    return context->err == REDIS_ERR_EOF || context->err == REDIS_ERR_IO ? AQ_REDIS_CLOSED : AQ_REDIS_PROTOCOL;
}

/* ---- bounds on what is believed ---------------------------------------------------------------------------------- */

/*
 * hiredis makes room for as many elements as an array says it has, before one has come: a hostile server would have a
 * thread busy for seconds with two thousand million of them.
 */
#if HIREDIS_MAJOR >= 1
int aq_redis_bounds_prepare(void)
{
    return 1;
}

static void reader_bound(redisReader *reader)
{
    reader->maxelements = ELEMENTS_MAX;
}
#else
/* Those of hiredis, with one of ours. */
static redisReplyObjectFunctions bounded;
static void *(*array_create_plain)(const redisReadTask *, int);

static void *array_create(const redisReadTask *task, int elements)
{
    return elements <= ELEMENTS_MAX ? array_create_plain(task, elements) : NULL;
}

int aq_redis_bounds_prepare(void)
{
    redisReader *reader = redisReaderCreate();

    if (reader == NULL) {
        return 0;
    }
    bounded = *reader->fn;
    array_create_plain = bounded.createArray;
    bounded.createArray = array_create;
    redisReaderFree(reader);
    return 1;
}

static void reader_bound(redisReader *reader)
{
    reader->fn = &bounded;
}
#endif

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

/*
 * Waits until the socket is ready for `events`. What is there already is taken, also when the time is over: of several
 * servers that are asked at once one may have used it up, and the others have answered.
 */
static aq_redis_failure_t socket_wait(const redisContext *context, short events, aq_time_ms_t deadline_ms,
                                      int64_t most_ms)
{
    struct pollfd watched = {.fd = context->fd, .events = events};

    for (;;) {
        const int64_t left_ms = deadline_ms - aq_clock_boot_ms();
        const int64_t wait_ms = left_ms < 0 ? 0 : left_ms < most_ms ? left_ms : most_ms;
        const int ready = poll(&watched, 1, (int)wait_ms);

        if (ready > 0 || (ready == 0 && wait_ms == most_ms)) {
            return AQ_REDIS_DONE;
        }
        if (ready < 0 && errno != EINTR) {
            return AQ_REDIS_CLOSED;
        }
        if (left_ms <= 0) {
            return AQ_REDIS_TIMEOUT;
        }
    }
}

/* ---- writing and reading ---------------------------------------------------------------------------------------- */

aq_redis_failure_t aq_redis_connection_add(aq_redis_connection_t *connection, const aq_redis_command_t *command)
{
    return redisAppendCommandArgv(connection->context, command->count, command->words, command->sizes) == REDIS_OK
               ? AQ_REDIS_DONE
               : AQ_REDIS_PROTOCOL;
}

aq_redis_failure_t aq_redis_connection_say(aq_redis_connection_t *connection, const char *const *words)
{
    const char *copy[WORDS_MAX];
    size_t sizes[WORDS_MAX];
    aq_redis_command_t command = {.count = 0, .words = copy, .sizes = sizes};

    for (; command.count < WORDS_MAX && words[command.count] != NULL; command.count++) {
        copy[command.count] = words[command.count];
        sizes[command.count] = strlen(words[command.count]);
    }
    return aq_redis_connection_add(connection, &command);
}

aq_redis_failure_t aq_redis_connection_flush(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms)
{
    redisContext *context = connection->context;
    const int is_tls = connection->link->tls != NULL;
    aq_redis_failure_t failure = AQ_REDIS_DONE;
    int is_done = 0;

    while (failure == AQ_REDIS_DONE) {
        if (redisBufferWrite(context, &is_done) != REDIS_OK) {
            return context_failure(context);
        }
        if (is_done) {
            return AQ_REDIS_DONE;
        }
        failure = socket_wait(context, is_tls ? POLLIN : POLLOUT, deadline_ms, is_tls ? TLS_SLICE_MS : INT_MAX);
    }
    return failure;
}

/*
 * "MOVED 3999 127.0.0.1:6381", or ASK; IPv6 addresses have no brackets there, and no host means that of who says it. What
 * cannot be read leaves a port of 0.
 */
static void redirect_read(aq_redis_connection_t *connection, const char *text)
{
    aq_redis_redirect_t *to = &connection->redirect;
    char *end;
    const char *host = strchr(text, ' ');
    const char *colon = strrchr(text, ':');

    to->at = aq_redis_node_endpoint(connection->link, connection->node);
    to->at.port = 0;
    to->slot = host != NULL ? (unsigned)strtoul(host, &end, 10) : AQ_REDIS_SLOTS;
    if (to->slot >= AQ_REDIS_SLOTS || *end != ' ' || colon == NULL || colon < end ||
        (size_t)(colon - end) > sizeof(to->at.host)) {
        return;
    }
    if (colon > end + 1) {
        (void)memcpy(to->at.host, end + 1, (size_t)(colon - end - 1));
        to->at.host[colon - end - 1] = '\0';
    }
    to->at.port = aq_redis_port_parse(colon + 1);
}

/* The one place where replies are freed. */
static aq_redis_failure_t reply_use(aq_redis_connection_t *connection, redisReply *reply, aq_redis_read_fn *read,
                                    void *data)
{
    aq_redis_failure_t failure = AQ_REDIS_DONE;

    if (reply->type == REDIS_REPLY_ERROR) {
        failure = aq_redis_failure_of(reply->str);
        if (failure == AQ_REDIS_MOVED || failure == AQ_REDIS_ASK) {
            redirect_read(connection, reply->str);
        }
    } else if (read != NULL) {
        failure = read(data, reply);
    }
    if (connection->unread > 0 && failure != AQ_REDIS_DONE) {
        aq_redis_failure_note(connection->link, connection->node, failure);
    }
    freeReplyObject(reply);
    return failure;
}

/* Takes what has arrived out of the reader: the answers that nobody waits for, and then `*is_read` the one that is. */
static aq_redis_failure_t replies_take(aq_redis_connection_t *connection, aq_redis_read_fn *read, void *data,
                                       int *is_read)
{
    for (;;) {
        void *reply = NULL;

        *is_read = 0;
        if (redisGetReplyFromReader(connection->context, &reply) != REDIS_OK) {
            return AQ_REDIS_PROTOCOL;
        }
        if (reply == NULL) {
            return connection->context->reader->len <= REPLY_BYTES_MAX ? AQ_REDIS_DONE : AQ_REDIS_PROTOCOL;
        }
        if (connection->unread == 0) {
            *is_read = 1;
            return reply_use(connection, reply, read, data);
        }
        (void)reply_use(connection, reply, NULL, NULL);
        connection->unread--;
    }
}

aq_redis_failure_t aq_redis_connection_read(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms,
                                            aq_redis_read_fn *read, void *data)
{
    redisContext *context = connection->context;
    int is_read = 0;
    aq_redis_failure_t failure = replies_take(connection, read, data, &is_read);

    while (failure == AQ_REDIS_DONE && !is_read) {
        failure = socket_wait(context, POLLIN, deadline_ms, INT_MAX);
        if (failure == AQ_REDIS_DONE && redisBufferRead(context) != REDIS_OK) {
            return context_failure(context);
        }
        if (failure == AQ_REDIS_DONE) {
            failure = replies_take(connection, read, data, &is_read);
        }
    }
    return failure;
}

/* 0 where the server has ended the connection meanwhile, or has said what nobody asked. */
static int is_fresh(aq_redis_connection_t *connection)
{
    struct pollfd watched = {.fd = connection->context->fd, .events = POLLIN};
    int is_read = 0;

    while (poll(&watched, 1, 0) > 0) {
        if (connection->unread == 0 || redisBufferRead(connection->context) != REDIS_OK ||
            replies_take(connection, NULL, NULL, &is_read) != AQ_REDIS_DONE || is_read) {
            return 0;
        }
    }
    return 1;
}

/* ---- connecting ------------------------------------------------------------------------------------------------- */

void aq_redis_connection_close(aq_redis_connection_t *connection)
{
    if (connection->context != NULL) {
        redisFree(connection->context);
    }
    connection->context = NULL;
    connection->unread = 0;
}

/* Waits for the connection that was begun, and keeps it where it came about. */
static aq_redis_failure_t connect_finish(aq_redis_connection_t *connection, redisContext *context,
                                         aq_time_ms_t deadline_ms)
{
    aq_redis_failure_t failure = AQ_REDIS_REFUSED;
    int error = 0;
    socklen_t size = sizeof(error);

    if (context == NULL) {
        return AQ_REDIS_REFUSED;
    }
    if (context->err == 0) {
        failure = socket_wait(context, POLLOUT, deadline_ms, INT_MAX);
    }
    if (failure == AQ_REDIS_DONE && (getsockopt(context->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)) {
        failure = AQ_REDIS_REFUSED;
    }
    if (failure == AQ_REDIS_DONE) {
        const aq_redis_endpoint_t at = aq_redis_node_endpoint(connection->link, connection->node);

        /* Scripts and programs that httpd starts have no business with it. */
        (void)fcntl(context->fd, F_SETFD, FD_CLOEXEC);
        failure = aq_redis_tls_begin(connection->link, at.host, context);
    }
    if (failure != AQ_REDIS_DONE) {
        redisFree(context);
        return failure;
    }
    reader_bound(context->reader);
    connection->context = context;
    connection->unread = 0;
    return AQ_REDIS_DONE;
}

static aq_redis_failure_t connect_any(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms)
{
    aq_redis_link_t *link = connection->link;
    aq_redis_node_t *node = connection->node;
    aq_redis_failure_t failure = AQ_REDIS_REFUSED;
    char ip[INET6_ADDRSTRLEN];
    unsigned index;
    int port;

    if (link->address->socket != NULL) {
        return connect_finish(connection, redisConnectUnixNonBlock(link->address->socket), deadline_ms);
    }
    for (unsigned n = 0; failure == AQ_REDIS_REFUSED && aq_redis_node_address(link, node, n, ip, &port, &index); n++) {
        failure = connect_finish(connection, redisConnectNonBlock(ip, port), deadline_ms);
        if (failure == AQ_REDIS_DONE) {
            atomic_store(&node->ip_good, index);
        } else if (failure == AQ_REDIS_TIMEOUT) {
            /* It took all the time there was: the next try begins with the next address. */
            atomic_store(&node->ip_good, index + 1);
        }
    }
    return failure;
}

aq_redis_failure_t aq_redis_connection_ready(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms)
{
    const unsigned generation = atomic_load(&connection->node->generation);
    aq_redis_failure_t failure;

    if (connection->context != NULL &&
        (connection->pid != getpid() || connection->generation != generation || !is_fresh(connection))) {
        aq_redis_connection_close(connection);
    }
    if (connection->context != NULL) {
        return AQ_REDIS_DONE;
    }
    connection->pid = getpid();
    connection->generation = generation;
    failure = connect_any(connection, deadline_ms);
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_greet(connection, deadline_ms);
        if (failure != AQ_REDIS_DONE) {
            aq_redis_connection_close(connection);
        }
    }
    return failure;
}

aq_redis_failure_t aq_redis_connection_ask(aq_redis_connection_t *connection, const char *const *words,
                                           aq_time_ms_t deadline_ms, aq_redis_read_fn *read, void *data)
{
    aq_redis_failure_t failure = aq_redis_connection_ready(connection, deadline_ms);

    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_say(connection, words);
    }
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_flush(connection, deadline_ms);
    }
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_read(connection, deadline_ms, read, data);
    }
    if (failure != AQ_REDIS_DONE) {
        aq_redis_connection_close(connection);
    }
    return failure;
}

/* ---- of a thread ------------------------------------------------------------------------------------------------ */

/* One thread's, by the index of their nodes. */
typedef struct {
    unsigned room;
    aq_redis_connection_t *all[];
} connections_t;

void aq_redis_connections_destroy(void *data)
{
    connections_t *own = data;

    for (unsigned i = 0; i < own->room; i++) {
        if (own->all[i] != NULL) {
            aq_redis_connection_close(own->all[i]);
            free(own->all[i]);
        }
    }
    free(own);
}

static connections_t *connections_get(aq_redis_link_t *link)
{
    connections_t *own = pthread_getspecific(link->connections);

    if (own == NULL) {
        own = calloc(1, sizeof(*own) + link->node_room * sizeof(aq_redis_connection_t *));
        if (own == NULL || pthread_setspecific(link->connections, own) != 0) {
            free(own);
            return NULL;
        }
        own->room = link->node_room;
    }
    return own;
}

aq_redis_connection_t *aq_redis_connection_find(aq_redis_link_t *link, unsigned index)
{
    const connections_t *own = pthread_getspecific(link->connections);

    return own != NULL ? own->all[index] : NULL;
}

aq_redis_connection_t *aq_redis_connection_get(aq_redis_link_t *link, unsigned index)
{
    connections_t *own = connections_get(link);

    if (own == NULL) {
        return NULL;
    }
    if (own->all[index] == NULL) {
        own->all[index] = calloc(1, sizeof(*own->all[index]));
        if (own->all[index] != NULL) {
            own->all[index]->link = link;
            own->all[index]->node = &link->nodes[index];
        }
    }
    return own->all[index];
}
