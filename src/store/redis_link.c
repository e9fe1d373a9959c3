/* SPDX-License-Identifier: Apache-2.0 */
/* The link to a Redis server: asking, the circuit breaker, what went wrong how often. See redis_link.h. */
#include "store/redis_private.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A command is sent so often at most: as it is, by its text, and after redirections. */
#define ROUNDS_MAX 6

static const char *const failure_names[AQ_REDIS_FAILURES] = {
    [AQ_REDIS_DONE] = "done",
    [AQ_REDIS_DOWN] = "down",
    [AQ_REDIS_TIMEOUT] = "timeout",
    [AQ_REDIS_REFUSED] = "refused",
    [AQ_REDIS_CLOSED] = "closed",
    [AQ_REDIS_PROTOCOL] = "protocol",
    [AQ_REDIS_NOSCRIPT] = "noscript",
    [AQ_REDIS_OOM] = "oom",
    [AQ_REDIS_MISCONF] = "misconf",
    [AQ_REDIS_READONLY] = "readonly",
    [AQ_REDIS_LOADING] = "loading",
    [AQ_REDIS_NOAUTH] = "noauth",
    [AQ_REDIS_WRONGTYPE] = "wrongtype",
    [AQ_REDIS_BUSY] = "busy",
    [AQ_REDIS_OTHER] = "other",
    [AQ_REDIS_MARK] = "mark",
    [AQ_REDIS_MOVED] = "moved",
    [AQ_REDIS_ASK] = "ask",
    [AQ_REDIS_CLUSTERDOWN] = "clusterdown",
};

