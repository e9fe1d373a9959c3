/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to Redis: sent, waited for within one budget, sent again where they were redirected. See redis_link.h.
 *
 * All questions of a call are in the buffers of their connections before the first is flushed, and all are sent before the
 * first answer is waited for, so that they cost one wait together. A failure of a connection fails those that are on it.
 */
#include "store/redis_private.h"

/* A command is sent so often at most: as it is, by its text, and after redirections. */
#define ROUNDS_MAX 6

/* A question while it is being asked. */
typedef struct {
    aq_redis_question_t *question;
    const aq_redis_command_t *command; /* to be sent now; NULL: it is done, or has failed */
    aq_redis_connection_t *connection;
    unsigned node;
    int is_redirected_once; /* by an ASK, for this once */
} asking_t;

/* Of a connection, and not an error that the server answered. A master that has become a replica is to be left as well. */
static int is_of_connection(const aq_redis_link_t *link, aq_redis_failure_t failure)
{
    return failure == AQ_REDIS_TIMEOUT || failure == AQ_REDIS_REFUSED || failure == AQ_REDIS_CLOSED ||
           failure == AQ_REDIS_PROTOCOL || failure == AQ_REDIS_MARK ||
           (failure == AQ_REDIS_READONLY && link->address->topology == AQ_REDIS_SENTINEL);
}

/* What a call comes to. */
static aq_redis_failure_t call_end(aq_redis_connection_t *connection, aq_redis_failure_t failure)
{
    aq_redis_link_t *link = connection->link;

    if (failure == AQ_REDIS_DONE) {
        return failure;
    }
    aq_redis_failure_note(link, connection->node, failure);
    if (is_of_connection(link, failure)) {
        aq_redis_connection_close(connection);
        aq_redis_breaker_open(link, connection->node, failure);
    }
    if (is_of_connection(link, failure) || failure == AQ_REDIS_CLUSTERDOWN) {
        aq_redis_cluster_doubt(link);
    }
    return failure;
}

/* The thread's connection, for a call; NULL where nothing can be tried, with `*failure` said. */
static aq_redis_connection_t *call_begin(aq_redis_link_t *link, unsigned node, aq_time_ms_t deadline_ms,
                                         aq_redis_failure_t *failure)
{
    aq_redis_connection_t *connection;

    *failure = AQ_REDIS_DOWN;
    if (atomic_load_explicit(&link->nodes[node].is_down, memory_order_relaxed)) {
        aq_redis_failure_note(link, &link->nodes[node], AQ_REDIS_DOWN);
        return NULL;
    }
    connection = aq_redis_connection_get(link, node);
    if (connection != NULL && connection->questions > 0) {
        /* Others of this call are in its buffer: it is ready, or failed with them. */
        *failure = connection->context != NULL ? AQ_REDIS_DONE : AQ_REDIS_CLOSED;
    } else if (connection != NULL) {
        *failure = aq_redis_connection_ready(connection, deadline_ms);
    }
    return connection;
}

static void asking_end(asking_t *asking, aq_redis_failure_t failure)
{
    asking->question->failure = asking->connection != NULL ? call_end(asking->connection, failure) : failure;
    asking->command = NULL;
}

/* Puts the question into its connection's buffer. */
static void asking_add(aq_redis_link_t *link, asking_t *asking, aq_time_ms_t deadline_ms)
{
    static const char *const once[] = {"ASKING", NULL};
    aq_redis_failure_t failure;

    asking->connection = call_begin(link, asking->node, deadline_ms, &failure);
    if (failure == AQ_REDIS_DONE && asking->is_redirected_once) {
        failure = aq_redis_connection_say(asking->connection, once);
    }
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_add(asking->connection, asking->command);
    }
    if (failure != AQ_REDIS_DONE) {
        asking_end(asking, failure);
        return;
    }
    asking->connection->questions++;
}

static aq_redis_failure_t asking_read(const asking_t *asking, aq_time_ms_t deadline_ms)
{
    aq_redis_failure_t failure = asking->connection->context != NULL ? AQ_REDIS_DONE : AQ_REDIS_CLOSED;

    if (failure == AQ_REDIS_DONE && asking->is_redirected_once) {
        failure = aq_redis_connection_read(asking->connection, deadline_ms, NULL, NULL);
    }
    if (failure == AQ_REDIS_DONE) {
        failure =
            aq_redis_connection_read(asking->connection, deadline_ms, asking->question->read, asking->question->data);
    }
    return failure;
}

