/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key set: finding a key by its text.
 */
#include "identity/key_set.h"

#include <string.h>

uint32_t *aq_key_set_slot(const aq_key_set_t *set, const unsigned char digest[AQ_SHA256_BYTES])
{
    uint64_t slot;

    memcpy(&slot, digest, sizeof(slot));
    for (slot &= set->digest_mask; set->by_digest[slot]; slot = (slot + 1) & set->digest_mask) {
        if (aq_hash_equal(set->keys[set->by_digest[slot] - 1].digest, digest, AQ_SHA256_BYTES)) {
            break;
        }
    }
    return &set->by_digest[slot];
}

void aq_key_set_destroy(aq_key_set_t *set)
{
    apr_pool_destroy(set->p);
}

/* The slow way, once for each key that is presented: by SHA-256. NULL: unknown. */
static aq_key_t *find_by_digest(const aq_key_set_t *set, const char *text, size_t size)
{
    unsigned char digest[AQ_SHA256_BYTES];

    if (aq_hash_sha256(text, size, digest) != APR_SUCCESS) {
        return NULL;
    }
    uint32_t index = *aq_key_set_slot(set, digest);
    return index ? &set->keys[index - 1] : NULL;
}

/* Sixteen bytes that the machine compares at once, wherever it can. */
typedef uint8_t bytes_t __attribute__((vector_size(16)));

static inline bytes_t differing_bytes(const char *a, const char *b)
{
    bytes_t bytes[2];

    memcpy(&bytes[0], a, sizeof(*bytes));
    memcpy(&bytes[1], b, sizeof(*bytes));
    return bytes[0] ^ bytes[1];
}

/* What was presented tells nothing to whoever shares a connection: no early exit. `size` is 16 at least. */
static inline int is_same_text(const char *a, const char *b, size_t size)
{
    /* The last sixteen first; the loop then need not care for a rest. */
    bytes_t differing = differing_bytes(a + size - sizeof(bytes_t), b + size - sizeof(bytes_t));
    uint64_t halves[2];

    for (size_t i = 0; i + sizeof(bytes_t) < size; i += sizeof(bytes_t)) {
        differing |= differing_bytes(a + i, b + i);
    }
    memcpy(halves, &differing, sizeof(halves));
    return (halves[0] | halves[1]) == 0;
}

aq_hash128_t aq_key_memo_hash(aq_key_memo_t *memo, const aq_hash_secret_t *secret, const char *text, size_t size)
{
    if (size < sizeof(bytes_t) || size > sizeof(memo->text)) {
        return aq_hash_keyed(secret, text, size);
    }
    if (memo->size != size || memo->secret != secret || !is_same_text(memo->text, text, size)) {
        memo->secret = secret;
        memo->size = size;
        memcpy(memo->text, text, size);
        memo->hash = aq_hash_keyed(secret, text, size);
    }
    return memo->hash;
}

/* The key of that text and hash, or NULL. */
static aq_key_t *key_find(const aq_key_set_t *set, const char *text, size_t size, aq_hash128_t hash)
{
    aq_key_t *key = (aq_key_t *)aq_cache_find(set->cache, hash);

    if (!key) {
        key = find_by_digest(set, text, size);
        if (key) {
            aq_cache_remember(set->cache, &key->entry, hash);
        }
    }
    return key;
}

aq_identified_t aq_key_identify(const aq_principal_t *of, aq_time_ms_t now_ms, const aq_principal_t **principal)
{
    if (of->is_disabled) {
        return AQ_KEY_DISABLED;
    }
    if (of->expires_at_ms != 0 && of->expires_at_ms <= now_ms) {
        return AQ_KEY_EXPIRED;
    }
    *principal = of;
    return AQ_IDENTIFIED;
}

aq_identified_t aq_key_set_find_again(const aq_key_set_t *set, aq_key_memo_t *memo, const char *text, size_t size,
                                      aq_time_ms_t now_ms, const aq_principal_t **principal)
{
    aq_key_t *key;

    *principal = NULL;
    if (size == 0) {
        return AQ_KEY_MISSING;
    }
    if (size > AQ_KEY_PRESENTED_MAX) {
        return AQ_KEY_UNKNOWN;
    }
    key = key_find(set, text, size, aq_key_memo_hash(memo, set->cache_secret, text, size));
    return key ? aq_key_identify(&key->principal, now_ms, principal) : AQ_KEY_UNKNOWN;
}

aq_identified_t aq_key_set_recall(const aq_key_set_t *set, const aq_key_recall_t *recall, int is_bearer,
                                  const char *value, aq_time_ms_t now_ms, const aq_principal_t **principal)
{
    if (recall->serial != set->serial || recall->is_bearer != is_bearer || recall->size != strlen(value) ||
        !is_same_text(recall->value, value, recall->size)) {
        return AQ_KEY_MISSING;
    }
    return aq_key_identify(recall->principal, now_ms, principal);
}

void aq_key_set_recall_note(const aq_key_set_t *set, aq_key_recall_t *recall, int is_bearer, const char *value,
                            const aq_principal_t *principal)
{
    const size_t size = strlen(value);

    if (size < sizeof(bytes_t) || size > sizeof(recall->value)) {
        return;
    }
    recall->serial = set->serial;
    recall->principal = principal;
    recall->is_bearer = is_bearer;
    recall->size = size;
    memcpy(recall->value, value, size);
}

aq_identified_t aq_key_set_find(const aq_key_set_t *set, const char *text, size_t size, aq_time_ms_t now_ms,
                                const aq_principal_t **principal)
{
    aq_key_memo_t memo = {.secret = NULL};

    return aq_key_set_find_again(set, &memo, text, size, now_ms, principal);
}

const aq_principal_t *aq_key_set_tenant(const aq_key_set_t *set, const char *tenant)
{
    return apr_hash_get(set->tenants, tenant, APR_HASH_KEY_STRING);
}

const aq_keys_report_t *aq_key_set_report(const aq_key_set_t *set)
{
    return &set->report;
}

unsigned aq_key_set_count(const aq_key_set_t *set)
{
    return set->count;
}

const aq_principal_t *aq_key_set_at(const aq_key_set_t *set, unsigned index)
{
    return &set->keys[index].principal;
}

apr_array_header_t *aq_key_set_list(const aq_key_set_t *set, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, (int)set->count, sizeof(const aq_principal_t *));

    for (unsigned i = 0; i < set->count; i++) {
        APR_ARRAY_PUSH(list, const aq_principal_t *) = &set->keys[i].principal;
    }
    return list;
}
