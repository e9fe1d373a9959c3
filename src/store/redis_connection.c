/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to Redis: made, logged in, written to and read within a deadline. See redis_link.h.
 *
 * hiredis is used without blocking, and poll waits: its own time-outs hold for each read, so that a server which sends one
 * byte at a time could keep a request for ever.
 */
#include "store/redis_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* TLS may want to read where we want to write, and hiredis does not say so: then it is asked again after so long. */
#define TLS_SLICE_MS 2
#define HANDSHAKE_MAX 4
/* More than any answer of ours has. */
#define ELEMENTS_MAX 1024
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

/* Waits until the socket is ready for `events`. */
static aq_redis_failure_t socket_wait(const redisContext *context, short events, aq_time_ms_t deadline_ms,
                                      int64_t most_ms)
{
    struct pollfd watched = {.fd = context->fd, .events = events};

    for (;;) {
        int64_t left_ms = deadline_ms - aq_clock_boot_ms();
        int ready;

        if (left_ms <= 0) {
            return AQ_REDIS_TIMEOUT;
        }
        left_ms = left_ms < most_ms ? left_ms : most_ms;
        ready = poll(&watched, 1, (int)left_ms);
        if (ready > 0 || (ready == 0 && left_ms == most_ms)) {
            return AQ_REDIS_DONE;
        }
        if (ready < 0 && errno != EINTR) {
            return AQ_REDIS_CLOSED;
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

/* The one place where replies are freed. */
static aq_redis_failure_t reply_use(aq_redis_connection_t *connection, redisReply *reply, aq_redis_read_fn *read,
                                    void *data)
{
    aq_redis_failure_t failure = AQ_REDIS_DONE;

    if (reply->type == REDIS_REPLY_ERROR) {
        failure = aq_redis_failure_of(reply->str);
    } else if (read != NULL) {
        failure = read(data, reply);
    }
    if (connection->unread > 0 && failure != AQ_REDIS_DONE) {
        aq_redis_failure_note(connection->link, failure);
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

int aq_redis_resolve(aq_redis_link_t *link)
{
    const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    unsigned count = 0;

    if (link->address->host == NULL) {
        return 1;
    }
    if (getaddrinfo(link->address->host, NULL, &wanted, &found) != 0) {
        return link->ip_count != 0;
    }
    (void)apr_thread_mutex_lock(link->lock);
    for (const struct addrinfo *one = found; one != NULL && count < AQ_REDIS_ADDRESSES_MAX; one = one->ai_next) {
        count += getnameinfo(one->ai_addr, one->ai_addrlen, link->ips[count], sizeof(link->ips[count]), NULL, 0,
                             NI_NUMERICHOST) == 0;
    }
    link->ip_count = count;
    (void)apr_thread_mutex_unlock(link->lock);
    freeaddrinfo(found);
    return count != 0;
}

/* The address number `n` from the one on that answered last; 0: there are not so many. */
static int ip_get(aq_redis_link_t *link, unsigned n, char ip[INET6_ADDRSTRLEN], unsigned *index)
{
    int is_there;

    (void)apr_thread_mutex_lock(link->lock);
    is_there = n < link->ip_count;
    if (is_there) {
        *index = (atomic_load(&link->ip_good) + n) % link->ip_count;
        (void)memcpy(ip, link->ips[*index], INET6_ADDRSTRLEN);
    }
    (void)apr_thread_mutex_unlock(link->lock);
    return is_there;
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
        /* Scripts and programs that httpd starts have no business with it. */
        (void)fcntl(context->fd, F_SETFD, FD_CLOEXEC);
        failure = aq_redis_tls_begin(connection->link, context);
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
    aq_redis_failure_t failure = AQ_REDIS_REFUSED;
    char ip[INET6_ADDRSTRLEN];
    unsigned index;

    if (link->address->socket != NULL) {
        return connect_finish(connection, redisConnectUnixNonBlock(link->address->socket), deadline_ms);
    }
    for (unsigned n = 0; failure == AQ_REDIS_REFUSED && ip_get(link, n, ip, &index); n++) {
        failure = connect_finish(connection, redisConnectNonBlock(ip, link->address->port), deadline_ms);
        if (failure == AQ_REDIS_DONE) {
            atomic_store(&link->ip_good, index);
        }
    }
    return failure;
}

/* ---- logging in ------------------------------------------------------------------------------------------------- */

static aq_redis_failure_t words_add(aq_redis_connection_t *connection, const char *const *words, unsigned *count)
{
    const char *copy[HANDSHAKE_MAX];
    size_t sizes[HANDSHAKE_MAX];
    aq_redis_command_t command = {.count = 0, .words = copy, .sizes = sizes};

    for (; words[command.count] != NULL; command.count++) {
        copy[command.count] = words[command.count];
        sizes[command.count] = strlen(words[command.count]);
    }
    ++*count;
    return aq_redis_connection_add(connection, &command);
}

static aq_redis_failure_t mark_read(void *data, const redisReply *reply)
{
    const aq_redis_link_t *link = data;
    const int is_same = reply->type == REDIS_REPLY_STRING && strcmp(reply->str, link->mark_value) == 0;

    return is_same || reply->type != REDIS_REPLY_STRING ? AQ_REDIS_DONE : AQ_REDIS_MARK;
}

/* Says who we are and which database is meant, and asks whether it is the server we know. All in one round trip. */
static aq_redis_failure_t greet(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms)
{
    const aq_redis_link_t *link = connection->link;
    const aq_redis_address_t *to = link->address;
    char db[12];
    const char *const auth[] = {"AUTH", to->user != NULL ? to->user : to->password,
                                to->user != NULL ? to->password : NULL, NULL};
    const char *const select[] = {"SELECT", db, NULL};
    const char *const mark_set[] = {"SETNX", link->mark_key, link->mark_value, NULL};
    const char *const mark_get[] = {"GET", link->mark_key, NULL};
    const char *const *const commands[] = {to->password != NULL ? auth : NULL, to->db != 0 ? select : NULL,
                                           link->mark_key != NULL ? mark_set : NULL,
                                           link->mark_key != NULL ? mark_get : NULL};
    aq_redis_failure_t failure = AQ_REDIS_DONE;
    unsigned count = 0;

    (void)snprintf(db, sizeof(db), "%d", to->db);
    for (unsigned i = 0; failure == AQ_REDIS_DONE && i < HANDSHAKE_MAX; i++) {
        failure = commands[i] != NULL ? words_add(connection, commands[i], &count) : AQ_REDIS_DONE;
    }
    if (failure == AQ_REDIS_DONE && count != 0) {
        failure = aq_redis_connection_flush(connection, deadline_ms);
    }
    for (; failure == AQ_REDIS_DONE && count > 0; count--) {
        failure = aq_redis_connection_read(connection, deadline_ms,
                                           link->mark_key != NULL && count == 1 ? mark_read : NULL, connection->link);
    }
    return failure;
}

aq_redis_failure_t aq_redis_connection_ready(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms)
{
    aq_redis_failure_t failure;

    if (connection->context != NULL && (connection->pid != getpid() || !is_fresh(connection))) {
        aq_redis_connection_close(connection);
    }
    if (connection->context != NULL) {
        return AQ_REDIS_DONE;
    }
    connection->pid = getpid();
    failure = connect_any(connection, deadline_ms);
    if (failure == AQ_REDIS_DONE) {
        failure = greet(connection, deadline_ms);
        if (failure != AQ_REDIS_DONE) {
            aq_redis_connection_close(connection);
        }
    }
    return failure;
}

aq_redis_connection_t *aq_redis_connection_get(aq_redis_link_t *link)
{
    aq_redis_connection_t *connection = pthread_getspecific(link->connections);

    if (connection == NULL) {
        connection = calloc(1, sizeof(*connection));
        if (connection == NULL || pthread_setspecific(link->connections, connection) != 0) {
            free(connection);
            return NULL;
        }
        connection->link = link;
    }
    return connection;
}
