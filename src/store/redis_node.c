/* SPDX-License-Identifier: Apache-2.0 */
/* The servers that a link asks: where they are, and the circuit breaker of each. See redis_link.h, redis_private.h. */
#include "store/redis_private.h"

#include "base/aq_log.h"
#include "base/aq_metrics.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#define PAUSE_MIN_MS INT64_C(100)
#define PAUSE_MAX_MS INT64_C(400)
#define LOG_PAUSE_MS INT64_C(1000)
#define NAME_SIZE (AQ_REDIS_HOST_SIZE + 16)

/* ---- endpoints -------------------------------------------------------------------------------------------------- */

static int endpoint_is(const aq_redis_node_t *node, const aq_redis_endpoint_t *at)
{
    return node->at.port == at->port && strcmp(node->at.host, at->host) == 0;
}

/* An address in digits needs no look-up. */
static unsigned digits_take(const char *host, char ip[INET6_ADDRSTRLEN])
{
    unsigned char binary[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, binary) != 1 && inet_pton(AF_INET6, host, binary) != 1) {
        return 0;
    }
    apr_cpystrn(ip, host, INET6_ADDRSTRLEN);
    return 1;
}

static void node_set_locked(aq_redis_node_t *node, const aq_redis_endpoint_t *at)
{
    if (endpoint_is(node, at)) {
        return;
    }
    node->at = *at;
    node->ip_count = digits_take(at->host, node->ips[0]);
    atomic_store(&node->ip_good, 0);
    atomic_store(&node->pause_ms, PAUSE_MIN_MS);
    atomic_store(&node->try_at_ms, 0);
    atomic_fetch_add(&node->generation, 1);
}

void aq_redis_node_set(aq_redis_link_t *link, aq_redis_node_t *node, const aq_redis_endpoint_t *at)
{
    (void)apr_thread_mutex_lock(link->lock);
    node_set_locked(node, at);
    (void)apr_thread_mutex_unlock(link->lock);
}

aq_redis_endpoint_t aq_redis_node_endpoint(aq_redis_link_t *link, const aq_redis_node_t *node)
{
    aq_redis_endpoint_t at;

    (void)apr_thread_mutex_lock(link->lock);
    at = node->at;
    (void)apr_thread_mutex_unlock(link->lock);
    return at;
}

/* A place for one more: behind the last, or that of one which has no slots and is none of the address. -1: none. */
static int place_find(const aq_redis_link_t *link, unsigned count)
{
    if (count < link->node_room) {
        return (int)count;
    }
    for (unsigned i = link->address->place_count; i < count; i++) {
        if (!atomic_load(&link->nodes[i].has_slots)) {
            return (int)i;
        }
    }
    return -1;
}

int aq_redis_node_find(aq_redis_link_t *link, const aq_redis_endpoint_t *at)
{
    int index = -1;

    (void)apr_thread_mutex_lock(link->lock);
    const unsigned count = atomic_load(&link->node_count);

    for (unsigned i = 0; index < 0 && i < count; i++) {
        index = endpoint_is(&link->nodes[i], at) ? (int)i : -1;
    }
    if (index < 0) {
        index = place_find(link, count);
        if (index >= 0) {
            node_set_locked(&link->nodes[index], at);
            atomic_store(&link->nodes[index].is_down, 0);
            atomic_store(&link->node_count, (unsigned)index == count ? count + 1 : count);
        }
    }
    (void)apr_thread_mutex_unlock(link->lock);
    return index;
}

int aq_redis_node_has_address(aq_redis_link_t *link, const aq_redis_node_t *node)
{
    (void)apr_thread_mutex_lock(link->lock);
    const int has = node->ip_count != 0;
    (void)apr_thread_mutex_unlock(link->lock);
    return has;
}

