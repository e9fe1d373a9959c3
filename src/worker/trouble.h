/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trouble: a failure of what is done again and again, told so that a log can be read after a night of it: at once, then once
 * a minute with how long it has lasted, and when it is over.
 *
 * Pure: time is an argument. One thread at a time.
 */
#ifndef AQ_TROUBLE_H
#define AQ_TROUBLE_H

#include "base/aq_clock.h"

#include <apr_errno.h>

#define AQ_TROUBLE_TOLD_EVERY_MS INT64_C(60000)

/* All zero: there is none. */
typedef struct {
    aq_time_ms_t since_ms, told_ms; /* boot time */
    int is_there;
    char lasting[40]; /* " (for 120 s now)", "" where it has just begun, or " after 120 s" */
} aq_trouble_t;

/* What is to be told of it now. */
typedef enum { AQ_TROUBLE_NO_NEWS, AQ_TROUBLE_LASTS, AQ_TROUBLE_IS_OVER } aq_trouble_news_t;

/* Notes how it went at `boot_ms`. Where there is news, `lasting` is what a line ends with: how long it has been so, or was. */
aq_trouble_news_t aq_trouble_note(aq_trouble_t *trouble, apr_status_t rv, aq_time_ms_t boot_ms);

#endif
