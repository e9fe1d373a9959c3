/* SPDX-License-Identifier: Apache-2.0 */
/* Where in Redis a queue is. See redis_queue_setting.h. */
#include "store/redis_queue_setting.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

/* A log that is synced at each answer takes its time, and nobody's request waits for a queue but an upload's. */
#define BUDGET "2s"
#define WORDS_MAX 16
#define TENANT_MAX "tenant-max="
#define TENANT_MOST INT64_C(1000000000)
#define DURABILITY "durability="
#define HOME "home="
#define HOME_MAX 255

static const char *tenant_max_set(const char *text, aq_redis_queue_setting_t *setting)
{
    char *end;
    const apr_int64_t number = apr_strtoi64(text, &end, 10);

    setting->tenant_max = number;
    return apr_isdigit(*text) && *end == '\0' && number >= 1 && number <= TENANT_MOST
               ? NULL
               : "tenant-max= takes a whole number from 1 to 1000000000";
}

/* What stands in a URL as it is, but for what parts a user, a query or a fragment from it. */
static const char *home_set(apr_pool_t *p, const char *text, aq_redis_queue_setting_t *setting)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/[]%";
    const size_t scheme = strncmp(text, "http://", 7) == 0 ? 7 : strncmp(text, "https://", 8) == 0 ? 8 : 0;
    size_t size = strlen(text);

    if (scheme == 0 || size > HOME_MAX || text[scheme] == '\0' || text[scheme] == '/' || text[scheme] == ':' ||
        strspn(text, allowed) != size) {
        return apr_psprintf(p,
                            "home= takes a URL as http://10.0.0.1:8081/apiquota-home, of %d characters at most, "
                            "without a user, a query or a fragment",
                            HOME_MAX);
    }
    while (text[size - 1] == '/') {
        size--;
    }
    setting->home_url = apr_pstrmemdup(p, text, size);
    return NULL;
}

/* 1 where the word is one of ours; `*wrong` then says what is wrong with it, or is NULL. */
static int own_take(apr_pool_t *p, const char *word, aq_redis_queue_setting_t *setting, const char **wrong)
{
    *wrong = NULL;
    if (strncmp(word, DURABILITY, strlen(DURABILITY)) == 0) {
        if (aq_redis_durability_parse(word + strlen(DURABILITY), &setting->durability) != APR_SUCCESS) {
            *wrong = apr_psprintf(p, "%s: durability= takes always, everysec or none", word);
        }
        return 1;
    }
    if (strncmp(word, TENANT_MAX, strlen(TENANT_MAX)) == 0) {
        *wrong = tenant_max_set(word + strlen(TENANT_MAX), setting);
        return 1;
    }
    if (strncmp(word, HOME, strlen(HOME)) == 0) {
        *wrong = home_set(p, word + strlen(HOME), setting);
        return 1;
    }
    return 0;
}

apr_status_t aq_redis_queue_setting_parse(apr_pool_t *p, const char *const *words, int count,
                                          aq_redis_queue_setting_t **setting, const char **error)
{
    aq_redis_queue_setting_t *parsed = apr_pcalloc(p, sizeof(*parsed));
    const char *others[WORDS_MAX + 1] = {words[0], "budget=" BUDGET};
    int kept = 2; /* a budget that is said comes later, and holds */

    *setting = parsed;
    *error = count > WORDS_MAX ? apr_psprintf(p, "at most %d words", WORDS_MAX) : NULL;
    parsed->durability = AQ_REDIS_DURABLE_ALWAYS;
    for (int i = 1; *error == NULL && i < count; i++) {
        if (!own_take(p, words[i], parsed, error)) {
            others[kept++] = words[i];
        }
    }
    if (*error == NULL) {
        (void)aq_redis_address_parse_beside(p, others, kept, ", " DURABILITY ", " TENANT_MAX ", " HOME,
                                            &parsed->address, error);
    }
    if (*error == NULL && parsed->address->mode == AQ_REDIS_LEASED) {
        *error = "mode=leased is for counters, behind APIQuotaStore";
    }
    if (*error == NULL && parsed->address->password != NULL) {
        *error =
            "a password in the address cannot be handed to the worker: write password-file=PATH, a file that httpd's "
            "User can read, or password-env=NAME";
    }
    return *error == NULL ? APR_SUCCESS : APR_EGENERAL;
}

apr_array_header_t *aq_redis_queue_setting_words(apr_pool_t *p, const aq_redis_queue_setting_t *setting)
{
    apr_array_header_t *words = aq_redis_address_words(p, setting->address);

    APR_ARRAY_PUSH(words, const char *) = apr_psprintf(p, "budget=%" APR_INT64_T_FMT "ms", setting->address->budget_ms);
    APR_ARRAY_PUSH(words, const char *) =
        apr_pstrcat(p, DURABILITY, aq_redis_durability_name(setting->durability), NULL);
    if (setting->home_url != NULL) {
        APR_ARRAY_PUSH(words, const char *) = apr_pstrcat(p, HOME, setting->home_url, NULL);
    }
    return words;
}
