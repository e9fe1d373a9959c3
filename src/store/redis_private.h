/* SPDX-License-Identifier: Apache-2.0 */
/* What redis_link.c and redis_connection.c share; for them alone. */
#ifndef AQ_REDIS_PRIVATE_H
#define AQ_REDIS_PRIVATE_H

#include "store/redis_link.h"

#include <apr_thread_mutex.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/types.h>

#define AQ_REDIS_ADDRESSES_MAX 4

/* Shared by all processes that inherited the link. */
typedef struct {
    _Atomic uint64_t failures[AQ_REDIS_FAILURES];
    _Atomic uint64_t waits;
    _Atomic int64_t logged_ms;
} aq_redis_shared_t;

struct aq_redis_link_t {
    const aq_redis_address_t *address;
    apr_pool_t *p;
    int64_t budget_ms;
    int is_quiet;
    pthread_key_t connections; /* of aq_redis_connection_t, one a thread */
    aq_redis_shared_t *shared;
    const char *mark_key, *mark_value; /* NULL: none */
    void *tls;                         /* SSL_CTX; NULL: no TLS */
    apr_thread_mutex_t *lock;          /* of the addresses */
    char ips[AQ_REDIS_ADDRESSES_MAX][INET6_ADDRSTRLEN];
    unsigned ip_count;
    atomic_uint ip_good; /* the one that answered last */
    /* the breaker; of this process */
    atomic_int is_down;
    _Atomic int64_t try_at_ms;
    _Atomic int64_t pause_ms;
};

typedef struct {
    aq_redis_link_t *link;
    redisContext *context;
    pid_t pid;
    unsigned unread; /* answers that nobody waits for */
} aq_redis_connection_t;

/* Prepares how answers are bounded. Before threads start. 0: no memory. */
int aq_redis_bounds_prepare(void);

/* Milliseconds since boot at which the budget of a call that begins now is used up. */
static inline aq_time_ms_t aq_redis_deadline(const aq_redis_link_t *link)
{
    return aq_clock_boot_ms() + link->budget_ms;
}

/* The reason of an error that the server answered with. */
aq_redis_failure_t aq_redis_failure_of(const char *text);

/* Looks the host up. 0 where it is not found. May take seconds. */
int aq_redis_resolve(aq_redis_link_t *link);

/* This thread's connection, connected or not; NULL: no memory. */
aq_redis_connection_t *aq_redis_connection_get(aq_redis_link_t *link);

/* Connects where needed. AQ_REDIS_DONE: it can be asked. */
aq_redis_failure_t aq_redis_connection_ready(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms);

/* Puts a command into the connection's buffer. */
aq_redis_failure_t aq_redis_connection_add(aq_redis_connection_t *connection, const aq_redis_command_t *command);

/* Sends all that is in the buffer. */
aq_redis_failure_t aq_redis_connection_flush(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms);

/* Waits for one answer, behind those that nobody waits for, and has it read. */
aq_redis_failure_t aq_redis_connection_read(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms,
                                            aq_redis_read_fn *read, void *data);

void aq_redis_connection_close(aq_redis_connection_t *connection);

/* Counts a failure, and says it in the log, once a second. */
void aq_redis_failure_note(aq_redis_link_t *link, aq_redis_failure_t failure);

/* TLS, in redis_tls.c. 0 or a sentence. */
const char *aq_redis_tls_prepare(apr_pool_t *p, const aq_redis_address_t *address, void **tls);

/* Begins TLS on a new connection. */
aq_redis_failure_t aq_redis_tls_begin(const aq_redis_link_t *link, redisContext *context);

#endif
