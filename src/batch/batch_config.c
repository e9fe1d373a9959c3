/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch configuration as JSON. One table of members serves the writer and the reader.
 */
#include "batch/batch_config.h"

#include "base/aq_names.h"
#include "batch/webhook_address.h"

#include <apr_strings.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

typedef enum { TEXT, INT, INT64, BOOL } member_type_t;

typedef struct {
    const char *name;
    member_type_t type;
    size_t offset;
    int64_t least, most; /* of numbers */
} member_t;

static const member_t config_members[] = {
    {"spool_folder", TEXT, offsetof(aq_batch_config_t, spool_folder), 0, 0},
    {"spool_max_bytes", INT64, offsetof(aq_batch_config_t, spool_max_bytes), 0, INT64_MAX},
    {"spool_keep_percent", INT, offsetof(aq_batch_config_t, spool_keep_percent), 0, 100},
    {"threads", INT, offsetof(aq_batch_config_t, threads), 1, 256},
};

/* Where the queue is, by its kind. */
static const member_t sqlite_members[] = {
    {"queue_file", TEXT, offsetof(aq_batch_config_t, queue_file), 0, 0},
};
static const member_t redis_members[] = {
    {"machine", TEXT, offsetof(aq_batch_config_t, machine), 0, 0},
    {"worker_files", TEXT, offsetof(aq_batch_config_t, worker_files), 0, 0},
    {"spool_is_shared", BOOL, offsetof(aq_batch_config_t, spool_is_shared), 0, 1},
};

