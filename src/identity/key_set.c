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

aq_identified_t aq_key_set_find(const aq_key_set_t *set, const char *text, size_t size, aq_time_ms_t now_ms,
                                const aq_principal_t **principal)
{
    *principal = NULL;
    if (size == 0) {
        return AQ_KEY_MISSING;
    }
    if (size > AQ_KEY_PRESENTED_MAX) {
        return AQ_KEY_UNKNOWN;
    }
    aq_hash128_t hash = aq_hash_keyed(set->cache_secret, text, size);
    aq_key_t *key = (aq_key_t *)aq_cache_find(set->cache, hash);
    if (!key) {
        key = find_by_digest(set, text, size);
        if (!key) {
            return AQ_KEY_UNKNOWN;
        }
        aq_cache_remember(set->cache, &key->entry, hash);
    }
    if (key->principal.is_disabled) {
        return AQ_KEY_DISABLED;
    }
    if (key->principal.expires_at_ms != 0 && key->principal.expires_at_ms <= now_ms) {
        return AQ_KEY_EXPIRED;
    }
    *principal = &key->principal;
    return AQ_IDENTIFIED;
}

const aq_keys_report_t *aq_key_set_report(const aq_key_set_t *set)
{
    return &set->report;
}

apr_array_header_t *aq_key_set_list(const aq_key_set_t *set, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, (int)set->count, sizeof(const aq_principal_t *));

    for (unsigned i = 0; i < set->count; i++) {
        APR_ARRAY_PUSH(list, const aq_principal_t *) = &set->keys[i].principal;
    }
    return list;
}
