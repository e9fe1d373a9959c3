/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clock seam: the two clocks, and the civil calendar in pure arithmetic.
 *
 * The C library's calendar (gmtime_r, timegm) takes a lock of the time zone on each call. Months are located on every
 * request that has a monthly limit, in processes that fork, so the calendar here takes none. Days are turned into dates
 * and back by Howard Hinnant's algorithms ("chrono-Compatible Low-Level Date Algorithms", days_from_civil and
 * civil_from_days): years begin in March, so that the leap day is the last of a year.
 */
#include "base/aq_clock.h"

#include "base/aq_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS_PER_DAY (AQ_S_PER_DAY * AQ_MS_PER_S)
#define DAYS_PER_ERA INT64_C(146097) /* 400 years */
#define EPOCH_DAY INT64_C(719468)    /* 1970-01-01, counted from 0000-03-01 */

typedef struct {
    int64_t year;
    int month, day; /* from 1 */
} date_t;

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t read_clock_ms(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) != 0) {
        return 0; /* impossible: both clocks exist on every system that we build on */
    }
    return (int64_t)now.tv_sec * AQ_MS_PER_S + now.tv_nsec / 1000000;
}

aq_time_ms_t aq_clock_now_ms(void)
{
    return read_clock_ms(CLOCK_REALTIME);
}

aq_time_ms_t aq_clock_boot_ms(void)
{
    return read_clock_ms(CLOCK_BOOTTIME);
}

void aq_clock_boot_id(char id[40])
{
    char text[40];
    int fd = -1;
    ssize_t size = 0;

    id[0] = '\0';
    if (aq_file_open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0, &fd) != APR_SUCCESS) {
        return;
    }
    size = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (size >= 36) {
        memcpy(id, text, 36);
        id[36] = '\0';
    }
}

static int64_t days_from_date(date_t date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (date.month > 2 ? date.month - 3 : date.month + 9) + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * DAYS_PER_ERA + day_of_era - EPOCH_DAY;
}

static date_t date_from_days(int64_t days)
{
    int64_t era = floor_div(days + EPOCH_DAY, DAYS_PER_ERA);
    int64_t day_of_era = days + EPOCH_DAY - era * DAYS_PER_ERA;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;
    int month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);

    return (date_t){
        .year = era * 400 + year_of_era + (month <= 2),
        .month = month,
        .day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1),
    };
}

aq_time_ms_t aq_clock_month_start_ms(aq_time_ms_t now, int months)
{
    date_t date = date_from_days(floor_div(now, MS_PER_DAY));
    int64_t month = date.year * 12 + (date.month - 1) + months;
    int64_t year = floor_div(month, 12);

    return days_from_date((date_t){.year = year, .month = (int)(month - year * 12) + 1, .day = 1}) * MS_PER_DAY;
}

/* Where the month that begins `months` after the calendar month of `now` begins, if it begins on day `day`. */
static aq_time_ms_t day_of_month_ms(aq_time_ms_t now, int months, int day)
{
    const aq_time_ms_t first = aq_clock_month_start_ms(now, months);
    const aq_time_ms_t last = aq_clock_month_start_ms(now, months + 1) - MS_PER_DAY;
    const aq_time_ms_t wanted = first + (day - 1) * MS_PER_DAY;

    return wanted < last ? wanted : last;
}

aq_time_ms_t aq_clock_anchored_month_start_ms(aq_time_ms_t now, int months, int day)
{
    const int is_before = now < day_of_month_ms(now, 0, day);

    return day_of_month_ms(now, is_before ? months - 1 : months, day);
}

void aq_clock_rfc3339_write(char out[AQ_RFC3339_SIZE], aq_time_ms_t t)
{
    const aq_time_ms_t first = days_from_date((date_t){.year = 0, .month = 1, .day = 1}) * MS_PER_DAY;
    const aq_time_ms_t last = days_from_date((date_t){.year = 10000, .month = 1, .day = 1}) * MS_PER_DAY - 1;
    char text[64];

    t = t < first ? first : t > last ? last : t;
    date_t date = date_from_days(floor_div(t, MS_PER_DAY));
    int ms = (int)(t - floor_div(t, MS_PER_DAY) * MS_PER_DAY);
    (void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)date.year, date.month, date.day,
                   ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
    memcpy(out, text, AQ_RFC3339_SIZE - 1);
    out[AQ_RFC3339_SIZE - 1] = '\0';
}

/* Reads exactly `digits` digits of a value from `min` to `max`, then goes behind them. 0 when that is not there. */
static int read_number(const char **text, int digits, int min, int max, int *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++, (*text)++) {
        if (**text < '0' || **text > '9') {
            return 0;
        }
        *value = *value * 10 + (**text - '0');
    }
    return *value >= min && *value <= max;
}

static int read_one_of(const char **text, const char *allowed)
{
    if (**text == '\0' || !strchr(allowed, **text)) {
        return 0;
    }
    (*text)++;
    return 1;
}

static int read_date(const char **text, int64_t *days)
{
    int year, month, day;

    if (!read_number(text, 4, 0, 9999, &year) || !read_one_of(text, "-") || !read_number(text, 2, 1, 12, &month) ||
        !read_one_of(text, "-") || !read_number(text, 2, 1, 31, &day)) {
        return 0;
    }
    date_t date = {.year = year, .month = month, .day = day};
    *days = days_from_date(date);
    /* The 31st of a month of 30 days comes back as the 1st of the next. */
    return date_from_days(*days).day == day;
}

static int read_time(const char **text, int64_t *ms)
{
    int hour, minute, second, digit, scale = 100, fraction = 0;

    if (!read_number(text, 2, 0, 23, &hour) || !read_one_of(text, ":") || !read_number(text, 2, 0, 59, &minute) ||
        !read_one_of(text, ":") || !read_number(text, 2, 0, 60, &second)) {
        return 0;
    }
    if (read_one_of(text, ".")) {
        if (**text < '0' || **text > '9') {
            return 0;
        }
        for (; read_number(text, 1, 0, 9, &digit); scale /= 10) {
            fraction += digit * scale;
        }
    }
    *ms = ((int64_t)hour * 3600 + (int64_t)minute * 60 + second) * AQ_MS_PER_S + fraction;
    return 1;
}

static int read_offset(const char **text, int64_t *ms)
{
    int hour, minute, sign = **text == '-' ? -1 : 1;

    *ms = 0;
    if (read_one_of(text, "Zz")) {
        return 1;
    }
    if (!read_one_of(text, "+-") || !read_number(text, 2, 0, 23, &hour) || !read_one_of(text, ":") ||
        !read_number(text, 2, 0, 59, &minute)) {
        return 0;
    }
    *ms = sign * ((int64_t)hour * 3600 + (int64_t)minute * 60) * AQ_MS_PER_S;
    return 1;
}

apr_status_t aq_clock_rfc3339_parse(const char *text, aq_time_ms_t *t)
{
    int64_t days, ms, offset_ms;

    *t = 0;
    if (!read_date(&text, &days) || !read_one_of(&text, "Tt ") || !read_time(&text, &ms) ||
        !read_offset(&text, &offset_ms) || *text != '\0') {
        return APR_EGENERAL;
    }
    *t = days * MS_PER_DAY + ms - offset_ms;
    return APR_SUCCESS;
}
