/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the counting script. See redis_request.h. */
#include "store/redis_request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TICKS_PER_S 6
#define BUCKET_UNIT_BITS 25
#define MONTH_STARTS 5

static const char *const verbs[] = {[AQ_REDIS_TAKE] = "take",
                                    [AQ_REDIS_LOOK] = "look",
                                    [AQ_REDIS_BACK] = "back",
                                    [AQ_REDIS_RENEW] = "renew",
                                    [AQ_REDIS_RESET] = "reset"};

/* ---- words of a command ----------------------------------------------------------------------------------------- */

static void word_add(aq_redis_request_t *request, const char *word)
{
    request->words[request->count] = word;
    request->sizes[request->count++] = strlen(word);
}

/* Adds a word that is written into the request itself. It is cut where the room is too small, which it never is. */
__attribute__((format(printf, 2, 3))) static void text_add(aq_redis_request_t *request, const char *format, ...)
{
    char *text = request->text + request->used;
    const size_t room = sizeof(request->text) - request->used;
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(text, room, format, arguments);
    va_end(arguments);
    request->used += size >= 0 && (size_t)size < room ? (size_t)size + 1 : 0;
    word_add(request, size >= 0 && (size_t)size < room ? text : "");
}

static void number_add(aq_redis_request_t *request, int64_t number)
{
    text_add(request, "%" PRId64, number);
}

static void hex_add(aq_redis_request_t *request, const aq_hash128_t *key)
{
    text_add(request, "%016" PRIx64 "%016" PRIx64, key->high, key->low);
}

/* ---- homes ------------------------------------------------------------------------------------------------------ */

/* What stands before a home's hash: whose it is. */
static char home_kind(aq_per_t per)
{
    switch (per) {
    case AQ_PER_IP:
        return 'i';
    case AQ_PER_ENDPOINT:
        return 'e';
    case AQ_PER_USER:
        return 'u';
    case AQ_PER_EXPR:
        return 'x';
    default:
        return 't';
    }
}

void aq_redis_home_write(const aq_counter_t *counter, char home[AQ_REDIS_HOME_SIZE])
{
    /* A key is its limit's identity and its subject joined, so that this is the subject. */
    const aq_hash128_t subject = aq_hash_join(counter->limit->identity, counter->key);
    const aq_hash128_t *of = counter->home != NULL ? counter->home : &subject;

    (void)snprintf(home, AQ_REDIS_HOME_SIZE, "aq:{%c:%016" PRIx64 "%016" PRIx64 "}", home_kind(counter->limit->per),
                   of->high, of->low);
}

