/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units: durations and sizes as an operator writes them, the way httpd does (`5min`, `1h`, `500ms`) and the short way
 * (`5m`, `7d`, `50m` bytes).
 *
 * Pure. A text is read wholly or refused: no sign, no fraction, no white space, no rest behind the unit.
 */
#ifndef AQ_UNITS_H
#define AQ_UNITS_H

#include <apr_errno.h>
#include <stdint.h>

/*
 * Parses a duration into milliseconds: a whole number above zero with `ms`, `s`, `m`, `min`, `h` or `d`, in either
 * case; a bare number is seconds. APR_EGENERAL for anything else and APR_EINVAL where it does not fit; `*ms` is then 0.
 * `text` may be NULL (APR_EGENERAL).
 */
apr_status_t aq_units_duration_parse(const char *text, int64_t *ms);

/* What aq_units_duration_parse takes, for error messages. */
#define AQ_UNITS_DURATION_FORM "a whole number above zero with ms, s, min, m, h or d, as in 500ms, 5min or 7d"

/*
 * Parses a size into bytes: a whole number above zero, bare or with `k`, `m`, `g` or `t` (powers of 1,024), in either
 * case. Errors as above.
 */
apr_status_t aq_units_size_parse(const char *text, int64_t *bytes);

/* What aq_units_size_parse takes, for error messages. */
#define AQ_UNITS_SIZE_FORM "a whole number of bytes above zero, bare or with k, m, g or t, as in 50m"

#endif
