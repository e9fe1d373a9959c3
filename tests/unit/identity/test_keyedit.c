/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Editing a keys file: what is written is what the server then takes.
 */
#include "identity/keyedit.h"
#include "base/aq_json.h"
#include "unit/identity/keys_fixture.h"
#include "unit/redis_keys_fixture.h"

#include <apr_strings.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_TEXT                                                                                                      \
    "{\"comment\": [1], \"tenants\": {\"acme\": {\"plan\": \"basic\", \"webhook\": {\"secret\": \"s\"}}, "             \
    "\"one\": {\"plan\": \"basic\", \"max_keys\": 1}}, "                                                               \
    "\"keys\": [{\"id\": \"k_1\", \"sha256\": \"HASH1\", \"tenant\": \"one\", \"note\": \"n\"}]}"

static const char *made(const char *name)
{
    const char *path = fixture_path(name);

    keys_write(path, FILE_TEXT);
    return path;
}

static json_t *load(const char *path)
{
    const char *error;
    json_t *json;

    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, AQ_JSON_FILE_MAX_BYTES, &json, &error), APR_SUCCESS);
    return json;
}

START_TEST(a_key_that_was_made_is_taken_by_the_server)
{
    static const char *const scopes[] = {"a", "b:c"};
    const aq_key_spec_t spec = {
        .tenant = "acme", .scopes = scopes, .scope_count = 2, .expires_at_ms = KEYS_NOW_MS + 1000};
    const char *path = made("create.json"), *id, *error;
    char text[AQ_KEY_TEXT_SIZE];
    const aq_principal_t *principal;

    fixture_log_keep();
    ck_assert_int_eq(aq_keyedit_key_create(fixture_pool, keys_place(path), &spec, text, &id, &error), APR_SUCCESS);
    ck_assert_ptr_null(error);
    ck_assert_uint_eq(strlen(text), AQ_KEY_TEXT_SIZE - 1);
    ck_assert_int_eq(strncmp(text, "aq_", 3), 0);
    ck_assert_uint_eq(strspn(text + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
    ck_assert_uint_eq(strlen(id), 14);
    ck_assert_int_eq(strncmp(id, "k_", 2), 0);
    ck_assert_uint_eq(strspn(id + 2, "0123456789abcdef"), 12);
    ck_assert_ptr_null(strstr(fixture_read(path), text));

    aq_keys_t *keys = keys_make(path);
    keys_load(keys, NULL);
    const aq_key_set_t *set = aq_keys_acquire(keys);
    ck_assert_int_eq(aq_key_set_find(set, text, strlen(text), KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
    ck_assert_str_eq(principal->key_id, id);
    ck_assert_str_eq(principal->tenant, "acme");
    ck_assert_uint_eq(principal->scope_count, 2);
    ck_assert_int_eq(principal->expires_at_ms, KEYS_NOW_MS + 1000);
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);
}
END_TEST

static const char *const ELEVEN[11] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"};
static const char *const SPACE[1] = {"a b"};
static const struct {
    aq_key_spec_t spec;
    const char *said;
} REFUSED[] = {
    {{.tenant = "other"}, "the tenant \"other\" is unknown"},
    {{.tenant = NULL}, "is unknown"},
    {{.tenant = "one"}, "the tenant \"one\" has 1 keys already"},
    {{.tenant = "acme", .id = "k_1"}, "a key of id \"k_1\" exists"},
    {{.tenant = "acme", .id = "a b"}, "an id is visible ASCII"},
    {{.tenant = "acme", .id = ""}, "an id is visible ASCII"},
    {{.tenant = "acme", .scopes = ELEVEN, .scope_count = 11}, "a key has at most 10 scopes"},
    {{.tenant = "acme", .scopes = SPACE, .scope_count = 1}, "the scope \"a b\" is not visible ASCII"},
};

START_TEST(a_key_against_the_rules_is_refused_and_the_file_stays)
{
    const char *path = made("refused.json"), *before = fixture_read(path), *id, *error;
    char text[AQ_KEY_TEXT_SIZE];

    ck_assert_int_eq(aq_keyedit_key_create(fixture_pool, keys_place(path), &REFUSED[_i].spec, text, &id, &error),
                     APR_EGENERAL);
    ck_assert_msg(strstr(error, REFUSED[_i].said) != NULL, "%s", error);
    ck_assert_str_eq(text, "");
    ck_assert_str_eq(fixture_read(path), before);
}
END_TEST

/* The successor of key 1 of `path`, as the server takes it; the old key is found at KEYS_NOW_MS or not. */
static const aq_principal_t *rotated(const char *path, const char *id, aq_time_ms_t retires_at_ms,
                                     aq_identified_t old_is, const aq_principal_t **old)
{
    const char *new_id, *error;
    char text[AQ_KEY_TEXT_SIZE];
    const aq_principal_t *principal;

    fixture_log_keep();
    ck_assert_int_eq(aq_keyedit_key_rotate(fixture_pool, keys_place(path), id, retires_at_ms, text, &new_id, &error),
                     APR_SUCCESS);
    ck_assert_str_ne(new_id, id);
    aq_keys_t *keys = keys_make(path);
    keys_load(keys, NULL);
    const aq_key_set_t *set = aq_keys_acquire(keys);
    ck_assert_int_eq(aq_key_set_find(set, text, strlen(text), KEYS_NOW_MS, &principal), AQ_IDENTIFIED);
    ck_assert_str_eq(principal->key_id, new_id);
    ck_assert_int_eq(aq_key_set_find(set, keys_text(1), strlen(keys_text(1)), KEYS_NOW_MS, old), old_is);
    return principal;
}

START_TEST(a_rotated_key_has_a_successor_that_counts_where_it_did)
{
    const char *path = fixture_path("rotate.json");
    const aq_principal_t *old, *principal;

    keys_write(path, "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}}, \"keys\": [{\"id\": \"k_1\", \"sha256\": "
                     "\"HASH1\", \"tenant\": \"acme\", \"scopes\": [\"a\"], \"note\": \"n\"}]}");
    principal = rotated(path, "k_1", KEYS_NOW_MS + 1000, AQ_IDENTIFIED, &old);
    ck_assert_int_eq(old->expires_at_ms, KEYS_NOW_MS + 1000);
    ck_assert_int_eq(principal->expires_at_ms, 0);
    ck_assert(aq_principal_has_scope(principal, "a"));
    ck_assert_mem_eq(&principal->subject[AQ_PER_KEY], &old->subject[AQ_PER_KEY], sizeof(aq_hash128_t));
    json_t *file = load(path);
    ck_assert_str_eq(aq_json_string(json_array_get(json_object_get(file, "keys"), 1), "note"), "n");
    json_decref(file);
    principal = rotated(path, principal->key_id, KEYS_NOW_MS + 5000, AQ_IDENTIFIED, &old);
    ck_assert_mem_eq(&principal->subject[AQ_PER_KEY], &old->subject[AQ_PER_KEY], sizeof(aq_hash128_t));
    ck_assert_int_eq(old->expires_at_ms, KEYS_NOW_MS + 1000);
}
END_TEST

START_TEST(a_key_rotated_without_overlap_is_gone_at_once)
{
    const aq_principal_t *old;
    const char *path = made("rotate-now.json");

    ck_assert_str_eq(rotated(path, "k_1", 0, AQ_KEY_UNKNOWN, &old)->tenant, "one");
    json_t *file = load(path);
    ck_assert_uint_eq(json_array_size(json_object_get(file, "keys")), 1);
    json_decref(file);
}
END_TEST

START_TEST(a_rotation_that_cannot_be_is_refused_and_the_file_stays)
{
    const char *path = made("rotate-not.json"), *before = fixture_read(path), *id, *error;
    char text[AQ_KEY_TEXT_SIZE];

    ck_assert_int_eq(aq_keyedit_key_rotate(fixture_pool, keys_place(path), "k_9", 0, text, &id, &error), APR_NOTFOUND);
    ck_assert_int_eq(aq_keyedit_key_rotate(fixture_pool, keys_place(path), "k_1", KEYS_NOW_MS, text, &id, &error),
                     APR_EGENERAL);
    ck_assert_msg(strstr(error, "as many as it may") != NULL, "%s", error);
    ck_assert_str_eq(text, "");
    ck_assert_str_eq(fixture_read(path), before);
}
END_TEST

START_TEST(a_tenant_is_found_by_its_name)
{
    aq_keys_t *keys =
        keys_loaded("tenants.json", "{\"tenants\": {\"acme\": {\"plan\": \"basic\", \"limits\": {\"day\": "
                                    "\"7/day\"}}, \"bad\": {\"plan\": \"none\"}}, \"keys\": [{\"id\": "
                                    "\"k_1\", \"sha256\": \"HASH1\", \"tenant\": \"acme\"}]}");
    const aq_key_set_t *set = aq_keys_acquire(keys);
    const aq_principal_t *tenant = aq_key_set_tenant(set, "acme"), *key = keys_principal(keys, 1);

    ck_assert_str_eq(tenant->plan, "basic");
    ck_assert_mem_eq(&tenant->subject[AQ_PER_TENANT], &key->subject[AQ_PER_TENANT], sizeof(aq_hash128_t));
    ck_assert_int_eq(tenant->limits->nelts, key->limits->nelts);
    ck_assert_ptr_null(tenant->key_id);
    ck_assert_ptr_null(aq_key_set_tenant(set, "bad"));
    ck_assert_ptr_null(aq_key_set_tenant(set, "other"));
}
END_TEST

START_TEST(a_revoked_key_is_gone_and_all_else_stays)
{
    const char *path = made("revoke.json"), *error;
    glob_t left;

    ck_assert_int_eq(aq_keyedit_key_revoke(fixture_pool, keys_place(path), "k_2", &error), APR_NOTFOUND);
    ck_assert_str_eq(error, "there is no key of id \"k_2\"");
    ck_assert_int_eq(aq_keyedit_key_revoke(fixture_pool, keys_place(path), "k_1", &error), APR_SUCCESS);
    json_t *json = load(path);
    ck_assert_str_eq(aq_json_text(fixture_pool, json),
                     "{\"comment\":[1],\"tenants\":{\"acme\":{\"plan\":\"basic\",\"webhook\":{\"secret\":\"s\"}},"
                     "\"one\":{\"plan\":\"basic\",\"max_keys\":1}},\"keys\":[]}");
    json_decref(json);
    ck_assert_int_eq(aq_keyedit_key_revoke(fixture_pool, keys_place(path), "k_1", &error), APR_NOTFOUND);
    ck_assert_int_eq(glob(fixture_path("revoke.json.new*"), 0, NULL, &left), GLOB_NOMATCH);
}
END_TEST

START_TEST(mode_owner_and_symbolic_link_stay)
{
    const char *path = made("mode.json"), *link = fixture_path("link.json"), *error;
    uid_t uid = geteuid() == 0 ? 65534 : geteuid();
    struct stat info;

    ck_assert_int_eq(chmod(path, 0604), 0);
    ck_assert_int_eq(chown(path, uid, (gid_t)-1), 0);
    ck_assert_int_eq(symlink(path, link), 0);
    ck_assert_int_eq(aq_keyedit_key_revoke(fixture_pool, keys_place(link), "k_1", &error), APR_SUCCESS);
    ck_assert_int_eq(lstat(link, &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777, 0604);
    ck_assert_uint_eq(info.st_uid, uid);
}
END_TEST

START_TEST(a_tenant_is_made_and_changed)
{
    const char *path = fixture_path("tenant.json"), *error;
    apr_hash_t *limits = apr_hash_make(fixture_pool);
    struct stat info;

    umask(0);
    apr_hash_set(limits, "day", APR_HASH_KEY_STRING, "20000/day");
    ck_assert_int_eq(aq_keyedit_tenant_set(fixture_pool, keys_place(path), "acme", NULL, limits, &error), ENOENT);
    ck_assert_int_eq(aq_keyedit_tenant_set(fixture_pool, keys_place(path), "acme", "basic", NULL, &error), APR_SUCCESS);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777, 0640);
    ck_assert_int_eq(aq_keyedit_tenant_set(fixture_pool, keys_place(path), "other", NULL, limits, &error),
                     APR_EGENERAL);
    ck_assert_str_eq(error, "the tenant \"other\" is new and needs a plan");
    ck_assert_int_eq(aq_keyedit_tenant_set(fixture_pool, keys_place(path), "acme", "big", limits, &error), APR_SUCCESS);
    json_t *json = load(path);
    ck_assert_str_eq(aq_json_text(fixture_pool, json),
                     "{\"tenants\":{\"acme\":{\"plan\":\"big\",\"limits\":{\"day\":\"20000/day\"}}},\"keys\":[]}");
    json_decref(json);
    apr_hash_set(limits, "day", APR_HASH_KEY_STRING, "");
    ck_assert_int_eq(aq_keyedit_tenant_set(fixture_pool, keys_place(path), "acme", NULL, limits, &error), APR_SUCCESS);
    json = load(path);
    ck_assert_str_eq(aq_json_text(fixture_pool, json), "{\"tenants\":{\"acme\":{\"plan\":\"big\"}},\"keys\":[]}");
    json_decref(json);
}
END_TEST

static const struct {
    const char *tenant, *limit, *rate, *said;
} BAD_TENANTS[] = {
    {"a b", "day", "1/day", "a tenant's name is visible ASCII"},
    {"", "day", "1/day", "a tenant's name is visible ASCII"},
    {"acme", "day", "300x", "limit \"day\": "},
    {"acme", "day", "0/day", "limit \"day\": "},
    {"acme", "Bad Name", "1/day", "limit \"Bad Name\": "},
};

START_TEST(a_tenant_against_the_rules_is_refused_and_the_file_stays)
{
    const char *path = made("bad-tenant.json"), *before = fixture_read(path), *error;
    apr_hash_t *limits = apr_hash_make(fixture_pool);

    apr_hash_set(limits, BAD_TENANTS[_i].limit, APR_HASH_KEY_STRING, BAD_TENANTS[_i].rate);
    ck_assert_int_eq(
        aq_keyedit_tenant_set(fixture_pool, keys_place(path), BAD_TENANTS[_i].tenant, "basic", limits, &error),
        APR_EGENERAL);
    ck_assert_msg(strstr(error, BAD_TENANTS[_i].said) != NULL, "%s", error);
    ck_assert_str_eq(fixture_read(path), before);
}
END_TEST

START_TEST(edits_of_many_processes_undo_none_of_each_other)
{
    const char *path = fixture_path("many.json"), *id, *error;
    const aq_key_spec_t spec = {.tenant = "acme"};
    pid_t children[4];

    fixture_write(path, "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}}}");
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            char text[AQ_KEY_TEXT_SIZE];
            int failed = 0;
            for (int k = 0; k < 10; k++) {
                failed +=
                    aq_keyedit_key_create(fixture_pool, keys_place(path), &spec, text, &id, &error) != APR_SUCCESS;
            }
            _exit(failed);
        }
    }
    for (int i = 0; i < 4; i++) {
        int status;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    json_t *json = load(path);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "keys")), 40);
    json_decref(json);
}
END_TEST

