/* SPDX-License-Identifier: Apache-2.0 */
/* When a failure that goes on is told again. See trouble.h. */
#include "worker/trouble.h"

#include <apr_strings.h>

static aq_trouble_news_t over(aq_trouble_t *trouble, aq_time_ms_t boot_ms)
{
    const int64_t lasted_s = (boot_ms - trouble->since_ms) / AQ_MS_PER_S;

    if (!trouble->is_there) {
        return AQ_TROUBLE_NO_NEWS;
    }
    trouble->is_there = 0;
    (void)apr_snprintf(trouble->lasting, sizeof trouble->lasting, " after %" APR_INT64_T_FMT " s", lasted_s);
    return AQ_TROUBLE_IS_OVER;
}

aq_trouble_news_t aq_trouble_note(aq_trouble_t *trouble, apr_status_t rv, aq_time_ms_t boot_ms)
{
    if (rv == APR_SUCCESS) {
        return over(trouble, boot_ms);
    }
    if (!trouble->is_there) {
        *trouble = (aq_trouble_t){.is_there = 1, .since_ms = boot_ms, .told_ms = boot_ms};
        return AQ_TROUBLE_LASTS;
    }
    if (boot_ms - trouble->told_ms < AQ_TROUBLE_TOLD_EVERY_MS) {
        return AQ_TROUBLE_NO_NEWS;
    }
    trouble->told_ms = boot_ms;
    (void)apr_snprintf(trouble->lasting, sizeof trouble->lasting, " (for %" APR_INT64_T_FMT " s now)",
                       (boot_ms - trouble->since_ms) / AQ_MS_PER_S);
    return AQ_TROUBLE_LASTS;
}
