/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys in Redis: records as fields and as entries of a keys file, reading and editing them, what is kept in shared memory.
 */
#include "store/redis_keys.h"
#include "identity/key_lookup.h"
#include "identity/keyedit.h"
#include "store/redis_key_records.h"
#include "store/redis_keys_config.h"
#include "store/redis_keys_edit.h"
#include "unit/identity/keys_fixture.h"
#include "unit/redis_keys_fixture.h"

#include <apr_strings.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRESH_MS 500
#define STALE_MS 10000

/* A look-up in a private Redis. */
typedef struct {
    redis_fixture_t server;
    aq_redis_link_t *link;
    aq_key_lookup_t *lookup;
    aq_shm_records_t *records;
} looking_t;

static aq_key_lookup_t *lookup_make(const looking_t *looking)
{
    const aq_redis_keys_options_t options = {.fresh_ms = FRESH_MS, .stale_ms = STALE_MS, .records = looking->records};
    aq_key_origin_t *origin;
    aq_key_lookup_t *lookup;

    ck_assert_int_eq(aq_redis_keys_create(fixture_pool, looking->link, &options, &origin), APR_SUCCESS);
    ck_assert_int_eq(aq_key_lookup_create(fixture_pool, origin, keys_plans(), &keys_secret, &lookup), APR_SUCCESS);
    return lookup;
}

static looking_t begin(void)
{
    looking_t looking = {.server = redis_fixture_start(NULL)};

    fixture_log_keep();
    looking.link = redis_keys_link(&looking.server);
    ck_assert_int_eq(aq_shm_records_open(fixture_pool, fixture_path("keys.records"), "here", &looking.records),
                     APR_SUCCESS);
    looking.lookup = lookup_make(&looking);
    return looking;
}

/* HASH in `command` becomes that of the key. */
static void say(const looking_t *looking, const char *command, int key)
{
    const char *hash = strstr(command, "HASH");

    if (hash) {
        command = apr_pstrcat(fixture_pool, apr_pstrmemdup(fixture_pool, command, (apr_size_t)(hash - command)),
                              keys_hash(key), hash + strlen("HASH"), NULL);
    }
    (void)redis_fixture_say(&looking->server, command);
}

static void key_put(const looking_t *looking, int key)
{
    say(looking, "HSET aq:{keys}:key:HASH id k tenant acme", key);
}

static aq_identified_t find_at(aq_key_lookup_t *lookup, int key, aq_time_ms_t now_ms, const char **plan)
{
    const char *text = keys_text(key);
    aq_key_memo_t memo = {.secret = NULL};
    const aq_principal_t *principal;
    const aq_key_set_t *set;
    const aq_identified_t found =
        aq_key_lookup_find(lookup, &memo, text, strlen(text), now_ms, fixture_pool, &set, &principal);

    if (plan) {
        *plan = principal ? principal->plan : NULL;
    }
    ck_assert((found == AQ_IDENTIFIED) == (principal != NULL));
    aq_key_set_release(set);
    return found;
}

/* ---- looking up --------------------------------------------------------------------------------------------------- */

START_TEST(a_change_is_seen_when_what_was_read_is_no_longer_fresh)
{
    looking_t looking = begin();
    const char *plan;

    say(&looking, "HSET aq:{keys}:tenant:acme plan basic", 0);
    key_put(&looking, 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS, &plan), AQ_IDENTIFIED);
    ck_assert_str_eq(plan, "basic");
    say(&looking, "HSET aq:{keys}:tenant:acme plan big", 0);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + FRESH_MS - 1, &plan), AQ_IDENTIFIED);
    ck_assert_str_eq(plan, "basic");
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + FRESH_MS, &plan), AQ_IDENTIFIED);
    ck_assert_str_eq(plan, "big");
    say(&looking, "DEL aq:{keys}:key:HASH", 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + 2 * FRESH_MS - 1, NULL), AQ_IDENTIFIED);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + 2 * FRESH_MS, NULL), AQ_KEY_UNKNOWN);
    key_put(&looking, 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + 3 * FRESH_MS - 1, NULL), AQ_KEY_UNKNOWN);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + 3 * FRESH_MS, NULL), AQ_IDENTIFIED);
}
END_TEST

