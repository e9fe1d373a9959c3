/* SPDX-License-Identifier: Apache-2.0 */
/* Commands to a Redis Cluster while their slot is moved, and when it has gone: those that need it whole, and those that stay. */
#include "store/redis_link.h"
#include "store/redis_slot.h"
#include "unit/redis_cluster_fixture.h"

#include <apr_strings.h>
#include <signal.h>
#include <string.h>

#define SLOTS 16384
#define GUARD "aq:{q}:" /* never exists */

static unsigned slot, source, target;

static void say(unsigned node, const char *command)
{
    ck_assert_str_eq(redis_cluster_fixture_say(node, command), "OK");
}

/* "CLUSTER SETSLOT", of the slot, with what is said behind it and the name of a node. */
static const char *setslot(const char *what, unsigned node)
{
    return apr_psprintf(fixture_pool, "CLUSTER SETSLOT %u %s %040u", slot, what, node + 1);
}

static void slot_give(unsigned node)
{
    for (unsigned i = 0; i < REDIS_CLUSTER_NODES; i++) {
        say((node + i) % REDIS_CLUSTER_NODES, setslot("NODE", node));
    }
}

static aq_redis_link_t *setup_link(void)
{
    aq_redis_link_t *link;
    const char *error = "";

    (void)signal(SIGPIPE, SIG_IGN);
    redis_cluster_fixture_empty();
    fixture_log_keep();
    slot = aq_redis_slot_of_key(GUARD, strlen(GUARD));
    source = slot * REDIS_CLUSTER_NODES / SLOTS;
    target = (source + 1) % REDIS_CLUSTER_NODES;
    ck_assert_int_eq(aq_redis_link_open(fixture_pool, redis_cluster_fixture_address(), &link, &error), APR_SUCCESS);
    return link;
}

static aq_redis_failure_t number_read(void *data, const redisReply *reply)
{
    *(long long *)data = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    return AQ_REDIS_DONE;
}

/* How many of two keys there are, as a script sees them that names none of them. */
static aq_redis_failure_t count(aq_redis_link_t *link, int is_whole, int stays, long long *there)
{
    const char *words[] = {"EVAL", "return redis.call('EXISTS', 'aq:{q}:a') + redis.call('EXISTS', 'aq:{q}:b')", "1",
                           GUARD};
    const size_t sizes[] = {strlen(words[0]), strlen(words[1]), 1, strlen(GUARD)};
    const aq_redis_command_t command = {
        .count = 4, .words = words, .sizes = sizes, .is_whole = is_whole, .stays = stays};

    *there = -1;
    return aq_redis_ask(link, &command, NULL, number_read, there);
}

START_TEST(command_that_needs_its_slot_whole_fails_while_it_is_moved)
{
    aq_redis_link_t *link = setup_link();
    long long there;

    say(source, "SET aq:{q}:a 1");
    say(source, "SET aq:{q}:b 1");
    ck_assert_int_eq(count(link, 1, 0, &there), AQ_REDIS_DONE);
    ck_assert_int_eq(there, 2);
    say(target, setslot("IMPORTING", source));
    say(source, setslot("MIGRATING", target));
    ck_assert_int_eq(count(link, 1, 0, &there), AQ_REDIS_MOVING);
    /* Another goes where it is sent, and finds what is there already: nothing. */
    ck_assert_int_eq(count(link, 0, 0, &there), AQ_REDIS_DONE);
    ck_assert_int_eq(there, 0);
    say(source, apr_psprintf(fixture_pool, "CLUSTER SETSLOT %u STABLE", slot));
    say(target, apr_psprintf(fixture_pool, "CLUSTER SETSLOT %u STABLE", slot));
    ck_assert_int_eq(count(link, 1, 0, &there), AQ_REDIS_DONE);
    ck_assert_int_eq(there, 2);
    ck_assert_int_eq(fixture_log_count(420), 1);
}
END_TEST

START_TEST(command_that_stays_is_told_that_its_slot_has_gone_and_then_follows)
{
    aq_redis_link_t *link = setup_link();
    const uint64_t place = aq_redis_link_place_of(link, GUARD);
    const int server = aq_redis_link_server_of(link, GUARD);
    long long there;

    ck_assert_int_eq(count(link, 1, 1, &there), AQ_REDIS_DONE);
    ck_assert_uint_eq(aq_redis_link_place_of(link, GUARD), place);
    slot_give(target);
    ck_assert_int_eq(count(link, 1, 1, &there), AQ_REDIS_MOVED);
    ck_assert_uint_ne(aq_redis_link_place_of(link, GUARD), place);
    ck_assert_int_ne(aq_redis_link_server_of(link, GUARD), server);
    ck_assert_int_eq(count(link, 1, 1, &there), AQ_REDIS_DONE);
    slot_give(source);
    /* Others follow at once. */
    ck_assert_int_eq(count(link, 1, 0, &there), AQ_REDIS_DONE);
    ck_assert_int_eq(aq_redis_link_server_of(link, GUARD), server);
    ck_assert_int_eq(fixture_log_count(420), 0);
}
END_TEST

static void add(TCase *tests)
{
    redis_cluster_fixture_add(tests);
    tcase_add_test(tests, command_that_needs_its_slot_whole_fails_while_it_is_moved);
    tcase_add_test(tests, command_that_stays_is_told_that_its_slot_has_gone_and_then_follows);
}

int main(void)
{
    return fixture_run("Slots of a Redis Cluster", add);
}
