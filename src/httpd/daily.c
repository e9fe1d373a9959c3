/* SPDX-License-Identifier: Apache-2.0 */
/* Daily use in httpd. See daily.h. */
#include "httpd/daily.h"

#include "base/aq_log.h"
#include "base/aq_names.h"
#include "httpd/key_store.h"
#include "identity/daily_use.h"

#include <apr_strings.h>

static int is_on(const aq_server_config_t *server)
{
    return server->daily_use == 1 && (server->key_file || server->key_store);
}

int aq_daily_plans_extend(const aq_server_config_t *server, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    const apr_array_header_t *names;
    const char *error;

    if (!is_on(server)) {
        return 1;
    }
    if (server->redis) {
        AQ_LOG(AQ_LOG_CRIT, 1682, 0,
               "APIQuotaDailyUse: counters in Redis are not read by day; allowed: Off, or On with APIQuotaStore shm");
        return 0;
    }
    names = aq_names_sorted(ptemp, server->plans);
    for (int i = 0; i < names->nelts; i++) {
        aq_plan_t *plan = apr_hash_get(server->plans, APR_ARRAY_IDX(names, i, const char *), APR_HASH_KEY_STRING);

        if (!aq_daily_of(plan) && aq_daily_add(pconf, plan, &error) != APR_SUCCESS) {
            AQ_LOG(AQ_LOG_CRIT, 1680, 0, "APIQuotaDailyUse adds a limit to each plan, and to \"%s\" it cannot: %s",
                   plan->name, error);
            return 0;
        }
    }
    return 1;
}

void aq_daily_keep(const aq_server_config_t *server, apr_pool_t *ptemp)
{
    const char *folder = apr_pstrcat(ptemp, server->state_dir, "/" AQ_DAILY_USE_FOLDER, NULL), *error = NULL;
    json_t *keys;
    apr_status_t rv;

    if (!is_on(server)) {
        return;
    }
    rv = server->key_store ? aq_key_store_read(server, ptemp, &keys, &error)
                           : aq_json_file_load(ptemp, server->key_file, AQ_JSON_FILE_MAX_BYTES, &keys, &error);
    if (rv == APR_SUCCESS) {
        rv = aq_daily_use_keep(ptemp, server->runtime->store, keys, server->plans, folder, aq_clock_now_ms(), &error);
        json_decref(keys);
    }
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 1681, rv, "APIQuotaDailyUse: %s; the counters keep it for six days", error);
    }
}