/* The number, from 1 on, of a home among those of the request. */
static unsigned home_find(aq_redis_request_t *request, const char *home)
{
    unsigned i = 0;

    while (i < request->home_count && strcmp(request->homes[i], home) != 0) {
        i++;
    }
    if (i == request->home_count) {
        (void)snprintf(request->homes[request->home_count++], AQ_REDIS_HOME_SIZE, "%s", home);
    }
    return i + 1;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* All that comes before the counters, once the homes are known. */
static void head_make(aq_redis_request_t *request, const aq_redis_script_t *script, const aq_redis_saying_t *saying)
{
    word_add(request, "EVALSHA");
    word_add(request, script->sha);
    number_add(request, request->home_count);
    for (unsigned i = 0; i < request->home_count; i++) {
        word_add(request, request->homes[i]);
    }
    word_add(request, verbs[saying->verb]);
    if (saying->given_ms == AQ_TIME_NEVER) {
        word_add(request, "");
    } else {
        number_add(request, saying->given_ms);
    }
    number_add(request, saying->cost);
    number_add(request, saying->slack_ms);
    number_add(request, saying->life_ms);
}

/* The starts of the months around now, in seconds: Redis's clock picks one. */
static void month_add(aq_redis_request_t *request, const aq_window_t *window, aq_time_ms_t present_ms)
{
    int64_t starts[MONTH_STARTS];

    for (int i = 0; i < MONTH_STARTS; i++) {
        starts[i] = aq_clock_anchored_month_start_ms(present_ms, i - 1, aq_window_first_day(window)) / AQ_MS_PER_S;
    }
    text_add(request, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, starts[0], starts[1], starts[2],
             starts[3], starts[4]);
}

static const char *kind_of(const aq_window_t *window)
{
    switch (window->algorithm) {
    case AQ_ALGORITHM_FIXED:
        return window->period == AQ_PERIOD_MONTH ? "m" : "f";
    case AQ_ALGORITHM_SLIDING:
        return "s";
    case AQ_ALGORITHM_TOKEN_BUCKET:
        return "b";
    case AQ_ALGORITHM_CONCURRENT:
        return "c";
    case AQ_ALGORITHM_TOTAL:
        break;
    }
    return "t";
}

/* The last word of a counter that may be taken as a slice. */
static void slice_add(aq_redis_request_t *request, const aq_redis_saying_t *saying, const aq_redis_slice_t *slice)
{
    if (slice != NULL && slice->want != 0) {
        text_add(request, "%" PRIu32 ":%" PRIu32 ":%s", slice->need, slice->want, saying->machine);
    } else {
        word_add(request, "");
    }
}

/* The last two words of a counter that is looked at or taken. */
static void details_add(aq_redis_request_t *request, const aq_redis_saying_t *saying, const aq_counter_t *counter,
                        const aq_redis_slice_t *slice)
{
    const aq_window_t *window = &counter->limit->window;

    switch (window->algorithm) {
    case AQ_ALGORITHM_FIXED:
        if (window->period == AQ_PERIOD_MONTH) {
            month_add(request, window, saying->present_ms);
            slice_add(request, saying, slice);
            return;
        }
        break;
    case AQ_ALGORITHM_TOKEN_BUCKET:
        number_add(request, window->bucket.token);
        number_add(request, aq_bucket_units_per_s(&window->bucket));
        return;
    case AQ_ALGORITHM_CONCURRENT:
        word_add(request, saying->owner);
        text_add(request, "%" PRIu64, saying->verb == AQ_REDIS_TAKE ? counter->receipt.slot : 0);
        return;
    case AQ_ALGORITHM_SLIDING:
    case AQ_ALGORITHM_TOTAL:
        break;
    }
    number_add(request, window->period_s);
    slice_add(request, saying, slice);
}

/* The same of one that is given back: where the receipt says that it was charged. */
static void back_details_add(aq_redis_request_t *request, const aq_redis_saying_t *saying, const aq_counter_t *counter)
{
    const aq_window_t *window = &counter->limit->window;
    const uint64_t mark = counter->receipt.slot;

    switch (window->algorithm) {
    case AQ_ALGORITHM_SLIDING:
        word_add(request, "");
        text_add(request, "%" PRIu64, mark);
        return;
    case AQ_ALGORITHM_TOKEN_BUCKET:
        number_add(request, window->bucket.token);
        text_add(request, "%" PRIu64 ":%" PRIu64 ":%" PRId64, mark >> BUCKET_UNIT_BITS,
                 mark & ((UINT64_C(1) << BUCKET_UNIT_BITS) - 1), aq_bucket_units_per_s(&window->bucket));
        return;
    case AQ_ALGORITHM_CONCURRENT:
        word_add(request, saying->owner);
        text_add(request, "%" PRIu64, mark);
        return;
    case AQ_ALGORITHM_FIXED:
    case AQ_ALGORITHM_TOTAL:
        break;
    }
    text_add(request, "%" PRIu64, mark);
    word_add(request, "");
}

static void counter_add(aq_redis_request_t *request, const aq_redis_saying_t *saying, const aq_counter_t *counter,
                        const aq_redis_slice_t *slice, unsigned home)
{
    const aq_limit_t *limit = counter->limit;

    number_add(request, home);
    hex_add(request, &counter->key);
    word_add(request, kind_of(&limit->window));
    if (saying->verb == AQ_REDIS_BACK) {
        number_add(request, counter->receipt.cost);
        back_details_add(request, saying, counter);
    } else {
        number_add(request, limit->rate.is_unlimited ? -1 : (int64_t)limit->capacity);
        details_add(request, saying, counter, slice);
    }
}

void aq_redis_request_make(aq_redis_request_t *request, const aq_redis_script_t *script,
                           const aq_redis_saying_t *saying, const aq_counter_t *counters, unsigned count)
{
    unsigned homes[AQ_LIMITS_MAX];

    request->count = 0;
    request->used = 0;
    request->home_count = 0;
    for (unsigned i = 0; i < count; i++) {
        char home[AQ_REDIS_HOME_SIZE];

        aq_redis_home_write(&counters[i], home);
        homes[i] = home_find(request, home);
    }
    head_make(request, script, saying);
    for (unsigned i = 0; i < count; i++) {
        if (saying->verb != AQ_REDIS_BACK || counters[i].receipt.cost != 0) {
            counter_add(request, saying, &counters[i], saying->slices != NULL ? &saying->slices[i] : NULL, homes[i]);
        }
    }
}

void aq_redis_request_renew(aq_redis_request_t *request, const aq_redis_script_t *script,
                            const aq_redis_saying_t *saying, const aq_redis_held_t *held, unsigned count)
{
    unsigned homes[AQ_LIMITS_MAX];

    request->count = 0;
    request->used = 0;
    request->home_count = 0;
    for (unsigned i = 0; i < count; i++) {
        homes[i] = home_find(request, held[i].home);
    }
    head_make(request, script, saying);
    for (unsigned i = 0; i < count; i++) {
        number_add(request, homes[i]);
        hex_add(request, &held[i].key);
        word_add(request, "c");
        word_add(request, "0");
        word_add(request, saying->owner);
        word_add(request, held[i].list);
    }
}

void aq_redis_request_return(aq_redis_request_t *request, const aq_redis_script_t *script,
                             const aq_redis_saying_t *saying, const char *home, const aq_hash128_t *key,
                             aq_algorithm_t algorithm, uint32_t units, uint64_t mark)
{
    request->count = 0;
    request->used = 0;
    request->home_count = 0;
    (void)home_find(request, home);
    head_make(request, script, saying);
    number_add(request, 1);
    hex_add(request, key);
    word_add(request, algorithm == AQ_ALGORITHM_SLIDING ? "s" : algorithm == AQ_ALGORITHM_FIXED ? "f" : "t");
    number_add(request, units);
    if (algorithm == AQ_ALGORITHM_SLIDING) {
        word_add(request, "");
    }
    text_add(request, "%" PRIu64, mark);
    if (algorithm != AQ_ALGORITHM_SLIDING) {
        word_add(request, "");
    }
}

void aq_redis_request_word(aq_redis_request_t *request, const aq_redis_script_t *script, aq_redis_wording_t *wording)
{
    wording->command = (aq_redis_command_t){.count = request->count, .words = request->words, .sizes = request->sizes};
    wording->otherwise =
        (aq_redis_command_t){.count = request->count, .words = wording->words, .sizes = wording->sizes};
    (void)memcpy(wording->words, request->words, (size_t)request->count * sizeof(wording->words[0]));
    (void)memcpy(wording->sizes, request->sizes, (size_t)request->count * sizeof(wording->sizes[0]));
    wording->words[0] = "EVAL";
    wording->sizes[0] = strlen(wording->words[0]);
    wording->words[1] = script->text;
    wording->sizes[1] = strlen(script->text);
}

aq_redis_failure_t aq_redis_request_ask(aq_redis_link_t *link, aq_redis_request_t *request,
                                        const aq_redis_script_t *script, aq_redis_read_fn *read, void *data)
{
    aq_redis_wording_t wording;

    aq_redis_request_word(request, script, &wording);
    return aq_redis_ask(link, &wording.command, &wording.otherwise, read, data);
}

aq_redis_failure_t aq_redis_request_send(aq_redis_link_t *link, const aq_redis_request_t *request)
{
    const aq_redis_command_t command = {
        .count = request->count, .words = (const char **)request->words, .sizes = request->sizes};

    return aq_redis_send(link, &command);
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

int aq_redis_number_read(const redisReply *reply, size_t at, int64_t *number)
{
    if (reply->type != REDIS_REPLY_ARRAY || at >= reply->elements || reply->element[at]->type != REDIS_REPLY_INTEGER) {
        return 0;
    }
    *number = reply->element[at]->integer;
    return *number >= 0;
}

static int pair_read(const redisReply *reply, size_t *at, uint64_t *first, uint64_t *second)
{
    int64_t numbers[2];

    if (!aq_redis_number_read(reply, *at, &numbers[0]) || !aq_redis_number_read(reply, *at + 1, &numbers[1])) {
        return 0;
    }
    *at += 2;
    *first = (uint64_t)numbers[0];
    *second = (uint64_t)numbers[1];
    return 1;
}

static uint64_t word_of(uint64_t start, uint64_t count)
{
    return (uint64_t)(uint32_t)start << 32 | (count < UINT32_MAX ? count : UINT32_MAX);
}

static int sliding_read(const redisReply *reply, size_t *at, const aq_window_t *window, aq_redis_words_t *words)
{
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        uint64_t number;
        uint64_t count;

        if (!pair_read(reply, at, &number, &count)) {
            return 0;
        }
        words->words[i] = word_of(number * window->period_s, count);
        words->mark = count != 0 && number > words->mark ? number : words->mark;
    }
    return 1;
}

static int bucket_read(const redisReply *reply, size_t *at, const aq_window_t *window, aq_redis_words_t *words)
{
    uint64_t seconds;
    uint64_t units;

    if (!pair_read(reply, at, &seconds, &units) || units >= (uint64_t)aq_bucket_units_per_s(&window->bucket)) {
        return 0;
    }
    aq_bucket_words_make(&window->bucket, seconds, units, words->words);
    words->mark = seconds << BUCKET_UNIT_BITS | units;
    return 1;
}

static int members_read(const redisReply *reply, size_t *at, aq_redis_words_t *words)
{
    int64_t used;

    if (!aq_redis_number_read(reply, (*at)++, &used)) {
        return 0;
    }
    words->words[0] = word_of(0, (uint64_t)used);
    return 1;
}

static int count_read(const redisReply *reply, size_t *at, aq_redis_words_t *words)
{
    uint64_t start;
    uint64_t count;

    if (!pair_read(reply, at, &start, &count)) {
        return 0;
    }
    words->words[0] = word_of(start * TICKS_PER_S, count);
    words->mark = start;
    return 1;
}

aq_redis_failure_t aq_redis_words_read(const redisReply *reply, size_t *at, const aq_limit_t *limit,
                                       aq_redis_words_t *words)
{
    int is_read = 0;

    *words = (aq_redis_words_t){.mark = 0};
    switch (limit->window.algorithm) {
    case AQ_ALGORITHM_FIXED:
    case AQ_ALGORITHM_TOTAL:
        is_read = count_read(reply, at, words);
        break;
    case AQ_ALGORITHM_SLIDING:
        is_read = sliding_read(reply, at, &limit->window, words);
        break;
    case AQ_ALGORITHM_TOKEN_BUCKET:
        is_read = bucket_read(reply, at, &limit->window, words);
        break;
    case AQ_ALGORITHM_CONCURRENT:
        is_read = members_read(reply, at, words);
        break;
    }
    return is_read ? AQ_REDIS_DONE : AQ_REDIS_PROTOCOL;
}

aq_redis_failure_t aq_redis_slice_read(const redisReply *reply, size_t *at, aq_redis_slice_t *slice)
{
    uint64_t granted;
    uint64_t left_ms;

    if (!pair_read(reply, at, &granted, &left_ms) || granted > UINT32_MAX || left_ms > INT64_MAX / 2) {
        return AQ_REDIS_PROTOCOL;
    }
    slice->granted = (uint32_t)granted;
    slice->left_ms = (int64_t)left_ms;
    return AQ_REDIS_DONE;
}
