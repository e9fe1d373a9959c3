/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes: SHA-256 for secrets and bodies, a keyed 128-bit hash for counters and caches.
 *
 * The keyed hash is SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012, and their reference code).
 * Nobody who lacks the secret can make two subjects collide or choose where in a table a subject falls.
 */
#ifndef AQ_HASH_H
#define AQ_HASH_H

#include <apr_errno.h>
#include <stddef.h>
#include <stdint.h>

#define AQ_SHA256_BYTES 32
#define AQ_SHA256_HEX_SIZE 65 /* 64 digits and the ending zero */

typedef struct {
    uint64_t high, low;
} aq_hash128_t;

/* The secret of the keyed hash: random bytes. SipHash takes the first 16, the others are room for another hash. */
typedef struct {
    unsigned char bytes[32];
} aq_hash_secret_t;

/* SHA-256 of `size` bytes (FIPS 180-4). APR_EGENERAL if libcrypto refuses. Thread-safe. */
apr_status_t aq_hash_sha256(const void *data, size_t size, unsigned char digest[AQ_SHA256_BYTES]);

/* HMAC-SHA256 of `size` bytes (RFC 2104). APR_EGENERAL if libcrypto refuses. Thread-safe. */
apr_status_t aq_hash_hmac_sha256(const void *secret, size_t secret_size, const void *data, size_t size,
                                 unsigned char mac[AQ_SHA256_BYTES]);

/*
 * SHA-1 (FIPS 180-4) of `size` bytes in hex: the name under which Redis keeps a script, and for nothing else, since it is
 * no safe hash. APR_EGENERAL if libcrypto refuses. Thread-safe.
 */
#define AQ_SHA1_HEX_SIZE 41
apr_status_t aq_hash_sha1_hex(const void *data, size_t size, char out[AQ_SHA1_HEX_SIZE]);

/* A SHA-256 over data that comes in pieces. Create, add, finish; destroy always. NULL from create: no memory. */
typedef struct aq_sha256_t aq_sha256_t;
aq_sha256_t *aq_sha256_create(void);
apr_status_t aq_sha256_add(aq_sha256_t *sha, const void *data, size_t size);
apr_status_t aq_sha256_finish(aq_sha256_t *sha, unsigned char digest[AQ_SHA256_BYTES]);
void aq_sha256_destroy(aq_sha256_t *sha);

/* Lower-case hex of `size` bytes; `out` has room for 2 * size + 1. */
void aq_hash_hex_write(char *out, const unsigned char *bytes, size_t size);

/* Parses exactly 2 * size hex digits of either case. APR_EGENERAL when `text` is anything else. */
apr_status_t aq_hash_hex_parse(const char *text, unsigned char *bytes, size_t size);

/* Compares without leaving early, so that time tells nothing of where two secrets differ. 1 when equal. */
int aq_hash_equal(const void *a, const void *b, size_t size);

/* `size` random bytes fit for secrets (getrandom). */
apr_status_t aq_hash_random(void *out, size_t size);

/* A random fraction in [0, 1), to spread waits by; 0.5 where no random bytes are to be had. Thread-safe. */
double aq_hash_random_fraction(void);

/* The keyed hash of `size` bytes. Thread-safe, never fails. */
aq_hash128_t aq_hash_keyed(const aq_hash_secret_t *secret, const void *data, size_t size);

/* The first half of aq_hash_keyed alone: for tables that compare the whole secret afterwards. Thread-safe. */
uint64_t aq_hash_keyed64(const aq_hash_secret_t *secret, const void *data, size_t size);

/*
 * Joins two keyed hashes of independent things (a limit and a subject) into the key of their counter. Both must come
 * from aq_hash_keyed with one secret and with distinct prefixes, which makes the exclusive-or as good as a new hash.
 */
static inline aq_hash128_t aq_hash_join(aq_hash128_t a, aq_hash128_t b)
{
    return (aq_hash128_t){.high = a.high ^ b.high, .low = a.low ^ b.low};
}

#endif
