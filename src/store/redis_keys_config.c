/* SPDX-License-Identifier: Apache-2.0 */
/* What APIQuotaKeyStore says. See redis_keys_config.h. */
#include "store/redis_keys_config.h"

#include "base/aq_units.h"

#include <apr_strings.h>
#include <string.h>

#define FRESH_MS_MIN INT64_C(10)
#define FRESH_MS_MAX INT64_C(60000)
#define STALE_MS_MAX (INT64_C(366) * 24 * 3600 * 1000)

/* One of our own options. 0: it is none, or *error says why it cannot be. */
static int option_read(apr_pool_t *p, aq_redis_keys_config_t *config, const char *word, const char **error)
{
    const struct {
        const char *name;
        int64_t *value, least, most;
        const char *allowed;
    } options[] = {
        {"fresh=", &config->fresh_ms, FRESH_MS_MIN, FRESH_MS_MAX, "10ms to 60s"},
        {"stale=", &config->stale_ms, 1, STALE_MS_MAX, "1ms to 366d"},
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const size_t size = strlen(options[i].name);
        if (strncmp(word, options[i].name, size) != 0) {
            continue;
        }
        if (aq_units_duration_parse(word + size, options[i].value) != APR_SUCCESS ||
            *options[i].value < options[i].least || *options[i].value > options[i].most) {
            *error = apr_psprintf(p, "%s: is no duration from %s", word, options[i].allowed);
        }
        return *error == NULL;
    }
    return 0;
}

apr_status_t aq_redis_keys_config_parse(apr_pool_t *p, const char *const *words, int count,
                                        aq_redis_keys_config_t **config, const char **error)
{
    aq_redis_keys_config_t *parsed = apr_pcalloc(p, sizeof(*parsed));
    const char **others = apr_pcalloc(p, (apr_size_t)(count + 1) * sizeof(*others));
    int kept = 0;

    *config = NULL;
    *error = NULL;
    parsed->fresh_ms = AQ_REDIS_KEYS_FRESH_MS;
    parsed->stale_ms = AQ_REDIS_KEYS_STALE_MS;
    for (int i = 0; !*error && i < count; i++) {
        if (i == 0 || !option_read(p, parsed, words[i], error)) {
            others[kept++] = words[i];
        }
    }
    if (!*error && kept > 0 && strcmp(others[0], "redis") == 0) {
        *error = kept == 1 ? NULL
                           : apr_psprintf(p,
                                          "%s: allowed behind redis: fresh=, stale=; other options stand behind "
                                          "APIQuotaStore, or behind an address given here",
                                          aq_redis_word_masked(p, others[1]));
    } else if (!*error && (kept == 0 || !aq_redis_address_is(others[0]))) {
        *error = apr_psprintf(p, "%s: allowed: redis, or the address of a Redis as APIQuotaStore takes it",
                              kept ? aq_redis_word_masked(p, others[0]) : "nothing");
    } else if (!*error) {
        (void)aq_redis_address_parse_beside(p, others, kept, ", fresh=, stale=", &parsed->address, error);
        if (!*error && parsed->address->mode == AQ_REDIS_LEASED) {
            *error = "mode=leased is for counters, behind APIQuotaStore";
        }
    }
    *config = *error ? NULL : parsed;
    return *error ? APR_EGENERAL : APR_SUCCESS;
}
