/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis link: a server, a master that sentinels know, or a cluster; asked by every thread over connections of its own.
 *
 * A connection belongs to one thread of one process: a child never uses what it inherited. A request to the server has one
 * budget of time, for connecting, logging in and asking together; host names are resolved when the link is opened and by
 * aq_redis_link_tend, never while a request waits. What does not answer in time is closed, so that its late answer can
 * never be taken for another's. What is sent without waiting is answered before the next answer, in the server's own order,
 * and thrown away then. Every reply is freed in one place, which calls the reader that was given for it.
 *
 * Which server a command goes to is the link's business: callers name no servers. Behind sentinels it is the master, which
 * the link asks for when it is opened and, by its timer, whenever the master fails and once a second besides. In a cluster it
 * is the node that has the slot of the command's first key (see redis_slot.h), so all keys of a command must be in one slot,
 * by a hash tag in braces. MOVED and ASK are followed within the same budget, but for commands that need their slot whole.
 *
 * Circuit breaker, one a process and server. A connection that fails opens it, and while it is open every call fails at once with
 * AQ_REDIS_DOWN. aq_redis_link_tend, called by a timer, tries the server and closes it again: first after a tenth of a
 * second, then with growing pauses of at most 400 ms. An error that the server answers does not open it.
 *
 * Failures are counted by reason, over all processes that inherited the link, and logged once a second at most.
 *
 * The process must ignore SIGPIPE, as httpd does. Thread-safe, but for opening.
 */
#ifndef AQ_REDIS_LINK_H
#define AQ_REDIS_LINK_H

#include "base/aq_clock.h"
#include "store/redis_address.h"

#include <hiredis/hiredis.h>
#include <stddef.h>

/* Why a call failed. */
typedef enum {
    AQ_REDIS_DONE,
    AQ_REDIS_DOWN,     /* the breaker is open: nothing was tried */
    AQ_REDIS_TIMEOUT,  /* not within the budget; what was asked may have been done or not */
    AQ_REDIS_REFUSED,  /* no connection */
    AQ_REDIS_CLOSED,   /* the connection ended before the answer; done or not */
    AQ_REDIS_PROTOCOL, /* no answer of Redis, or not one that was asked for */
    AQ_REDIS_NOSCRIPT,
    AQ_REDIS_OOM,
    AQ_REDIS_MISCONF,
    AQ_REDIS_READONLY,
    AQ_REDIS_LOADING,
    AQ_REDIS_NOAUTH, /* or a wrong password, or a command that the user may not use */
    AQ_REDIS_WRONGTYPE,
    AQ_REDIS_BUSY,        /* a script of somebody's runs for long */
    AQ_REDIS_OTHER,       /* another error that the server answered */
    AQ_REDIS_MARK,        /* it is another server than the one begun with, see aq_redis_link_mark */
    AQ_REDIS_MOVED,       /* the key is at another node of the cluster; what was asked was not done */
    AQ_REDIS_ASK,         /* the same, while its slot is being moved */
    AQ_REDIS_CLUSTERDOWN, /* the cluster has no node for the key, or is cut off from its other half */
    AQ_REDIS_MOVING,      /* the slot is being moved, and a part of it is not enough; what was asked was not done */
    AQ_REDIS_FAILURES
} aq_redis_failure_t;

typedef struct aq_redis_link_t aq_redis_link_t;

/*
 * One command. `is_whole`: it is right only where all keys of its slot are, since it looks at others than it names. While the
 * slot is moved, key by key, it fails with AQ_REDIS_MOVING. For that its first key has to be one that never exists: a node
 * that moves a slot away does what is asked of keys that it still has, and would find others gone. `stays`: where its slot
 * has gone to another server it fails with AQ_REDIS_MOVED, and is done only when it is asked again, there.
 */
typedef struct {
    int count;
    const char **words;
    const size_t *sizes;
    int is_whole, stays;
} aq_redis_command_t;

/*
 * Reads one answer, which is gone after the call; never NULL, never an error of the server. AQ_REDIS_DONE, or
 * AQ_REDIS_PROTOCOL where it is not what was asked for: the connection is then closed.
 */
typedef aq_redis_failure_t aq_redis_read_fn(void *data, const redisReply *reply);

/* "timeout", "refused", …: for logs and metrics. A constant. */
const char *aq_redis_failure_name(aq_redis_failure_t failure);

