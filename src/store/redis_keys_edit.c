/* SPDX-License-Identifier: Apache-2.0 */
/* Reading all keys of a Redis, and editing them. See redis_keys_edit.h. */
#include "store/redis_keys_edit.h"

#include "base/aq_names.h"
#include "store/redis_key_call.h"
#include "store/redis_key_records.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_time.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_TRIES 100
#define LOCK_PAUSE_MS 50
#define LOCK_TOKEN_BYTES 16

static const char lock_name[] = AQ_REDIS_KEYS_LOCK;
static const char script_unlock[] =
    "if redis.call('GET', KEYS[2]) == ARGV[1] then return redis.call('DEL', KEYS[2]) end\n"
    "return 0\n";

/* One call of a script, by its text's name. */
static apr_status_t call(apr_pool_t *p, aq_redis_link_t *link, const char *text, const apr_array_header_t *names,
                         const apr_array_header_t *arguments, aq_redis_read_fn *read, void *data, const char **error)
{
    aq_redis_key_call_t script;
    aq_redis_failure_t failure;
    const apr_status_t rv = aq_redis_key_call_prepare(&script, text);

    if (rv != APR_SUCCESS) {
        *error = "no hash of the script";
        return rv;
    }
    failure = aq_redis_key_call(link, &script, (const char *const *)names->elts, names->nelts,
                                (const char *const *)arguments->elts, arguments->nelts, p, read, data);
    if (failure == AQ_REDIS_DONE) {
        return APR_SUCCESS;
    }
    *error =
        apr_psprintf(p, "%s does not answer: %s", aq_redis_link_address(link)->name, aq_redis_failure_name(failure));
    return aq_redis_status_of(failure);
}

static apr_array_header_t *texts(apr_pool_t *p, const char *first)
{
    apr_array_header_t *array = apr_array_make(p, 64, sizeof(const char *));

    APR_ARRAY_PUSH(array, const char *) = first;
    return array;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

typedef struct {
    apr_pool_t *p;
    const char *cursor;
    apr_hash_t *names; /* a walk may tell one twice */
} walk_t;

static aq_redis_failure_t walk_read(void *data, const redisReply *reply)
{
    walk_t *walk = data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        return AQ_REDIS_PROTOCOL;
    }
    walk->cursor = apr_pstrdup(walk->p, reply->element[0]->str);
    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        const redisReply *name = reply->element[1]->element[i];
        if (name->type != REDIS_REPLY_STRING) {
            return AQ_REDIS_PROTOCOL;
        }
        if (strncmp(name->str, AQ_REDIS_KEYS_KEY, strlen(AQ_REDIS_KEYS_KEY)) == 0 ||
            strncmp(name->str, AQ_REDIS_KEYS_TENANT, strlen(AQ_REDIS_KEYS_TENANT)) == 0) {
            apr_hash_set(walk->names, apr_pstrdup(walk->p, name->str), APR_HASH_KEY_STRING, walk);
        }
    }
    return AQ_REDIS_DONE;
}

/* A part of `names`, at most a page from `first` on. */
static apr_array_header_t *page_of(apr_pool_t *p, const apr_array_header_t *names, int first)
{
    const int left = names->nelts - first;
    apr_array_header_t *page = apr_array_make(p, AQ_REDIS_KEYS_PAGE, sizeof(const char *));

    for (int i = 0; i < left && i < AQ_REDIS_KEYS_PAGE; i++) {
        APR_ARRAY_PUSH(page, const char *) = APR_ARRAY_IDX(names, first + i, const char *);
    }
    return page;
}

typedef struct {
    apr_pool_t *p;
    const apr_array_header_t *names;
    json_t *tenants, *keys;
    apr_array_header_t *refusals;
} records_t;

static void record_add(const records_t *records, const char *name, const redisReply *reply)
{
    const int is_key = strncmp(name, AQ_REDIS_KEYS_KEY, strlen(AQ_REDIS_KEYS_KEY)) == 0;
    const char *refusal;
    json_t *entry = aq_redis_key_entry_read(reply, records->p, &refusal);

    if (!entry) {
        if (refusal && records->refusals) {
            APR_ARRAY_PUSH(records->refusals, const char *) = apr_pstrcat(records->p, name, ": ", refusal, NULL);
        }
        return;
    }
    if (is_key) {
        (void)json_object_set_new(entry, "sha256", json_string(name + strlen(AQ_REDIS_KEYS_KEY)));
        (void)json_array_append_new(records->keys, entry);
    } else {
        (void)json_object_set_new(records->tenants, name + strlen(AQ_REDIS_KEYS_TENANT), entry);
    }
}

