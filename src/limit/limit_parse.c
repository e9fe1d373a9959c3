/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of what stands behind APIQuotaLimit: NAME RATE [option=value ...]. See aq_limit_parse in plan.h.
 *
 * Options are a table of names and functions. Each function returns NULL, or why its value is none.
 * What depends on several is looked at when all have been read.
 */
#include "limit/plan_parts.h"

#include <apr_strings.h>
#include <string.h>

#define SUFFIX_MAX 32
#define CONCURRENT_MAX 1000

/* A limit while its options are read. */
typedef struct {
    aq_limit_t *limit;
    unsigned seen;     /* a bit for each option that was there */
    uint64_t burst;    /* 0: not given */
    int has_algorithm; /* algorithm= was given */
} parsing_t;

/* The window that a rate has unless another algorithm is asked for. */
static aq_window_t window_default(const aq_rate_t *rate)
{
    aq_window_t window = {.algorithm = AQ_ALGORITHM_FIXED, .period = rate->period, .period_s = rate->period_s};

    if (rate->period == AQ_PERIOD_TOTAL) {
        window.algorithm = AQ_ALGORITHM_TOTAL;
    } else if (rate->period == AQ_PERIOD_CONCURRENT) {
        window.algorithm = AQ_ALGORITHM_CONCURRENT;
    } else if (rate->period == AQ_PERIOD_MONTH) {
        window.anchor = 1;
    } else if (rate->period_s <= AQ_S_PER_MIN) {
        window.algorithm = AQ_ALGORITHM_SLIDING;
    }
    return window;
}

static const char *algorithm_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    static const aq_algorithm_t offered[] = {AQ_ALGORITHM_FIXED, AQ_ALGORITHM_SLIDING, AQ_ALGORITHM_TOKEN_BUCKET};

    for (size_t i = 0; i < sizeof(offered) / sizeof(offered[0]); i++) {
        if (strcmp(value, aq_algorithm_name(offered[i])) == 0) {
            if (parsing->limit->window.algorithm == AQ_ALGORITHM_TOTAL) {
                return "a total never resets, so it takes no algorithm";
            }
            if (parsing->limit->window.algorithm == AQ_ALGORITHM_CONCURRENT) {
                return "what runs at once is no matter of time, so it takes no algorithm";
            }
            parsing->limit->window.algorithm = offered[i];
            parsing->has_algorithm = 1;
            return NULL;
        }
    }
    return apr_psprintf(p, "\"%.80s\" is no algorithm: allowed are fixed, sliding and token-bucket", value);
}

/* A number from 1 to `max`, and nothing behind it; 0 where it is none. */
static uint64_t number_parse(const char *value, uint64_t max)
{
    uint64_t number = 0;

    if (!aq_name_is_valid(value, AQ_DIGITS, 10)) {
        return 0;
    }
    for (; *value != '\0'; value++) {
        number = number * 10 + (uint64_t)(*value - '0');
    }
    return number <= max ? number : 0;
}

static const char *burst_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    parsing->burst = number_parse(value, AQ_RATE_COUNT_MAX);
    if (parsing->burst == 0) {
        return apr_psprintf(p, "\"%.80s\" is no number of requests: allowed are 1 to 4000000000", value);
    }
    return NULL;
}

static const char *anchor_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    const int is_tenant = strcmp(value, "tenant") == 0;
    const uint64_t day = number_parse(value, 31);

    if (parsing->limit->window.period != AQ_PERIOD_MONTH) {
        return "only a month can begin on another day";
    }
    if (!is_tenant && day == 0) {
        return apr_psprintf(p, "\"%.80s\" is no day: allowed are 1 to 31 and tenant, for the tenant's billing day",
                            value);
    }
    parsing->limit->window.anchor = is_tenant ? AQ_ANCHOR_TENANT : (int)day;
    return NULL;
}

