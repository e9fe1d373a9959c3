/* SPDX-License-Identifier: Apache-2.0 */
/* A keys file: whatever it holds, it loads or is refused with a sentence, and what is in force has a plan. */
#include "fuzz/fuzz.h"
#include "identity/keyfile.h"
#include "identity/tenant_webhook.h"

#define NOW_MS INT64_C(1800000000000)

static const aq_hash_secret_t secret = {{7}};

static apr_hash_t *plans_make(apr_pool_t *p)
{
    static const char *const words[] = {"minute", "300/minute"};
    apr_hash_t *plans = apr_hash_make(p);
    const char *error;
    aq_limit_t *limit;
    aq_plan_t *plan;

    FUZZ_HOLDS(aq_limit_parse(p, words, 2, &limit, &error) == APR_SUCCESS);
    aq_limit_identify(limit, &secret);
    FUZZ_HOLDS(aq_plan_create(p, "basic", &plan, &error) == APR_SUCCESS);
    FUZZ_HOLDS(aq_plan_limit_add(p, plan, limit, &error) == APR_SUCCESS);
    aq_plan_seal(plan);
    apr_hash_set(plans, plan->name, APR_HASH_KEY_STRING, plan);
    return plans;
}

static void set_is_sane(apr_pool_t *p, const aq_key_set_t *set)
{
    const apr_array_header_t *list = aq_key_set_list(set, p);

    FUZZ_HOLDS(aq_key_set_report(set)->keys == (unsigned)list->nelts);
    for (int i = 0; i < list->nelts; i++) {
        const aq_principal_t *principal = APR_ARRAY_IDX(list, i, const aq_principal_t *);

        FUZZ_HOLDS(aq_principal_name_is_valid(principal->key_id) && aq_principal_name_is_valid(principal->tenant));
        FUZZ_HOLDS(principal->plan && principal->limits && principal->limits->nelts >= 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    const char *path = fuzz_file("keys.json", data, size);
    const aq_principal_t *principal;
    apr_hash_t *webhooks;
    aq_keys_t *keys;
    const char *error;

    FUZZ_HOLDS(aq_keys_create(p, path, plans_make(p), &secret, &keys) == APR_SUCCESS);
    if (aq_keys_load(keys, p, NOW_MS, NULL, &error) == APR_SUCCESS) {
        const aq_key_set_t *set = aq_keys_acquire(keys);

        set_is_sane(p, set);
        FUZZ_HOLDS(aq_key_set_find(set, (const char *)data, size, NOW_MS, &principal) != AQ_IDENTIFIED || principal);
        aq_key_set_release(set);
    } else {
        FUZZ_HOLDS(error && *error);
    }
    FUZZ_HOLDS(aq_tenant_webhooks_load(p, path, &webhooks, &error) == APR_SUCCESS || error);
    return 0;
}
