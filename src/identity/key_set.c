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

/* What was presented tells nothing to whoever shares a connection: no early exit. `size` is 8 at least. */
static int is_same_text(const char *a, const char *b, size_t size)
{
    uint64_t words[2], difference = 0;

    for (size_t i = 0;; i = i + 2 * sizeof(*words) < size ? i + sizeof(*words) : size - sizeof(*words)) {
        memcpy(&words[0], a + i, sizeof(*words));
        memcpy(&words[1], b + i, sizeof(*words));
        difference |= words[0] ^ words[1];
        if (i + sizeof(*words) == size) {
            return difference == 0;
        }
    }
}

aq_hash128_t aq_key_memo_hash(aq_key_memo_t *memo, const aq_hash_secret_t *secret, const char *text, size_t size)
{
    if (size < sizeof(uint64_t) || size > sizeof(memo->text)) {
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

aq_identified_t aq_key_identify(const aq_key_t *key, aq_time_ms_t now_ms, const aq_principal_t **principal)
{
    if (key->principal.is_disabled) {
        return AQ_KEY_DISABLED;
    }
    if (key->principal.expires_at_ms != 0 && key->principal.expires_at_ms <= now_ms) {
        return AQ_KEY_EXPIRED;
    }
    *principal = &key->principal;
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
    return key ? aq_key_identify(key, now_ms, principal) : AQ_KEY_UNKNOWN;
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