int aq_redis_node_resolve(aq_redis_link_t *link, aq_redis_node_t *node)
{
    const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const aq_redis_endpoint_t at = aq_redis_node_endpoint(link, node);
    struct addrinfo *found = NULL;
    unsigned count = 0;

    if (link->address->socket != NULL) {
        return 1;
    }
    if (at.host[0] == '\0' || getaddrinfo(at.host, NULL, &wanted, &found) != 0) {
        return aq_redis_node_has_address(link, node);
    }
    (void)apr_thread_mutex_lock(link->lock);
    /* Another host may be meant by now, of which this look-up tells nothing. */
    const int is_same = endpoint_is(node, &at);
    for (const struct addrinfo *one = found; is_same && one != NULL && count < AQ_REDIS_ADDRESSES_MAX;
         one = one->ai_next) {
        count += getnameinfo(one->ai_addr, one->ai_addrlen, node->ips[count], sizeof(node->ips[count]), NULL, 0,
                             NI_NUMERICHOST) == 0;
    }
    node->ip_count = is_same ? count : node->ip_count;
    count = node->ip_count;
    (void)apr_thread_mutex_unlock(link->lock);
    freeaddrinfo(found);
    return count != 0;
}

int aq_redis_node_address(aq_redis_link_t *link, aq_redis_node_t *node, unsigned n, char ip[INET6_ADDRSTRLEN],
                          int *port, unsigned *index)
{
    int is_there;

    (void)apr_thread_mutex_lock(link->lock);
    is_there = n < node->ip_count;
    if (is_there) {
        *index = (atomic_load(&node->ip_good) + n) % node->ip_count;
        *port = node->at.port;
        (void)memcpy(ip, node->ips[*index], INET6_ADDRSTRLEN);
    }
    (void)apr_thread_mutex_unlock(link->lock);
    return is_there;
}

/* ---- failures --------------------------------------------------------------------------------------------------- */

static uint64_t failures_total(const aq_redis_link_t *link)
{
    uint64_t total = 0;

    for (int i = AQ_REDIS_DOWN; i < AQ_REDIS_FAILURES; i++) {
        total += atomic_load(&link->shared->failures[i]);
    }
    return total;
}

/* What a failure is to the metrics. */
static aq_store_error_t error_of(aq_redis_failure_t failure)
{
    static const aq_store_error_t errors[AQ_REDIS_FAILURES] = {
        [AQ_REDIS_DONE] = AQ_STORE_ERROR_OTHER,        [AQ_REDIS_DOWN] = AQ_STORE_ERROR_BREAKER,
        [AQ_REDIS_TIMEOUT] = AQ_STORE_ERROR_TIMEOUT,   [AQ_REDIS_REFUSED] = AQ_STORE_ERROR_CONNECTION,
        [AQ_REDIS_CLOSED] = AQ_STORE_ERROR_CONNECTION, [AQ_REDIS_PROTOCOL] = AQ_STORE_ERROR_ANSWER,
        [AQ_REDIS_NOSCRIPT] = AQ_STORE_ERROR_OTHER,    [AQ_REDIS_OOM] = AQ_STORE_ERROR_FULL,
        [AQ_REDIS_MISCONF] = AQ_STORE_ERROR_READONLY,  [AQ_REDIS_READONLY] = AQ_STORE_ERROR_READONLY,
        [AQ_REDIS_LOADING] = AQ_STORE_ERROR_LOADING,   [AQ_REDIS_NOAUTH] = AQ_STORE_ERROR_REFUSED,
        [AQ_REDIS_WRONGTYPE] = AQ_STORE_ERROR_ANSWER,  [AQ_REDIS_BUSY] = AQ_STORE_ERROR_OTHER,
        [AQ_REDIS_OTHER] = AQ_STORE_ERROR_OTHER,       [AQ_REDIS_MARK] = AQ_STORE_ERROR_OTHER,
        [AQ_REDIS_MOVED] = AQ_STORE_ERROR_OTHER,       [AQ_REDIS_ASK] = AQ_STORE_ERROR_OTHER,
        [AQ_REDIS_CLUSTERDOWN] = AQ_STORE_ERROR_OTHER, [AQ_REDIS_MOVING] = AQ_STORE_ERROR_OTHER,
    };

    return errors[failure];
}

