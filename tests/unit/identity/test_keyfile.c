/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys file: who is found by which key, and what a reload takes over.
 */
#include "unit/identity/keys_fixture.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACME "\"acme\": {\"plan\": \"basic\"}"
#define FILE_OF(tenants, keys) "{\"tenants\": {" tenants "}, \"keys\": [" keys "]}"
#define KEY(n, more) "{\"id\": \"k_" n "\", \"sha256\": \"HASH" n "\", \"tenant\": \"acme\"" more "}"

static const aq_limit_t *limit_of(const aq_principal_t *principal, const char *name)
{
    for (int i = 0; i < principal->limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(principal->limits, i, const aq_limit_t *);
        if (strcmp(limit->name, name) == 0) {
            return limit;
        }
    }
    ck_abort_msg("no limit %s", name);
}

START_TEST(a_principal_is_what_the_file_says)
{
    aq_keys_t *keys = keys_loaded(
        "principal.json", FILE_OF(ACME, KEY("1", ", \"scopes\": [\"a:b\", \"c\"], \"expires_at\": "
                                                 "\"2030-01-01T00:00:00Z\", \"disabled\": false, \"comment\": 7")));
    const aq_principal_t *principal = keys_principal(keys, 1);

    ck_assert_ptr_nonnull(principal);
    ck_assert_str_eq(principal->key_id, "k_1");
    ck_assert_str_eq(principal->tenant, "acme");
    ck_assert_str_eq(principal->plan, "basic");
    ck_assert_uint_eq(principal->scope_count, 2);
    ck_assert_str_eq(principal->scopes[0], "a:b");
    ck_assert_int_eq(principal->expires_at_ms, INT64_C(1893456000000));
    ck_assert_int_eq(principal->limits->nelts, 2);
    aq_hash128_t key = aq_subject_hash(&keys_secret, AQ_PER_KEY, "k_1");
    aq_hash128_t tenant = aq_subject_hash(&keys_secret, AQ_PER_TENANT, "acme");
    ck_assert_mem_eq(&principal->subject[AQ_PER_KEY], &key, sizeof(key));
    ck_assert_mem_eq(&principal->subject[AQ_PER_TENANT], &tenant, sizeof(tenant));
    ck_assert_int_eq(aq_keys_loaded_at(keys), KEYS_NOW_MS);
}
END_TEST

static const struct {
    const char *more;
    aq_identified_t identified;
} STATES[] = {
    {"", AQ_IDENTIFIED},
    {", \"disabled\": false", AQ_IDENTIFIED},
    {", \"disabled\": true", AQ_KEY_DISABLED},
    {", \"expires_at\": null", AQ_IDENTIFIED},
    {", \"expires_at\": \"2027-01-15T08:00:00.001Z\"", AQ_IDENTIFIED},
    {", \"expires_at\": \"2027-01-15T08:00:00Z\"", AQ_KEY_EXPIRED},
    {", \"expires_at\": \"1970-01-01T00:00:00Z\"", AQ_KEY_EXPIRED},
    {", \"expires_at\": \"0001-01-01T00:00:00Z\"", AQ_KEY_EXPIRED},
    {", \"expires_at\": \"2027-01-15T08:00:00Z\", \"disabled\": true", AQ_KEY_DISABLED},
};

START_TEST(disabled_and_expired_keys_are_told_cold_and_warm)
{
    aq_keys_t *keys = keys_loaded("states.json", apr_pstrcat(fixture_pool,
                                                             "{\"tenants\": {" ACME "}, \"keys\": [{\"id\": \"k_1\", "
                                                             "\"sha256\": \"HASH1\", \"tenant\": \"acme\"",
                                                             STATES[_i].more, "}]}", NULL));

    ck_assert_int_eq(keys_find(keys, 1), STATES[_i].identified);
    ck_assert_int_eq(keys_find(keys, 1), STATES[_i].identified);
}
END_TEST

