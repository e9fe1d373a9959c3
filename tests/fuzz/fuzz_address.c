/* SPDX-License-Identifier: Apache-2.0 */
/* What names other machines: the words of APIQuotaStore for Redis, networks of APIQuotaWebhookAllow, URLs of webhooks. */
#include "base/aq_words.h"
#include "batch/webhook_address.h"
#include "fuzz/fuzz.h"
#include "identity/tenant_webhook.h"
#include "store/redis_address.h"

#include <string.h>
#include <strings.h>

static void redis_feed(apr_pool_t *p, const char *line)
{
    const apr_array_header_t *again;
    aq_redis_address_t *address, *second;
    apr_array_header_t *words;
    const char *error;

    if (aq_words_split(p, line, &words) || words->nelts == 0 ||
        !aq_redis_address_is(APR_ARRAY_IDX(words, 0, const char *))) {
        return;
    }
    if (aq_redis_address_parse(p, (const char *const *)words->elts, words->nelts, &address, &error) != APR_SUCCESS) {
        FUZZ_HOLDS(error && *error);
        return;
    }
    FUZZ_HOLDS(address->budget_ms >= 1 && address->budget_ms <= AQ_REDIS_BUDGET_MS_MAX);
    if (address->password) {
        return; /* It is not in the words that say the address again, and is asked for. */
    }
    again = aq_redis_address_words(p, address);
    FUZZ_HOLDS(aq_redis_address_parse(p, (const char *const *)again->elts, again->nelts, &second, &error) ==
               APR_SUCCESS);
    FUZZ_HOLDS(strcmp(address->name, second->name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    const char *text = fuzz_text(p, data, size);
    aq_webhook_network_t network;

    redis_feed(p, text);
    if (aq_webhook_network_parse(text, &network) == APR_SUCCESS) {
        FUZZ_HOLDS(network.bits <= (network.family == AF_INET ? 32 : 128));
    }
    if (!aq_tenant_webhook_url_check(p, text)) {
        FUZZ_HOLDS(strlen(text) <= AQ_WEBHOOK_URL_MAX && strncasecmp(text, "http", 4) == 0 && !strpbrk(text, " \r\n#"));
    }
    return 0;
}
