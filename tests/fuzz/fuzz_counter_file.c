/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A damaged counter file. Whole files of 64 kB would leave a fuzzer little to find, so the input changes a good one: three
 * bytes for a place and a value each. Whatever is in the slots, looking and charging end, and never pass a limit's words
 * beyond what can be shown; a header that is wrong is found.
 */
#include "fuzz/fuzz.h"
#include "store/shm_counters.h"
#include "store/shm_file.h"

#include <apr_file_io.h>
#include <string.h>

#define FILE_SIZE (64 << 10)
#define NOW_MS INT64_C(1800000000000)
#define COUNTERS 4

static uint8_t good[FILE_SIZE];

static void counters_make(apr_pool_t *p, const aq_counter_store_t *store, aq_counter_t counters[COUNTERS])
{
    static const char *const limits[COUNTERS][3] = {{"minute", "300/minute", "algorithm=fixed"},
                                                    {"hour", "300/hour", "algorithm=sliding"},
                                                    {"second", "10/second", "burst=20"},
                                                    {"all", "500/total", "per=tenant"}};

    memset(counters, 0, COUNTERS * sizeof(*counters));
    for (int i = 0; i < COUNTERS; i++) {
        const aq_hash128_t subject = aq_subject_hash(&store->secret, AQ_PER_TENANT, "acme");
        const char *error;
        aq_limit_t *limit;

        FUZZ_HOLDS(aq_limit_parse(p, limits[i], 3, &limit, &error) == APR_SUCCESS);
        aq_limit_identify(limit, &store->secret);
        counters[i].limit = limit;
        counters[i].key = aq_hash_join(limit->identity, subject);
    }
}

static void charge(apr_pool_t *p, aq_counter_store_t *store)
{
    aq_counter_t counters[COUNTERS];
    int is_denied;

    counters_make(p, store, counters);
    (void)aq_counter_store_take(store, counters, COUNTERS, 1, NOW_MS, &is_denied);
    (void)aq_counter_store_give_back(store, counters, COUNTERS, NOW_MS + 5);
    (void)aq_counter_store_look(store, counters, COUNTERS, NOW_MS + 61000);
    for (int i = 0; i < COUNTERS; i++) {
        FUZZ_HOLDS(counters[i].remaining <= counters[i].limit->capacity);
    }
}

static void good_make(apr_pool_t *p)
{
    const char *path = fuzz_file("made", "", 0), *error;
    aq_counter_store_t *store;
    apr_file_t *file;
    apr_pool_t *own;

    FUZZ_HOLDS(apr_pool_create(&own, p) == APR_SUCCESS && apr_file_remove(path, p) == APR_SUCCESS);
    FUZZ_HOLDS(aq_shm_counters_open(own, path, FILE_SIZE, 1, NOW_MS, &store, &error) == APR_SUCCESS);
    charge(p, store);
    apr_pool_destroy(own);
    FUZZ_HOLDS(apr_file_open(&file, path, APR_READ, APR_OS_DEFAULT, p) == APR_SUCCESS);
    FUZZ_HOLDS(apr_file_read_full(file, good, sizeof(good), NULL) == APR_SUCCESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t changed[FILE_SIZE];
    apr_pool_t *p = fuzz_pool();
    apr_array_header_t *findings = apr_array_make(p, 0, sizeof(const char *));
    aq_counter_store_info_t info;
    aq_counter_store_t *store;
    const char *path, *error;

    if (!good[0]) {
        good_make(p);
    }
    memcpy(changed, good, sizeof(changed));
    for (size_t i = 0; i + 2 < size; i += 3) {
        changed[(data[i] << 8 | data[i + 1]) % FILE_SIZE] = data[i + 2];
    }
    path = fuzz_file("counters", changed, sizeof(changed));
    if (aq_shm_counters_open_readonly(p, path, &store, &error) == APR_SUCCESS) {
        FUZZ_HOLDS(aq_counter_store_info(store, NOW_MS, &info) == APR_SUCCESS && info.live + info.dead <= info.slots);
        (void)aq_counter_store_verify(store, NOW_MS, findings);
    } else {
        FUZZ_HOLDS(error && *error);
    }
    FUZZ_HOLDS(aq_shm_counters_open(p, path, FILE_SIZE, 1, NOW_MS, &store, &error) == APR_SUCCESS);
    charge(p, store);
    return 0;
}
