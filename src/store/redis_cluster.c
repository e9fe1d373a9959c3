/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process knows of a Redis Cluster: which node has which slot, learnt from CLUSTER SLOTS when the link is opened and
 * whenever something is not as it was thought, and slot by slot from MOVED. See redis_link.h.
 */
#include "store/redis_private.h"

#include "base/aq_log.h"
#include "store/redis_slot.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define ASK_PAUSE_MS INT64_C(200)
/* So many nodes are asked for the map at a time. */
#define ASKED_MAX 4
#define BITS 64

/* The map while it is read. */
typedef struct {
    aq_redis_link_t *link;
    aq_redis_endpoint_t asked; /* whose answer it is */
    uint16_t owners[AQ_REDIS_SLOTS];
} map_t;

apr_status_t aq_redis_cluster_prepare(apr_pool_t *p, aq_redis_link_t *link)
{
    link->slots = apr_pcalloc(p, sizeof(*link->slots));
    return APR_SUCCESS;
}

/* ---- routes ----------------------------------------------------------------------------------------------------- */

/* One that is not known to be away, for what any node can answer. */
static unsigned any_node(const aq_redis_link_t *link)
{
    const unsigned count = atomic_load(&link->node_count);

    for (unsigned i = 0; i < count; i++) {
        if (!atomic_load(&link->nodes[i].is_down)) {
            return i;
        }
    }
    return 0;
}

static unsigned node_of_slot(const aq_redis_link_t *link, int slot)
{
    const unsigned owner = slot >= 0 ? atomic_load_explicit(&link->slots->owners[slot], memory_order_relaxed) : 0;

    return owner != 0 ? owner - 1 : any_node(link);
}

unsigned aq_redis_cluster_route(const aq_redis_link_t *link, const aq_redis_command_t *command)
{
    return node_of_slot(link, aq_redis_slot_of(command));
}

unsigned aq_redis_cluster_node_of(const aq_redis_link_t *link, const char *key)
{
    return node_of_slot(link, (int)aq_redis_slot_of_key(key, strlen(key)));
}

int aq_redis_cluster_is_moving(const aq_redis_link_t *link, const aq_redis_command_t *command)
{
    const int slot = aq_redis_slot_of(command);

    return slot >= 0 && (atomic_load(&link->slots->moving[slot / BITS]) >> slot % BITS & 1) != 0;
}

static void moving_set(aq_redis_slots_t *slots, unsigned slot, int is_moving)
{
    const uint64_t bit = UINT64_C(1) << slot % BITS;

    if (is_moving) {
        atomic_fetch_or(&slots->moving[slot / BITS], bit);
    } else {
        atomic_fetch_and(&slots->moving[slot / BITS], ~bit);
    }
}

int aq_redis_cluster_redirect(aq_redis_link_t *link, aq_redis_failure_t failure, const aq_redis_redirect_t *to)
{
    const int node =
        to->slot < AQ_REDIS_SLOTS && to->at.port > 0 && to->at.host[0] != '\0' ? aq_redis_node_find(link, &to->at) : -1;

    if (node < 0) {
        aq_redis_cluster_doubt(link);
        return -1;
    }
    moving_set(link->slots, to->slot, failure == AQ_REDIS_ASK);
    if (failure == AQ_REDIS_MOVED) {
        atomic_store(&link->nodes[node].has_slots, 1);
        atomic_store(&link->slots->owners[to->slot], (uint16_t)(node + 1));
        aq_redis_cluster_doubt(link);
    }
    return node;
}

/* ---- the map ---------------------------------------------------------------------------------------------------- */

static int is_number(const redisReply *reply, long long most)
{
    return reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0 && reply->integer <= most;
}

/* "from, to, [host, port, …] of the master, …": a range of slots. A host that is not said is that of who was asked. */
static int range_read(map_t *map, const redisReply *range)
{
    aq_redis_endpoint_t at = map->asked;
    const redisReply *master;
    int node;

    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 || !is_number(range->element[0], AQ_REDIS_SLOTS - 1) ||
        !is_number(range->element[1], AQ_REDIS_SLOTS - 1)) {
        return 0;
    }
    master = range->element[2];
    if (master->type != REDIS_REPLY_ARRAY || master->elements < 2 || !is_number(master->element[1], 65535)) {
        return 0;
    }
    if (master->element[0]->type == REDIS_REPLY_STRING && master->element[0]->len != 0) {
        apr_cpystrn(at.host, master->element[0]->str, sizeof(at.host));
    }
    at.port = (int)master->element[1]->integer;
    node = aq_redis_node_find(map->link, &at);
    for (long long slot = range->element[0]->integer; node >= 0 && slot <= range->element[1]->integer; slot++) {
        map->owners[slot] = (uint16_t)(node + 1);
    }
    return 1;
}

static aq_redis_failure_t map_read(void *data, const redisReply *reply)
{
    map_t *map = data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        return AQ_REDIS_PROTOCOL;
    }
    for (size_t i = 0; i < reply->elements; i++) {
        if (!range_read(map, reply->element[i])) {
            return AQ_REDIS_PROTOCOL;
        }
    }
    return AQ_REDIS_DONE;
}

