/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of what stands behind APIQuotaLimit: NAME RATE [option=value ...]. See aq_limit_parse in plan.h.
 *
 * Options are a table of names and functions. Each function returns NULL, or why its value is none.
 */
#include "limit/plan_parts.h"

#include <apr_strings.h>
#include <string.h>

#define SUFFIX_MAX 32

/* The window that a rate has unless another algorithm is asked for. */
static aq_window_t window_default(const aq_rate_t *rate)
{
    aq_window_t window = {.algorithm = AQ_ALGORITHM_FIXED, .period = rate->period, .period_s = rate->period_s};

    if (rate->period == AQ_PERIOD_TOTAL) {
        window.algorithm = AQ_ALGORITHM_TOTAL;
    } else if (rate->period == AQ_PERIOD_SECONDS && rate->period_s <= AQ_S_PER_MIN) {
        window.algorithm = AQ_ALGORITHM_SLIDING;
    }
    return window;
}

const char *aq_limit_rate_set(apr_pool_t *p, const char *text, aq_limit_t *limit)
{
    const char *error;

    if (aq_rate_parse(p, text, &limit->rate, &error) != APR_SUCCESS) {
        return error;
    }
    if (limit->rate.period == AQ_PERIOD_CONCURRENT) {
        return apr_psprintf(p, "\"%.80s\": limits on what runs at once are not available in this version", text);
    }
    limit->window = window_default(&limit->rate);
    return NULL;
}

static const char *algorithm_parse(apr_pool_t *p, const char *value, aq_limit_t *limit)
{
    const int is_fixed = strcmp(value, aq_algorithm_name(AQ_ALGORITHM_FIXED)) == 0;

    if (!is_fixed && strcmp(value, aq_algorithm_name(AQ_ALGORITHM_SLIDING)) != 0) {
        return apr_psprintf(p, "\"%.80s\" is no algorithm: allowed are fixed and sliding", value);
    }
    if (limit->window.algorithm == AQ_ALGORITHM_TOTAL) {
        return "a total never resets, so it takes no algorithm";
    }
    if (!is_fixed && limit->window.period == AQ_PERIOD_MONTH) {
        return "months differ in length, so their limits cannot slide: use fixed, or a number of days as in 30d";
    }
    limit->window.algorithm = is_fixed ? AQ_ALGORITHM_FIXED : AQ_ALGORITHM_SLIDING;
    return NULL;
}

static const char *per_parse(apr_pool_t *p, const char *value, aq_limit_t *limit)
{
    static const aq_per_t offered[] = {AQ_PER_KEY, AQ_PER_TENANT};

    for (size_t i = 0; i < sizeof(offered) / sizeof(offered[0]); i++) {
        if (strcmp(value, aq_per_name(offered[i])) == 0) {
            limit->per = offered[i];
            return NULL;
        }
    }
    return apr_psprintf(p, "\"%.80s\" is no subject: allowed are key and tenant", value);
}

static const char *headers_parse(apr_pool_t *p, const char *value, aq_limit_t *limit)
{
    static const char prefix[] = "suffix:";

    if (strcmp(value, "primary") == 0) {
        limit->shown = AQ_SHOWN_PRIMARY;
    } else if (strcmp(value, "none") == 0) {
        limit->shown = AQ_SHOWN_NONE;
    } else if (strncmp(value, prefix, sizeof(prefix) - 1) == 0 &&
               aq_name_is_valid(value + sizeof(prefix) - 1, AQ_LOWER AQ_UPPER AQ_DIGITS "-", SUFFIX_MAX)) {
        limit->shown = AQ_SHOWN_SUFFIX;
        limit->header_suffix = apr_pstrdup(p, value + sizeof(prefix) - 1);
    } else {
        return apr_psprintf(p,
                            "\"%.80s\" is no way to show a limit: allowed are primary, none and suffix:NAME, as in "
                            "suffix:Daily, with at most %d letters, digits and \"-\"",
                            value, SUFFIX_MAX);
    }
    return NULL;
}

static const char *message_parse(apr_pool_t *p, const char *value, aq_limit_t *limit)
{
    if (value[0] == '\0') {
        return "it is empty";
    }
    limit->message = apr_pstrdup(p, value);
    return NULL;
}

static const struct {
    const char *name;
    const char *(*parse)(apr_pool_t *p, const char *value, aq_limit_t *limit);
} options[] = {
    {"algorithm", algorithm_parse},
    {"per", per_parse},
    {"headers", headers_parse},
    {"message", message_parse},
};

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

/* Parses one name=value. `seen` has a bit for each option that was there before. */
static const char *option_parse(apr_pool_t *p, const char *text, unsigned *seen, aq_limit_t *limit)
{
    const char *equals = strchr(text, '=');

    for (size_t i = 0; equals != NULL && i < OPTION_COUNT; i++) {
        const size_t length = strlen(options[i].name);
        const char *wrong;

        if ((size_t)(equals - text) != length || strncmp(text, options[i].name, length) != 0) {
            continue;
        }
        if (*seen & 1u << i) {
            return apr_psprintf(p, "%s= stands twice", options[i].name);
        }
        *seen |= 1u << i;
        wrong = options[i].parse(p, equals + 1, limit);
        return wrong != NULL ? apr_psprintf(p, "%s=: %s", options[i].name, wrong) : NULL;
    }
    return apr_psprintf(p,
                        "\"%.80s\" is no option of a limit: allowed are algorithm=, per=, headers= and message=", text);
}

static const char *limit_parse(apr_pool_t *p, const char *const *arguments, int count, aq_limit_t *limit)
{
    unsigned seen = 0;
    const char *error;

    if (count < 2) {
        return "a limit needs a name and a rate, as in \"minute 300/minute\"";
    }
    error = aq_limit_name_error(p, arguments[0]);
    if (error == NULL) {
        limit->name = apr_pstrdup(p, arguments[0]);
        error = aq_limit_rate_set(p, arguments[1], limit);
    }
    for (int i = 2; error == NULL && i < count; i++) {
        error = option_parse(p, arguments[i], &seen, limit);
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