static const char *per_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    const char *expression = aq_per_name(AQ_PER_EXPR);
    const size_t length = strlen(expression);

    if (strncmp(value, expression, length) == 0 && value[length] == '=' && value[length + 1] != '\0') {
        parsing->limit->per = AQ_PER_EXPR;
        parsing->limit->expression = apr_pstrdup(p, value + length + 1);
        return NULL;
    }
    for (aq_per_t per = 0; per < AQ_PER_COUNT; per++) {
        if (per != AQ_PER_EXPR && strcmp(value, aq_per_name(per)) == 0) {
            parsing->limit->per = per;
            return NULL;
        }
    }
    return apr_psprintf(p,
                        "\"%.80s\" is no subject: allowed are key, tenant, ip, user, endpoint, tenant+endpoint and "
                        "expr=EXPRESSION",
                        value);
}

static const char *phase_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    if (strcmp(value, "early") != 0) {
        return apr_psprintf(p, "\"%.80s\" is no phase: allowed is early", value);
    }
    parsing->limit->is_early = 1;
    return NULL;
}

static const char *store_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    const int is_leased = strcmp(value, "leased") == 0;

    if (!is_leased && strcmp(value, "strict") != 0) {
        return apr_psprintf(p, "\"%.80s\" is no way to count: allowed are strict and leased", value);
    }
    parsing->limit->mode = is_leased ? AQ_LIMIT_LEASED : AQ_LIMIT_STRICT;
    return NULL;
}

static const char *headers_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    static const char prefix[] = "suffix:";

    if (strcmp(value, "primary") == 0) {
        parsing->limit->shown = AQ_SHOWN_PRIMARY;
    } else if (strcmp(value, "none") == 0) {
        parsing->limit->shown = AQ_SHOWN_NONE;
    } else if (strncmp(value, prefix, sizeof(prefix) - 1) == 0 &&
               aq_name_is_valid(value + sizeof(prefix) - 1, AQ_LOWER AQ_UPPER AQ_DIGITS "-", SUFFIX_MAX)) {
        parsing->limit->shown = AQ_SHOWN_SUFFIX;
        parsing->limit->header_suffix = apr_pstrdup(p, value + sizeof(prefix) - 1);
    } else {
        return apr_psprintf(p,
                            "\"%.80s\" is no way to show a limit: allowed are primary, none and suffix:NAME, as in "
                            "suffix:Daily, with at most %d letters, digits and \"-\"",
                            value, SUFFIX_MAX);
    }
    return NULL;
}

static const char *message_parse(apr_pool_t *p, const char *value, parsing_t *parsing)
{
    if (value[0] == '\0') {
        return "it is empty";
    }
    parsing->limit->message = apr_pstrdup(p, value);
    return NULL;
}

static const struct {
    const char *name;
    const char *(*parse)(apr_pool_t *p, const char *value, parsing_t *parsing);
    int is_of_rate; /* may stand behind the rate of an override, too */
} options[] = {
    {"algorithm", algorithm_parse, 0}, {"burst", burst_parse, 1},
    {"anchor", anchor_parse, 1},       {"per", per_parse, 0},
    {"phase", phase_parse, 0},         {"headers", headers_parse, 0},
    {"store", store_parse, 0},         {"message", message_parse, 0},
};

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

/* Parses one name=value. */
static const char *option_parse(apr_pool_t *p, const char *text, int is_override, parsing_t *parsing)
{
    const char *equals = strchr(text, '=');

    for (size_t i = 0; equals != NULL && i < OPTION_COUNT; i++) {
        const size_t length = strlen(options[i].name);
        const char *wrong;

        if ((size_t)(equals - text) != length || strncmp(text, options[i].name, length) != 0 ||
            (is_override && !options[i].is_of_rate)) {
            continue;
        }
        if (parsing->seen & 1u << i) {
            return apr_psprintf(p, "%s= stands twice", options[i].name);
        }
        parsing->seen |= 1u << i;
        wrong = options[i].parse(p, equals + 1, parsing);
        return wrong != NULL ? apr_psprintf(p, "%s=: %s", options[i].name, wrong) : NULL;
    }
    return apr_psprintf(p, "\"%.80s\" is no option of %s: allowed are %s", text,
                        is_override ? "an override" : "a limit",
                        is_override ? "burst= and anchor="
                                    : "algorithm=, burst=, anchor=, per=, phase=, headers=, store= and message=");
}

