/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys under load: many of them, and a file that is replaced a thousand times while threads ask.
 */
#include "identity/cache.h"
#include "unit/identity/keys_fixture.h"

#include <apr_strings.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define REPLACEMENTS 1000
#define ONLY(number)                                                                                                   \
    "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}}, \"keys\": [{\"id\": \"k_" number "\", \"sha256\": \"HASH" number \
    "\", \"tenant\": \"acme\"}]}"

/* `count` keys of tenants of 50 keys each. */
static void many_write(const char *path, int count)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fprintf(file, "{\"tenants\": {");
    for (int i = 0; i * 50 < count; i++) {
        fprintf(file, "%s\"t%d\": {\"plan\": \"basic\"}", i ? "," : "", i);
    }
    fprintf(file, "}, \"keys\": [");
    for (int i = 0; i < count; i++) {
        fprintf(file, "%s{\"id\": \"k_%d\", \"sha256\": \"%s\", \"tenant\": \"t%d\"}", i ? "," : "", i, keys_hash(i),
                i / 50);
    }
    fprintf(file, "]}");
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(fifty_thousand_keys_are_each_found_cold_and_warm)
{
    const char *path = fixture_path("many.json");
    aq_keys_t *keys = keys_make(path);
    aq_keys_report_t report;

    fixture_log_keep();
    many_write(path, 50000);
    keys_load(keys, &report);
    ck_assert_uint_eq(report.keys, 50000);
    ck_assert_uint_eq(report.tenants, 1000);
    const aq_key_set_t *set = aq_keys_acquire(keys);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 50000; i++) {
            const aq_principal_t *principal;
            char text[64];
            (void)snprintf(text, sizeof(text), "aq_%043d", i);
            ck_assert_int_eq(aq_key_set_find(set, text, strlen(text), KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
            ck_assert_int_eq(atoi(principal->key_id + 2), i);
        }
    }
    ck_assert_int_eq(aq_key_set_list(set, fixture_pool)->nelts, 50000);
    aq_key_set_release(set);
}
END_TEST

START_TEST(a_replaced_set_goes_once_nobody_holds_it)
{
    const char *path = fixture_path("held.json");
    aq_keys_t *keys = keys_loaded("held.json", ONLY("1"));
    const aq_key_set_t *one = aq_keys_acquire(keys), *same = aq_keys_acquire(keys);
    const aq_principal_t *principal;
    int is_changed;

    ck_assert_ptr_eq(one, same);
    ck_assert_int_eq(aq_key_set_find(one, keys_text(1), 46, KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
    aq_key_set_release(same);
    keys_write(path, ONLY("2"));
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + i * 60000, &is_changed), APR_SUCCESS);
        ck_assert_uint_eq(aq_keys_set_count(keys), 2);
    }
    ck_assert_str_eq(principal->key_id, "k_1");
    ck_assert_int_eq(keys_find(keys, 2), AQ_IDENTIFIED);
    aq_key_set_release(one);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS, &is_changed), APR_SUCCESS);
    ck_assert_uint_eq(aq_keys_set_count(keys), 1);
    ck_assert_int_eq(keys_find(keys, 2), AQ_IDENTIFIED);
}
END_TEST

START_TEST(a_file_that_changes_while_all_sets_are_held_is_taken_over_later)
{
    const char *path = fixture_path("places.json");
    aq_keys_t *keys = keys_loaded("places.json", ONLY("1"));
    const aq_key_set_t *held[31];
    int is_changed;

    for (int i = 0; i < 31; i++) {
        held[i] = aq_keys_acquire(keys);
        keys_write(path, i % 2 ? ONLY("1") : ONLY("2"));
        apr_status_t rv = aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + i, &is_changed);
        ck_assert_int_eq(rv, i < 30 ? APR_SUCCESS : APR_EBUSY);
    }
    ck_assert_int_eq(fixture_log_count(202), 1);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS, &is_changed), APR_EBUSY);
    ck_assert_int_eq(fixture_log_count(202), 1);
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
    aq_key_set_release(held[7]);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(is_changed, 1);
    ck_assert_int_eq(keys_find(keys, 2), AQ_IDENTIFIED);
}
END_TEST

typedef struct {
    aq_keys_t *keys;
    char texts[2][64];
    atomic_int is_over;
    atomic_long found, wrong;
} load_t;

/* Key 1 is always there; key 2 in every other file. */
static void *ask(void *data)
{
    load_t *load = data;

    while (!atomic_load(&load->is_over)) {
        const aq_key_set_t *set = aq_keys_acquire(load->keys);
        const aq_principal_t *one, *two;
        aq_identified_t first = aq_key_set_find(set, load->texts[0], 46, KEYS_NOW_MS, &one);
        aq_identified_t second = aq_key_set_find(set, load->texts[1], 46, KEYS_NOW_MS, &two);
        int is_right = first == AQ_IDENTIFIED && strcmp(one->key_id, "k_1") == 0 &&
                       (second == AQ_KEY_UNKNOWN || (second == AQ_IDENTIFIED && strcmp(two->key_id, "k_2") == 0));
        atomic_fetch_add(is_right ? &load->found : &load->wrong, 1);
        aq_key_set_release(set);
    }
    return NULL;
}

