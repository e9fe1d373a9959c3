/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates: "300/minute" parsed into a count and a period.
 *
 * The parser is pure: no pool state, no clock. Every refusal is a sentence that names the value and what is allowed.
 */
#ifndef AQ_RATE_H
#define AQ_RATE_H

#include <apr_pools.h>
#include <stdint.h>

/* Counters saturate here; a higher limit is a configuration error. */
#define AQ_RATE_COUNT_MAX UINT64_C(4000000000)
/* The longest period of seconds, in days. */
#define AQ_RATE_DAYS_MAX 366

/* Of a period as clients see it, with its zero. */
#define AQ_RATE_TEXT_SIZE 12

typedef enum {
    AQ_PERIOD_SECONDS,   /* a whole number of seconds, aligned to the epoch; 86,400 is the calendar day in UTC */
    AQ_PERIOD_MONTH,     /* a calendar month in UTC */
    AQ_PERIOD_TOTAL,     /* never ends */
    AQ_PERIOD_CONCURRENT /* not a span of time: how many at once */
} aq_period_t;

typedef struct {
    uint64_t count;   /* 1 to AQ_RATE_COUNT_MAX; AQ_RATE_COUNT_MAX where unlimited */
    int is_unlimited; /* counted, so that use can be shown, but never refused */
    aq_period_t period;
    uint32_t period_s;            /* for AQ_PERIOD_SECONDS, else 0 */
    char text[AQ_RATE_TEXT_SIZE]; /* the period as clients see it: "1m", "1d", "15m", "1mo", "total", "concurrent" */
} aq_rate_t;

/*
 * Parses COUNT/PERIOD: second, minute, hour, day, month, [N]s, [N]m, [N]h, [N]d, total, concurrent; COUNT may be
 * "unlimited" (not with concurrent). APR_SUCCESS, or APR_EGENERAL with a sentence in `p` at `*error`; `*rate` is then
 * zeroed. `error` is set to NULL on success.
 */
apr_status_t aq_rate_parse(apr_pool_t *p, const char *text, aq_rate_t *rate, const char **error);

/* A number of seconds (1 to 366 days) as clients see it, in the largest unit that divides it: "90s", "2m", "1d". */
void aq_rate_seconds_write(char text[AQ_RATE_TEXT_SIZE], uint32_t seconds);

#endif
