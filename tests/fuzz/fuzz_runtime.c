/* SPDX-License-Identifier: Apache-2.0 */
/* runtime.json, by which httpd's parent speaks to worker and apiquotactl: what is read back is complete, or refused. */
#include "batch/batch_config.h"
#include "fuzz/fuzz.h"
#include "limit/runtime_plans.h"

static void plans_feed(apr_pool_t *p, json_t *json)
{
    static const aq_hash_secret_t secret = {{5}};
    apr_hash_t *plans;
    const char *error;

    if (aq_runtime_plans_read(p, json, &secret, &plans, &error) != APR_SUCCESS) {
        FUZZ_HOLDS(error && *error);
        return;
    }
    for (apr_hash_index_t *at = apr_hash_first(p, plans); at; at = apr_hash_next(at)) {
        const aq_plan_t *plan = apr_hash_this_val(at);

        FUZZ_HOLDS(plan->name && plan->limits->nelts <= AQ_LIMITS_MAX);
        for (int i = 0; i < plan->limits->nelts; i++) {
            const aq_limit_t *limit = APR_ARRAY_IDX(plan->limits, i, const aq_limit_t *);
            aq_rate_t rate;

            FUZZ_HOLDS(aq_rate_parse(p, aq_rate_text(p, &limit->rate), &rate, &error) == APR_SUCCESS);
            FUZZ_HOLDS(rate.count == limit->rate.count && rate.period == limit->rate.period);
        }
    }
}

static void worker_feed(apr_pool_t *p, const json_t *json)
{
    aq_batch_config_t *config;
    const char *error;

    if (aq_batch_config_parse(p, json, &config, &error) != APR_SUCCESS) {
        FUZZ_HOLDS(error && *error);
        return;
    }
    FUZZ_HOLDS(config->threads >= 1 && config->spool_folder);
    json_decref(aq_batch_config_json(config, p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

    if (json) {
        plans_feed(p, json_object_get(json, "plans"));
        worker_feed(p, json_object_get(json, "worker"));
        json_decref(json);
    }
    return 0;
}
