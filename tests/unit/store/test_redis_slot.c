/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of a Redis Cluster: those of keys as `CLUSTER KEYSLOT` tells them, and the keys of commands. */
#include "store/redis_slot.h"
#include "unit/fixture.h"

#include <string.h>

START_TEST(slot_of_a_key_is_that_of_redis)
{
    /* CLUSTER KEYSLOT of Redis 7.0.15. */
    static const struct {
        const char *key;
        unsigned slot;
    } keys[] = {
        {"123456789", 0x31c3}, {"foo", 12182},          {"bar", 5061},           {"", 0},
        {"{foo}:1", 12182},    {"any{bar}thing", 5061}, {"{}foo", 9500},         {"foo{", 7673},
        {"{bar", 4015},        {"foo{{bar}}zap", 4015}, {"foo{bar}{zap}", 5061}, {"aq:secret", 327},
    };

    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        ck_assert_msg(aq_redis_slot_of_key(keys[i].key, strlen(keys[i].key)) == keys[i].slot, "%s: %u", keys[i].key,
                      aq_redis_slot_of_key(keys[i].key, strlen(keys[i].key)));
    }
}
END_TEST

START_TEST(key_of_a_command_is_found)
{
    static const struct {
        const char *words[7];
        int has_foo;
    } commands[] = {
        {{"GET", "foo"}, 1},
        {{"evalsha", "0123", "1", "foo", "x"}, 1},
        {{"EVAL", "return 1", "0", "foo"}, 0},
        {{"EVAL", "return 1", "1"}, 0},
        {{"XREADGROUP", "GROUP", "g", "c", "STREAMS", "foo", ">"}, 1},
        {{"XGROUP", "CREATE", "foo", "g", "$"}, 1},
        {{"PING"}, 0},
        {{"SCAN", "0"}, 0},
        {{"DEL"}, 0},
    };

    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const char *words[7];
        size_t sizes[7];
        aq_redis_command_t command = {.words = words, .sizes = sizes};

        for (; command.count < 7 && commands[i].words[command.count] != NULL; command.count++) {
            words[command.count] = commands[i].words[command.count];
            sizes[command.count] = strlen(words[command.count]);
        }
        ck_assert_msg(aq_redis_slot_of(&command) == (commands[i].has_foo ? 12182 : -1), "%s", words[0]);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, slot_of_a_key_is_that_of_redis);
    tcase_add_test(tests, key_of_a_command_is_found);
}

int main(void)
{
    return fixture_run("Slots of a Redis Cluster", add);
}
