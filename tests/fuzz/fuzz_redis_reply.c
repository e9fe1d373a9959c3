/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a Redis that is none, or that is hostile: numbers of counters are read, or it is an error of the protocol. */
#include "fuzz/fuzz.h"
#include "store/redis_request.h"

#include <hiredis.h>

static const char *const limits[][3] = {
    {"minute", "300/minute", "algorithm=fixed"}, {"hour", "300/hour", "algorithm=sliding"},
    {"second", "10/second", "burst=20"},         {"all", "5/total", "per=tenant"},
    {"once", "5/concurrent", "per=tenant"},
};
#define LIMIT_COUNT (sizeof(limits) / sizeof(limits[0]))

static void reply_feed(apr_pool_t *p, const redisReply *reply)
{
    size_t at = 0;
    int64_t number;

    for (size_t i = 0; i < 8; i++) {
        if (aq_redis_number_read(reply, i, &number)) {
            FUZZ_HOLDS(number >= 0);
        }
    }
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const char *error;
        aq_limit_t *limit;
        aq_redis_words_t words;

        FUZZ_HOLDS(aq_limit_parse(p, limits[i], 3, &limit, &error) == APR_SUCCESS);
        if (aq_redis_words_read(reply, &at, limit, &words) != AQ_REDIS_DONE) {
            at = i;
        }
    }
    for (at = 0; at < 8;) {
        aq_redis_slice_t slice = {.want = 1};

        if (aq_redis_slice_read(reply, &at, &slice) != AQ_REDIS_DONE) {
            break;
        }
        FUZZ_HOLDS(slice.left_ms >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    FUZZ_HOLDS(reader);
    if (redisReaderFeed(reader, (const char *)data, size) == REDIS_OK) {
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
            reply_feed(p, reply);
            freeReplyObject(reply);
            reply = NULL;
        }
    }
    redisReaderFree(reader);
    return 0;
}
