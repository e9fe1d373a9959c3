/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys file: entries that break a rule are refused alone, with their place; what is in force is what the file says.
 */
#include "unit/identity/keys_fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define TENANTS                                                                                                        \
    "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}, \"small\": {\"plan\": \"basic\", \"max_keys\": 1}}, \"keys\": ["
#define GOOD "{\"id\": \"k_1\", \"sha256\": \"HASH1\", \"tenant\": \"acme\"}"
#define LONG_NAME                                                                                                      \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
    "nnnnnnnnnnnnnnnnnnnnnnnnnn"
#define KEY2(more) "{\"id\": \"k_2\", \"sha256\": \"HASH2\", \"tenant\": \"acme\"" more "}"

/* A second entry beside GOOD, and what is said of it. */
static const struct {
    const char *entry, *said;
} ENTRIES[] = {
    {"7", "keys[1]: a key needs an \"id\""},
    {"null", "keys[1]: a key needs an \"id\""},
    {"{\"sha256\": \"HASH2\", \"tenant\": \"acme\"}", "keys[1]: a key needs an \"id\""},
    {"{\"id\": 7, \"sha256\": \"HASH2\", \"tenant\": \"acme\"}", "keys[1]: a key needs an \"id\""},
    {"{\"id\": \"a b\", \"sha256\": \"HASH2\", \"tenant\": \"acme\"}", "keys[1]: a key needs an \"id\""},
    {"{\"id\": \"a\\nb\", \"sha256\": \"HASH2\", \"tenant\": \"acme\"}", "keys[1]: a key needs an \"id\""},
    {"{\"id\": \"" LONG_NAME "\", \"sha256\": \"HASH2\", \"tenant\": \"acme\"}", "keys[1]: a key needs an \"id\""},
    {"{\"id\": \"k_1\", \"sha256\": \"HASH2\", \"tenant\": \"acme\"}", "keys[1] (k_1): the id is that of a key above"},
    {"{\"id\": \"k_2\", \"sha256\": \"HASH1\", \"tenant\": \"acme\"}",
     "keys[1] (k_2): the hash is that of a key above"},
    {"{\"id\": \"k_2\", \"sha256\": \"12\", \"tenant\": \"acme\"}", "keys[1] (k_2): \"sha256\" is not 64"},
    {"{\"id\": \"k_2\", \"sha256\": null, \"tenant\": \"acme\"}", "keys[1] (k_2): \"sha256\" is not 64"},
    {"{\"id\": \"k_2\", \"sha256\": \"HASH2\"}", "keys[1] (k_2): the tenant \"(no valid name)\" is unknown"},
    {"{\"id\": \"k_2\", \"sha256\": \"HASH2\", \"tenant\": \"other\"}",
     "keys[1] (k_2): the tenant \"other\" is unknown"},
    {"{\"id\": \"k_2\", \"sha256\": \"HASH2\", \"tenant\": [\"acme\"]}", "is unknown"},
    {KEY2(", \"scopes\": \"a\""), "keys[1] (k_2): \"scopes\" is no array of at most 10 scopes"},
    {KEY2(", \"scopes\": {}"), "keys[1] (k_2): \"scopes\" is no array of at most 10 scopes"},
    {KEY2(", \"scopes\": [1,2,3,4,5,6,7,8,9,10,11]"), "keys[1] (k_2): \"scopes\" is no array of at most 10 scopes"},
    {KEY2(", \"scopes\": [\"a\", 7]"), "keys[1] (k_2): scopes[1]: a scope is visible ASCII"},
    {KEY2(", \"scopes\": [\"a b\"]"), "keys[1] (k_2): scopes[0]: a scope is visible ASCII"},
    {KEY2(", \"expires_at\": \"tomorrow\""), "keys[1] (k_2): \"expires_at\" is no time"},
    {KEY2(", \"expires_at\": 1800000000"), "keys[1] (k_2): \"expires_at\" is no time"},
    {KEY2(", \"disabled\": \"true\""), "keys[1] (k_2): \"disabled\" is neither true nor false"},
    {KEY2(", \"disabled\": null"), "keys[1] (k_2): \"disabled\" is neither true nor false"},
    {KEY2(", \"limits\": []"), "keys[1] (k_2): \"limits\" is no object of limit names and rates"},
    {KEY2(", \"limits\": {\"day\": 7}"), "keys[1] (k_2): \"limits\" is no object of limit names and rates"},
    {KEY2(", \"limits\": {\"day\": \"300x\"}"), "keys[1] (k_2): "},
    {KEY2(", \"limits\": {\"day\": \"0/day\"}"), "keys[1] (k_2): "},
    {KEY2(", \"limits\": {\"Not A Name\": \"1/day\"}"), "keys[1] (k_2): "},
};

