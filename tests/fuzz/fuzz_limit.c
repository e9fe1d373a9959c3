/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind APIQuotaLimit, overrides of the keys file, costs, durations, sizes; a line of the input each. */
#include "base/aq_units.h"
#include "base/aq_words.h"
#include "fuzz/fuzz.h"
#include "limit/plan.h"

#include <string.h>

static void limit_is_sane(const aq_limit_t *limit)
{
    FUZZ_HOLDS(limit->name && *limit->name && strlen(limit->name) <= AQ_LIMIT_NAME_MAX);
    FUZZ_HOLDS(limit->capacity >= 1 && limit->capacity <= AQ_RATE_COUNT_MAX);
    FUZZ_HOLDS(limit->window_text[0] && memchr(limit->window_text, '\0', sizeof(limit->window_text)));
    FUZZ_HOLDS(limit->capacity_text[0] && strspn(limit->capacity_text, "0123456789") == strlen(limit->capacity_text));
    FUZZ_HOLDS(limit->per < AQ_PER_COUNT);
}

static void limit_feed(apr_pool_t *p, const char *line, const char *override)
{
    static const aq_hash_secret_t secret = {{3}};
    apr_array_header_t *words, *limits;
    apr_hash_t *overrides = apr_hash_make(p);
    const char *error;
    aq_limit_t *limit;
    aq_plan_t *plan;

    if (aq_words_split(p, line, &words) ||
        aq_limit_parse(p, (const char *const *)words->elts, words->nelts, &limit, &error) != APR_SUCCESS) {
        return;
    }
    limit_is_sane(limit);
    aq_limit_identify(limit, &secret);
    FUZZ_HOLDS(aq_plan_create(p, "plan", &plan, &error) == APR_SUCCESS);
    FUZZ_HOLDS(aq_plan_limit_add(p, plan, limit, &error) == APR_SUCCESS);
    aq_plan_seal(plan);
    apr_hash_set(overrides, limit->name, APR_HASH_KEY_STRING, override);
    apr_hash_set(overrides, "added", APR_HASH_KEY_STRING, override);
    if (aq_limits_override(p, plan->limits, overrides, AQ_PER_KEY, &secret, &limits, &error) == APR_SUCCESS) {
        for (int i = 0; i < limits->nelts; i++) {
            limit_is_sane(APR_ARRAY_IDX(limits, i, const aq_limit_t *));
        }
    } else {
        FUZZ_HOLDS(error && *error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    const char *line = fuzz_line(p, &data, &size);
    const char *override = fuzz_line(p, &data, &size);
    const char *other = fuzz_line(p, &data, &size);
    int64_t number;

    limit_feed(p, line, override);
    if (aq_cost_parse(other, &number) == APR_SUCCESS) {
        FUZZ_HOLDS(number >= 1);
    }
    FUZZ_HOLDS((aq_units_duration_parse(other, &number) == APR_SUCCESS) == (number > 0));
    FUZZ_HOLDS((aq_units_size_parse(other, &number) == APR_SUCCESS) == (number > 0));
    return 0;
}
