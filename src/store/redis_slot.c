/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of keys and commands. See redis_slot.h. */
#include "store/redis_slot.h"

#include <string.h>
#include <strings.h>

#define SLOT_MASK 0x3fffu
#define POLYNOMIAL 0x1021u

/* Bit by bit: a hash tag has forty bytes, which is less than the system call that follows. */
static unsigned crc16(const char *bytes, size_t size)
{
    unsigned crc = 0;

    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned)(unsigned char)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000u) != 0 ? crc << 1 ^ POLYNOMIAL : crc << 1;
        }
        crc &= 0xffffu;
    }
    return crc;
}

unsigned aq_redis_slot_of_key(const char *key, size_t size)
{
    const char *open = memchr(key, '{', size);
    const char *close = open != NULL ? memchr(open + 1, '}', size - (size_t)(open + 1 - key)) : NULL;

    if (close != NULL && close > open + 1) {
        return crc16(open + 1, (size_t)(close - open - 1)) & SLOT_MASK;
    }
    return crc16(key, size) & SLOT_MASK;
}

static int is_word(const aq_redis_command_t *command, int at, const char *word)
{
    return at < command->count && command->sizes[at] == strlen(word) &&
           strncasecmp(command->words[at], word, command->sizes[at]) == 0;
}

static int is_one_of(const aq_redis_command_t *command, const char *const *words)
{
    while (*words != NULL && !is_word(command, 0, *words)) {
        words++;
    }
    return *words != NULL;
}

/* Where the first key stands; 0: nowhere. */
static int key_place(const aq_redis_command_t *command)
{
    static const char *const scripts[] = {"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO", NULL};
    static const char *const streams[] = {"XREAD", "XREADGROUP", NULL};
    static const char *const grouped[] = {"XGROUP", "XINFO", "OBJECT", "MEMORY", NULL};
    static const char *const keyless[] = {"PING",    "INFO", "CONFIG", "SCRIPT", "SCAN",   "TIME",    "CLIENT",
                                          "CLUSTER", "WAIT", "ROLE",   "DBSIZE", "SELECT", "COMMAND", NULL};

    if (is_one_of(command, scripts)) {
        return is_word(command, 2, "0") ? 0 : 3;
    }
    if (is_one_of(command, streams)) {
        for (int i = 1; i < command->count; i++) {
            if (is_word(command, i, "STREAMS")) {
                return i + 1;
            }
        }
    }
    if (is_one_of(command, grouped)) {
        return 2;
    }
    return is_one_of(command, keyless) ? 0 : 1;
}

int aq_redis_slot_of(const aq_redis_command_t *command)
{
    const int at = key_place(command);

    return at > 0 && at < command->count ? (int)aq_redis_slot_of_key(command->words[at], command->sizes[at]) : -1;
}
