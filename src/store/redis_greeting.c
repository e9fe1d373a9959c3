/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said on a new connection to Redis, in one round trip: who we are, which database is meant, and two questions.
 * Behind sentinels: is it a master? And everywhere: is it the server that we began with, see aq_redis_link_mark?
 */
#include "store/redis_private.h"

#include <stdio.h>
#include <string.h>

#define WORDS_MAX 4
#define GREETINGS_MAX 5

typedef struct {
    const char *words[WORDS_MAX];
    aq_redis_read_fn *read;
    int is_of_mark;
} greeting_t;

typedef struct {
    greeting_t all[GREETINGS_MAX];
    unsigned count;
    char db[12];
} greetings_t;

static aq_redis_failure_t role_read(void *data, const redisReply *reply)
{
    (void)data;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 || reply->element[0]->type != REDIS_REPLY_STRING) {
        return AQ_REDIS_PROTOCOL;
    }
    return strcmp(reply->element[0]->str, "master") == 0 ? AQ_REDIS_DONE : AQ_REDIS_READONLY;
}

static aq_redis_failure_t mark_read(void *data, const redisReply *reply)
{
    const aq_redis_link_t *link = data;
    const int is_same = reply->type == REDIS_REPLY_STRING && strcmp(reply->str, link->mark_value) == 0;

    return is_same || reply->type != REDIS_REPLY_STRING ? AQ_REDIS_DONE : AQ_REDIS_MARK;
}

static void greeting_add(greetings_t *greetings, greeting_t greeting)
{
    greetings->all[greetings->count++] = greeting;
}

static void auth_add(greetings_t *greetings, const char *user, const char *password)
{
    if (password != NULL && user != NULL) {
        greeting_add(greetings, (greeting_t){.words = {"AUTH", user, password}});
    } else if (password != NULL) {
        greeting_add(greetings, (greeting_t){.words = {"AUTH", password}});
    }
}

static int is_sentinel(const aq_redis_connection_t *connection)
{
    const aq_redis_link_t *link = connection->link;

    return link->address->topology == AQ_REDIS_SENTINEL && connection->node != &link->nodes[0];
}

static void greetings_make(greetings_t *greetings, const aq_redis_connection_t *connection)
{
    const aq_redis_link_t *link = connection->link;
    const aq_redis_address_t *to = link->address;

    greetings->count = 0;
    if (is_sentinel(connection)) {
        auth_add(greetings, to->sentinel_user, to->sentinel_password);
        return;
    }
    auth_add(greetings, to->user, to->password);
    if (to->db != 0) {
        (void)snprintf(greetings->db, sizeof(greetings->db), "%d", to->db);
        greeting_add(greetings, (greeting_t){.words = {"SELECT", greetings->db}});
    }
    if (to->topology == AQ_REDIS_SENTINEL) {
        greeting_add(greetings, (greeting_t){.words = {"ROLE"}, .read = role_read});
    }
    if (link->mark_key != NULL) {
        greeting_add(greetings, (greeting_t){.words = {"SETNX", link->mark_key, link->mark_value}, .is_of_mark = 1});
        greeting_add(greetings, (greeting_t){.words = {"GET", link->mark_key}, .read = mark_read, .is_of_mark = 1});
    }
}

/* A node of a cluster that has not the key of the mark says so: then another one is asked for it. */
static aq_redis_failure_t greeting_read(aq_redis_connection_t *connection, const greeting_t *greeting,
                                        aq_time_ms_t deadline_ms)
{
    const aq_redis_failure_t failure =
        aq_redis_connection_read(connection, deadline_ms, greeting->read, connection->link);
    const int is_elsewhere = failure == AQ_REDIS_MOVED || failure == AQ_REDIS_ASK;

    return greeting->is_of_mark && is_elsewhere ? AQ_REDIS_DONE : failure;
}

aq_redis_failure_t aq_redis_greet(aq_redis_connection_t *connection, aq_time_ms_t deadline_ms)
{
    greetings_t greetings;
    aq_redis_failure_t failure = AQ_REDIS_DONE;

    greetings_make(&greetings, connection);
    for (unsigned i = 0; failure == AQ_REDIS_DONE && i < greetings.count; i++) {
        failure = aq_redis_connection_say(connection, greetings.all[i].words);
    }
    if (failure == AQ_REDIS_DONE && greetings.count != 0) {
        failure = aq_redis_connection_flush(connection, deadline_ms);
    }
    for (unsigned i = 0; failure == AQ_REDIS_DONE && i < greetings.count; i++) {
        failure = greeting_read(connection, &greetings.all[i], deadline_ms);
    }
    return failure;
}