const char *aq_redis_failure_name(aq_redis_failure_t failure)
{
    return failure_names[failure];
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static apr_status_t link_cleanup(void *data)
{
    aq_redis_link_t *link = data;
    void *own = pthread_getspecific(link->connections);

    if (own != NULL) {
        (void)pthread_setspecific(link->connections, NULL);
        aq_redis_connections_destroy(own);
    }
    (void)pthread_key_delete(link->connections);
    (void)munmap(link->shared, sizeof(*link->shared));
    return APR_SUCCESS;
}

static apr_status_t shared_map(aq_redis_link_t *link)
{
    void *mapping = mmap(NULL, sizeof(*link->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (mapping == MAP_FAILED) {
        return APR_FROM_OS_ERROR(errno);
    }
    link->shared = mapping;
    return APR_SUCCESS;
}

static unsigned room_of(const aq_redis_address_t *address)
{
    switch (address->topology) {
    case AQ_REDIS_SENTINEL:
        return 1 + address->place_count;
    case AQ_REDIS_CLUSTER:
        return AQ_REDIS_NODES_MAX;
    case AQ_REDIS_SINGLE:
        break;
    }
    return 1;
}

/* What the address says of its servers. */
static apr_status_t nodes_prepare(apr_pool_t *p, aq_redis_link_t *link)
{
    const aq_redis_address_t *address = link->address;
    const unsigned first = address->topology == AQ_REDIS_SENTINEL ? 1 : 0;

    link->node_room = room_of(address);
    link->nodes = apr_pcalloc(p, link->node_room * sizeof(*link->nodes));
    link->node_count = address->socket != NULL ? 1 : first + address->place_count;
    for (unsigned i = 0; i < address->place_count; i++) {
        aq_redis_endpoint_t at = {.port = address->places[i].port};

        if (strlen(address->places[i].host) >= sizeof(at.host)) {
            return APR_EINVAL;
        }
        apr_cpystrn(at.host, address->places[i].host, sizeof(at.host));
        aq_redis_node_set(link, &link->nodes[first + i], &at);
    }
    return address->topology == AQ_REDIS_CLUSTER ? aq_redis_cluster_prepare(p, link) : APR_SUCCESS;
}

static apr_status_t link_prepare(apr_pool_t *p, aq_redis_link_t *link)
{
    apr_status_t rv = shared_map(link);

    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&link->lock, APR_THREAD_MUTEX_DEFAULT, p);
    }
    if (rv == APR_SUCCESS && !aq_redis_bounds_prepare()) {
        rv = APR_ENOMEM;
    }
    if (rv == APR_SUCCESS) {
        rv = nodes_prepare(p, link);
    }
    if (rv == APR_SUCCESS && pthread_key_create(&link->connections, aq_redis_connections_destroy) != 0) {
        rv = APR_EGENERAL;
    }
    return rv;
}

/* Looks up hosts and servers, as far as they can be found now. */
static void servers_find(aq_redis_link_t *link)
{
    const aq_time_ms_t deadline_ms = aq_clock_boot_ms() + AQ_REDIS_OPEN_BUDGET_MS;
    const unsigned count = atomic_load(&link->node_count);

    for (unsigned i = 0; i < count; i++) {
        atomic_store(&link->nodes[i].is_down, !aq_redis_node_resolve(link, &link->nodes[i]));
    }
    if (link->address->topology == AQ_REDIS_SENTINEL) {
        atomic_store(&link->nodes[0].is_down, !aq_redis_sentinel_find(link, deadline_ms));
    } else if (link->address->topology == AQ_REDIS_CLUSTER) {
        (void)aq_redis_cluster_find(link, deadline_ms);
    }
    aq_redis_link_release(link);
}

apr_status_t aq_redis_link_open(apr_pool_t *p, const aq_redis_address_t *address, aq_redis_link_t **link,
                                const char **error)
{
    aq_redis_link_t *opened = apr_pcalloc(p, sizeof(*opened));
    apr_status_t rv;

    *link = NULL;
    *error = aq_redis_tls_prepare(p, address, &opened->tls);
    if (*error != NULL) {
        return APR_EGENERAL;
    }
    opened->address = address;
    opened->p = p;
    opened->budget_ms = address->budget_ms;
    rv = link_prepare(p, opened);
    if (rv != APR_SUCCESS) {
        *error = "the link to Redis cannot be prepared";
        return rv;
    }
    apr_pool_cleanup_register(p, opened, link_cleanup, apr_pool_cleanup_null);
    servers_find(opened);
    *link = opened;
    return APR_SUCCESS;
}

void aq_redis_link_budget_set(aq_redis_link_t *link, int64_t budget_ms)
{
    link->budget_ms = budget_ms;
}

void aq_redis_link_quiet_set(aq_redis_link_t *link, int is_quiet)
{
    link->is_quiet = is_quiet;
}

const aq_redis_address_t *aq_redis_link_address(const aq_redis_link_t *link)
{
    return link->address;
}

void aq_redis_link_mark(aq_redis_link_t *link, const char *key, const char *value)
{
    link->mark_value = apr_pstrdup(link->p, value);
    link->mark_key = apr_pstrdup(link->p, key);
}

void aq_redis_link_release(aq_redis_link_t *link)
{
    const unsigned count = atomic_load(&link->node_count);

    for (unsigned i = 0; i < count; i++) {
        aq_redis_connection_t *own = aq_redis_connection_find(link, i);

        if (own != NULL) {
            aq_redis_connection_close(own);
        }
    }
}

int aq_redis_link_is_cluster(const aq_redis_link_t *link)
{
    return link->slots != NULL;
}

int aq_redis_link_server(const aq_redis_link_t *link, int from)
{
    const int count = link->slots != NULL ? (int)atomic_load(&link->node_count) : 1;

    for (int i = from; i < count; i++) {
        if (link->slots == NULL || atomic_load(&link->nodes[i].has_slots)) {
            return i;
        }
    }
    return -1;
}

int aq_redis_link_is_down(const aq_redis_link_t *link)
{
    const int is_known = aq_redis_link_server(link, 0) >= 0;
    const unsigned count = link->slots != NULL ? atomic_load(&link->node_count) : 1;

    /* A cluster of which nothing is known is asked by way of the nodes that the address names. */
    for (unsigned i = 0; i < count; i++) {
        const aq_redis_node_t *node = &link->nodes[i];

        if ((link->slots == NULL || !is_known || atomic_load(&node->has_slots)) &&
            !atomic_load_explicit(&node->is_down, memory_order_relaxed)) {
            return 0;
        }
    }
    return 1;
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

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
    if (link->slots != NULL && (failure == AQ_REDIS_MOVED || failure == AQ_REDIS_ASK)) {
        node = aq_redis_cluster_redirect(link, failure, &asking->connection->redirect);
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

/* ---- the timer -------------------------------------------------------------------------------------------------- */

int aq_redis_link_tend(aq_redis_link_t *link)
{
    switch (link->address->topology) {
    case AQ_REDIS_SENTINEL:
        return aq_redis_sentinel_tend(link);
    case AQ_REDIS_CLUSTER:
        return aq_redis_cluster_tend(link);
    case AQ_REDIS_SINGLE:
        break;
    }
    return aq_redis_breaker_is_due(&link->nodes[0]) && aq_redis_breaker_try(link, 0);
}

/* ---- counts ----------------------------------------------------------------------------------------------------- */

void aq_redis_link_failures(const aq_redis_link_t *link, uint64_t counts[AQ_REDIS_FAILURES])
{
    for (int i = 0; i < AQ_REDIS_FAILURES; i++) {
        counts[i] = atomic_load(&link->shared->failures[i]);
    }
}

uint64_t aq_redis_link_waits(const aq_redis_link_t *link)
{
    return atomic_load(&link->shared->waits);
}