START_TEST(an_entry_that_breaks_a_rule_is_refused_alone)
{
    const char *path = fixture_path("keys.json");
    aq_keys_t *keys = keys_make(path);
    aq_keys_report_t report;

    fixture_log_keep();
    keys_write(path, apr_pstrcat(fixture_pool, TENANTS GOOD ",", ENTRIES[_i].entry,
                                 ",{\"id\": \"k_3\", \"sha256\": \"HASH3\", \"tenant\": \"acme\"}]}", NULL));
    keys_load(keys, &report);
    ck_assert_uint_eq(report.refused, 1);
    ck_assert_uint_eq(report.keys, 2);
    ck_assert_uint_eq(report.tenants, 2);
    ck_assert_int_eq(report.refusals->nelts, 1);
    const char *said = APR_ARRAY_IDX(report.refusals, 0, const char *);
    ck_assert_msg(strstr(said, ENTRIES[_i].said) != NULL, "%s", said);
    ck_assert_int_eq(fixture_log_count(200), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log_last(200), ENTRIES[_i].said));
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
    ck_assert_int_eq(keys_find(keys, 2), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(keys_find(keys, 3), AQ_IDENTIFIED);
}
END_TEST

/* A tenant beside a good one; its key goes with it. */
static const struct {
    const char *tenant, *said;
} REFUSED_TENANTS[] = {
    {"\"t\": {\"plan\": \"gold\"}", "tenants.t: the plan \"gold\" is unknown; the tenant's keys are refused with it"},
    {"\"t\": {\"plan\": \"go\\nld\"}", "tenants.t: the plan \"(no valid name)\" is unknown"},
    {"\"t\": {\"plan\": 7}", "tenants.t: a tenant is an object with a \"plan\""},
    {"\"t\": {}", "tenants.t: a tenant is an object with a \"plan\""},
    {"\"t\": 7", "tenants.t: a tenant is an object with a \"plan\""},
    {"\"t\": {\"plan\": \"basic\", \"max_keys\": -1}", "tenants.t: \"max_keys\" is no number from 0 to 1000000"},
    {"\"t\": {\"plan\": \"basic\", \"max_keys\": 1000001}", "tenants.t: \"max_keys\" is no number"},
    {"\"t\": {\"plan\": \"basic\", \"max_keys\": \"5\"}", "tenants.t: \"max_keys\" is no number"},
    {"\"t\": {\"plan\": \"basic\", \"limits\": 7}", "tenants.t: \"limits\" is no object of limit names and rates"},
    {"\"t\": {\"plan\": \"basic\", \"limits\": {\"day\": \"-1/day\"}}", "tenants.t: "},
};

START_TEST(a_refused_tenant_takes_its_keys_with_it_and_no_others)
{
    const char *path = fixture_path("tenants.json");
    aq_keys_t *keys = keys_make(path);
    aq_keys_report_t report;

    fixture_log_keep();
    keys_write(path, apr_pstrcat(fixture_pool, "{\"tenants\": {", REFUSED_TENANTS[_i].tenant,
                                 ", \"acme\": {\"plan\": \"basic\"}}, \"keys\": [" GOOD
                                 ",{\"id\": \"k_2\", \"sha256\": \"HASH2\", \"tenant\": \"t\"}]}",
                                 NULL));
    keys_load(keys, &report);
    ck_assert_uint_eq(report.refused, 2);
    ck_assert_uint_eq(report.tenants, 1);
    const char *said = APR_ARRAY_IDX(report.refusals, 0, const char *);
    ck_assert_msg(strstr(said, REFUSED_TENANTS[_i].said) == said, "%s", said);
    ck_assert_str_eq(APR_ARRAY_IDX(report.refusals, 1, const char *), "keys[1] (k_2): the tenant \"t\" is refused");
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
    ck_assert_int_eq(keys_find(keys, 2), AQ_KEY_UNKNOWN);
}
END_TEST