/* Makes the bucket of a limit whose rate and burst are known. */
static const char *bucket_set(apr_pool_t *p, parsing_t *parsing)
{
    aq_limit_t *limit = parsing->limit;
    aq_window_t *window = &limit->window;

    if (parsing->burst == 0) {
        return "a token bucket needs burst=, the number of requests that may come at once";
    }
    if (limit->rate.is_unlimited) {
        return "what is unlimited takes no token bucket";
    }
    if (window->period != AQ_PERIOD_SECONDS) {
        return "a token bucket fills evenly in seconds to days: for a month say a number of days as in 30d";
    }
    if (limit->rate.count / window->period_s >= AQ_BUCKET_PER_S_MAX) {
        return apr_psprintf(p, "a token bucket may give less than %d a second", AQ_BUCKET_PER_S_MAX);
    }
    window->bucket = aq_bucket(limit->rate.count, window->period_s, parsing->burst);
    if (aq_bucket_is_too_large(&window->bucket)) {
        return apr_psprintf(p, "burst=%" APR_UINT64_T_FMT " would take more than 366 days to fill", parsing->burst);
    }
    limit->capacity = parsing->burst;
    aq_rate_seconds_write(limit->window_text, (uint32_t)aq_bucket_fill_s(&window->bucket));
    return NULL;
}

/* What no single option can know; sets what follows from several. */
static const char *limit_settle(apr_pool_t *p, parsing_t *parsing)
{
    aq_limit_t *limit = parsing->limit;
    const aq_algorithm_t algorithm = limit->window.algorithm;

    limit->capacity = limit->rate.count;
    apr_cpystrn(limit->window_text, limit->rate.text, sizeof(limit->window_text));
    if (algorithm == AQ_ALGORITHM_SLIDING && limit->window.period == AQ_PERIOD_MONTH) {
        return "months differ in length, so algorithm=sliding cannot be: use fixed, or a number of days as in 30d";
    }
    if (algorithm == AQ_ALGORITHM_CONCURRENT && limit->rate.count > CONCURRENT_MAX) {
        return apr_psprintf(p, "at most %d requests at once can be counted", CONCURRENT_MAX);
    }
    if (algorithm == AQ_ALGORITHM_TOTAL && limit->per == AQ_PER_IP) {
        return "an address is not the same caller for ever, so per=ip takes no total";
    }
    if (limit->is_early && limit->per != AQ_PER_IP) {
        return "phase=early comes before anybody is known, so it needs per=ip";
    }
    if (algorithm == AQ_ALGORITHM_TOKEN_BUCKET) {
        return bucket_set(p, parsing);
    }
    return parsing->burst == 0 ? NULL : "burst= is for token buckets alone";
}

static const char *limit_complete(apr_pool_t *p, parsing_t *parsing)
{
    const char *error = limit_settle(p, parsing);
    aq_limit_t *limit = parsing->limit;

    (void)apr_snprintf(limit->capacity_text, sizeof(limit->capacity_text), "%" APR_UINT64_T_FMT, limit->capacity);
    return error;
}

/* burst= asks for a token bucket, unless an algorithm was named. */
static void algorithm_imply(parsing_t *parsing)
{
    aq_window_t *window = &parsing->limit->window;

    if (parsing->burst != 0 && !parsing->has_algorithm && window->algorithm <= AQ_ALGORITHM_SLIDING) {
        window->algorithm = AQ_ALGORITHM_TOKEN_BUCKET;
    }
}