static void in_file(void)
{
    keys_place_set(NULL);
}

static void of_files(TCase *tests)
{
    tcase_add_checked_fixture(tests, in_file, NULL);
}

static void of_redis(TCase *tests)
{
    tcase_add_checked_fixture(tests, redis_keys_begin, NULL);
}

/* First for keys files, then for keys in Redis, where what is about files is left out. */
static void add(TCase *tests)
{
    static int times;
    const int is_of_files = times++ == 0;

    tcase_add_test(tests, a_key_that_was_made_is_taken_by_the_server);
    tcase_add_loop_test(tests, a_key_against_the_rules_is_refused_and_the_file_stays, 0,
                        sizeof(REFUSED) / sizeof(REFUSED[0]));
    tcase_add_test(tests, a_revoked_key_is_gone_and_all_else_stays);
    tcase_add_test(tests, a_rotated_key_has_a_successor_that_counts_where_it_did);
    tcase_add_test(tests, a_key_rotated_without_overlap_is_gone_at_once);
    tcase_add_test(tests, a_rotation_that_cannot_be_is_refused_and_the_file_stays);
    tcase_add_loop_test(tests, a_tenant_against_the_rules_is_refused_and_the_file_stays, 0,
                        sizeof(BAD_TENANTS) / sizeof(BAD_TENANTS[0]));
    if (is_of_files) {
        tcase_add_test(tests, a_tenant_is_found_by_its_name);
        tcase_add_test(tests, mode_owner_and_symbolic_link_stay);
        tcase_add_test(tests, a_tenant_is_made_and_changed);
        tcase_add_test(tests, edits_of_many_processes_undo_none_of_each_other);
    }
}

int main(void)
{
    static void (*const homes[])(TCase * tests) = {of_files, of_redis};

    return fixture_run_each("key edits", 2, homes, add);
}