START_TEST(a_clock_that_is_set_back_has_the_record_read_again)
{
    looking_t looking = begin();

    say(&looking, "HSET aq:{keys}:tenant:acme plan basic", 0);
    key_put(&looking, 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS, NULL), AQ_IDENTIFIED);
    say(&looking, "DEL aq:{keys}:key:HASH", 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS - 3600000, NULL), AQ_KEY_UNKNOWN);
}
END_TEST

START_TEST(other_processes_know_what_one_has_read_and_for_how_long)
{
    looking_t looking = begin();
    aq_key_lookup_t *other = lookup_make(&looking);
    const uint64_t waits = aq_redis_link_waits(looking.link);

    say(&looking, "HSET aq:{keys}:tenant:acme plan basic", 0);
    key_put(&looking, 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS, NULL), AQ_IDENTIFIED);
    ck_assert_int_eq(find_at(other, 1, KEYS_NOW_MS + FRESH_MS - 1, NULL), AQ_IDENTIFIED);
    ck_assert_uint_eq(aq_redis_link_waits(looking.link), waits + 2); /* by the script's name, then by its text */
    say(&looking, "DEL aq:{keys}:key:HASH", 1);
    ck_assert_int_eq(find_at(other, 1, KEYS_NOW_MS + FRESH_MS, NULL), AQ_KEY_UNKNOWN);
}
END_TEST

START_TEST(who_was_known_is_believed_while_redis_is_away_and_not_for_ever)
{
    looking_t looking = begin();

    say(&looking, "HSET aq:{keys}:tenant:acme plan basic", 0);
    key_put(&looking, 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS, NULL), AQ_IDENTIFIED);
    ck_assert_int_eq(find_at(looking.lookup, 3, KEYS_NOW_MS, NULL), AQ_KEY_UNKNOWN);
    redis_fixture_kill(&looking.server);
    ck_assert_int_eq(find_at(looking.lookup, 3, KEYS_NOW_MS + FRESH_MS - 1, NULL), AQ_KEY_UNKNOWN);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(find_at(looking.lookup, 3, KEYS_NOW_MS + FRESH_MS + i, NULL), AQ_KEYS_AWAY);
    }
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + STALE_MS - 1, NULL), AQ_IDENTIFIED);
    ck_assert_int_eq(find_at(looking.lookup, 2, KEYS_NOW_MS + FRESH_MS, NULL), AQ_KEYS_AWAY);
    aq_key_lookup_t *later = lookup_make(&looking);
    ck_assert_int_eq(find_at(later, 1, KEYS_NOW_MS + STALE_MS - 1, NULL), AQ_IDENTIFIED);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + STALE_MS, NULL), AQ_KEYS_AWAY);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + STALE_MS, NULL), AQ_KEYS_AWAY);
    ck_assert_int_eq(find_at(later, 1, KEYS_NOW_MS + STALE_MS + 1000, NULL), AQ_KEYS_AWAY);
}
END_TEST

START_TEST(a_flood_of_unknown_keys_is_bounded_and_displaces_nobody)
{
    looking_t looking = begin();

    say(&looking, "HSET aq:{keys}:tenant:acme plan basic", 0);
    key_put(&looking, 1);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS, NULL), AQ_IDENTIFIED);
    for (int i = 0; i < AQ_KEY_LOOKUP_UNKNOWN_MAX; i++) {
        ck_assert_int_eq(find_at(looking.lookup, 1000 + i, KEYS_NOW_MS, NULL), AQ_KEY_UNKNOWN);
    }
    const uint64_t waits = aq_redis_link_waits(looking.link);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(find_at(looking.lookup, 5000 + i, KEYS_NOW_MS + 999, NULL), AQ_KEYS_AWAY);
    }
    ck_assert_uint_eq(aq_redis_link_waits(looking.link), waits);
    ck_assert_int_eq(find_at(looking.lookup, 1, KEYS_NOW_MS + 999, NULL), AQ_IDENTIFIED);
    ck_assert_int_eq(find_at(looking.lookup, 5000, KEYS_NOW_MS + 1000, NULL), AQ_KEY_UNKNOWN);
}
END_TEST

