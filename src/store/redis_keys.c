/* SPDX-License-Identifier: Apache-2.0 */
/* Reading keys and tenants from Redis, one by one. See redis_keys.h. */
#include "store/redis_keys.h"

#include "store/redis_key_call.h"
#include "store/redis_key_records.h"

#include <apr_strings.h>
#include <string.h>

typedef struct {
    aq_key_origin_t base;
    aq_redis_link_t *link;
    aq_shm_records_t *records;
    aq_redis_key_call_t script;
} redis_keys_t;

/* What was asked for, while it is read. */
typedef struct {
    apr_pool_t *p;
    const char *sha256; /* in hex; NULL: a tenant */
    const char *tenant;
    json_t *document;
    const char *refusal;
} reading_t;

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static const char *place_of(const reading_t *reading, const char *tenant)
{
    return reading->sha256 && !tenant ? apr_pstrcat(reading->p, AQ_REDIS_KEYS_KEY, reading->sha256, NULL)
                                      : apr_pstrcat(reading->p, AQ_REDIS_KEYS_TENANT, tenant, NULL);
}

/* Adds the tenant to the document. A tenant that is none is left out: its key is refused for want of it. */
static void tenant_add(reading_t *reading, const redisReply *reply, const char *name)
{
    const char *refusal;
    json_t *entry = aq_redis_key_entry_read(reply, reading->p, &refusal);

    if (entry) {
        (void)json_object_set_new(json_object_get(reading->document, "tenants"), name, entry);
    } else if (refusal) {
        reading->refusal = apr_pstrcat(reading->p, place_of(reading, name), ": ", refusal, NULL);
    }
}

/* The key's own digest is the one that was asked for, whatever the record says. */
static void key_add(reading_t *reading, const redisReply *reply)
{
    const char *refusal;
    json_t *entry = aq_redis_key_entry_read(reply->element[0], reading->p, &refusal);

    if (!entry) {
        reading->refusal =
            refusal ? apr_pstrcat(reading->p, place_of(reading, NULL), ": ", refusal, NULL) : reading->refusal;
        return;
    }
    (void)json_object_set_new(entry, "sha256", json_string(reading->sha256));
    reading->document = json_pack("{s:{}, s:[o]}", "tenants", "keys", entry);
    const char *tenant = aq_json_string(entry, "tenant");
    if (reading->document && tenant && reply->elements > 1) {
        tenant_add(reading, reply->element[1], tenant);
    }
}

static aq_redis_failure_t record_read(void *data, const redisReply *reply)
{
    reading_t *reading = data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1) {
        return AQ_REDIS_PROTOCOL;
    }
    if (reading->sha256) {
        key_add(reading, reply);
    } else {
        reading->document = json_pack("{s:{}}", "tenants");
        tenant_add(reading, reply->element[0], reading->tenant);
        if (json_object_size(json_object_get(reading->document, "tenants")) == 0) {
            json_decref(reading->document);
            reading->document = NULL;
        }
    }
    if (reading->refusal) {
        json_decref(reading->document);
        reading->document = NULL;
    }
    return AQ_REDIS_DONE;
}

/* ---- what is kept ----------------------------------------------------------------------------------------------- */

static apr_status_t kept_read(const redis_keys_t *keys, const unsigned char *digest, aq_shm_record_t *kept)
{
    return keys->records && aq_shm_records_get(keys->records, digest, kept) ? APR_SUCCESS : APR_NOTFOUND;
}

/* What was kept, as an answer. */
static apr_status_t kept_use(const aq_shm_record_t *kept, aq_key_record_t *record)
{
    if (kept->size == 0) {
        return APR_NOTFOUND;
    }
    record->document = json_loadb(kept->text, kept->size, JSON_REJECT_DUPLICATES, NULL);
    record->known_at_ms = kept->known_at_ms;
    return record->document ? APR_SUCCESS : APR_EGENERAL;
}

