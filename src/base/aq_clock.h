/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clock seam: the two clocks, and the civil calendar.
 *
 * Time is an argument everywhere below src/httpd, src/worker and src/ctl: only these three call the `now` functions.
 * Wall time is UTC milliseconds since 1970 (apr_time_t is microseconds: the type's name says which is meant).
 * Boot time counts milliseconds since the machine booted, also while it slept; leases use it, since nobody can step it.
 */
#ifndef AQ_CLOCK_H
#define AQ_CLOCK_H

#include <apr_errno.h>
#include <stdint.h>

typedef int64_t aq_time_ms_t;

#define AQ_MS_PER_S INT64_C(1000)
#define AQ_S_PER_MIN INT64_C(60)
#define AQ_S_PER_HOUR INT64_C(3600)
#define AQ_S_PER_DAY INT64_C(86400)

/* "2026-11-22T00:00:00.000Z" and the ending zero. */
#define AQ_RFC3339_SIZE 25

/* Wall time. Thread-safe, never fails. */
aq_time_ms_t aq_clock_now_ms(void);

/* Milliseconds since boot (CLOCK_BOOTTIME). Thread-safe. */
aq_time_ms_t aq_clock_boot_ms(void);

/*
 * Writes the identity of this boot (Linux: /proc/sys/kernel/random/boot_id, 36 characters) to `id`, so that a stored
 * boot time of an earlier boot can be told. An empty string where the system has none.
 */
void aq_clock_boot_id(char id[40]);

/* First millisecond of the calendar month that holds `now` (UTC, proleptic Gregorian), moved by `months` months. */
aq_time_ms_t aq_clock_month_start_ms(aq_time_ms_t now, int months);

/*
 * The same for months that begin on day `day` (1 to 31): where a month has no such day, on its last one. 31: from the 31st
 * of January to the 28th of February, from there to the 31st of March.
 */
aq_time_ms_t aq_clock_anchored_month_start_ms(aq_time_ms_t now, int months, int day);

/* Writes RFC 3339 with milliseconds in UTC, "2026-11-22T00:00:00.000Z". Years outside 0000 to 9999 are clamped. */
void aq_clock_rfc3339_write(char out[AQ_RFC3339_SIZE], aq_time_ms_t t);

/*
 * Parses RFC 3339 (with or without fraction, "Z" or an offset). APR_EGENERAL when `text` is none; `*t` is then 0.
 * Leap seconds (":60") are read as the next second.
 */
apr_status_t aq_clock_rfc3339_parse(const char *text, aq_time_ms_t *t);

#endif