static const char *limit_parse(apr_pool_t *p, const char *const *arguments, int count, aq_limit_t *limit)
{
    parsing_t parsing = {.limit = limit};
    const char *error;

    if (count < 2) {
        return "a limit needs a name and a rate, as in \"minute 300/minute\"";
    }
    error = aq_limit_name_error(p, arguments[0]);
    if (error == NULL) {
        limit->name = apr_pstrdup(p, arguments[0]);
        (void)aq_rate_parse(p, arguments[1], &limit->rate, &error);
        limit->window = window_default(&limit->rate);
    }
    for (int i = 2; error == NULL && i < count; i++) {
        error = option_parse(p, arguments[i], 0, &parsing);
    }
    if (error == NULL) {
        algorithm_imply(&parsing);
        error = limit_complete(p, &parsing);
        error = error != NULL ? apr_psprintf(p, "%s %s: %s", arguments[0], arguments[1], error) : NULL;
    }
    return error;
}

/* The burst of a token bucket grows with its rate. */
static uint64_t burst_scaled(const aq_limit_t *old, const aq_rate_t *rate)
{
    __extension__ typedef unsigned __int128 uint128;
    const uint128 scaled = ((uint128)old->capacity * rate->count + old->rate.count - 1) / old->rate.count;

    return scaled <= AQ_RATE_COUNT_MAX ? (uint64_t)scaled : AQ_RATE_COUNT_MAX;
}

/* The window that a limit has at another rate: its own where the period stays. */
static aq_window_t window_overridden(const aq_limit_t *old, const aq_rate_t *rate)
{
    const int is_same = rate->period == old->window.period && rate->period_s == old->window.period_s;
    const int is_bucket = old->window.algorithm == AQ_ALGORITHM_TOKEN_BUCKET;

    return is_same && !(is_bucket && rate->is_unlimited) ? old->window : window_default(rate);
}

const char *aq_limit_rate_override(apr_pool_t *p, const char *text, aq_limit_t *limit)
{
    const aq_limit_t old = *limit;
    parsing_t parsing = {.limit = limit};
    char *rest = NULL;
    char *word = apr_strtok(apr_pstrdup(p, text), " ", &rest);
    const char *error;

    if (aq_rate_parse(p, word != NULL ? word : "", &limit->rate, &error) != APR_SUCCESS) {
        return error;
    }
    limit->window = old.capacity != 0 ? window_overridden(&old, &limit->rate) : window_default(&limit->rate);
    while (error == NULL && (word = apr_strtok(NULL, " ", &rest)) != NULL) {
        error = option_parse(p, word, 1, &parsing);
    }
    if (error == NULL) {
        algorithm_imply(&parsing);
        if (parsing.burst == 0 && limit->window.algorithm == AQ_ALGORITHM_TOKEN_BUCKET) {
            parsing.burst = burst_scaled(&old, &limit->rate);
        }
        error = limit_complete(p, &parsing);
        error = error != NULL ? apr_psprintf(p, "\"%.80s\": %s", text, error) : NULL;
    }
    return error;
}

apr_status_t aq_limit_parse(apr_pool_t *p, const char *const *arguments, int count, aq_limit_t **limit,
                            const char **error)
{
    aq_limit_t *parsed = apr_pcalloc(p, sizeof(*parsed));

    *error = limit_parse(p, arguments, count, parsed);
    *limit = *error == NULL ? parsed : NULL;
    return *error == NULL ? APR_SUCCESS : APR_EGENERAL;
}

apr_status_t aq_cost_parse(const char *text, int64_t *cost)
{
    size_t digits = strspn(text, "0123456789");
    apr_int64_t value = digits > 0 && digits <= 10 && !text[digits] ? apr_atoi64(text) : 0;

    if (value < 1 || value > (apr_int64_t)AQ_RATE_COUNT_MAX) {
        return APR_EGENERAL;
    }
    *cost = value;
    return APR_SUCCESS;
}
