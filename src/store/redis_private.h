/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the link share (redis_link, _ask, _connection, _node, _sentinel, _cluster, _tls); for them alone. */
#ifndef AQ_REDIS_PRIVATE_H
#define AQ_REDIS_PRIVATE_H

#include "store/redis_link.h"

#include <apr_thread_mutex.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>

#define AQ_REDIS_ADDRESSES_MAX 4
#define AQ_REDIS_HOST_SIZE 256
/* Nodes of a cluster that a process can keep in mind: more masters than a cluster is advised to have. */
#define AQ_REDIS_NODES_MAX 256
#define AQ_REDIS_SLOTS 16384
/* So long one try to reach a server that nobody waits for may last. */
#define AQ_REDIS_TRY_BUDGET_MS INT64_C(250)
/* The same when the link is opened, for all tries together. */
#define AQ_REDIS_OPEN_BUDGET_MS INT64_C(2000)

typedef struct {
    char host[AQ_REDIS_HOST_SIZE]; /* "": not known */
    int port;
} aq_redis_endpoint_t;

/* One server. Of this process, which has inherited what its parent knew. */
typedef struct {
    aq_redis_endpoint_t at; /* this and the next two are under the link's lock */
    char ips[AQ_REDIS_ADDRESSES_MAX][INET6_ADDRSTRLEN];
    unsigned ip_count;
    atomic_uint ip_good;    /* the one to begin with, modulo their number: that which answered last */
    atomic_uint generation; /* one more with each new endpoint: connections to an earlier one are closed */
    atomic_int has_slots;   /* of a cluster: keys are asked for there */
    /* the breaker */
    atomic_int is_down;
    _Atomic int64_t try_at_ms;
    _Atomic int64_t pause_ms;
} aq_redis_node_t;

/* Shared by all processes that inherited the link. */
typedef struct {
    _Atomic uint64_t failures[AQ_REDIS_FAILURES];
    _Atomic uint64_t waits;
    _Atomic int64_t logged_ms;
    _Atomic int64_t sentinels_logged_ms;
    _Atomic int64_t sentinels_asked_ms; /* one process a second asks whether the master is still the same */
    _Atomic uint64_t master;            /* a hash of its endpoint, as who asked last was told */
} aq_redis_shared_t;

/* What a process knows of a cluster. */
typedef struct {
    _Atomic uint16_t owners[AQ_REDIS_SLOTS];      /* the index of a slot's node, plus 1; 0: not known */
    _Atomic uint64_t moving[AQ_REDIS_SLOTS / 64]; /* a bit for each slot of which an ASK came last */
    atomic_int is_stale;                          /* it is to be asked for anew */
    _Atomic int64_t asked_ms;
    atomic_uint turn; /* who is asked next */
} aq_redis_slots_t;

struct aq_redis_link_t {
    const aq_redis_address_t *address;
    apr_pool_t *p;
    int64_t budget_ms;
    int is_quiet;
    pthread_key_t connections; /* of connections_t, one a thread */
    aq_redis_shared_t *shared;
    const char *mark_key, *mark_value; /* NULL: none */
    void *tls;                         /* SSL_CTX; NULL: no TLS */
    apr_thread_mutex_t *lock;
    /* The server; or the master, and behind it the sentinels; or nodes of a cluster, first those of the address. */
    aq_redis_node_t *nodes;
    unsigned node_room;
    atomic_uint node_count;
    atomic_uint sentinel_good; /* the one that answered last */
    aq_redis_slots_t *slots;   /* NULL: no cluster */
};

/* Where a cluster said that a key is. */
typedef struct {
    unsigned slot;
    aq_redis_endpoint_t at;
} aq_redis_redirect_t;

/* One thread's connection to one node. */
typedef struct {
    aq_redis_link_t *link;
    aq_redis_node_t *node;
    unsigned generation; /* of the node, when it was connected */
    redisContext *context;
    pid_t pid;
    unsigned unread;    /* answers that nobody waits for */
    unsigned questions; /* that were added in this round of a call */
    aq_redis_redirect_t redirect;
} aq_redis_connection_t;

/* ---- redis_node.c ------------------------------------------------------------------------------------------------ */

/* A port in digits; 0: it is none. */
static inline int aq_redis_port_parse(const char *text)
{
    char *end;
    const long port = strtol(text, &end, 10);

    return *end == '\0' && port > 0 && port <= UINT16_MAX ? (int)port : 0;
}

/* Gives a node its endpoint. Where that is another one, its connections end with their next use. */
void aq_redis_node_set(aq_redis_link_t *link, aq_redis_node_t *node, const aq_redis_endpoint_t *at);

/* A copy of its endpoint. */
aq_redis_endpoint_t aq_redis_node_endpoint(aq_redis_link_t *link, const aq_redis_node_t *node);

/* The index of the node at an endpoint, which is added where it is new; -1: there is no room for it. */
int aq_redis_node_find(aq_redis_link_t *link, const aq_redis_endpoint_t *at);

/* 1 where an address of its host is known. */
int aq_redis_node_has_address(aq_redis_link_t *link, const aq_redis_node_t *node);

/* Looks the host up. 0 where it is not found. May take seconds. */
int aq_redis_node_resolve(aq_redis_link_t *link, aq_redis_node_t *node);

