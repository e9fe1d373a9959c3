/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the counting script: its arguments made of counters, its answer made into words. See redis_script.h for both.
 */
#ifndef AQ_REDIS_REQUEST_H
#define AQ_REDIS_REQUEST_H

#include "limit/counter_store.h"
#include "store/redis_link.h"
#include "store/redis_members.h"

#define AQ_REDIS_HOME_SIZE 48
/* command, script, number of keys; keys; verb and its four; six a counter */
#define AQ_REDIS_WORDS_MAX (3 + AQ_LIMITS_MAX + 5 + 6 * AQ_LIMITS_MAX)
#define AQ_REDIS_TEXT_SIZE 4096

/* The script, by text and by name. */
typedef struct {
    const char *text;
    char sha[AQ_SHA1_HEX_SIZE];
} aq_redis_script_t;

typedef enum { AQ_REDIS_TAKE, AQ_REDIS_LOOK, AQ_REDIS_BACK, AQ_REDIS_RENEW, AQ_REDIS_RESET } aq_redis_verb_t;

/* A call while it is made. It points into itself, so it is not to be copied. */
typedef struct {
    const char *words[AQ_REDIS_WORDS_MAX];
    size_t sizes[AQ_REDIS_WORDS_MAX];
    int count;
    char homes[AQ_LIMITS_MAX][AQ_REDIS_HOME_SIZE];
    unsigned home_count;
    char text[AQ_REDIS_TEXT_SIZE];
    size_t used;
} aq_redis_request_t;

/* What is asked of one counter that is taken as a slice, and what of it was answered. */
typedef struct {
    uint32_t need; /* charged, or denied, with the others */
    uint32_t want; /* with `need`; 0: it is no slice, and the call's cost is charged */
    /* answered */
    uint32_t granted; /* with `need` */
    int64_t left_ms;  /* so long it may be spent; 0: no window ends */
    uint32_t start;   /* of the window that was charged, see window.h */
} aq_redis_slice_t;

/* What all calls of a store say. */
typedef struct {
    aq_redis_verb_t verb;
    aq_time_ms_t given_ms;   /* the moment, where the store goes by the caller's clock; AQ_TIME_NEVER: by Redis's */
    aq_time_ms_t present_ms; /* about what Redis's clock shows */
    uint32_t cost;
    int64_t slack_ms, life_ms;
    char owner[AQ_REDIS_OWNER_SIZE]; /* of members */
    aq_redis_slice_t *slices;        /* one a counter; NULL: none */
    const char *machine;             /* that takes slices */
} aq_redis_saying_t;

/* The name of a counter's home in Redis. */
void aq_redis_home_write(const aq_counter_t *counter, char home[AQ_REDIS_HOME_SIZE]);

/*
 * Makes a call for `count` counters. A concurrent one that is taken or given back has its id in receipt.slot. With
 * AQ_REDIS_BACK those without a receipt are left out.
 */
void aq_redis_request_make(aq_redis_request_t *request, const aq_redis_script_t *script,
                           const aq_redis_saying_t *saying, const aq_counter_t *counters, unsigned count);

/* The same for what a process holds; `count` <= AQ_LIMITS_MAX. */
void aq_redis_request_renew(aq_redis_request_t *request, const aq_redis_script_t *script,
                            const aq_redis_saying_t *saying, const aq_redis_held_t *held, unsigned count);

/* The same for what is left of a slice: `kind` as the script has it, and `mark` the window's start or number there. */
void aq_redis_request_return(aq_redis_request_t *request, const aq_redis_script_t *script,
                             const aq_redis_saying_t *saying, const char *home, const aq_hash128_t *key,
                             aq_algorithm_t algorithm, uint32_t units, uint64_t mark);

/* A call as it is sent: by the script's name and, where Redis has forgotten it, by its text. It points into itself. */
typedef struct {
    aq_redis_command_t command, otherwise;
    const char *words[AQ_REDIS_WORDS_MAX];
    size_t sizes[AQ_REDIS_WORDS_MAX];
} aq_redis_wording_t;

/* Words a call; `request` and `script` must outlive the wording. */
void aq_redis_request_word(aq_redis_request_t *request, const aq_redis_script_t *script, aq_redis_wording_t *wording);

/* Sends a call by the script's name and, where Redis has forgotten it, by its text; or only sends it. */
aq_redis_failure_t aq_redis_request_ask(aq_redis_link_t *link, aq_redis_request_t *request,
                                        const aq_redis_script_t *script, aq_redis_read_fn *read, void *data);
aq_redis_failure_t aq_redis_request_send(aq_redis_link_t *link, const aq_redis_request_t *request);

/* What the script answered of one counter. */
typedef struct {
    uint64_t words[AQ_WINDOW_WORDS];
    uint64_t mark; /* for receipt.slot: the start, the number of the newest sub-window, or TAT */
} aq_redis_words_t;

/*
 * Reads one counter's numbers, which begin at `*at` of the answer; `*at` moves behind them. AQ_REDIS_PROTOCOL where they
 * are not there, or are none.
 */
aq_redis_failure_t aq_redis_words_read(const redisReply *reply, size_t *at, const aq_limit_t *limit,
                                       aq_redis_words_t *words);

/* Reads the two numbers behind them that a slice has. */
aq_redis_failure_t aq_redis_slice_read(const redisReply *reply, size_t *at, aq_redis_slice_t *slice);

/* A whole number that is not negative, at place `at` of an answer. 0 where there is none. */
int aq_redis_number_read(const redisReply *reply, size_t at, int64_t *number);

#endif
