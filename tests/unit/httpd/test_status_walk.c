/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses most: a walk in slices finds what one at a stretch does, and ends.
 */
#include "httpd/status_top.h"
#include "store/memory_counters.h"
#include "unit/identity/keys_fixture.h"

#include <apr_strings.h>
#include <string.h>

#define KEYS 40
#define TENANTS 8
#define IN_TIME INT64_MAX
#define TOO_LATE 0

static const aq_key_set_t *set;
static aq_counter_store_t *store;

/* Key number i, of tenant i % TENANTS, has used i + 1. */
static void everybody_asks(void)
{
    apr_array_header_t *text = apr_array_make(fixture_pool, KEYS, sizeof(const char *));

    APR_ARRAY_PUSH(text, const char *) = "{\"tenants\": {";
    for (int i = 0; i < TENANTS; i++) {
        APR_ARRAY_PUSH(text, const char *) =
            apr_psprintf(fixture_pool, "%s\"t%d\": {\"plan\": \"basic\"}", i ? "," : "", i);
    }
    APR_ARRAY_PUSH(text, const char *) = "}, \"keys\": [";
    for (int i = 0; i < KEYS; i++) {
        APR_ARRAY_PUSH(text, const char *) =
            apr_psprintf(fixture_pool, "%s{\"id\": \"k%d\", \"tenant\": \"t%d\", \"sha256\": \"%s\"}", i ? "," : "", i,
                         i % TENANTS, keys_hash(i));
    }
    APR_ARRAY_PUSH(text, const char *) = "]}";
    set = aq_keys_acquire(keys_loaded("walk.json", apr_array_pstrcat(fixture_pool, text, 0)));
    ck_assert_uint_eq(aq_key_set_count(set), KEYS);
    ck_assert_int_eq(aq_memory_counters_create(fixture_pool, 0, &store), APR_SUCCESS);
    for (unsigned i = 0; i < KEYS; i++) {
        const aq_principal_t *principal = aq_key_set_at(set, i);
        aq_counter_t counters[AQ_LIMITS_MAX];
        int is_denied;

        for (int j = 0; j < principal->limits->nelts; j++) {
            const aq_limit_t *limit = APR_ARRAY_IDX(principal->limits, j, const aq_limit_t *);
            counters[j] =
                (aq_counter_t){.limit = limit, .key = aq_hash_join(limit->identity, principal->subject[limit->per])};
        }
        ck_assert_int_eq(
            aq_counter_store_take(store, counters, (unsigned)principal->limits->nelts, i + 1, KEYS_NOW_MS, &is_denied),
            APR_SUCCESS);
        ck_assert_int_eq(is_denied, 0);
    }
}

START_TEST(one_walk_finds_who_used_most)
{
    aq_top_t top = {.seen = 0};

    everybody_asks();
    aq_top_walk(store, set, KEYS_NOW_MS, IN_TIME, &top);
    ck_assert_uint_eq(top.seen, KEYS);
    ck_assert_uint_eq(top.key_count, KEYS);
    ck_assert_uint_eq(top.keys.count, AQ_TOP_ROWS);
    ck_assert_str_eq(top.keys.rows[0].key_id, "k39");
    ck_assert_uint_eq(top.keys.rows[0].used, 40);
    ck_assert_uint_eq(top.tenants.count, TENANTS);
    ck_assert_str_eq(top.tenants.rows[0].tenant, "t7");
    ck_assert_uint_eq(top.tenants.rows[0].used, 8 + 16 + 24 + 32 + 40);
}
END_TEST

START_TEST(slices_find_the_same_and_come_to_an_end)
{
    aq_top_t whole = {.seen = 0}, sliced = {.seen = 0};

    everybody_asks();
    aq_top_walk(store, set, KEYS_NOW_MS, IN_TIME, &whole);
    for (unsigned slice = 1; slice <= KEYS; slice++) {
        aq_top_walk(store, set, KEYS_NOW_MS, TOO_LATE, &sliced);
        ck_assert_uint_eq(sliced.seen, slice);
    }
    ck_assert_int_eq(memcmp(&whole, &sliced, sizeof(whole)), 0);
    /* The next one begins anew, and counts nobody twice. */
    aq_top_walk(store, set, KEYS_NOW_MS, TOO_LATE, &sliced);
    ck_assert_uint_eq(sliced.seen, 1);
    ck_assert_uint_eq(sliced.keys.count, 1);
}
END_TEST

static apr_status_t look_fails(aq_counter_store_t *failing, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    (void)failing;
    (void)counters;
    (void)count;
    (void)now_ms;
    return APR_TIMEUP;
}

START_TEST(store_that_fails_is_asked_once_a_slice)
{
    const aq_counter_store_ops_t ops = {.name = "failing", .look = look_fails};
    aq_counter_store_t failing = {.ops = &ops};
    aq_top_t top = {.seen = 0};

    everybody_asks();
    aq_top_walk(&failing, set, KEYS_NOW_MS, IN_TIME, &top);
    ck_assert_uint_eq(top.seen, 1);
    ck_assert_uint_eq(top.keys.count + top.tenants.count + top.nearest.count, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, one_walk_finds_who_used_most);
    tcase_add_test(tests, slices_find_the_same_and_come_to_an_end);
    tcase_add_test(tests, store_that_fails_is_asked_once_a_slice);
}

int main(void)
{
    return fixture_run("status_walk", add);
}
