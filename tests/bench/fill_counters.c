/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills a counter file as if each key of a keys file had asked once, for measurements with many counters:
 *
 *      fill_counters COUNTERS KEYS.JSON SIZE_MB PLAN LIMIT=RATE...
 *
 * All tenants of the file have that plan, whose limits count per key. Prints how many counters live.
 */
#include "identity/keyfile.h"
#include "store/shm_counters.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *why)
{
    fprintf(stderr, "fill_counters: %s\n", why);
    exit(1);
}

static apr_hash_t *plans_make(apr_pool_t *p, const aq_hash_secret_t *secret, const char *name, char **limits, int count)
{
    apr_hash_t *plans = apr_hash_make(p);
    const char *error = NULL;
    aq_plan_t *plan;

    if (aq_plan_create(p, name, &plan, &error) != APR_SUCCESS) {
        fail(error);
    }
    for (int i = 0; i < count; i++) {
        char *rate = strchr(limits[i], '=');
        const char *arguments[] = {limits[i], rate ? rate + 1 : ""};
        aq_limit_t *limit;

        if (rate) {
            *rate = '\0';
        }
        if (aq_limit_parse(p, arguments, 2, &limit, &error) != APR_SUCCESS) {
            fail(error);
        }
        aq_limit_identify(limit, secret);
        if (aq_plan_limit_add(p, plan, limit, &error) != APR_SUCCESS) {
            fail(error);
        }
    }
    aq_plan_seal(plan);
    apr_hash_set(plans, plan->name, APR_HASH_KEY_STRING, plan);
    return plans;
}

/* Some ask more than others. */
static void keys_ask(aq_counter_store_t *store, const apr_array_header_t *principals)
{
    const aq_time_ms_t now_ms = aq_clock_now_ms();

    for (int i = 0; i < principals->nelts; i++) {
        const aq_principal_t *principal = APR_ARRAY_IDX(principals, i, const aq_principal_t *);
        aq_counter_t counters[AQ_LIMITS_MAX];
        int is_denied;

        for (int j = 0; j < principal->limits->nelts; j++) {
            const aq_limit_t *limit = APR_ARRAY_IDX(principal->limits, j, const aq_limit_t *);
            counters[j] =
                (aq_counter_t){.limit = limit, .key = aq_hash_join(limit->identity, principal->subject[AQ_PER_KEY])};
        }
        if (aq_counter_store_take(store, counters, (unsigned)principal->limits->nelts, (uint32_t)(i % 97 + 1), now_ms,
                                  &is_denied) != APR_SUCCESS) {
            fail("the counter file is full");
        }
    }
}

int main(int argc, char **argv)
{
    aq_counter_store_info_t info;
    aq_counter_store_t *store;
    const char *error = "no memory";
    aq_keys_t *keys;
    apr_pool_t *p = NULL;

    if (argc < 6) {
        fail("COUNTERS KEYS.JSON SIZE_MB PLAN LIMIT=RATE...");
    }
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        fail(error);
    }
    const aq_time_ms_t now_ms = aq_clock_now_ms();
    if (aq_shm_counters_open(p, argv[1], strtoull(argv[3], NULL, 10) << 20, 1, now_ms, &store, &error) != APR_SUCCESS) {
        fail(error);
    }
    apr_hash_t *plans = plans_make(p, &store->secret, argv[4], argv + 5, argc - 5);
    if (aq_keys_create(p, argv[2], plans, &store->secret, &keys) != APR_SUCCESS ||
        aq_keys_load(keys, p, now_ms, NULL, &error) != APR_SUCCESS) {
        fail(error);
    }
    keys_ask(store, aq_key_set_list(aq_keys_acquire(keys), p));
    if (aq_counter_store_info(store, now_ms, &info) != APR_SUCCESS) {
        fail("the counter file cannot be counted");
    }
    printf("%" APR_UINT64_T_FMT " counters live\n", info.live);
    apr_pool_destroy(p);
    return 0;
}