#define THREADS 4
static _Atomic int wrong;

static void *look_often(void *data)
{
    const looking_t *looking = data;
    apr_pool_t *p;
    const char *text = "aq_0000000000000000000000000000000000000000001";

    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        wrong++;
        return NULL;
    }
    for (int i = 0; i < 2000; i++) {
        aq_key_memo_t memo = {.secret = NULL};
        const aq_principal_t *principal;
        const aq_key_set_t *set;
        const aq_identified_t found =
            aq_key_lookup_find(looking->lookup, &memo, text, strlen(text), KEYS_NOW_MS + i * 10, p, &set, &principal);
        wrong += found == AQ_IDENTIFIED ? strcmp(principal->tenant, "acme") != 0 : found != AQ_KEY_UNKNOWN;
        aq_key_set_release(set);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

START_TEST(threads_ask_while_records_change)
{
    looking_t looking = begin();
    pthread_t threads[THREADS];

    say(&looking, "HSET aq:{keys}:tenant:acme plan basic", 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, look_often, &looking), 0);
    }
    for (int i = 0; i < 100; i++) {
        key_put(&looking, 1);
        say(&looking, "DEL aq:{keys}:key:HASH", 1);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* ---- what is kept ------------------------------------------------------------------------------------------------- */

START_TEST(records_are_kept_by_digest_and_torn_ones_are_none)
{
    const unsigned char one[AQ_SHA256_BYTES] = {1}, other[AQ_SHA256_BYTES] = {1, [31] = 2};
    const char *path = fixture_path("records");
    aq_shm_records_t *records;
    aq_shm_record_t record;
    char text[AQ_RECORD_TEXT_MAX + 1];

    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(aq_shm_records_open(fixture_pool, path, "here", &records), APR_SUCCESS);
    ck_assert(!aq_shm_records_get(records, one, &record));
    aq_shm_records_put(records, one, "hello", 5, 7);
    aq_shm_records_put(records, other, text, AQ_RECORD_TEXT_MAX, 8);
    ck_assert(aq_shm_records_get(records, one, &record));
    ck_assert_str_eq(record.text, "hello");
    ck_assert_int_eq(record.known_at_ms, 7);
    ck_assert_int_eq(aq_shm_records_open(fixture_pool, path, "here", &records), APR_SUCCESS);
    ck_assert(aq_shm_records_get(records, other, &record));
    ck_assert_uint_eq(record.size, AQ_RECORD_TEXT_MAX);
    aq_shm_records_put(records, other, text, AQ_RECORD_TEXT_MAX + 1, 9);
    ck_assert(aq_shm_records_get(records, other, &record) && record.size == 0);
    ck_assert_int_eq(aq_shm_records_open(fixture_pool, path, "elsewhere", &records), APR_SUCCESS);
    ck_assert(!aq_shm_records_get(records, one, &record));
    aq_shm_records_put(records, one, "hello", 5, 7);
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    for (long at = 4096 + 64; fseek(file, at, SEEK_SET) == 0 && at < 4096 + 16384 * 1024; at += 1024) {
        ck_assert_int_ne(fputc('X', file), EOF);
    }
    ck_assert_int_eq(fclose(file), 0);
    ck_assert(!aq_shm_records_get(records, one, &record));
}
END_TEST

/* A disk that is full later ends no process that writes to what is mapped: also where an earlier version left holes. */
START_TEST(the_file_of_records_has_all_of_its_room_on_the_disk)
{
    const char *path = fixture_path("records");
    aq_shm_records_t *records;
    struct stat info;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(aq_shm_records_open(fixture_pool, path, "here", &records), APR_SUCCESS);
        ck_assert_int_eq(stat(path, &info), 0);
        ck_assert_int_ge(info.st_blocks * INT64_C(512), info.st_size);
        ck_assert_int_eq(truncate(path, 4096), 0);
        ck_assert_int_eq(truncate(path, info.st_size), 0);
    }
}
END_TEST

/* ---- records ------------------------------------------------------------------------------------------------------ */