static aq_redis_failure_t records_read(void *data, const redisReply *reply)
{
    const records_t *records = data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != (size_t)records->names->nelts) {
        return AQ_REDIS_PROTOCOL;
    }
    for (int i = 0; i < records->names->nelts; i++) {
        record_add(records, APR_ARRAY_IDX(records->names, i, const char *), reply->element[i]);
    }
    return AQ_REDIS_DONE;
}

static int by_id(const void *a, const void *b)
{
    const char *one = aq_json_string(*(json_t *const *)a, "id"), *other = aq_json_string(*(json_t *const *)b, "id");

    return strcmp(one ? one : "", other ? other : "");
}

/* The keys in the order of their ids: that of their hashes tells nobody anything. */
static json_t *keys_in_order(apr_pool_t *p, json_t *keys)
{
    apr_array_header_t *entries = apr_array_make(p, (int)json_array_size(keys) + 1, sizeof(json_t *));
    json_t *ordered = json_array(), *entry;
    size_t i;

    json_array_foreach(keys, i, entry)
    {
        APR_ARRAY_PUSH(entries, json_t *) = entry;
    }
    qsort(entries->elts, (size_t)entries->nelts, sizeof(json_t *), by_id);
    for (int n = 0; n < entries->nelts; n++) {
        (void)json_array_append(ordered, APR_ARRAY_IDX(entries, n, json_t *));
    }
    json_decref(keys);
    return ordered;
}