/* Address number `n`, from the one on that answered last, and the port; 0: there are not so many. */
int aq_redis_node_address(aq_redis_link_t *link, aq_redis_node_t *node, unsigned n, char ip[INET6_ADDRSTRLEN],
                          int *port, unsigned *index);

void aq_redis_breaker_open(aq_redis_link_t *link, aq_redis_node_t *node, aq_redis_failure_t failure);

/* 1 where the node is down and is to be tried now. */
int aq_redis_breaker_is_due(const aq_redis_node_t *node);

/* Has the next try wait, longer than the one before. */
void aq_redis_breaker_postpone(aq_redis_node_t *node);

/* Tries a node that is down, and closes its breaker where it answers: then 1. */
int aq_redis_breaker_try(aq_redis_link_t *link, unsigned index);

/* Counts a failure, and says it in the log, once a second. */
void aq_redis_failure_note(aq_redis_link_t *link, const aq_redis_node_t *node, aq_redis_failure_t failure);

/* ---- redis_connection.c ------------------------------------------------------------------------------------------ */

/* Prepares how answers are bounded. Before threads start. 0: no memory. */
int aq_redis_bounds_prepare(void);

/* Milliseconds since boot until which a call that begins now waits. */
static inline aq_time_ms_t aq_redis_deadline(const aq_redis_link_t *link)
{
    return aq_clock_boot_ms() + aq_redis_wait_ms(link->budget_ms);
}

/* The reason of an error that the server answered with. */
aq_redis_failure_t aq_redis_failure_of(const char *text);

/* What a thread-specific destructor does: closes all connections of a thread. */
void aq_redis_connections_destroy(void *connections);

/* This thread's connection to a node, connected or not; NULL: no memory. */
aq_redis_connection_t *aq_redis_connection_get(aq_redis_link_t *link, unsigned index);

/* The same where there is one already; else NULL. */
aq_redis_connection_t *aq_redis_connection_find(aq_redis_link_t *link, unsigned index);

/* Connects where needed. AQ_REDIS_DONE: it can be asked. */
aq_redis_failure_t aq_redis_connection_ready(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms);

/* Puts a command into the connection's buffer. */
aq_redis_failure_t aq_redis_connection_add(aq_redis_connection_t *connection, const aq_redis_command_t *command);

/* The same of words that NULL ends, eight at most. */
aq_redis_failure_t aq_redis_connection_say(aq_redis_connection_t *connection, const char *const *words);

/* Sends all that is in the buffer. */
aq_redis_failure_t aq_redis_connection_flush(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms);

/* Waits for one answer, behind those that nobody waits for, and has it read. */
aq_redis_failure_t aq_redis_connection_read(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms,
                                            aq_redis_read_fn *read, void *data);

/* The three above in one, on a connection that is made ready before. It is closed where that fails. */
aq_redis_failure_t aq_redis_connection_ask(aq_redis_connection_t *connection, const char *const *words,
                                           aq_time_ms_t deadline_ms, aq_redis_read_fn *read, void *data);

void aq_redis_connection_close(aq_redis_connection_t *connection);

/* ---- redis_greeting.c -------------------------------------------------------------------------------------------- */

/* What is said on a new connection: who we are, which database is meant, and whether it is the server we look for. */
aq_redis_failure_t aq_redis_greet(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms);

/* ---- redis_sentinel.c -------------------------------------------------------------------------------------------- */

/* Asks the sentinels for the master, until `deadline_ms`. 0: none of them knows. */
int aq_redis_sentinel_find(aq_redis_link_t *link, aq_time_ms_t deadline_ms);

/* See aq_redis_link_tend. */
int aq_redis_sentinel_tend(aq_redis_link_t *link);

/* ---- redis_cluster.c --------------------------------------------------------------------------------------------- */

apr_status_t aq_redis_cluster_prepare(apr_pool_t *p, aq_redis_link_t *link);

/* Asks nodes for the map of slots, until `deadline_ms`. 0: none of them answered. */
int aq_redis_cluster_find(aq_redis_link_t *link, aq_time_ms_t deadline_ms);

/* See aq_redis_link_tend. */
int aq_redis_cluster_tend(aq_redis_link_t *link);

/* The node that a command is to be sent to. */
unsigned aq_redis_cluster_route(const aq_redis_link_t *link, const aq_redis_command_t *command);

/* The node that has a key's slot; any where that is not known. */
unsigned aq_redis_cluster_node_of(const aq_redis_link_t *link, const char *key);

/* 1 where the slot of the command is being moved. */
int aq_redis_cluster_is_moving(const aq_redis_link_t *link, const aq_redis_command_t *command);

/* The node that MOVED or ASK names, which is kept in mind; -1: it cannot be reached by this process yet. */
int aq_redis_cluster_redirect(aq_redis_link_t *link, aq_redis_failure_t failure, const aq_redis_redirect_t *to);

/* A node or the map is not as we thought. */
static inline void aq_redis_cluster_doubt(aq_redis_link_t *link)
{
    if (link->slots != NULL) {
        atomic_store(&link->slots->is_stale, 1);
    }
}

/* ---- redis_tls.c ------------------------------------------------------------------------------------------------- */

/* 0 or a sentence. */
const char *aq_redis_tls_prepare(apr_pool_t *p, const aq_redis_address_t *address, void **tls);

/* Begins TLS on a new connection to `host`. */
aq_redis_failure_t aq_redis_tls_begin(const aq_redis_link_t *link, const char *host, redisContext *context);

#endif