#define DOCUMENT                                                                                                       \
    "{\"tenants\": {\"acme\": {\"plan\": \"basic\", \"max_keys\": 5, \"billing_day\": 15, \"limits\": {\"day\": "      \
    "\"7/day\"}, \"webhook\": {\"url\": \"https://x/\", \"secret\": [\"a\", \"b\"]}, \"comment\": {\"a\": 1}}}, "      \
    "\"keys\": [{\"id\": \"k_1\", \"sha256\": \"HASH1\", \"tenant\": \"acme\", \"scopes\": [\"a\", \"b:c\"], "         \
    "\"disabled\": true, \"expires_at\": \"2027-01-01T00:00:00Z\", \"counts_as\": \"k_0\"}, "                          \
    "{\"id\": \"k_2\", \"sha256\": \"HASH2\", \"tenant\": \"acme\", \"limits\": {\"minute\": \"1/minute\"}}]}"

static json_t *document(void)
{
    const char *path = fixture_path("document.json"), *error;
    json_t *json;

    keys_write(path, DOCUMENT);
    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, AQ_JSON_FILE_MAX_BYTES, &json, &error), APR_SUCCESS);
    return json;
}

START_TEST(what_a_keys_file_says_goes_to_redis_and_comes_back)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_redis_link_t *link = redis_keys_link(&server);
    json_t *nothing = json_object(), *file = document(), *back;
    const char *error;

    ck_assert_int_eq(aq_redis_keys_write(fixture_pool, link, "", nothing, file, &error), APR_SUCCESS);
    ck_assert_str_eq(redis_fixture_say(&server, "HGET aq:{keys}:tenant:acme limit:day"), "7/day");
    ck_assert_str_eq(redis_fixture_say(&server, "HGET aq:{keys}:tenant:acme max_keys"), "5");
    ck_assert_str_eq(
        redis_fixture_say(&server, apr_pstrcat(fixture_pool, "HGET aq:{keys}:key:", keys_hash(1), " scopes", NULL)),
        "a b:c");
    ck_assert_int_eq(aq_redis_keys_read_all(fixture_pool, link, &back, NULL, &error), APR_SUCCESS);
    ck_assert(json_equal(file, back));
    json_decref(back);
    ck_assert_int_eq(aq_redis_keys_write(fixture_pool, link, "", file, nothing, &error), APR_SUCCESS);
    ck_assert_str_eq(redis_fixture_say(&server, "DBSIZE"), "0");
    json_decref(nothing);
    json_decref(file);
}
END_TEST

START_TEST(an_edit_writes_what_differs_and_nothing_else)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_redis_link_t *link = redis_keys_link(&server);
    json_t *before = document(), *after = document(), *nothing = json_object();
    const char *error;

    ck_assert_int_eq(aq_redis_keys_write(fixture_pool, link, "", nothing, before, &error), APR_SUCCESS);
    (void)redis_fixture_say(&server, "HSET aq:{keys}:tenant:acme plan big");
    json_t *tenant = json_object_get(json_object_get(after, "tenants"), "acme");
    ck_assert_int_eq(json_object_set_new(tenant, "max_keys", json_integer(9)), 0);
    ck_assert_int_eq(json_object_del(tenant, "billing_day"), 0);
    ck_assert_int_eq(aq_redis_keys_write(fixture_pool, link, "", before, after, &error), APR_SUCCESS);
    ck_assert_str_eq(redis_fixture_say(&server, "HGET aq:{keys}:tenant:acme plan"), "big");
    ck_assert_str_eq(redis_fixture_say(&server, "HGET aq:{keys}:tenant:acme max_keys"), "9");
    ck_assert_str_eq(redis_fixture_say(&server, "HEXISTS aq:{keys}:tenant:acme billing_day"), "0");
    json_decref(nothing);
    json_decref(before);
    json_decref(after);
}
END_TEST