/* The address, and which of its servers where there are several. */
static void name_write(aq_redis_link_t *link, const aq_redis_node_t *node, char name[NAME_SIZE])
{
    aq_redis_endpoint_t at;

    name[0] = '\0';
    if (node != NULL && link->address->topology != AQ_REDIS_SINGLE) {
        at = aq_redis_node_endpoint(link, node);
        (void)snprintf(name, NAME_SIZE, at.host[0] != '\0' ? " (%s:%d)" : " (no master is known)", at.host, at.port);
    }
}

void aq_redis_failure_note(aq_redis_link_t *link, const aq_redis_node_t *node, aq_redis_failure_t failure)
{
    const int64_t now_ms = aq_clock_boot_ms();
    int64_t logged_ms = atomic_load(&link->shared->logged_ms);
    char name[NAME_SIZE];

    aq_store_error_count(error_of(failure));
    atomic_fetch_add(&link->shared->failures[failure], 1);
    if (failure != AQ_REDIS_DOWN && !link->is_quiet && (logged_ms == 0 || now_ms - logged_ms >= LOG_PAUSE_MS) &&
        atomic_compare_exchange_strong(&link->shared->logged_ms, &logged_ms, now_ms)) {
        name_write(link, node, name);
        AQ_LOG(AQ_LOG_ERROR, 420, APR_SUCCESS,
               "%s%s failed: %s (%" APR_UINT64_T_FMT " calls failed so far, of all processes since the start)",
               link->address->name, name, aq_redis_failure_name(failure), failures_total(link));
    }
}

/* ---- the breaker ------------------------------------------------------------------------------------------------ */

void aq_redis_breaker_open(aq_redis_link_t *link, aq_redis_node_t *node, aq_redis_failure_t failure)
{
    int was_down = 0;
    char name[NAME_SIZE];

    if (atomic_compare_exchange_strong(&node->is_down, &was_down, 1)) {
        atomic_store(&node->pause_ms, PAUSE_MIN_MS);
        atomic_store(&node->try_at_ms, aq_clock_boot_ms() + PAUSE_MIN_MS);
        name_write(link, node, name);
        AQ_LOG(AQ_LOG_INFO, 421, APR_SUCCESS, "%s%s: %s; this process asks it no more until it answers a try",
               link->address->name, name, aq_redis_failure_name(failure));
    }
}

int aq_redis_breaker_is_due(const aq_redis_node_t *node)
{
    return atomic_load(&node->is_down) && aq_clock_boot_ms() >= atomic_load(&node->try_at_ms);
}

void aq_redis_breaker_postpone(aq_redis_node_t *node)
{
    const int64_t pause_ms = atomic_load(&node->pause_ms) * 2;

    atomic_store(&node->pause_ms, pause_ms < PAUSE_MIN_MS   ? PAUSE_MIN_MS
                                  : pause_ms < PAUSE_MAX_MS ? pause_ms
                                                            : PAUSE_MAX_MS);
    atomic_store(&node->try_at_ms, aq_clock_boot_ms() + atomic_load(&node->pause_ms));
}

static aq_redis_failure_t node_ping(aq_redis_link_t *link, unsigned index)
{
    static const char *const ping[] = {"PING", NULL};
    const aq_time_ms_t deadline_ms = aq_clock_boot_ms() + AQ_REDIS_TRY_BUDGET_MS;
    aq_redis_connection_t *connection =
        aq_redis_node_resolve(link, &link->nodes[index]) ? aq_redis_connection_get(link, index) : NULL;

    return connection != NULL ? aq_redis_connection_ask(connection, ping, deadline_ms, NULL, NULL) : AQ_REDIS_REFUSED;
}

int aq_redis_breaker_try(aq_redis_link_t *link, unsigned index)
{
    aq_redis_node_t *node = &link->nodes[index];
    const aq_redis_failure_t failure = node_ping(link, index);
    char name[NAME_SIZE];

    if (failure == AQ_REDIS_DONE) {
        atomic_store(&node->is_down, 0);
        name_write(link, node, name);
        AQ_LOG(AQ_LOG_INFO, 422, APR_SUCCESS, "%s%s answers again", link->address->name, name);
        return 1;
    }
    aq_redis_failure_note(link, node, failure);
    aq_redis_breaker_postpone(node);
    return 0;
}