START_TEST(a_tenant_without_a_valid_name_is_named_by_its_index)
{
    const char *path = fixture_path("names.json");
    aq_keys_t *keys = keys_make(path);
    aq_keys_report_t report;

    fixture_log_keep();
    keys_write(path, "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}, \"a\\nAQ00001: b\": {\"plan\": \"basic\"}}, "
                     "\"keys\": [{\"id\": \"k_1\", \"sha256\": \"HASH1\", \"tenant\": \"a\\nAQ00001: b\"}]}");
    keys_load(keys, &report);
    ck_assert_str_eq(APR_ARRAY_IDX(report.refusals, 0, const char *),
                     "tenants[1]: a tenant's name is visible ASCII without spaces, \" and \\, at most 128 characters");
    ck_assert_str_eq(APR_ARRAY_IDX(report.refusals, 1, const char *),
                     "keys[0] (k_1): the tenant \"(no valid name)\" is unknown");
}
END_TEST

/* `count` keys of tenant `tenant`, numbered from 1. */
static const char *many_keys(const char *tenant, int count)
{
    const char *text =
        apr_psprintf(fixture_pool, "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}, \"two\": {\"plan\": \"basic\", "
                                   "\"max_keys\": 2}, \"none\": {\"plan\": \"basic\", \"max_keys\": 0}}, \"keys\": [");

    for (int i = 1; i <= count; i++) {
        text = apr_psprintf(fixture_pool, "%s%s{\"id\": \"k_%d\", \"sha256\": \"%s\", \"tenant\": \"%s\"}", text,
                            i > 1 ? "," : "", i, keys_hash(i), tenant);
    }
    return apr_pstrcat(fixture_pool, text, "]}", NULL);
}

START_TEST(a_tenant_has_no_more_keys_than_it_may)
{
    static const struct {
        const char *tenant;
        unsigned keys;
    } tenants[] = {{"acme", AQ_KEYS_PER_TENANT_DEFAULT}, {"two", 2}, {"none", 0}};
    const char *path = fixture_path("many.json");
    aq_keys_report_t report;

    for (int i = 0; i < 3; i++) {
        aq_keys_t *keys = keys_make(path);
        fixture_write(path, many_keys(tenants[i].tenant, 52));
        fixture_log_keep();
        keys_load(keys, &report);
        ck_assert_uint_eq(report.keys, tenants[i].keys);
        ck_assert_uint_eq(report.refused, 52 - tenants[i].keys);
        for (int number = 1; number <= 52; number++) {
            ck_assert_int_eq(keys_find(keys, number) == AQ_IDENTIFIED, (unsigned)number <= tenants[i].keys);
        }
        ck_assert_ptr_nonnull(strstr(fixture_log_last(200), "as many as it may"));
    }
}
END_TEST

START_TEST(the_log_names_a_hundred_refusals_and_counts_the_others)
{
    const char *path = fixture_path("refusals.json");
    aq_keys_t *keys = keys_make(path);
    aq_keys_report_t report;

    fixture_write(path, many_keys("unheard-of", 130));
    fixture_log_keep();
    keys_load(keys, &report);
    ck_assert_uint_eq(report.refused, 130);
    ck_assert_int_eq(report.refusals->nelts, 100);
    ck_assert_int_eq(fixture_log_count(200), 100);
    ck_assert_int_eq(fixture_log_count(201), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log_last(201), "refused 30 entries more"));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, an_entry_that_breaks_a_rule_is_refused_alone, 0, sizeof(ENTRIES) / sizeof(ENTRIES[0]));
    tcase_add_loop_test(tests, a_refused_tenant_takes_its_keys_with_it_and_no_others, 0,
                        sizeof(REFUSED_TENANTS) / sizeof(REFUSED_TENANTS[0]));
    tcase_add_test(tests, a_tenant_without_a_valid_name_is_named_by_its_index);
    tcase_add_test(tests, a_tenant_has_no_more_keys_than_it_may);
    tcase_add_test(tests, the_log_names_a_hundred_refusals_and_counts_the_others);
}

int main(void)
{
    return fixture_run("key rules", add);
}
