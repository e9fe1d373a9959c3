/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key set: one loaded keys file. Private to src/identity; keyfile.h is what others include.
 *
 * Everything in a set is made by aq_key_set_create (key_build.c) and then only read, but for three things, all of them
 * behind pointers: the count of holders, the cache, and the cache's entries in the keys.
 */
#ifndef AQ_KEY_SET_H
#define AQ_KEY_SET_H

#include "base/aq_json.h"
#include "identity/cache.h"
#include "identity/keyfile.h"

#define AQ_KEYS_REFUSALS_MAX 100

/* A key, as found by its text (through `entry`) or by the text's digest. */
typedef struct {
    aq_cache_entry_t entry; /* first, so that an entry's address is its key's */
    aq_principal_t principal;
    unsigned char digest[AQ_SHA256_BYTES];
} aq_key_t;

struct aq_key_set_t {
    apr_pool_t *p;   /* of the set alone: destroying it destroys the set */
    uint64_t serial; /* no other set of the process ever has it, unlike its address; never 0 */
    aq_key_t *keys;
    unsigned count;
    uint32_t *by_digest;  /* 1 + index into keys, 0: empty; see aq_key_set_slot */
    uint64_t digest_mask; /* slots of by_digest - 1; they are a power of two */
    apr_hash_t *tenants;  /* name -> const aq_principal_t *: of the tenant alone, without a key */
    const aq_hash_secret_t *cache_secret;
    aq_cache_t *cache;
    aq_keys_report_t report;
    /* for keyfile.c, which tells what they are; a set of key_lookup.c has no `current`, and all its holders in `holders` */
    atomic_int *holders;
    atomic_uint_fast64_t *current;
    uint64_t place;
};

/*
 * Makes a set of the parsed file. `plans` and the secrets must outlive it. The set has a pool of its own, which
 * descends from none, so that any thread may destroy it; `p` is for scratch and `*error` (a sentence without the file's
 * name). APR_EGENERAL where the file as a whole is no keys file.
 */
apr_status_t aq_key_set_create(apr_pool_t *p, json_t *file, apr_hash_t *plans, const aq_hash_secret_t *secret,
                               const aq_hash_secret_t *cache_secret, aq_key_set_t **set, const char **error);

/*
 * The slot of by_digest that holds the key of that digest, or the empty one where it would be: linear probing from the
 * digest's first 8 bytes.
 */
uint32_t *aq_key_set_slot(const aq_key_set_t *set, const unsigned char digest[AQ_SHA256_BYTES]);

void aq_key_set_destroy(aq_key_set_t *set);

/* What becomes of who presents the key of `of`: AQ_IDENTIFIED with `*principal`, or why not, with `*principal` as it was. */
aq_identified_t aq_key_identify(const aq_principal_t *of, aq_time_ms_t now_ms, const aq_principal_t **principal);

/* The hash of `text` by `secret`, made anew only where `memo` does not have it. */
aq_hash128_t aq_key_memo_hash(aq_key_memo_t *memo, const aq_hash_secret_t *secret, const char *text, size_t size);

#endif
