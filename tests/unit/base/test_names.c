/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: those of a hash, in the same order whatever the order of the hash.
 */
#include "base/aq_names.h"
#include "unit/fixture.h"

START_TEST(a_hash_tells_its_names_in_order)
{
    static const char *const NAMES[] = {"tiny", "basic", "Pro", "pro", "basic2", "", "\xc3\xa9"};
    static const char *const ORDER[] = {"", "Pro", "basic", "basic2", "pro", "tiny", "\xc3\xa9"};
    const int count = sizeof(NAMES) / sizeof(NAMES[0]);

    /* Each hash has a seed of its own, which the time and its address make. */
    for (int round = 0; round < 50; round++) {
        apr_hash_t *hash = apr_hash_make(fixture_pool);

        for (int i = 0; i < count; i++) {
            apr_hash_set(hash, NAMES[(i + round) % count], APR_HASH_KEY_STRING, "");
        }
        const apr_array_header_t *names = aq_names_sorted(fixture_pool, hash);
        ck_assert_int_eq(names->nelts, count);
        for (int i = 0; i < count; i++) {
            ck_assert_str_eq(APR_ARRAY_IDX(names, i, const char *), ORDER[i]);
        }
    }
}
END_TEST

START_TEST(an_empty_hash_has_no_names)
{
    ck_assert_int_eq(aq_names_sorted(fixture_pool, apr_hash_make(fixture_pool))->nelts, 0);
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_test(tests, a_hash_tells_its_names_in_order);
    tcase_add_test(tests, an_empty_hash_has_no_names);
}

int main(void)
{
    return fixture_run("names", tests_add);
}
