/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes: SHA-256 by libcrypto, and SipHash-2-4 with 128 bits of output.
 *
 * SipHash is our own code since no library at hand offers it at its price: apr_siphash24 gives 64 bits only, and to run
 * it twice costs 650 instructions for a key of 46 bytes where this costs 400; libcrypto sets up a context on the heap
 * for each hash. The unit test compares ours with libcrypto's.
 */
#include "base/aq_hash.h"

#include <apr_escape.h>
#include <endian.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

apr_status_t aq_hash_sha256(const void *data, size_t size, unsigned char digest[AQ_SHA256_BYTES])
{
    return EVP_Digest(data, size, digest, NULL, EVP_sha256(), NULL) == 1 ? APR_SUCCESS : APR_EGENERAL;
}

apr_status_t aq_hash_hmac_sha256(const void *secret, size_t secret_size, const void *data, size_t size,
                                 unsigned char mac[AQ_SHA256_BYTES])
{
    const unsigned char *made = HMAC(EVP_sha256(), secret, (int)secret_size, data, size, mac, NULL);

    return made != NULL ? APR_SUCCESS : APR_EGENERAL;
}

apr_status_t aq_hash_sha1_hex(const void *data, size_t size, char out[AQ_SHA1_HEX_SIZE])
{
    unsigned char digest[AQ_SHA1_HEX_SIZE / 2];

    out[0] = '\0';
    if (EVP_Digest(data, size, digest, NULL, EVP_sha1(), NULL) != 1) {
        return APR_EGENERAL;
    }
    aq_hash_hex_write(out, digest, sizeof(digest));
    return APR_SUCCESS;
}

/* The context is libcrypto's own: the type is never completed. */
aq_sha256_t *aq_sha256_create(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        context = NULL;
    }
    return (aq_sha256_t *)context;
}

apr_status_t aq_sha256_add(aq_sha256_t *sha, const void *data, size_t size)
{
    return EVP_DigestUpdate((EVP_MD_CTX *)sha, data, size) == 1 ? APR_SUCCESS : APR_EGENERAL;
}

apr_status_t aq_sha256_finish(aq_sha256_t *sha, unsigned char digest[AQ_SHA256_BYTES])
{
    return EVP_DigestFinal_ex((EVP_MD_CTX *)sha, digest, NULL) == 1 ? APR_SUCCESS : APR_EGENERAL;
}

void aq_sha256_destroy(aq_sha256_t *sha)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)sha);
}

void aq_hash_hex_write(char *out, const unsigned char *bytes, size_t size)
{
    out[0] = '\0';
    if (size > 0) {
        (void)apr_escape_hex(out, bytes, size, 0, NULL); /* fails only for bytes == NULL */
    }
}

apr_status_t aq_hash_hex_parse(const char *text, unsigned char *bytes, size_t size)
{
    size_t digits = strlen(text);

    if (digits != 2 * size || strspn(text, "0123456789abcdefABCDEF") != digits) {
        return APR_EGENERAL;
    }
    return apr_unescape_hex(bytes, text, (apr_ssize_t)digits, 0, NULL) == APR_SUCCESS ? APR_SUCCESS : APR_EGENERAL;
}

int aq_hash_equal(const void *a, const void *b, size_t size)
{
    return CRYPTO_memcmp(a, b, size) == 0;
}

apr_status_t aq_hash_random(void *out, size_t size)
{
    unsigned char *at = out;

    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
    return APR_SUCCESS;
}

double aq_hash_random_fraction(void)
{
    uint32_t random;

    return aq_hash_random(&random, sizeof(random)) == APR_SUCCESS ? (double)random / 4294967296.0 : 0.5;
}

typedef struct {
    uint64_t v0, v1, v2, v3;
} sip_t;

static inline uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline uint64_t load64(const unsigned char *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return le64toh(word);
}

static inline void sip_round(sip_t *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 = rotate_left(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

static inline void sip_word_add(sip_t *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

static inline uint64_t sip_output(sip_t *s)
{
    sip_round(s);
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/*
 * All words of the data, the last with the length in its top byte; then the first half of the output. Inlined always:
 * a state that stays in registers saves a fifth.
 */
__attribute__((always_inline)) static inline uint64_t sip_first(sip_t *s, const aq_hash_secret_t *secret,
                                                                const unsigned char *data, size_t size)
{
    const uint64_t k0 = load64(secret->bytes), k1 = load64(secret->bytes + 8);
    size_t whole = size & ~(size_t)7;
    uint64_t last = (uint64_t)size << 56;

    *s = (sip_t){
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee, /* 0xee, here and below: the form of 128 bits */
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };
    for (size_t i = 0; i < whole; i += 8) {
        sip_word_add(s, load64(data + i));
    }
    if (size > whole && size > 8) {
        last |= load64(data + size - 8) >> (8 - (size - whole)) * 8;
    } else {
        for (size_t i = whole; i < size; i++) {
            last |= (uint64_t)data[i] << (i - whole) * 8;
        }
    }
    sip_word_add(s, last);
    s->v2 ^= 0xee;
    return sip_output(s);
}

uint64_t aq_hash_keyed64(const aq_hash_secret_t *secret, const void *data, size_t size)
{
    sip_t s;

    return sip_first(&s, secret, data, size);
}

aq_hash128_t aq_hash_keyed(const aq_hash_secret_t *secret, const void *data, size_t size)
{
    sip_t s;
    uint64_t high = sip_first(&s, secret, data, size);

    s.v1 ^= 0xdd;
    return (aq_hash128_t){.high = high, .low = sip_output(&s)};
}
