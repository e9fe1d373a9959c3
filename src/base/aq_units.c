/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units: one number, one word from a table, and a multiplication that may not overflow.
 */
#include "base/aq_units.h"

#include <apr_cstr.h>
#include <apr_lib.h>

typedef struct {
    const char *name;
    int64_t factor;
} unit_t;

static const unit_t DURATIONS[] = {
    {"", 1000},
    {"ms", 1},
    {"s", 1000},
    {"m", INT64_C(60) * 1000},
    {"min", INT64_C(60) * 1000},
    {"h", INT64_C(3600) * 1000},
    {"d", INT64_C(86400) * 1000},
};

static const unit_t SIZES[] = {
    {"", 1}, {"k", INT64_C(1) << 10}, {"m", INT64_C(1) << 20}, {"g", INT64_C(1) << 30}, {"t", INT64_C(1) << 40},
};

static const unit_t *find(const unit_t *units, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (apr_cstr_casecmp(units[i].name, name) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

static apr_status_t parse(const char *text, const unit_t *units, size_t count, int64_t *value)
{
    int64_t number = 0;
    int overflows = 0;
    const char *at = text;

    *value = 0;
    if (!text || !apr_isdigit(*text)) {
        return APR_EGENERAL;
    }
    for (; apr_isdigit(*at); at++) {
        int64_t digit = *at - '0';
        overflows = overflows || number > (INT64_MAX - digit) / 10;
        number = overflows ? INT64_MAX : number * 10 + digit;
    }
    const unit_t *unit = find(units, count, at);
    if (!unit || number == 0) {
        return APR_EGENERAL;
    }
    if (overflows || number > INT64_MAX / unit->factor) {
        return APR_EINVAL;
    }
    *value = number * unit->factor;
    return APR_SUCCESS;
}

apr_status_t aq_units_duration_parse(const char *text, int64_t *ms)
{
    return parse(text, DURATIONS, sizeof DURATIONS / sizeof DURATIONS[0], ms);
}

apr_status_t aq_units_size_parse(const char *text, int64_t *bytes)
{
    return parse(text, SIZES, sizeof SIZES / sizeof SIZES[0], bytes);
}