apr_status_t aq_redis_keys_read_all(apr_pool_t *p, aq_redis_link_t *link, json_t **document,
                                    apr_array_header_t *refusals, const char **error)
{
    walk_t walk = {.p = p, .cursor = "0", .names = apr_hash_make(p)};
    records_t records = {.p = p, .tenants = json_object(), .keys = json_array(), .refusals = refusals};
    const apr_array_header_t *names;
    apr_status_t rv;

    *document = NULL;
    *error = NULL;
    do {
        rv = call(p, link, aq_redis_key_script_walk(), apr_array_make(p, 0, sizeof(const char *)),
                  texts(p, walk.cursor), walk_read, &walk, error);
    } while (rv == APR_SUCCESS && strcmp(walk.cursor, "0") != 0);
    names = aq_names_sorted(p, walk.names);
    for (int first = 0; rv == APR_SUCCESS && first < names->nelts; first += AQ_REDIS_KEYS_PAGE) {
        records.names = page_of(p, names, first);
        rv = call(p, link, aq_redis_key_script_read(), records.names, texts(p, "all"), records_read, &records, error);
    }
    records.keys = keys_in_order(p, records.keys);
    *document = json_pack("{s:o, s:o}", "tenants", records.tenants, "keys", records.keys);
    if (rv != APR_SUCCESS) {
        json_decref(*document);
        *document = NULL;
    }
    return rv;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* Name of a record -> its fields, of a whole document. */
static apr_hash_t *records_of(apr_pool_t *p, const json_t *document)
{
    json_t *tenants = json_object_get(document, "tenants"), *entry;
    apr_hash_t *records = apr_hash_make(p);
    const char *name;
    size_t i;

    json_object_foreach(tenants, name, entry)
    {
        apr_hash_set(records, apr_pstrcat(p, AQ_REDIS_KEYS_TENANT, name, NULL), APR_HASH_KEY_STRING,
                     aq_redis_key_entry_fields(p, entry));
    }
    json_array_foreach(json_object_get(document, "keys"), i, entry)
    {
        const char *sha256 = aq_json_string(entry, "sha256");
        if (sha256) {
            char *record = apr_pstrcat(p, AQ_REDIS_KEYS_KEY, sha256, NULL);
            for (char *at = record + strlen(AQ_REDIS_KEYS_KEY); *at; at++) {
                *at = (char)(*at >= 'A' && *at <= 'F' ? *at | 0x20 : *at); /* names tell case, digits do not */
            }
            apr_hash_set(records, record, APR_HASH_KEY_STRING, aq_redis_key_entry_fields(p, entry));
        }
    }
    return records;
}

static const char *field_find(const apr_array_header_t *fields, const char *name)
{
    for (int i = 0; fields && i < fields->nelts; i += 2) {
        if (strcmp(APR_ARRAY_IDX(fields, i, const char *), name) == 0) {
            return APR_ARRAY_IDX(fields, i + 1, const char *);
        }
    }
    return NULL;
}

/* Appends to `arguments` what makes the fields `after` of `before`; NULL: there is, or is to be, no record. 0: nothing. */
static int change_add(apr_pool_t *p, const apr_array_header_t *before, const apr_array_header_t *after,
                      apr_array_header_t *arguments)
{
    const int count_at = arguments->nelts;
    int going = 0, set = 0;

    if (!after) {
        APR_ARRAY_PUSH(arguments, const char *) = "-1";
        return 1;
    }
    APR_ARRAY_PUSH(arguments, const char *) = "0";
    for (int i = 0; before && i < before->nelts; i += 2) {
        const char *name = APR_ARRAY_IDX(before, i, const char *);
        if (!field_find(after, name)) {
            APR_ARRAY_PUSH(arguments, const char *) = name;
            going++;
        }
    }
    APR_ARRAY_IDX(arguments, count_at, const char *) = apr_itoa(p, going);
    const int set_at = arguments->nelts;
    APR_ARRAY_PUSH(arguments, const char *) = "0";
    for (int i = 0; i < after->nelts; i += 2) {
        const char *name = APR_ARRAY_IDX(after, i, const char *), *value = APR_ARRAY_IDX(after, i + 1, const char *);
        const char *old = field_find(before, name);
        if (!old || strcmp(old, value) != 0) {
            APR_ARRAY_PUSH(arguments, const char *) = name;
            APR_ARRAY_PUSH(arguments, const char *) = value;
            set++;
        }
    }
    APR_ARRAY_IDX(arguments, set_at, const char *) = apr_itoa(p, set);
    if (going + set == 0) {
        arguments->nelts = count_at;
    }
    return going + set > 0;
}

/* The script's objection, NULL: none. */
typedef struct {
    apr_pool_t *p;
    const char *said;
} objection_t;

static aq_redis_failure_t objection_read(void *data, const redisReply *reply)
{
    objection_t *objection = data;

    objection->said = reply->type == REDIS_REPLY_STRING ? apr_pstrdup(objection->p, reply->str) : NULL;
    return AQ_REDIS_DONE;
}

static apr_status_t page_write(apr_pool_t *p, aq_redis_link_t *link, const apr_array_header_t *names,
                               const apr_array_header_t *arguments, const char **error)
{
    objection_t objection = {.p = p};
    apr_status_t rv = names->nelts > 0 ? call(p, link, aq_redis_key_script_change(), names, arguments, objection_read,
                                              &objection, error)
                                       : APR_SUCCESS;

    if (rv == APR_SUCCESS && objection.said) {
        *error = objection.said;
        rv = APR_EGENERAL;
    }
    return rv;
}

apr_status_t aq_redis_keys_write(apr_pool_t *p, aq_redis_link_t *link, const char *token, const json_t *before,
                                 const json_t *after, const char **error)
{
    apr_hash_t *old = records_of(p, before), *fresh = records_of(p, after);
    const apr_array_header_t *all = aq_names_sorted(p, apr_hash_overlay(p, old, fresh));
    apr_array_header_t *names = apr_array_make(p, AQ_REDIS_KEYS_PAGE, sizeof(const char *));
    apr_array_header_t *arguments = texts(p, token);
    apr_status_t rv = APR_SUCCESS;

    *error = NULL;
    for (int i = 0; rv == APR_SUCCESS && i < all->nelts; i++) {
        const char *name = APR_ARRAY_IDX(all, i, const char *);
        if (change_add(p, apr_hash_get(old, name, APR_HASH_KEY_STRING), apr_hash_get(fresh, name, APR_HASH_KEY_STRING),
                       arguments)) {
            APR_ARRAY_PUSH(names, const char *) = name;
        }
        if (names->nelts == AQ_REDIS_KEYS_PAGE) {
            rv = page_write(p, link, names, arguments, error);
            names->nelts = 0;
            arguments->nelts = 1;
        }
    }
    return rv == APR_SUCCESS ? page_write(p, link, names, arguments, error) : rv;
}

/* ---- edits ------------------------------------------------------------------------------------------------------ */

typedef struct {
    aq_keyedit_place_t base;
    aq_redis_link_t *link;
} redis_place_t;

typedef struct {
    char token[2 * LOCK_TOKEN_BYTES + 1]; /* "": not held */
    json_t *before;
} held_t;

static aq_redis_failure_t is_set_read(void *data, const redisReply *reply)
{
    *(int *)data = reply->type == REDIS_REPLY_STATUS;
    return AQ_REDIS_DONE;
}

static apr_status_t lock_take(const redis_place_t *place, apr_pool_t *p, held_t *held, const char **error)
{
    unsigned char bytes[LOCK_TOKEN_BYTES];
    char token[sizeof(held->token)];
    const char *words[] = {"SET", lock_name, token, "NX", "PX", AQ_REDIS_KEYS_LOCK_LIFE_MS};
    const size_t sizes[] = {3, sizeof(lock_name) - 1, sizeof(token) - 1, 2, 2, strlen(AQ_REDIS_KEYS_LOCK_LIFE_MS)};
    const aq_redis_command_t command = {.count = 6, .words = words, .sizes = sizes};
    int is_set = 0;
    apr_status_t rv = aq_hash_random(bytes, sizeof(bytes));

    aq_hash_hex_write(token, bytes, sizeof(bytes));
    for (int i = 0; rv == APR_SUCCESS && !is_set; i++) {
        const aq_redis_failure_t failure = aq_redis_ask(place->link, &command, NULL, is_set_read, &is_set);
        if (failure != AQ_REDIS_DONE) {
            *error = apr_psprintf(p, "%s does not answer: %s", place->base.name, aq_redis_failure_name(failure));
            rv = aq_redis_status_of(failure);
        } else if (!is_set && i == LOCK_TRIES) {
            *error = apr_pstrcat(p, place->base.name, ": another edit holds the keys", NULL);
            rv = APR_EBUSY;
        } else if (!is_set) {
            apr_sleep(apr_time_from_msec(LOCK_PAUSE_MS));
        }
    }
    if (rv == APR_SUCCESS) {
        memcpy(held->token, token, sizeof(token));
    }
    return rv;
}

static apr_status_t redis_begin(const aq_keyedit_place_t *base, apr_pool_t *p, int may_create, json_t **document,
                                void **held_data, const char **error)
{
    const redis_place_t *place = (const redis_place_t *)base;
    held_t *held = apr_pcalloc(p, sizeof(*held));

    (void)may_create; /* a Redis is always there, be it empty */
    *document = NULL;
    *held_data = held;
    apr_status_t rv = lock_take(place, p, held, error);
    if (rv == APR_SUCCESS) {
        rv = aq_redis_keys_read_all(p, place->link, document, NULL, error);
    }
    if (rv == APR_SUCCESS) {
        held->before = json_deep_copy(*document);
    }
    return rv;
}

static apr_status_t redis_end(const aq_keyedit_place_t *base, apr_pool_t *p, json_t *document, void *held_data,
                              int is_kept, const char **error)
{
    const redis_place_t *place = (const redis_place_t *)base;
    held_t *held = held_data;
    const char *ignored;
    const apr_status_t rv =
        is_kept ? aq_redis_keys_write(p, place->link, held->token, held->before, document, error) : APR_SUCCESS;

    json_decref(held->before);
    if (held->token[0]) {
        /* A lock that cannot be given back goes by itself. */
        (void)call(p, place->link, script_unlock, texts(p, AQ_REDIS_KEYS_LOCK), texts(p, held->token), NULL, NULL,
                   &ignored);
    }
    return rv;
}

const aq_keyedit_place_t *aq_redis_keys_place(apr_pool_t *p, aq_redis_link_t *link)
{
    redis_place_t *place = apr_palloc(p, sizeof(*place));

    *place = (redis_place_t){
        .base = {.name = aq_redis_link_address(link)->name, .begin = redis_begin, .end = redis_end}, .link = link};
    return &place->base;
}