/*
 * Prepares a link in `p`, gone with it, and resolves its hosts (once, which may take seconds; a host that is not found
 * leaves the breaker open, and aq_redis_link_tend tries again). Sentinels are asked for the master, and a cluster for its
 * nodes, for two seconds at most; else nothing is connected. `address` must outlive the link. APR_SUCCESS, or a status and a
 * sentence at `*error`.
 */
apr_status_t aq_redis_link_open(apr_pool_t *p, const aq_redis_address_t *address, aq_redis_link_t **link,
                                const char **error);

/* Another budget than the address says, for the calls to come. Not while other threads call. */
void aq_redis_link_budget_set(aq_redis_link_t *link, int64_t budget_ms);

/*
 * How long a call waits of its budget: not the last tenth, 5 ms at most. A thread that waited in vain is woken late, and
 * its request is yet to be answered in another way within the budget.
 */
int64_t aq_redis_wait_ms(int64_t budget_ms);

/* With 1, failures are counted and not said in the log, for questions that may be refused. Else as for the budget. */
void aq_redis_link_quiet_set(aq_redis_link_t *link, int is_quiet);

/* What the link was opened with. */
const aq_redis_address_t *aq_redis_link_address(const aq_redis_link_t *link);

/*
 * From here on each new connection is used only where `key` holds `value`; where it holds nothing it is given that value.
 * Two servers never pass for one. Both are copied.
 */
void aq_redis_link_mark(aq_redis_link_t *link, const char *key, const char *value);

/*
 * Asks, and waits for the answer as long as the budget lasts. An error that the server answers is a failure by its reason;
 * where that is AQ_REDIS_NOSCRIPT, `otherwise` (NULL: nothing) is asked instead, within the same budget.
 */
aq_redis_failure_t aq_redis_ask(aq_redis_link_t *link, const aq_redis_command_t *command,
                                const aq_redis_command_t *otherwise, aq_redis_read_fn *read, void *data);

/* One of several questions that are asked at once. */
typedef struct {
    const aq_redis_command_t *command, *otherwise;
    aq_redis_read_fn *read;
    void *data;
    aq_redis_failure_t failure; /* what came of it */
} aq_redis_question_t;

/* As many as can be asked at once. */
#define AQ_REDIS_QUESTIONS_MAX 16

/*
 * Asks all of them, each as aq_redis_ask does, within one budget: they are sent before the first answer is waited for. Each
 * has its own failure; one does not keep the others from being done.
 */
void aq_redis_ask_all(aq_redis_link_t *link, aq_redis_question_t *questions, unsigned count);

/*
 * The servers that keep keys, for what is asked of each: the first whose number is at least `from` (0 to begin with), or -1
 * where there is none. A cluster may have others a moment later.
 */
int aq_redis_link_server(const aq_redis_link_t *link, int from);

/* The number of the server that `key` is asked for at; in a cluster that is not known yet, of any. */
int aq_redis_link_server_of(const aq_redis_link_t *link, const char *key);

/* A number, never 0, that is another one whenever `key` is asked for at another server. */
uint64_t aq_redis_link_place_of(const aq_redis_link_t *link, const char *key);

/* As aq_redis_ask, of server number `server`, for a command that names no key. */
aq_redis_failure_t aq_redis_ask_server(aq_redis_link_t *link, int server, const aq_redis_command_t *command,
                                       aq_redis_read_fn *read, void *data);

/* 1 where keys are on several servers: all of a command must then be in one slot. */
int aq_redis_link_is_cluster(const aq_redis_link_t *link);

/* Sends, and waits for nothing but room in the socket. An error that the server answers is counted when it is read. While
 * the slot of its key is being moved it is asked, and waits for its answer. */
aq_redis_failure_t aq_redis_send(aq_redis_link_t *link, const aq_redis_command_t *command);

/* Closes this thread's connections, as a parent does before it forks. The next call connects anew. */
void aq_redis_link_release(aq_redis_link_t *link);

/* 1 while the breaker is open; of a cluster, while those of all nodes are. */
int aq_redis_link_is_down(const aq_redis_link_t *link);

/*
 * For a timer of each process, every 100 ms or so: where the breaker is open and it is time, tries the server, which may
 * take a quarter of a second; follows a failover and a cluster's changes. 1 where a server is back since, or a new one.
 */
int aq_redis_link_tend(aq_redis_link_t *link);

/* How often each failure came, over all processes since the link was opened. */
void aq_redis_link_failures(const aq_redis_link_t *link, uint64_t counts[AQ_REDIS_FAILURES]);

/* How often an answer was waited for, over all processes: for measurements. */
uint64_t aq_redis_link_waits(const aq_redis_link_t *link);

#endif
