/* SPDX-License-Identifier: Apache-2.0 */
/* Daily use. See daily.h. */
#include "limit/daily.h"

#include <string.h>

#define DAY_MS (AQ_S_PER_DAY * AQ_MS_PER_S)

apr_status_t aq_daily_add(apr_pool_t *p, aq_plan_t *plan, const char **error)
{
    static const char *const arguments[] = {AQ_DAILY_NAME, "unlimited/6d", "algorithm=sliding", "per=tenant",
                                            "headers=none"};
    aq_limit_t *limit;
    apr_status_t rv = aq_limit_parse(p, arguments, (int)(sizeof(arguments) / sizeof(arguments[0])), &limit, error);

    return rv == APR_SUCCESS ? aq_plan_limit_add(p, plan, limit, error) : rv;
}

const aq_limit_t *aq_daily_of(const aq_plan_t *plan)
{
    const aq_limit_t *limit = aq_plan_limit_find(plan, AQ_DAILY_NAME);

    return limit != NULL && aq_daily_is(limit) ? limit : NULL;
}

int aq_daily_is(const aq_limit_t *limit)
{
    return limit->rate.is_unlimited && limit->per == AQ_PER_TENANT && strcmp(limit->name, AQ_DAILY_NAME) == 0;
}

void aq_daily_read(const aq_limit_t *limit, const uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t now_ms,
                   aq_daily_t days[AQ_DAILY_DAYS])
{
    const aq_time_ms_t today_ms = now_ms - now_ms % DAY_MS;

    for (int i = 0; i < AQ_DAILY_DAYS; i++) {
        const aq_time_ms_t day_ms = today_ms - i * DAY_MS;
        const aq_window_place_t place = aq_window_locate(&limit->window, day_ms);
        const uint64_t word = words[place.index];

        days[i] = (aq_daily_t){.day_ms = day_ms, .used = (uint32_t)(word >> 32) == place.start ? (uint32_t)word : 0};
    }
}
