/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of access logs. The form of %t is turned into RFC 3339, which the clock seam reads with all its checks; the last
 * one read is remembered, so that this costs once a second of the log and not once a line.
 */
#include "ctl/log_time.h"

#include <apr_strings.h>
#include <string.h>
#include <time.h>

#define CLF_SIZE 26 /* 10/Oct/2000:13:55:36 -0700 */
#define PATTERN_TEXT_MAX 128

/* ---- the forms -------------------------------------------------------------------------------------------------- */

static int month_of(const char *name)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int month = 0; month < 12; month++) {
        if (memcmp(name, names + (size_t)month * 3, 3) == 0) {
            return month + 1;
        }
    }
    return 0;
}

/* What stands between the parts is fixed; the digits themselves are judged by the reader of RFC 3339. */
static int clf_read(const char *text, size_t size, aq_time_ms_t *ms)
{
    char rfc3339[AQ_RFC3339_SIZE + 1]; /* 2000-10-10T13:55:36-07:00 */
    int month = size == CLF_SIZE ? month_of(text + 3) : 0;

    if (month == 0 || text[2] != '/' || text[6] != '/' || text[11] != ':' || text[14] != ':' || text[17] != ':' ||
        text[20] != ' ') {
        return 0;
    }
    memcpy(rfc3339, text + 7, 4);
    rfc3339[4] = rfc3339[7] = '-';
    rfc3339[5] = (char)('0' + month / 10);
    rfc3339[6] = (char)('0' + month % 10);
    memcpy(rfc3339 + 8, text, 2);
    rfc3339[10] = 'T';
    memcpy(rfc3339 + 11, text + 12, 8);
    memcpy(rfc3339 + 19, text + 21, 3);
    rfc3339[22] = ':';
    memcpy(rfc3339 + 23, text + 24, 2);
    rfc3339[25] = '\0';
    return aq_clock_rfc3339_parse(rfc3339, ms) == APR_SUCCESS;
}

/* At most `digits_max` digits and nothing else; 0 where they are none. */
static int digits_read(const char *text, size_t size, size_t digits_max, int64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        *number = *number * 10 + (text[i] - '0');
        if (i == digits_max) {
            return 0;
        }
    }
    return size > 0;
}

static int pattern_read(const char *pattern, const char *text, size_t size, aq_time_ms_t *ms)
{
    char copy[PATTERN_TEXT_MAX + 1];
    struct tm parts = {.tm_mday = 1};

    if (size > PATTERN_TEXT_MAX || memchr(text, '\0', size)) {
        return 0;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    const char *end = strptime(copy, pattern, &parts);
    if (!end || *end) {
        return 0;
    }
    long offset_s = parts.tm_gmtoff; /* timegm would set it to 0 */
    *ms = ((int64_t)timegm(&parts) - offset_s) * AQ_MS_PER_S;
    return 1;
}

static int form_read(const aq_log_time_t *time, const char *text, size_t size, aq_time_ms_t *ms)
{
    static const struct {
        size_t digits_max;
        int64_t numerator, denominator; /* to milliseconds */
    } numbers[] = {
        [AQ_LOG_TIME_S] = {11, 1000, 1},   [AQ_LOG_TIME_MS] = {14, 1, 1},        [AQ_LOG_TIME_US] = {17, 1, 1000},
        [AQ_LOG_TIME_MS_PART] = {3, 1, 1}, [AQ_LOG_TIME_US_PART] = {6, 1, 1000},
    };
    int64_t number;

    if (time->form == AQ_LOG_TIME_CLF) {
        return clf_read(text, size, ms);
    }
    if (time->form == AQ_LOG_TIME_PATTERN) {
        return pattern_read(time->pattern, text, size, ms);
    }
    if (!digits_read(text, size, numbers[time->form].digits_max, &number)) {
        return 0;
    }
    *ms = number * numbers[time->form].numerator / numbers[time->form].denominator;
    return 1;
}

/* ---- the reader ------------------------------------------------------------------------------------------------- */

/* 1 where strftime writes something for the pattern, and strptime takes it back. */
static int is_pattern(const char *pattern)
{
    static const time_t some_time = 971211336;
    char text[PATTERN_TEXT_MAX];
    struct tm parts;
    aq_time_ms_t ms;

    if (!gmtime_r(&some_time, &parts)) {
        return 0;
    }
/* The pattern is the operator's: that it is no literal is the point. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t size = strftime(text, sizeof(text), pattern, &parts);
#pragma GCC diagnostic pop
    return size > 0 && pattern_read(pattern, text, size, &ms) && ms / AQ_MS_PER_S == some_time;
}

aq_log_time_t *aq_log_time_create(apr_pool_t *p, const char *argument)
{
    static const struct {
        const char *name;
        aq_log_time_form_t form;
    } forms[] = {{"sec", AQ_LOG_TIME_S},
                 {"msec", AQ_LOG_TIME_MS},
                 {"usec", AQ_LOG_TIME_US},
                 {"msec_frac", AQ_LOG_TIME_MS_PART},
                 {"usec_frac", AQ_LOG_TIME_US_PART}};
    aq_log_time_t *time = apr_pcalloc(p, sizeof(*time));

    if (!argument) {
        return time;
    }
    argument += strncmp(argument, "begin:", 6) == 0 ? 6 : 0;
    argument += strncmp(argument, "end:", 4) == 0 ? 4 : 0;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(argument, forms[i].name) == 0) {
            time->form = forms[i].form;
            return time;
        }
    }
    time->form = AQ_LOG_TIME_PATTERN;
    time->pattern = apr_pstrdup(p, argument);
    return is_pattern(argument) ? time : NULL;
}

int aq_log_time_read(aq_log_time_t *time, const char *text, size_t size, aq_time_ms_t *ms)
{
    if (size > 0 && size == time->last_size && memcmp(text, time->last, size) == 0) {
        *ms = time->last_ms;
        return 1;
    }
    *ms = 0;
    if (!form_read(time, text, size, ms) || *ms < 0) {
        return 0;
    }
    time->last_size = 0;
    if (size <= sizeof(time->last)) {
        memcpy(time->last, text, size);
        time->last_size = size;
        time->last_ms = *ms;
    }
    return 1;
}
