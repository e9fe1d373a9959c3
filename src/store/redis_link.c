/* SPDX-License-Identifier: Apache-2.0 */
/* The link to Redis: opened, asked about, tended; what went wrong how often. redis_ask.c asks by it. See redis_link.h. */
#include "store/redis_private.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

/* The most that is kept of a budget. */
#define RESERVE_MS_MAX 5

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
    [AQ_REDIS_MOVING] = "moving",
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

int64_t aq_redis_wait_ms(int64_t budget_ms)
{
    const int64_t tenth_ms = budget_ms / 10;

    return budget_ms - (tenth_ms < RESERVE_MS_MAX ? tenth_ms : RESERVE_MS_MAX);
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

int aq_redis_link_server_of(const aq_redis_link_t *link, const char *key)
{
    return link->slots != NULL ? (int)aq_redis_cluster_node_of(link, key) : 0;
}

uint64_t aq_redis_link_place_of(const aq_redis_link_t *link, const char *key)
{
    const unsigned node = (unsigned)aq_redis_link_server_of(link, key);

    return (uint64_t)(node + 1) << 32 | atomic_load(&link->nodes[node].generation);
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
