/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a Redis about itself. See redis_info.h. */
#include "store/redis_info.h"

#include <apr_strings.h>
#include <string.h>

#define WORDS_MAX 8

aq_redis_failure_t aq_redis_words_ask(aq_redis_link_t *link, const char *const *words, aq_redis_read_fn *read,
                                      void *data)
{
    const char *copy[WORDS_MAX];
    size_t sizes[WORDS_MAX];
    aq_redis_command_t command = {.words = copy, .sizes = sizes};

    for (; command.count < WORDS_MAX && words[command.count] != NULL; command.count++) {
        copy[command.count] = words[command.count];
        sizes[command.count] = strlen(words[command.count]);
    }
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

aq_redis_failure_t aq_redis_info_ask(aq_redis_link_t *link, const char *const *words, char answer[AQ_REDIS_INFO_SIZE])
{
    return aq_redis_words_ask(link, words, text_read, answer);
}

int aq_redis_info_has_line(const char *answer, const char *line)
{
    const char *at = strstr(answer, line);

    return at != NULL && (at == answer || at[-1] == '\n') && strchr("\r\n", at[strlen(line)]) != NULL;
}

int aq_redis_info_may_evict(aq_redis_link_t *link)
{
    const char *const memory[] = {"INFO", "memory", NULL};
    char answer[AQ_REDIS_INFO_SIZE] = "";

    return aq_redis_info_ask(link, memory, answer) == AQ_REDIS_DONE && strstr(answer, "maxmemory_policy:") != NULL &&
           !aq_redis_info_has_line(answer, "maxmemory_policy:noeviction");
}

int aq_redis_info_keeps_nothing(aq_redis_link_t *link)
{
    const char *const persistence[] = {"INFO", "persistence", NULL};
    const char *const save[] = {"CONFIG", "GET", "save", NULL};
    char answer[AQ_REDIS_INFO_SIZE] = "";

    if (aq_redis_info_ask(link, persistence, answer) != AQ_REDIS_DONE ||
        !aq_redis_info_has_line(answer, "aof_enabled:0")) {
        return 0;
    }
    (void)apr_cpystrn(answer, "?", sizeof(answer));
    return aq_redis_info_ask(link, save, answer) == AQ_REDIS_DONE && answer[0] == '\0';
}