/* Reads the answer: the question is done, or is to be asked again in another way. */
static void asking_finish(aq_redis_link_t *link, asking_t *asking, aq_time_ms_t deadline_ms)
{
    const aq_redis_failure_t failure = asking_read(asking, deadline_ms);
    const aq_redis_command_t *otherwise = asking->question->otherwise;
    int node;

    if (failure == AQ_REDIS_NOSCRIPT && otherwise != NULL && asking->command != otherwise) {
        asking->command = otherwise;
        return;
    }
    if (failure == AQ_REDIS_ASK && asking->command->is_whole) {
        asking_end(asking, AQ_REDIS_MOVING);
        return;
    }
    if (link->slots != NULL && (failure == AQ_REDIS_MOVED || failure == AQ_REDIS_ASK)) {
        node = aq_redis_cluster_redirect(link, failure, &asking->connection->redirect);
        if (node >= 0 && asking->command->stays) {
            asking->question->failure = AQ_REDIS_MOVED;
            asking->command = NULL;
            return;
        }
        if (node >= 0) {
            asking->node = (unsigned)node;
            asking->is_redirected_once = failure == AQ_REDIS_ASK;
            return;
        }
    }
    asking_end(asking, failure);
}

static void asking_flush(asking_t *asking, aq_time_ms_t deadline_ms)
{
    aq_redis_connection_t *connection = asking->connection;
    const aq_redis_failure_t failure =
        connection->context != NULL ? aq_redis_connection_flush(connection, deadline_ms) : AQ_REDIS_CLOSED;

    connection->questions = 0;
    if (failure != AQ_REDIS_DONE) {
        asking_end(asking, failure);
    }
}

static int askings_open(const asking_t *askings, unsigned count)
{
    int open = 0;

    for (unsigned i = 0; i < count; i++) {
        open += askings[i].command != NULL;
    }
    return open;
}

/* Sends what is to be sent, then waits for all answers. */
static void round_make(aq_redis_link_t *link, asking_t *askings, unsigned count, aq_time_ms_t deadline_ms)
{
    for (unsigned i = 0; i < count; i++) {
        if (askings[i].command != NULL) {
            asking_add(link, &askings[i], deadline_ms);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (askings[i].command != NULL) {
            asking_flush(&askings[i], deadline_ms);
        }
    }
    if (askings_open(askings, count) != 0) {
        atomic_fetch_add_explicit(&link->shared->waits, 1, memory_order_relaxed);
    }
    for (unsigned i = 0; i < count; i++) {
        if (askings[i].command != NULL) {
            asking_finish(link, &askings[i], deadline_ms);
        }
    }
}

static void askings_run(aq_redis_link_t *link, asking_t *askings, unsigned count)
{
    const aq_time_ms_t deadline_ms = aq_redis_deadline(link);

    for (int i = 0; i < ROUNDS_MAX && askings_open(askings, count) != 0; i++) {
        round_make(link, askings, count, deadline_ms);
    }
    for (unsigned i = 0; i < count; i++) {
        if (askings[i].command != NULL) {
            asking_end(&askings[i], AQ_REDIS_MOVED); /* sent to and fro */
        }
    }
}

static unsigned node_of(const aq_redis_link_t *link, const aq_redis_command_t *command)
{
    return link->slots != NULL ? aq_redis_cluster_route(link, command) : 0;
}

void aq_redis_ask_all(aq_redis_link_t *link, aq_redis_question_t *questions, unsigned count)
{
    asking_t askings[AQ_REDIS_QUESTIONS_MAX];

    for (unsigned i = 0; i < count; i++) {
        questions[i].failure = AQ_REDIS_DONE;
        askings[i] = (asking_t){
            .question = &questions[i], .command = questions[i].command, .node = node_of(link, questions[i].command)};
    }
    askings_run(link, askings, count);
}

aq_redis_failure_t aq_redis_ask(aq_redis_link_t *link, const aq_redis_command_t *command,
                                const aq_redis_command_t *otherwise, aq_redis_read_fn *read, void *data)
{
    aq_redis_question_t question = {.command = command, .otherwise = otherwise, .read = read, .data = data};

    aq_redis_ask_all(link, &question, 1);
    return question.failure;
}

aq_redis_failure_t aq_redis_ask_server(aq_redis_link_t *link, int server, const aq_redis_command_t *command,
                                       aq_redis_read_fn *read, void *data)
{
    aq_redis_question_t question = {.command = command, .read = read, .data = data};
    asking_t asking = {.question = &question, .command = command, .node = (unsigned)server};

    askings_run(link, &asking, 1);
    return question.failure;
}

aq_redis_failure_t aq_redis_send(aq_redis_link_t *link, const aq_redis_command_t *command)
{
    const aq_time_ms_t deadline_ms = aq_redis_deadline(link);
    aq_redis_failure_t failure;
    aq_redis_connection_t *connection;

    if (link->slots != NULL && aq_redis_cluster_is_moving(link, command)) {
        return aq_redis_ask(link, command, NULL, NULL, NULL);
    }
    connection = call_begin(link, node_of(link, command), deadline_ms, &failure);
    if (connection == NULL) {
        return failure;
    }
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_add(connection, command);
    }
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_flush(connection, deadline_ms);
    }
    connection->unread += failure == AQ_REDIS_DONE;
    return call_end(connection, failure);
}