START_TEST(records_that_are_none_are_told_and_left_alone)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_redis_link_t *link = redis_keys_link(&server);
    apr_array_header_t *refusals = apr_array_make(fixture_pool, 4, sizeof(const char *));
    json_t *held;
    const char *error;

    (void)redis_fixture_say(&server, "SET aq:{keys}:tenant:odd text");
    (void)redis_fixture_say(&server, "HSET aq:{keys}:tenant:acme plan basic");
    ck_assert_int_eq(aq_redis_keys_read_all(fixture_pool, link, &held, refusals, &error), APR_SUCCESS);
    ck_assert_uint_eq(json_object_size(json_object_get(held, "tenants")), 1);
    ck_assert_int_eq(refusals->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(refusals, 0, const char *), "aq:{keys}:tenant:odd: it is a string and no hash");
    json_decref(held);
}
END_TEST

/* More than a page of names, and of records. */
START_TEST(edits_of_many_processes_undo_none_of_each_other)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    const aq_key_spec_t spec = {.tenant = "acme"};
    aq_redis_link_t *link = redis_keys_link(&server);
    pid_t children[4];
    const char *id, *error;
    json_t *held;

    (void)redis_fixture_say(&server, "HSET aq:{keys}:tenant:acme plan basic max_keys 100");
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            char text[AQ_KEY_TEXT_SIZE];
            int failed = 0;
            for (int k = 0; k < 10; k++) {
                failed += aq_keyedit_key_create(fixture_pool, aq_redis_keys_place(fixture_pool, link), &spec, text, &id,
                                                &error) != APR_SUCCESS;
            }
            _exit(failed);
        }
    }
    for (int i = 0; i < 4; i++) {
        int status;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(aq_redis_keys_read_all(fixture_pool, link, &held, NULL, &error), APR_SUCCESS);
    ck_assert_uint_eq(json_array_size(json_object_get(held, "keys")), 40);
    json_decref(held);
    ck_assert_str_eq(redis_fixture_say(&server, "EXISTS aq:{keys}:lock"), "0");
}
END_TEST

/* Its process was stopped, or its machine was away. */
START_TEST(an_edit_that_lost_its_lock_writes_nothing)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    const aq_keyedit_place_t *place = aq_redis_keys_place(fixture_pool, redis_keys_link(&server));
    json_t *held;
    void *data;
    const char *error;

    (void)redis_fixture_say(&server, "HSET aq:{keys}:tenant:acme plan basic");
    ck_assert_int_eq(place->begin(place, fixture_pool, 0, &held, &data, &error), APR_SUCCESS);
    ck_assert_int_eq(
        json_object_set_new(json_object_get(json_object_get(held, "tenants"), "acme"), "plan", json_string("big")), 0);
    (void)redis_fixture_say(&server, "SET aq:{keys}:lock another");
    ck_assert_int_eq(place->end(place, fixture_pool, held, data, 1, &error), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "lost its lock"));
    ck_assert_str_eq(redis_fixture_say(&server, "HGET aq:{keys}:tenant:acme plan"), "basic");
    ck_assert_str_eq(redis_fixture_say(&server, "GET aq:{keys}:lock"), "another");
    json_decref(held);
}
END_TEST

START_TEST(an_import_replaces_what_it_has_and_leaves_the_others)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    aq_redis_link_t *link = redis_keys_link(&server);
    json_t *file = document(), *held;
    unsigned tenants, keys;
    const char *error;

    (void)redis_fixture_say(&server, "HSET aq:{keys}:tenant:other plan big");
    (void)redis_fixture_say(&server, apr_pstrcat(fixture_pool, "HSET aq:{keys}:key:", keys_hash(1),
                                                 " id k_1 tenant other disabled 0", NULL));
    ck_assert_int_eq(
        aq_keyedit_import(fixture_pool, aq_redis_keys_place(fixture_pool, link), file, &tenants, &keys, &error),
        APR_SUCCESS);
    ck_assert_uint_eq(tenants, 1);
    ck_assert_uint_eq(keys, 2);
    ck_assert_int_eq(aq_redis_keys_read_all(fixture_pool, link, &held, NULL, &error), APR_SUCCESS);
    ck_assert_uint_eq(json_array_size(json_object_get(held, "keys")), 2);
    ck_assert_ptr_nonnull(json_object_get(json_object_get(held, "tenants"), "other"));
    ck_assert(json_is_true(json_object_get(json_array_get(json_object_get(held, "keys"), 0), "disabled")));
    (void)json_object_set_new(json_array_get(json_object_get(file, "keys"), 0), "id", json_string("k_2"));
    ck_assert_int_eq(
        aq_keyedit_import(fixture_pool, aq_redis_keys_place(fixture_pool, link), file, &tenants, &keys, &error),
        APR_EGENERAL);
    ck_assert_str_eq(error, "the id \"k_2\" is that of another key");
    json_decref(held);
    json_decref(file);
}
END_TEST

