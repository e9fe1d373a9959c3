/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a Redis about itself: INFO, CONFIG GET and what else answers with a text. */
#ifndef AQ_REDIS_INFO_H
#define AQ_REDIS_INFO_H

#include "store/redis_link.h"

#define AQ_REDIS_INFO_SIZE 8192

/* Asks; `words` end with NULL, at most eight. `read` as in aq_redis_ask. */
aq_redis_failure_t aq_redis_words_ask(aq_redis_link_t *link, const char *const *words, aq_redis_read_fn *read,
                                      void *data);

/*
 * Asks server number `server` of the link for the text of its answer, or the second of two; `answer` stays as it is where it
 * is none.
 */
aq_redis_failure_t aq_redis_info_ask(aq_redis_link_t *link, int server, const char *const *words,
                                     char answer[AQ_REDIS_INFO_SIZE]);

/* 1 where the answer, of lines "name:value", has that line. */
int aq_redis_info_has_line(const char *answer, const char *line);

/* 1 where the server may throw keys away when its memory is full; 0 also where it does not say. */
int aq_redis_info_may_evict(aq_redis_link_t *link, int server);

/* 1 where the server says that it keeps nothing on disk: neither a log nor snapshots. */
int aq_redis_info_keeps_nothing(aq_redis_link_t *link, int server);

#endif