/* Takes the map over, and looks up hosts that are new in it. 1 where it says something new. */
static int map_use(aq_redis_link_t *link, const map_t *map)
{
    unsigned char has_slots[AQ_REDIS_NODES_MAX] = {0};
    const unsigned count = atomic_load(&link->node_count);
    int is_new = 0;

    for (unsigned slot = 0; slot < AQ_REDIS_SLOTS; slot++) {
        if (map->owners[slot] != 0) {
            has_slots[map->owners[slot] - 1] = 1;
        }
        if (atomic_load(&link->slots->owners[slot]) != map->owners[slot]) {
            atomic_store(&link->slots->owners[slot], map->owners[slot]);
            moving_set(link->slots, slot, 0);
            is_new = 1;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        atomic_store(&link->nodes[i].has_slots, has_slots[i]);
        if (has_slots[i] && !aq_redis_node_has_address(link, &link->nodes[i])) {
            (void)aq_redis_node_resolve(link, &link->nodes[i]);
        }
    }
    return is_new;
}

/* A cluster whose mark is another's is none of ours: whoever has the key of the mark says so when it is connected. */
static int is_marked_otherwise(aq_redis_link_t *link, const map_t *map, aq_time_ms_t deadline_ms)
{
    static const char *const ping[] = {"PING", NULL};
    const unsigned owner =
        link->mark_key != NULL ? map->owners[aq_redis_slot_of_key(link->mark_key, strlen(link->mark_key))] : 0;
    aq_redis_connection_t *connection = owner != 0 ? aq_redis_connection_get(link, owner - 1) : NULL;

    return connection != NULL && aq_redis_connection_ask(connection, ping, deadline_ms, NULL, NULL) == AQ_REDIS_MARK;
}

static aq_redis_failure_t node_ask(aq_redis_link_t *link, unsigned index, aq_time_ms_t deadline_ms, map_t *map)
{
    static const char *const words[] = {"CLUSTER", "SLOTS", NULL};
    aq_redis_connection_t *connection = aq_redis_connection_get(link, index);
    aq_redis_failure_t failure;

    if (connection == NULL) {
        return AQ_REDIS_REFUSED;
    }
    memset(map->owners, 0, sizeof(map->owners));
    map->asked = aq_redis_node_endpoint(link, &link->nodes[index]);
    failure = aq_redis_connection_ask(connection, words, deadline_ms, map_read, map);
    return failure == AQ_REDIS_DONE && is_marked_otherwise(link, map, deadline_ms) ? AQ_REDIS_MARK : failure;
}

/* The next node to be asked, each time another one: one that is cut off from the others has an old map. */
static unsigned node_next(aq_redis_link_t *link, unsigned count)
{
    const int is_down = aq_redis_link_is_down(link);
    unsigned index = 0;

    /* Those that are away are asked where there are no others. */
    for (unsigned n = 0; n < count; n++) {
        index = atomic_fetch_add(&link->slots->turn, 1) % count;
        if (is_down || !atomic_load(&link->nodes[index].is_down)) {
            break;
        }
    }
    return index;
}

/* As aq_redis_cluster_find; `*is_new` tells whether it is another map than before. */
static int map_find(aq_redis_link_t *link, aq_time_ms_t deadline_ms, int *is_new)
{
    const unsigned count = atomic_load(&link->node_count);
    map_t *map = malloc(sizeof(*map));
    int is_found = 0;

    *is_new = 0;
    for (unsigned n = 0; map != NULL && !is_found && n < ASKED_MAX && aq_clock_boot_ms() < deadline_ms; n++) {
        const unsigned index = node_next(link, count);
        const aq_time_ms_t try_ms = aq_clock_boot_ms() + AQ_REDIS_TRY_BUDGET_MS;
        aq_redis_failure_t failure;

        map->link = link;
        failure = node_ask(link, index, try_ms < deadline_ms ? try_ms : deadline_ms, map);
        is_found = failure == AQ_REDIS_DONE;
        if (!is_found) {
            aq_redis_failure_note(link, &link->nodes[index], failure);
        }
    }
    if (is_found) {
        *is_new = map_use(link, map);
    }
    free(map);
    return is_found;
}

int aq_redis_cluster_find(aq_redis_link_t *link, aq_time_ms_t deadline_ms)
{
    int is_new;

    return map_find(link, deadline_ms, &is_new);
}

/* ---- the timer -------------------------------------------------------------------------------------------------- */

static int map_tend(aq_redis_link_t *link)
{
    const int64_t now_ms = aq_clock_boot_ms();
    int is_new = 0;

    if (!atomic_load(&link->slots->is_stale) || now_ms - atomic_load(&link->slots->asked_ms) < ASK_PAUSE_MS) {
        return 0;
    }
    atomic_store(&link->slots->asked_ms, now_ms);
    atomic_store(&link->slots->is_stale, 0);
    if (!map_find(link, now_ms + 2 * AQ_REDIS_TRY_BUDGET_MS, &is_new)) {
        aq_redis_cluster_doubt(link);
    }
    return is_new;
}

int aq_redis_cluster_tend(aq_redis_link_t *link)
{
    const int is_known = aq_redis_link_server(link, 0) >= 0;
    const unsigned count = atomic_load(&link->node_count);
    int is_back = map_tend(link);

    for (unsigned i = 0; i < count; i++) {
        aq_redis_node_t *node = &link->nodes[i];

        /* One that has no slots any more is of no use, unless nothing else is known. */
        if (atomic_load(&node->is_down) && (!is_known || atomic_load(&node->has_slots))) {
            aq_redis_cluster_doubt(link);
            is_back |= aq_redis_breaker_is_due(node) && aq_redis_breaker_try(link, i);
        }
    }
    return is_back;
}
