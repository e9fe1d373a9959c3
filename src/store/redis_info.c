/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a Redis about itself. See redis_info.h. */
#include "store/redis_info.h"

#include <apr_strings.h>
#include <string.h>

#define WORDS_MAX 8

typedef struct {
    const char *words[WORDS_MAX];
    size_t sizes[WORDS_MAX];
} words_t;

static aq_redis_command_t command_make(const char *const *words, words_t *copy)
{
    aq_redis_command_t command = {.words = copy->words, .sizes = copy->sizes};

    for (; command.count < WORDS_MAX && words[command.count] != NULL; command.count++) {
        copy->words[command.count] = words[command.count];
        copy->sizes[command.count] = strlen(words[command.count]);
    }
    return command;
}

aq_redis_failure_t aq_redis_words_ask(aq_redis_link_t *link, const char *const *words, aq_redis_read_fn *read,
                                      void *data)
{
    words_t copy;
    const aq_redis_command_t command = command_make(words, &copy);

    return aq_redis_ask(link, &command, NULL, read, data);
}

static aq_redis_failure_t text_read(void *data, const redisReply *reply)
{
    char *text = data;

    if (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) {
        apr_cpystrn(text, reply->str, AQ_REDIS_INFO_SIZE);
    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
               reply->element[1]->type == REDIS_REPLY_STRING) {
        apr_cpystrn(text, reply->element[1]->str, AQ_REDIS_INFO_SIZE);
    }
    return AQ_REDIS_DONE;
}

aq_redis_failure_t aq_redis_info_ask(aq_redis_link_t *link, int server, const char *const *words,
                                     char answer[AQ_REDIS_INFO_SIZE])
{
    words_t copy;
    const aq_redis_command_t command = command_make(words, &copy);

    return aq_redis_ask_server(link, server, &command, text_read, answer);
}

int aq_redis_info_has_line(const char *answer, const char *line)
{
    const char *at = strstr(answer, line);

    return at != NULL && (at == answer || at[-1] == '\n') && strchr("\r\n", at[strlen(line)]) != NULL;
}

int aq_redis_info_may_evict(aq_redis_link_t *link, int server)
{
    const char *const memory[] = {"INFO", "memory", NULL};
    char answer[AQ_REDIS_INFO_SIZE] = "";

    return aq_redis_info_ask(link, server, memory, answer) == AQ_REDIS_DONE &&
           strstr(answer, "maxmemory_policy:") != NULL &&
           !aq_redis_info_has_line(answer, "maxmemory_policy:noeviction");
}

int aq_redis_info_keeps_nothing(aq_redis_link_t *link, int server)
{
    const char *const persistence[] = {"INFO", "persistence", NULL};
    const char *const save[] = {"CONFIG", "GET", "save", NULL};
    char answer[AQ_REDIS_INFO_SIZE] = "";

    if (aq_redis_info_ask(link, server, persistence, answer) != AQ_REDIS_DONE ||
        !aq_redis_info_has_line(answer, "aof_enabled:0")) {
        return 0;
    }
    (void)apr_cpystrn(answer, "?", sizeof(answer));
    return aq_redis_info_ask(link, server, save, answer) == AQ_REDIS_DONE && answer[0] == '\0';
}
