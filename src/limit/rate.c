/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates: the parser of "300/minute". See rate.h.
 *
 * Everything is lower case and nothing is guessed: no sign, no fraction, no white space, no plural. A configuration that
 * means something else than it says is worse than one that is refused.
 */
#include "limit/rate.h"

#include "base/aq_clock.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

#define RATE_SECONDS_MAX ((uint64_t)AQ_RATE_DAYS_MAX * (uint64_t)AQ_S_PER_DAY)

static const char allowed[] =
    "a rate is COUNT/PERIOD; COUNT is 1 to 4000000000 or unlimited; PERIOD is second, minute, "
    "hour, day, month, [N]s, [N]m, [N]h, [N]d (at most 366d), total or concurrent";

/* Words that stand for a period. */
static const struct {
    const char *word;
    aq_period_t period;
    uint32_t period_s;
} periods[] = {
    {"second", AQ_PERIOD_SECONDS, 1},
    {"minute", AQ_PERIOD_SECONDS, AQ_S_PER_MIN},
    {"hour", AQ_PERIOD_SECONDS, AQ_S_PER_HOUR},
    {"day", AQ_PERIOD_SECONDS, AQ_S_PER_DAY},
    {"month", AQ_PERIOD_MONTH, 0},
    {"total", AQ_PERIOD_TOTAL, 0},
    {"concurrent", AQ_PERIOD_CONCURRENT, 0},
};

/* Units of [N]s and its like, the largest first: a period is shown in the largest that divides it. */
static const struct {
    char letter;
    uint32_t seconds;
} units[] = {
    {'d', AQ_S_PER_DAY},
    {'h', AQ_S_PER_HOUR},
    {'m', AQ_S_PER_MIN},
    {'s', 1},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Reads the decimal digits at `*text` and moves behind them. 0 where there are none or the value is above `max`. */
static uint64_t digits_read(const char **text, uint64_t max)
{
    uint64_t value = 0;

    for (; **text >= '0' && **text <= '9'; (*text)++) {
        value = value * 10 + (uint64_t)(**text - '0');
        if (value > max) {
            return 0;
        }
    }
    return value;
}

/* COUNT, up to the slash at `slash`. */
static int count_parse(const char *text, const char *slash, aq_rate_t *rate)
{
    static const char unlimited[] = "unlimited";

    if ((size_t)(slash - text) == sizeof(unlimited) - 1 && strncmp(text, unlimited, sizeof(unlimited) - 1) == 0) {
        rate->is_unlimited = 1;
        rate->count = AQ_RATE_COUNT_MAX;
        return 1;
    }
    rate->count = digits_read(&text, AQ_RATE_COUNT_MAX);
    return rate->count != 0 && text == slash;
}

/* [N]s, [N]m, [N]h, [N]d; N is 1 where it is left out. */
static int multiple_parse(const char *text, aq_rate_t *rate)
{
    const char *rest = text;
    uint64_t number = digits_read(&rest, RATE_SECONDS_MAX);

    if (rest == text) {
        number = 1;
    }
    for (size_t i = 0; i < LENGTH(units); i++) {
        if (rest[0] == units[i].letter && rest[1] == '\0') {
            rate->period = AQ_PERIOD_SECONDS;
            rate->period_s = number <= RATE_SECONDS_MAX / units[i].seconds ? (uint32_t)number * units[i].seconds : 0;
            return rate->period_s != 0;
        }
    }
    return 0;
}

static int period_parse(const char *text, aq_rate_t *rate)
{
    for (size_t i = 0; i < LENGTH(periods); i++) {
        if (strcmp(text, periods[i].word) == 0) {
            rate->period = periods[i].period;
            rate->period_s = periods[i].period_s;
            return 1;
        }
    }
    return multiple_parse(text, rate);
}

void aq_rate_seconds_write(char text[AQ_RATE_TEXT_SIZE], uint32_t seconds)
{
    for (size_t i = 0; i < LENGTH(units); i++) {
        if (seconds % units[i].seconds == 0) {
            apr_snprintf(text, AQ_RATE_TEXT_SIZE, "%u%c", seconds / units[i].seconds, units[i].letter);
            return;
        }
    }
}

/* The period as clients see it. */
static void text_set(aq_rate_t *rate)
{
    static const char *const names[] = {
        [AQ_PERIOD_MONTH] = "1mo",
        [AQ_PERIOD_TOTAL] = "total",
        [AQ_PERIOD_CONCURRENT] = "concurrent",
    };

    if (rate->period != AQ_PERIOD_SECONDS) {
        apr_cpystrn(rate->text, names[rate->period], sizeof(rate->text));
        return;
    }
    aq_rate_seconds_write(rate->text, rate->period_s);
}

apr_status_t aq_rate_parse(apr_pool_t *p, const char *text, aq_rate_t *rate, const char **error)
{
    const char *slash = strchr(text, '/');
    aq_rate_t parsed = {0};
    const char *wrong = NULL;

    *error = NULL;
    memset(rate, 0, sizeof(*rate));
    if (slash == NULL) {
        wrong = "it has no \"/\"";
    } else if (!count_parse(text, slash, &parsed)) {
        wrong = "its count is none";
    } else if (!period_parse(slash + 1, &parsed)) {
        wrong = "its period is none";
    } else if (parsed.is_unlimited && parsed.period == AQ_PERIOD_CONCURRENT) {
        wrong = "what runs at once cannot be unlimited";
    }
    if (wrong != NULL) {
        *error = apr_psprintf(p, "\"%.80s\" is not a rate, %s: %s", text, wrong, allowed);
        return APR_EGENERAL;
    }
    text_set(&parsed);
    *rate = parsed;
    return APR_SUCCESS;
}