static const member_t location_members[] = {
    {"target", TEXT, offsetof(aq_batch_location_t, target), 0, 0},
    {"timeout_ms", INT, offsetof(aq_batch_location_t, timeout_ms), 1, INT_MAX},
    {"max_attempts", INT, offsetof(aq_batch_location_t, max_attempts), 1, 1000},
    {"target_is_idempotent", BOOL, offsetof(aq_batch_location_t, target_is_idempotent), 0, 1},
    {"retention_ms", INT64, offsetof(aq_batch_location_t, retention_ms), 1, INT64_MAX},
    {"result_retention_ms", INT64, offsetof(aq_batch_location_t, result_retention_ms), 0, INT64_MAX},
    {"max_wait_ms", INT64, offsetof(aq_batch_location_t, max_wait_ms), 1, INT64_MAX},
    {"concurrency", INT, offsetof(aq_batch_location_t, concurrency), 0, 100000},
    {"concurrency_is_of_all", BOOL, offsetof(aq_batch_location_t, concurrency_is_of_all), 0, 1},
    {"items_parallel", INT, offsetof(aq_batch_location_t, items_parallel), 1, AQ_ITEMS_PARALLEL_MAX},
    {"items_gap_us", INT64, offsetof(aq_batch_location_t, items_gap_us), 0, INT64_C(86400) * 1000000},
    {"items_timeout_ms", INT, offsetof(aq_batch_location_t, items_timeout_ms), 1, INT_MAX},
    {"wants_webhook", BOOL, offsetof(aq_batch_location_t, wants_webhook), 0, 1},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static json_t *member_json(const member_t *member, const void *of)
{
    const char *at = (const char *)of + member->offset;

    switch (member->type) {
    case TEXT:
        return json_string(*(const char *const *)(const void *)at);
    case INT64:
        return json_integer(*(const int64_t *)(const void *)at);
    case INT:
        return json_integer(*(const int *)(const void *)at);
    case BOOL:
        return json_boolean(*(const int *)(const void *)at);
    }
    return NULL;
}

/* 1 where they do not go into `json`: memory ran out, or a text is no UTF-8. */
static int members_add(json_t *json, const member_t *members, size_t count, const void *of)
{
    int failed = 0;

    for (size_t i = 0; i < count; i++) {
        failed |= json_object_set_new(json, members[i].name, member_json(&members[i], of)) != 0;
    }
    return failed;
}

/* A new object with these members; NULL as above. */
static json_t *members_json(const member_t *members, size_t count, const void *of)
{
    json_t *json = json_object();

    if (members_add(json, members, count, of)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Sorted by name, so that the same configuration writes the same file. */
static json_t *locations_json(apr_hash_t *locations, apr_pool_t *ptemp)
{
    json_t *json = json_object();
    const apr_array_header_t *names = aq_names_sorted(ptemp, locations);

    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        const aq_batch_location_t *location = apr_hash_get(locations, name, APR_HASH_KEY_STRING);
        json_t *members = members_json(location_members, COUNT(location_members), location);
        if (json_object_set_new(json, name, members) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static json_t *texts_json(const apr_array_header_t *texts)
{
    json_t *json = json_array();

    for (int i = 0; texts != NULL && i < texts->nelts; i++) {
        if (json_array_append_new(json, json_string(APR_ARRAY_IDX(texts, i, const char *))) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static int queue_json(json_t *json, const aq_batch_config_t *config)
{
    if (config->queue_words == NULL) {
        return members_add(json, sqlite_members, COUNT(sqlite_members), config);
    }
    return members_add(json, redis_members, COUNT(redis_members), config) ||
           json_object_set_new(json, "queue_redis", texts_json(config->queue_words)) != 0;
}

/* What servers without webhooks do not say. */
static int webhooks_json(json_t *json, const aq_batch_config_t *config)
{
    int failed = config->key_file != NULL && json_object_set_new(json, "key_file", json_string(config->key_file)) != 0;

    return json_object_set_new(json, "webhook_allow", texts_json(config->webhook_allow)) != 0 || failed;
}

json_t *aq_batch_config_json(const aq_batch_config_t *config, apr_pool_t *ptemp)
{
    json_t *json = members_json(config_members, COUNT(config_members), config);

    if (queue_json(json, config) || webhooks_json(json, config) != 0 ||
        json_object_set_new(json, "locations", locations_json(config->locations, ptemp)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Reads one member; 0 where it is missing, of another type or out of bounds. */
static int member_parse(apr_pool_t *p, const member_t *member, const json_t *json, void *of)
{
    json_t *value = json_object_get(json, member->name);
    char *at = (char *)of + member->offset;

    switch (member->type) {
    case TEXT:
        if (!json_is_string(value) || json_string_length(value) == 0) {
            return 0;
        }
        *(const char **)(void *)at = apr_pstrdup(p, json_string_value(value));
        return 1;
    case BOOL:
        *(int *)(void *)at = json_is_true(value);
        return json_is_boolean(value);
    case INT:
    case INT64:
        break;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < member->least || number > member->most) {
        return 0;
    }
    if (member->type == INT) {
        *(int *)(void *)at = (int)number;
    } else {
        *(int64_t *)(void *)at = number;
    }
    return 1;
}

static apr_status_t members_parse(apr_pool_t *p, const member_t *members, size_t count, const json_t *json, void *of,
                                  const char *where, const char **error)
{
    for (size_t i = 0; i < count; i++) {
        if (!member_parse(p, &members[i], json, of)) {
            *error =
                apr_psprintf(p, "%s: \"%s\" is missing, of another type, or out of bounds", where, members[i].name);
            return APR_EGENERAL;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t locations_parse(apr_pool_t *p, json_t *json, apr_hash_t *locations, const char **error)
{
    const char *name;
    json_t *members;

    if (!json_is_object(json)) {
        *error = "\"locations\" is missing, or no object";
        return APR_EGENERAL;
    }
    json_object_foreach(json, name, members)
    {
        aq_batch_location_t *location = apr_pcalloc(p, sizeof(*location));
        location->name = apr_pstrdup(p, name);
        apr_status_t rv = members_parse(p, location_members, COUNT(location_members), members, location,
                                        apr_psprintf(p, "location \"%s\"", name), error);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        apr_hash_set(locations, location->name, APR_HASH_KEY_STRING, location);
    }
    return APR_SUCCESS;
}

static apr_status_t webhooks_parse(apr_pool_t *p, const json_t *json, aq_batch_config_t *config, const char **error)
{
    const json_t *allow = json_object_get(json, "webhook_allow"), *item;
    aq_webhook_network_t network;
    size_t i;

    config->key_file = apr_pstrdup(p, aq_json_string(json, "key_file"));
    config->webhook_allow = apr_array_make(p, 4, sizeof(const char *));
    json_array_foreach(allow, i, item)
    {
        if (!json_is_string(item) || aq_webhook_network_parse(json_string_value(item), &network) != APR_SUCCESS) {
            *error = apr_psprintf(p, "worker: \"webhook_allow\" holds what is no network at %d", (int)i);
            return APR_EGENERAL;
        }
        APR_ARRAY_PUSH(config->webhook_allow, const char *) = apr_pstrdup(p, json_string_value(item));
    }
    return APR_SUCCESS;
}

static apr_status_t queue_parse(apr_pool_t *p, const json_t *json, aq_batch_config_t *config, const char **error)
{
    const json_t *words = json_object_get(json, "queue_redis"), *word;
    size_t i;

    if (words == NULL) {
        apr_status_t rv = members_parse(p, sqlite_members, COUNT(sqlite_members), json, config, "worker", error);
        config->worker_files = config->queue_file;
        return rv;
    }
    config->queue_words = apr_array_make(p, 8, sizeof(const char *));
    json_array_foreach(words, i, word)
    {
        if (json_is_string(word)) {
            APR_ARRAY_PUSH(config->queue_words, const char *) = apr_pstrdup(p, json_string_value(word));
        }
    }
    if (config->queue_words->nelts == 0 || (size_t)config->queue_words->nelts != json_array_size(words)) {
        *error = "worker: \"queue_redis\" is no list of words";
        return APR_EGENERAL;
    }
    return members_parse(p, redis_members, COUNT(redis_members), json, config, "worker", error);
}

const char *aq_batch_config_queue(apr_pool_t *p, const aq_batch_config_t *config)
{
    return config->queue_words != NULL ? apr_array_pstrcat(p, config->queue_words, ' ') : config->queue_file;
}

apr_status_t aq_batch_config_parse(apr_pool_t *p, const json_t *json, aq_batch_config_t **config, const char **error)
{
    aq_batch_config_t *parsed = apr_pcalloc(p, sizeof(*parsed));
    apr_status_t rv;

    *config = NULL;
    *error = NULL;
    parsed->locations = apr_hash_make(p);
    if ((rv = members_parse(p, config_members, COUNT(config_members), json, parsed, "worker", error)) != APR_SUCCESS ||
        (rv = queue_parse(p, json, parsed, error)) != APR_SUCCESS ||
        (rv = webhooks_parse(p, json, parsed, error)) != APR_SUCCESS ||
        (rv = locations_parse(p, json_object_get(json, "locations"), parsed->locations, error)) != APR_SUCCESS) {
        return rv;
    }
    *config = parsed;
    return APR_SUCCESS;
}