static void keep(const redis_keys_t *keys, const reading_t *reading, const unsigned char *digest, aq_time_ms_t now_ms)
{
    const char *text = reading->document ? aq_json_text(reading->p, reading->document) : NULL;

    if (keys->records) {
        aq_shm_records_put(keys->records, digest, text, text ? strlen(text) : 0, now_ms);
    }
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static apr_status_t ask(redis_keys_t *keys, reading_t *reading, const unsigned char *digest, aq_time_ms_t now_ms,
                        aq_key_record_t *record)
{
    const char *const names[] = {place_of(reading, reading->tenant)};
    const char *const what[] = {reading->sha256 ? "key" : "tenant"};
    const aq_redis_failure_t failure =
        aq_redis_key_call(keys->link, &keys->script, names, 1, what, 1, reading->p, record_read, reading);

    if (failure != AQ_REDIS_DONE) {
        return aq_redis_status_of(failure);
    }
    keep(keys, reading, digest, now_ms);
    record->document = reading->document;
    record->refusal = reading->refusal;
    record->known_at_ms = now_ms;
    return reading->document || reading->refusal ? APR_SUCCESS : APR_NOTFOUND;
}

static apr_status_t origin_read(redis_keys_t *keys, reading_t *reading, const unsigned char *digest,
                                aq_time_ms_t now_ms, int may_ask, aq_key_record_t *record)
{
    aq_shm_record_t kept;
    const int is_kept = kept_read(keys, digest, &kept) == APR_SUCCESS;
    apr_status_t rv = APR_EBUSY;

    if (is_kept && aq_key_origin_is_fresh(&keys->base, kept.known_at_ms, now_ms)) {
        return kept_use(&kept, record);
    }
    if (may_ask || is_kept) {
        rv = ask(keys, reading, digest, now_ms, record);
    }
    /* What went may have come back meanwhile: that there was nothing is not believed for long. */
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND || !is_kept || kept.size == 0 ||
        !aq_key_origin_is_believed(&keys->base, kept.known_at_ms, now_ms)) {
        return rv;
    }
    return kept_use(&kept, record);
}

static apr_status_t key_read(aq_key_origin_t *origin, apr_pool_t *p, const unsigned char digest[AQ_SHA256_BYTES],
                             aq_time_ms_t now_ms, int may_ask, aq_key_record_t *record)
{
    char hex[AQ_SHA256_HEX_SIZE];
    reading_t reading = {.p = p, .sha256 = hex};

    aq_hash_hex_write(hex, digest, AQ_SHA256_BYTES);
    return origin_read((redis_keys_t *)origin, &reading, digest, now_ms, may_ask, record);
}

/* Tenants are kept beside keys, by a digest that no key's text has: it holds a space. */
static apr_status_t tenant_read(aq_key_origin_t *origin, apr_pool_t *p, const char *tenant, aq_time_ms_t now_ms,
                                int may_ask, aq_key_record_t *record)
{
    const char *named = apr_pstrcat(p, "tenant ", tenant, NULL);
    reading_t reading = {.p = p, .tenant = tenant};
    unsigned char digest[AQ_SHA256_BYTES];
    const apr_status_t rv = aq_hash_sha256(named, strlen(named), digest);

    return rv == APR_SUCCESS ? origin_read((redis_keys_t *)origin, &reading, digest, now_ms, may_ask, record) : rv;
}

static const aq_key_origin_ops_t redis_keys_ops = {.key_read = key_read, .tenant_read = tenant_read};

apr_status_t aq_redis_keys_create(apr_pool_t *p, aq_redis_link_t *link, const aq_redis_keys_options_t *options,
                                  aq_key_origin_t **origin)
{
    redis_keys_t *keys = apr_pcalloc(p, sizeof(*keys));

    *origin = NULL;
    keys->base = (aq_key_origin_t){.ops = &redis_keys_ops,
                                   .name = aq_redis_link_address(link)->name,
                                   .fresh_ms = options->fresh_ms,
                                   .stale_ms = options->stale_ms};
    keys->link = link;
    keys->records = options->records;
    const apr_status_t rv = aq_redis_key_call_prepare(&keys->script, aq_redis_key_script_read());
    *origin = rv == APR_SUCCESS ? &keys->base : NULL;
    return rv;
}