START_TEST(replaced_a_thousand_times_under_load_nobody_is_turned_away)
{
    const char *path = fixture_path("replaced.json"), *beside = fixture_path("beside.json");
    const char *one = "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}}, \"keys\": [{\"id\": \"k_1\", \"sha256\": "
                      "\"HASH1\", \"tenant\": \"acme\"}]}";
    const char *both = "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}}, \"keys\": [{\"id\": \"k_1\", \"sha256\": "
                       "\"HASH1\", \"tenant\": \"acme\"}, {\"id\": \"k_2\", \"sha256\": \"HASH2\", \"tenant\": "
                       "\"acme\"}]}";
    load_t *load = apr_pcalloc(fixture_pool, sizeof(*load));
    pthread_t threads[THREADS];
    int changes = 0, is_changed;

    fixture_log_keep();
    keys_write(path, one);
    load->keys = keys_make(path);
    keys_load(load->keys, NULL);
    (void)apr_cpystrn(load->texts[0], keys_text(1), 64);
    (void)apr_cpystrn(load->texts[1], keys_text(2), 64);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, load), 0);
    }
    for (int i = 0; i < REPLACEMENTS; i++) {
        /* By rename, in place, and half written, in turn. */
        keys_write(i % 3 == 0 ? beside : path, i % 3 == 2 ? "{\"keys\": [" : i % 2 ? one : both);
        ck_assert_int_eq(i % 3 == 0 ? rename(beside, path) : 0, 0);
        (void)aq_keys_refresh(load->keys, fixture_pool, KEYS_NOW_MS + i * 500, &is_changed);
        changes += is_changed;
    }
    atomic_store(&load->is_over, 1);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_int_eq(atomic_load(&load->wrong), 0);
    ck_assert_int_gt(atomic_load(&load->found), 0);
    ck_assert_int_ge(changes, REPLACEMENTS / 3);
    (void)aq_keys_refresh(load->keys, fixture_pool, KEYS_NOW_MS, &is_changed);
    ck_assert_uint_le(aq_keys_set_count(load->keys), 2); /* the last one, and the one before if the file had changed */
}
END_TEST

typedef struct {
    aq_cache_t cache;
    aq_cache_entry_t entries[100];
    atomic_int wrong;
} cache_load_t;

static void *cache_fill(void *data)
{
    cache_load_t *load = data;

    for (uint64_t i = 0; i < 100; i++) {
        aq_hash128_t hash = {.high = i, .low = i / 10}; /* ten to a slot */
        aq_cache_remember(&load->cache, &load->entries[i], hash);
    }
    return NULL;
}

START_TEST(the_cache_holds_each_entry_once_whoever_fills_it)
{
    cache_load_t *load = apr_pcalloc(fixture_pool, sizeof(*load));
    pthread_t threads[THREADS];
    uint64_t taken = 0;

    aq_cache_init(&load->cache, fixture_pool, 100);
    ck_assert_ptr_null(aq_cache_find(&load->cache, (aq_hash128_t){.high = 1}));
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, cache_fill, load), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    for (uint64_t i = 0; i < 100; i++) {
        aq_hash128_t hash = {.high = i, .low = i / 10}, other = {.high = i, .low = i / 10 + 1};
        ck_assert_ptr_eq(aq_cache_find(&load->cache, hash), &load->entries[i]);
        ck_assert_ptr_null(aq_cache_find(&load->cache, other));
    }
    for (uint64_t slot = 0; slot <= load->cache.mask; slot++) {
        taken += atomic_load(&load->cache.slots[slot]) != NULL;
    }
    ck_assert_uint_eq(taken, 100);
}
END_TEST

START_TEST(a_cache_for_nothing_finds_nothing)
{
    aq_cache_t cache;

    aq_cache_init(&cache, fixture_pool, 0);
    ck_assert_ptr_null(aq_cache_find(&cache, (aq_hash128_t){.low = UINT64_MAX}));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, fifty_thousand_keys_are_each_found_cold_and_warm);
    tcase_add_test(tests, a_replaced_set_goes_once_nobody_holds_it);
    tcase_add_test(tests, a_file_that_changes_while_all_sets_are_held_is_taken_over_later);
    tcase_add_test(tests, replaced_a_thousand_times_under_load_nobody_is_turned_away);
    tcase_add_test(tests, the_cache_holds_each_entry_once_whoever_fills_it);
    tcase_add_test(tests, a_cache_for_nothing_finds_nothing);
}

int main(void)
{
    return fixture_run("keys under load", add);
}
