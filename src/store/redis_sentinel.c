/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master that sentinels know: asked for when the link is opened, while the master fails, and by one process a second, so
 * that a master which was replaced and does not know it yet is left too. Each new connection asks the server itself what it
 * is (redis_greeting.c), since a sentinel may be late. See redis_link.h.
 */
#include "store/redis_private.h"

#include "base/aq_log.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define ASK_PAUSE_MS INT64_C(1000)
#define LOG_PAUSE_MS INT64_C(10000)

static uint64_t endpoint_hash(const aq_redis_endpoint_t *at)
{
    apr_ssize_t size = (apr_ssize_t)strlen(at->host);

    return (uint64_t)apr_hashfunc_default(at->host, &size) << 16 | (uint64_t)(unsigned)at->port;
}

/* "host", "port"; or nothing, where the sentinel knows no master of that name. */
static aq_redis_failure_t master_read(void *data, const redisReply *reply)
{
    aq_redis_endpoint_t *at = data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING || reply->element[0]->len >= sizeof(at->host)) {
        return reply->type == REDIS_REPLY_NIL ? AQ_REDIS_DONE : AQ_REDIS_PROTOCOL;
    }
    apr_cpystrn(at->host, reply->element[0]->str, sizeof(at->host));
    at->port = aq_redis_port_parse(reply->element[1]->str);
    return AQ_REDIS_DONE;
}

static aq_redis_failure_t sentinel_ask(aq_redis_link_t *link, unsigned index, aq_time_ms_t deadline_ms,
                                       aq_redis_endpoint_t *at)
{
    const char *const words[] = {"SENTINEL", "get-master-addr-by-name", link->address->master, NULL};
    const aq_time_ms_t try_ms = aq_clock_boot_ms() + AQ_REDIS_TRY_BUDGET_MS;
    aq_redis_connection_t *connection = aq_redis_connection_get(link, index);

    if (connection == NULL || !aq_redis_node_resolve(link, &link->nodes[index])) {
        return AQ_REDIS_REFUSED;
    }
    const aq_redis_failure_t failure =
        aq_redis_connection_ask(connection, words, try_ms < deadline_ms ? try_ms : deadline_ms, master_read, at);
    /* Any thread may be the one that asks: kept, there would soon be one connection a thread. */
    aq_redis_connection_close(connection);
    return failure;
}

static void nobody_knows(aq_redis_link_t *link, aq_redis_failure_t failure)
{
    const int64_t now_ms = aq_clock_boot_ms();
    int64_t logged_ms = atomic_load(&link->shared->sentinels_logged_ms);

    if (!link->is_quiet && (logged_ms == 0 || now_ms - logged_ms >= LOG_PAUSE_MS) &&
        atomic_compare_exchange_strong(&link->shared->sentinels_logged_ms, &logged_ms, now_ms)) {
        AQ_LOG(AQ_LOG_ERROR, 450, APR_SUCCESS, "%s: no sentinel names a master; the last that was asked: %s",
               link->address->name,
               failure == AQ_REDIS_DONE ? "knows no master of that name" : aq_redis_failure_name(failure));
    }
}

static void master_set(aq_redis_link_t *link, const aq_redis_endpoint_t *at)
{
    aq_redis_node_t *master = &link->nodes[0];
    const aq_redis_endpoint_t before = aq_redis_node_endpoint(link, master);

    if (endpoint_hash(&before) != endpoint_hash(at)) {
        aq_redis_node_set(link, master, at);
        AQ_LOG(AQ_LOG_INFO, 451, APR_SUCCESS, "%s: the master is %s:%d", link->address->name, at->host, at->port);
    }
    /* A name is looked up here, while no request waits. */
    (void)aq_redis_node_resolve(link, master);
    atomic_store(&link->shared->master, endpoint_hash(at));
}

int aq_redis_sentinel_find(aq_redis_link_t *link, aq_time_ms_t deadline_ms)
{
    const unsigned count = link->address->place_count;
    const unsigned first = atomic_load(&link->sentinel_good);
    aq_redis_failure_t failure = AQ_REDIS_TIMEOUT;

    for (unsigned n = 0; n < count && aq_clock_boot_ms() < deadline_ms; n++) {
        const unsigned which = (first + n) % count;
        aq_redis_endpoint_t at = {.port = 0};

        failure = sentinel_ask(link, 1 + which, deadline_ms, &at);
        if (failure == AQ_REDIS_DONE && at.port > 0) {
            atomic_store(&link->sentinel_good, which);
            master_set(link, &at);
            return 1;
        }
    }
    nobody_knows(link, failure);
    return 0;
}

/* 1 where it is for this process to ask now: it is its turn, or another one was told something new. */
static int is_to_ask(aq_redis_link_t *link)
{
    const aq_redis_endpoint_t at = aq_redis_node_endpoint(link, &link->nodes[0]);
    const int64_t now_ms = aq_clock_boot_ms();
    int64_t asked_ms = atomic_load(&link->shared->sentinels_asked_ms);

    if (now_ms - asked_ms >= ASK_PAUSE_MS) {
        return atomic_compare_exchange_strong(&link->shared->sentinels_asked_ms, &asked_ms, now_ms);
    }
    return atomic_load(&link->shared->master) != endpoint_hash(&at);
}

int aq_redis_sentinel_tend(aq_redis_link_t *link)
{
    aq_redis_node_t *master = &link->nodes[0];
    const unsigned generation = atomic_load(&master->generation);
    const aq_time_ms_t deadline_ms = aq_clock_boot_ms() + 2 * AQ_REDIS_TRY_BUDGET_MS;

    if (!atomic_load(&master->is_down)) {
        return is_to_ask(link) && aq_redis_sentinel_find(link, deadline_ms) &&
               atomic_load(&master->generation) != generation;
    }
    if (!aq_redis_breaker_is_due(master)) {
        return 0;
    }
    if (!aq_redis_sentinel_find(link, deadline_ms)) {
        aq_redis_breaker_postpone(master);
        return 0;
    }
    return aq_redis_breaker_try(link, 0);
}
