/* SPDX-License-Identifier: Apache-2.0 */
/* Reading values of directives. See directive_values.h. */
#include "httpd/directive_values.h"

#include "base/aq_units.h"

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

const char *aq_not_allowed(const cmd_parms *cmd, const char *value, const char *allowed)
{
    return apr_psprintf(cmd->pool, "%s: \"%s\" is not allowed here; allowed: %s", cmd->cmd->name, value ? value : "",
                        allowed);
}

const char *aq_flag_read(const cmd_parms *cmd, const char *text, int *flag)
{
    *flag = ap_cstr_casecmp(text, "on") == 0;
    return *flag || ap_cstr_casecmp(text, "off") == 0 ? NULL : aq_not_allowed(cmd, text, "On, Off");
}

const char *aq_count_read(const cmd_parms *cmd, const char *text, int most, int *count)
{
    char *end = NULL;
    apr_int64_t value = apr_isdigit(*text) ? apr_strtoi64(text, &end, 10) : 0;

    if (!end || *end || value < 1 || value > most) {
        return aq_not_allowed(cmd, text, apr_psprintf(cmd->pool, "a whole number from 1 to %d", most));
    }
    *count = (int)value;
    return NULL;
}

/* In the largest unit that has it whole, but for a day, which is 24h. */
static const char *duration_text(apr_pool_t *p, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};

    for (size_t i = ms == units[0].ms; i < sizeof(units) / sizeof(units[0]); i++) {
        if (ms % units[i].ms == 0) {
            return apr_psprintf(p, "%" APR_INT64_T_FMT "%s", ms / units[i].ms, units[i].name);
        }
    }
    return apr_psprintf(p, "%" APR_INT64_T_FMT "ms", ms);
}

const char *aq_duration_read(const cmd_parms *cmd, const char *text, int64_t least_ms, int64_t most_ms, int64_t *ms)
{
    int64_t value = 0;
    apr_status_t rv = aq_units_duration_parse(text, &value);

    if (rv == APR_EGENERAL) {
        return aq_not_allowed(cmd, text, AQ_UNITS_DURATION_FORM);
    }
    if (rv != APR_SUCCESS || value < least_ms || value > most_ms) {
        return aq_not_allowed(cmd, text,
                              apr_pstrcat(cmd->pool, duration_text(cmd->pool, least_ms), " to ",
                                          duration_text(cmd->pool, most_ms), NULL));
    }
    *ms = value;
    return NULL;
}

const char *aq_size_read(const cmd_parms *cmd, const char *text, int64_t *bytes)
{
    int64_t value = 0;

    if (aq_units_size_parse(text, &value) != APR_SUCCESS) {
        return aq_not_allowed(cmd, text, AQ_UNITS_SIZE_FORM);
    }
    *bytes = value;
    return NULL;
}

const char *aq_path_read(const cmd_parms *cmd, const char *text)
{
    return *text ? ap_server_root_relative(cmd->pool, text) : NULL;
}