/* ---- configuration ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *words[4];
    const char *said; /* NULL: taken */
    int64_t fresh_ms, stale_ms;
    int has_address;
} CONFIGS[] = {
    {{"redis"}, NULL, 500, 3600000, 0},
    {{"redis", "fresh=100ms", "stale=12h"}, NULL, 100, 43200000, 0},
    {{"redis://h:1/2", "stale=5m", "budget=20ms"}, NULL, 500, 300000, 1},
    {{"redis", "budget=20ms"}, "allowed behind redis: fresh=, stale=", 0, 0, 0},
    {{"redis", "fresh=9ms"}, "fresh=9ms: is no duration from 10ms to 60s", 0, 0, 0},
    {{"redis", "fresh=61s"}, "is no duration", 0, 0, 0},
    {{"redis", "stale=0s"}, "stale=0s: is no duration", 0, 0, 0},
    {{"redis://h", "colour=red"}, "allowed: budget=", 0, 0, 0},
    {{"redis://h", "colour=red"}, "sni=, fresh=, stale=", 0, 0, 0},
    {{"redis://h", "mode=leased"}, "mode=leased is for counters", 0, 0, 0},
    {{"redis:/:sesame@h"}, "...@h: allowed: redis, or the address", 0, 0, 0},
    {{"keys.json"}, "keys.json: allowed: redis, or the address", 0, 0, 0},
    {{NULL}, "nothing: allowed", 0, 0, 0},
};

START_TEST(words_of_the_directive)
{
    aq_redis_keys_config_t *config;
    const char *error;
    int count = 0;

    while (count < 4 && CONFIGS[_i].words[count]) {
        count++;
    }
    const apr_status_t rv = aq_redis_keys_config_parse(fixture_pool, CONFIGS[_i].words, count, &config, &error);
    if (CONFIGS[_i].said) {
        ck_assert_int_eq(rv, APR_EGENERAL);
        ck_assert_ptr_null(config);
        ck_assert_msg(strstr(error, CONFIGS[_i].said) != NULL, "%s", error);
        return;
    }
    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    ck_assert_int_eq(config->fresh_ms, CONFIGS[_i].fresh_ms);
    ck_assert_int_eq(config->stale_ms, CONFIGS[_i].stale_ms);
    ck_assert_int_eq(config->address != NULL, CONFIGS[_i].has_address);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_change_is_seen_when_what_was_read_is_no_longer_fresh);
    tcase_add_test(tests, a_clock_that_is_set_back_has_the_record_read_again);
    tcase_add_test(tests, other_processes_know_what_one_has_read_and_for_how_long);
    tcase_add_test(tests, who_was_known_is_believed_while_redis_is_away_and_not_for_ever);
    tcase_add_test(tests, a_flood_of_unknown_keys_is_bounded_and_displaces_nobody);
    tcase_add_test(tests, threads_ask_while_records_change);
    tcase_add_test(tests, records_are_kept_by_digest_and_torn_ones_are_none);
    tcase_add_test(tests, the_file_of_records_has_all_of_its_room_on_the_disk);
    tcase_add_test(tests, what_a_keys_file_says_goes_to_redis_and_comes_back);
    tcase_add_test(tests, an_edit_writes_what_differs_and_nothing_else);
    tcase_add_test(tests, records_that_are_none_are_told_and_left_alone);
    tcase_add_test(tests, edits_of_many_processes_undo_none_of_each_other);
    tcase_add_test(tests, an_edit_that_lost_its_lock_writes_nothing);
    tcase_add_test(tests, an_import_replaces_what_it_has_and_leaves_the_others);
    tcase_add_loop_test(tests, words_of_the_directive, 0, sizeof(CONFIGS) / sizeof(CONFIGS[0]));
}

int main(void)
{
    return fixture_run("keys in Redis", add);
}