START_TEST(only_the_whole_key_is_known)
{
    aq_keys_t *keys = keys_loaded("whole.json", FILE_OF(ACME, KEY("1", "")));
    const aq_key_set_t *set = aq_keys_acquire(keys);
    const char *text = keys_text(1);
    size_t size = strlen(text);
    const aq_principal_t *principal;
    char *longest = apr_pcalloc(fixture_pool, AQ_KEY_PRESENTED_MAX + 2);

    memset(longest, 'x', AQ_KEY_PRESENTED_MAX + 1);
    ck_assert_int_eq(aq_key_set_find(set, text, size, KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
    ck_assert_int_eq(aq_key_set_find(set, text, size - 1, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(aq_key_set_find(set, text, size + 1, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(aq_key_set_find(set, text + 1, size - 1, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(aq_key_set_find(set, keys_hash(1), 64, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(aq_key_set_find(set, text, 0, KEYS_NOW_MS, &principal), AQ_KEY_MISSING);
    ck_assert_int_eq(aq_key_set_find(set, longest, AQ_KEY_PRESENTED_MAX, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(aq_key_set_find(set, longest, AQ_KEY_PRESENTED_MAX + 1, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
    ck_assert_ptr_null(principal);
    aq_key_set_release(set);
}
END_TEST

START_TEST(a_memo_changes_no_answer)
{
    aq_keys_t *keys = keys_loaded("memo.json", FILE_OF(ACME, KEY("1", "") "," KEY("2", ", \"disabled\": true")));
    const aq_key_set_t *set = aq_keys_acquire(keys);
    const size_t size = strlen(keys_text(1));
    char *text = apr_pstrdup(fixture_pool, keys_text(1));
    aq_key_memo_t memo = {.secret = NULL};
    const aq_principal_t *principal;

    ck_assert_uint_ge(size, sizeof(uint64_t));
    for (size_t i = 0; i < size; i++) {
        ck_assert_int_eq(aq_key_set_find_again(set, &memo, text, size, KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
        ck_assert_int_eq(aq_key_set_find_again(set, &memo, text, size, KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
        ck_assert_int_eq(aq_key_set_find_again(set, &memo, text, i, KEYS_NOW_MS, &principal),
                         i == 0 ? AQ_KEY_MISSING : AQ_KEY_UNKNOWN);
        ck_assert_int_eq(aq_key_set_find_again(set, &memo, text, size, KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
        text[i] ^= 1;
        ck_assert_int_eq(aq_key_set_find_again(set, &memo, text, size, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
        ck_assert_int_eq(aq_key_set_find_again(set, &memo, text, size, KEYS_NOW_MS, &principal), AQ_KEY_UNKNOWN);
        text[i] ^= 1;
    }
    ck_assert_int_eq(aq_key_set_find_again(set, &memo, keys_text(2), strlen(keys_text(2)), KEYS_NOW_MS, &principal),
                     AQ_KEY_DISABLED);
    ck_assert_ptr_null(principal);
    aq_key_set_release(set);
}
END_TEST

static aq_identified_t recalled(const aq_keys_t *keys, const aq_key_recall_t *recall, int is_bearer, const char *value)
{
    const aq_key_set_t *set = aq_keys_acquire((aq_keys_t *)keys);
    const aq_principal_t *principal = NULL;
    const aq_identified_t found = aq_key_set_recall(set, recall, is_bearer, value, KEYS_NOW_MS, &principal);

    ck_assert_int_eq(principal != NULL, found == AQ_IDENTIFIED);
    ck_assert(!principal || principal == recall->principal);
    aq_key_set_release(set);
    return found;
}

static aq_key_recall_t noted(aq_keys_t *keys, int number, int is_bearer, const char *value)
{
    const aq_key_set_t *set = aq_keys_acquire(keys);
    aq_key_recall_t recall = {.serial = 0};

    aq_key_set_recall_note(set, &recall, is_bearer, value, keys_principal(keys, number));
    aq_key_set_release(set);
    return recall;
}

START_TEST(only_the_very_value_is_recalled)
{
    aq_keys_t *keys = keys_loaded("recall.json", FILE_OF(ACME, KEY("1", "")));
    char *value = apr_pstrcat(fixture_pool, "Bearer ", keys_text(1), NULL);
    const size_t size = strlen(value);
    const aq_key_recall_t empty = {.serial = 0}, recall = noted(keys, 1, 1, value);

    ck_assert_int_eq(recalled(keys, &empty, 1, value), AQ_KEY_MISSING);
    ck_assert_int_eq(recalled(keys, &recall, 1, value), AQ_IDENTIFIED);
    ck_assert_int_eq(recalled(keys, &recall, 0, value), AQ_KEY_MISSING);
    ck_assert_int_eq(recalled(keys, &recall, 1, apr_pstrcat(fixture_pool, value, "a", NULL)), AQ_KEY_MISSING);
    for (size_t i = 0; i < size; i++) {
        ck_assert_int_eq(recalled(keys, &recall, 1, apr_pstrndup(fixture_pool, value, i)), AQ_KEY_MISSING);
        value[i] ^= 1;
        ck_assert_int_eq(recalled(keys, &recall, 1, value), AQ_KEY_MISSING);
        value[i] ^= 1;
    }
}
END_TEST

START_TEST(values_of_all_sizes_are_recalled_or_not_noted)
{
    aq_keys_t *keys = keys_loaded("sizes.json", FILE_OF(ACME, KEY("1", "")));
    char value[AQ_KEY_RECALL_SIZE + 2] = "";

    for (size_t size = 0; size <= AQ_KEY_RECALL_SIZE + 1; size++) {
        const aq_key_recall_t recall = noted(keys, 1, 0, value);
        const int is_noted = size >= 16 && size <= AQ_KEY_RECALL_SIZE;

        ck_assert_int_eq(recalled(keys, &recall, 0, value), is_noted ? AQ_IDENTIFIED : AQ_KEY_MISSING);
        value[size] = 'v';
        ck_assert_int_eq(recalled(keys, &recall, 0, value), AQ_KEY_MISSING);
    }
}
END_TEST

START_TEST(nothing_is_recalled_of_another_set)
{
    aq_keys_t *keys = keys_loaded("other-set.json", FILE_OF(ACME, KEY("1", "")));
    const aq_key_recall_t recall = noted(keys, 1, 0, keys_text(1));
    const char *error;

    ck_assert_int_eq(recalled(keys, &recall, 0, keys_text(1)), AQ_IDENTIFIED);
    ck_assert_int_eq(aq_keys_load(keys, fixture_pool, KEYS_NOW_MS, NULL, &error), APR_SUCCESS);
    ck_assert_int_eq(recalled(keys, &recall, 0, keys_text(1)), AQ_KEY_MISSING);
}
END_TEST

START_TEST(a_recalled_key_expires)
{
    aq_keys_t *keys =
        keys_loaded("recall-expires.json", FILE_OF(ACME, KEY("1", ", \"expires_at\": \"2027-01-15T08:00:00.001Z\"")));
    const aq_key_recall_t recall = noted(keys, 1, 0, keys_text(1));
    const aq_key_set_t *set = aq_keys_acquire(keys);
    const aq_principal_t *principal = NULL;

    ck_assert_int_eq(aq_key_set_recall(set, &recall, 0, keys_text(1), KEYS_NOW_MS + 1, &principal), AQ_KEY_EXPIRED);
    ck_assert_ptr_null(principal);
    ck_assert_int_eq(aq_key_set_recall(set, &recall, 0, keys_text(1), KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
    aq_key_set_release(set);
}
END_TEST

START_TEST(overrides_of_the_key_come_before_those_of_the_tenant_before_the_plan)
{
    aq_keys_t *keys = keys_loaded(
        "overrides.json",
        FILE_OF("\"acme\": {\"plan\": \"basic\", \"limits\": {\"minute\": \"400/minute\", \"day\": \"2000/day\"}}",
                KEY("1", ", \"limits\": {\"minute\": \"500/minute\", \"hour\": \"9/hour\"}") "," KEY("2", "")));
    const aq_principal_t *one = keys_principal(keys, 1), *two = keys_principal(keys, 2);

    ck_assert_uint_eq(limit_of(one, "minute")->rate.count, 500);
    ck_assert_uint_eq(limit_of(one, "day")->rate.count, 2000);
    ck_assert_uint_eq(limit_of(one, "hour")->rate.count, 9);
    ck_assert_int_eq(limit_of(one, "hour")->per, AQ_PER_KEY);
    ck_assert_int_eq(one->limits->nelts, 3);
    ck_assert_uint_eq(limit_of(two, "minute")->rate.count, 400);
    ck_assert_uint_eq(limit_of(two, "day")->rate.count, 2000);
    ck_assert_int_eq(two->limits->nelts, 2);
    /* Another count is no other counter. */
    ck_assert_mem_eq(&limit_of(one, "minute")->identity, &limit_of(two, "minute")->identity, sizeof(aq_hash128_t));
}
END_TEST

static const char *const NO_KEYS_FILES[] = {
    "",
    "{\"tenants\": {" ACME "}, \"keys\": [" KEY("2", ""),
    "[]",
    "{\"keys\": {}}",
    "{\"tenants\": []}",
    "{\"keys\": [], \"keys\": []}",
    "{\"tenants\": {\"a\": {\"plan\": \"basic\"}, \"a\": {\"plan\": \"basic\"}}}",
    "{\"keys\": [{\"id\": \"\xff\"}]}",
    "{\"tenants\": {" ACME "}} trailing",
};

START_TEST(a_file_that_is_none_leaves_the_last_good_one_in_force)
{
    const char *path = fixture_path("bad.json"), *error;
    aq_keys_t *keys = keys_loaded("bad.json", FILE_OF(ACME, KEY("1", "")));
    int is_changed = 7;

    keys_write(path, NO_KEYS_FILES[_i]);
    ck_assert_int_ne(aq_keys_load(keys, fixture_pool, KEYS_NOW_MS + 1, NULL, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
    ck_assert_int_eq(keys_find(keys, 2), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(aq_keys_loaded_at(keys), KEYS_NOW_MS);

    keys_write(path, FILE_OF(ACME, KEY("2", "")));
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + 2, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(is_changed, 1);
    ck_assert_int_eq(keys_find(keys, 1), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(keys_find(keys, 2), AQ_IDENTIFIED);
    ck_assert_int_eq(aq_keys_loaded_at(keys), KEYS_NOW_MS + 2);
}
END_TEST

START_TEST(the_first_load_fails_with_no_set)
{
    const char *error;
    aq_keys_t *keys = keys_make(fixture_path("missing.json"));

    ck_assert_int_eq(aq_keys_load(keys, fixture_pool, KEYS_NOW_MS, NULL, &error), APR_ENOENT);
    ck_assert_ptr_null(aq_keys_acquire(keys));
    ck_assert_int_eq(aq_keys_loaded_at(keys), 0);
    aq_key_set_release(NULL);
}
END_TEST

START_TEST(a_hundred_megabytes_are_refused_unread)
{
    const char *path = fixture_path("huge.json"), *error;
    aq_keys_t *keys = keys_loaded("huge.json", FILE_OF(ACME, KEY("1", "")));

    ck_assert_int_eq(truncate(path, 100 * 1024 * 1024), 0); /* a sparse one */
    ck_assert_int_eq(aq_keys_load(keys, fixture_pool, KEYS_NOW_MS, NULL, &error), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "more than the 67108864 allowed"));
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
}
END_TEST

START_TEST(refresh_reads_a_changed_file_once)
{
    const char *path = fixture_path("refresh.json");
    aq_keys_t *keys = keys_loaded("refresh.json", FILE_OF(ACME, KEY("1", "")));
    int is_changed;

    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + 1, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(is_changed, 0);
    keys_write(path, "{");
    ck_assert_int_ne(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + 2, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(is_changed, 0);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + 3, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(is_changed, 0);
    ck_assert_int_eq(fixture_log_count(202), 1);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + 4, &is_changed), APR_ENOENT);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, KEYS_NOW_MS + 5, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(fixture_log_count(202), 2);
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
}
END_TEST

/* Two writes within one tick of the file system's clock may look alike: the file is read again until it is older. */
START_TEST(a_file_that_was_just_changed_is_read_again)
{
    const char *path = fixture_path("tick.json");
    aq_keys_t *keys = keys_loaded("tick.json", FILE_OF(ACME, KEY("1", "")));
    struct stat info;
    int is_changed;

    ck_assert_int_eq(stat(path, &info), 0);
    aq_time_ms_t changed_ms = (aq_time_ms_t)info.st_ctim.tv_sec * AQ_MS_PER_S + info.st_ctim.tv_nsec / 1000000;
    const char *error;
    ck_assert_int_eq(aq_keys_load(keys, fixture_pool, changed_ms + 1, NULL, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, changed_ms + 500, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(is_changed, 1);
    ck_assert_int_eq(aq_keys_refresh(keys, fixture_pool, changed_ms + 1000, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(is_changed, 0);
}
END_TEST

static struct {
    aq_keys_t *keys;
    int said, is_failing;
    aq_identified_t found;
    char text[256];
} seen;

/* Looks at the keys when the line about them comes. */
static void look(void *data, aq_log_level_t level, unsigned number, apr_status_t status, const char *text)
{
    (void)data;
    (void)level;
    (void)status;
    if (number == 203) {
        seen.said++;
        seen.is_failing = aq_keys_is_failing(seen.keys);
        seen.found = keys_find(seen.keys, 2);
        apr_cpystrn(seen.text, text, sizeof(seen.text));
    }
}

START_TEST(what_the_log_says_is_in_force_is_so_already)
{
    const char *path = fixture_path("said.json");
    const struct timespec times[2] = {{.tv_sec = 1795749322, .tv_nsec = 123456789},
                                      {.tv_sec = 1795749322, .tv_nsec = 123456789}};
    int is_changed;

    seen.keys = keys_loaded("said.json", FILE_OF(ACME, KEY("1", "")));
    keys_write(path, "{");
    ck_assert_int_ne(aq_keys_refresh(seen.keys, fixture_pool, KEYS_NOW_MS + 1, &is_changed), APR_SUCCESS);
    ck_assert_int_eq(aq_keys_is_failing(seen.keys), 1);
    keys_write(path, FILE_OF(ACME, KEY("1", "") "," KEY("2", "")));
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    aq_log_sink_set(look, NULL);
    ck_assert_int_eq(aq_keys_refresh(seen.keys, fixture_pool, KEYS_NOW_MS + 2, &is_changed), APR_SUCCESS);
    aq_log_sink_set(NULL, NULL);
    ck_assert_int_eq(seen.said, 1);
    ck_assert_int_eq(seen.is_failing, 0);
    ck_assert_int_eq(seen.found, AQ_IDENTIFIED);
    ck_assert_ptr_nonnull(
        strstr(seen.text, "said.json of 2026-11-27T03:15:22.123Z: 2 keys of 1 tenants in force, 0 entries refused"));
}
END_TEST

START_TEST(a_copy_is_loaded_in_place_of_an_unreadable_file)
{
    const char *copy = fixture_path("copy.json"), *error;
    aq_keys_t *keys = keys_make(fixture_path("original.json"));

    fixture_log_keep();
    keys_write(copy, FILE_OF(ACME, KEY("1", "")));
    ck_assert_int_eq(aq_keys_load_copy(keys, copy, fixture_pool, KEYS_NOW_MS, &error), APR_SUCCESS);
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_principal_is_what_the_file_says);
    tcase_add_loop_test(tests, disabled_and_expired_keys_are_told_cold_and_warm, 0, sizeof(STATES) / sizeof(STATES[0]));
    tcase_add_test(tests, only_the_whole_key_is_known);
    tcase_add_test(tests, a_memo_changes_no_answer);
    tcase_add_test(tests, only_the_very_value_is_recalled);
    tcase_add_test(tests, values_of_all_sizes_are_recalled_or_not_noted);
    tcase_add_test(tests, nothing_is_recalled_of_another_set);
    tcase_add_test(tests, a_recalled_key_expires);
    tcase_add_test(tests, overrides_of_the_key_come_before_those_of_the_tenant_before_the_plan);
    tcase_add_loop_test(tests, a_file_that_is_none_leaves_the_last_good_one_in_force, 0,
                        sizeof(NO_KEYS_FILES) / sizeof(NO_KEYS_FILES[0]));
    tcase_add_test(tests, the_first_load_fails_with_no_set);
    tcase_add_test(tests, a_hundred_megabytes_are_refused_unread);
    tcase_add_test(tests, refresh_reads_a_changed_file_once);
    tcase_add_test(tests, a_file_that_was_just_changed_is_read_again);
    tcase_add_test(tests, what_the_log_says_is_in_force_is_so_already);
    tcase_add_test(tests, a_copy_is_loaded_in_place_of_an_unreadable_file);
}

int main(void)
{
    return fixture_run("keys file", add);
}
