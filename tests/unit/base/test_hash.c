/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes: against published vectors, and SipHash against libcrypto's own.
 */
#include "base/aq_hash.h"

#include <check.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text, *digest;
} SHA256[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

START_TEST(sha256_is_that_of_fips_180)
{
    unsigned char digest[AQ_SHA256_BYTES];
    char hex[AQ_SHA256_HEX_SIZE];

    ck_assert_int_eq(aq_hash_sha256(SHA256[_i].text, strlen(SHA256[_i].text), digest), APR_SUCCESS);
    aq_hash_hex_write(hex, digest, sizeof(digest));
    ck_assert_str_eq(hex, SHA256[_i].digest);
}
END_TEST

/* RFC 4231, test cases 1, 2 and 6: a short secret, a shorter one, and one that is longer than a block. */
static const struct {
    const char *secret, *data, *mac;
} HMACS[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "Hi There",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"4a656665", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "Test Using Larger Than Block-Size Key - Hash Key First",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
};

START_TEST(hmac_sha256_is_that_of_rfc_4231)
{
    unsigned char secret[131], mac[AQ_SHA256_BYTES];
    char hex[AQ_SHA256_HEX_SIZE];
    size_t size = strlen(HMACS[_i].secret) / 2;

    ck_assert_int_eq(aq_hash_hex_parse(HMACS[_i].secret, secret, size), APR_SUCCESS);
    ck_assert_int_eq(aq_hash_hmac_sha256(secret, size, HMACS[_i].data, strlen(HMACS[_i].data), mac), APR_SUCCESS);
    aq_hash_hex_write(hex, mac, sizeof(mac));
    ck_assert_str_eq(hex, HMACS[_i].mac);
}
END_TEST

START_TEST(sha256_of_pieces_is_that_of_the_whole)
{
    unsigned char whole[AQ_SHA256_BYTES], pieces[AQ_SHA256_BYTES], data[1000];
    aq_sha256_t *sha = aq_sha256_create();

    ck_assert_ptr_nonnull(sha);
    ck_assert_int_eq(aq_hash_random(data, sizeof(data)), APR_SUCCESS);
    for (size_t at = 0, size = 0; at < sizeof(data); at += size, size++) {
        ck_assert_int_eq(aq_sha256_add(sha, data + at, size < sizeof(data) - at ? size : sizeof(data) - at),
                         APR_SUCCESS);
    }
    ck_assert_int_eq(aq_sha256_finish(sha, pieces), APR_SUCCESS);
    aq_sha256_destroy(sha);
    ck_assert_int_eq(aq_hash_sha256(data, sizeof(data), whole), APR_SUCCESS);
    ck_assert_mem_eq(whole, pieces, sizeof(whole));
}
END_TEST

static void libcrypto_siphash(const unsigned char *key, const void *data, size_t size, unsigned char out[16])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    size_t out_size = 0;

    ck_assert_int_eq(EVP_MAC_init(context, key, 16, NULL), 1);
    ck_assert_int_eq(EVP_MAC_update(context, data, size), 1);
    ck_assert_int_eq(EVP_MAC_final(context, out, &out_size, 16), 1);
    ck_assert_uint_eq(out_size, 16);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
}

/* Of the reference code (vectors.h, vectors_sip128): key 00 … 0f, data 00 01 02 … */
START_TEST(keyed_hash_is_that_of_the_reference_code)
{
    static const unsigned char empty[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                            0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
    aq_hash_secret_t secret;
    unsigned char theirs[16];

    for (unsigned i = 0; i < sizeof(secret.bytes); i++) {
        secret.bytes[i] = (unsigned char)i;
    }
    aq_hash128_t hash = aq_hash_keyed(&secret, "", 0);
    ck_assert_mem_eq(&hash.high, empty, 8);
    ck_assert_mem_eq(&hash.low, empty + 8, 8);
    libcrypto_siphash(secret.bytes, "", 0, theirs);
    ck_assert_mem_eq(theirs, empty, sizeof(empty));
}
END_TEST

START_TEST(keyed_hash_agrees_with_libcrypto_at_every_size)
{
    aq_hash_secret_t secret;
    unsigned char data[200], theirs[16];

    ck_assert_int_eq(aq_hash_random(&secret, sizeof(secret)), APR_SUCCESS);
    ck_assert_int_eq(aq_hash_random(data, sizeof(data)), APR_SUCCESS);
    for (size_t size = 0; size <= sizeof(data); size++) {
        aq_hash128_t hash = aq_hash_keyed(&secret, data + sizeof(data) - size, size);
        libcrypto_siphash(secret.bytes, data + sizeof(data) - size, size, theirs);
        ck_assert_mem_eq(&hash.high, theirs, 8);
        ck_assert_mem_eq(&hash.low, theirs + 8, 8);
        ck_assert_uint_eq(aq_hash_keyed64(&secret, data + sizeof(data) - size, size), hash.high);
    }
}
END_TEST

START_TEST(another_secret_gives_another_hash)
{
    aq_hash_secret_t one = {{1}}, other = {{2}};
    aq_hash128_t a = aq_hash_keyed(&one, "acme", 4), b = aq_hash_keyed(&other, "acme", 4);

    ck_assert_uint_ne(a.high, b.high);
    ck_assert_uint_ne(a.low, b.low);
}
END_TEST

static const struct {
    const char *text;
    apr_status_t status;
} HEX[] = {
    {"00ff10Ab", APR_SUCCESS},  {"00FF10aB", APR_SUCCESS},  {"00ff10a", APR_EGENERAL},     {"00ff10abc", APR_EGENERAL},
    {"00ff10ag", APR_EGENERAL}, {"00ff10a:", APR_EGENERAL}, {" 0ff10ab", APR_EGENERAL},    {"0x00ff10", APR_EGENERAL},
    {"", APR_EGENERAL},         {"00:ff:10", APR_EGENERAL}, {"00ff10a\xff", APR_EGENERAL},
};

START_TEST(hex_of_the_right_length_alone_is_read)
{
    static const unsigned char expected[4] = {0x00, 0xff, 0x10, 0xab};
    unsigned char bytes[4];

    ck_assert_msg(aq_hash_hex_parse(HEX[_i].text, bytes, sizeof(bytes)) == HEX[_i].status, "%s", HEX[_i].text);
    if (HEX[_i].status == APR_SUCCESS) {
        ck_assert_mem_eq(bytes, expected, sizeof(bytes));
    }
}
END_TEST

START_TEST(hex_of_nothing_is_an_empty_text)
{
    char out[1] = {'x'};

    aq_hash_hex_write(out, (const unsigned char *)"", 0);
    ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(equal_looks_at_every_byte)
{
    unsigned char a[32] = {0}, b[32] = {0};

    ck_assert_int_eq(aq_hash_equal(a, b, sizeof(a)), 1);
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = 1;
        ck_assert_int_eq(aq_hash_equal(a, b, sizeof(a)), 0);
        b[i] = 0;
    }
}
END_TEST

START_TEST(random_bytes_differ)
{
    unsigned char a[32] = {0}, b[32] = {0};

    ck_assert_int_eq(aq_hash_random(a, sizeof(a)), APR_SUCCESS);
    ck_assert_int_eq(aq_hash_random(b, sizeof(b)), APR_SUCCESS);
    ck_assert_mem_ne(a, b, sizeof(a));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hash");
    TCase *tests = tcase_create("hash");

    tcase_add_loop_test(tests, hmac_sha256_is_that_of_rfc_4231, 0, sizeof(HMACS) / sizeof(HMACS[0]));
    tcase_add_loop_test(tests, sha256_is_that_of_fips_180, 0, sizeof(SHA256) / sizeof(SHA256[0]));
    tcase_add_test(tests, sha256_of_pieces_is_that_of_the_whole);
    tcase_add_test(tests, keyed_hash_is_that_of_the_reference_code);
    tcase_add_test(tests, keyed_hash_agrees_with_libcrypto_at_every_size);
    tcase_add_test(tests, another_secret_gives_another_hash);
    tcase_add_loop_test(tests, hex_of_the_right_length_alone_is_read, 0, sizeof(HEX) / sizeof(HEX[0]));
    tcase_add_test(tests, hex_of_nothing_is_an_empty_text);
    tcase_add_test(tests, equal_looks_at_every_byte);
    tcase_add_test(tests, random_bytes_differ);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
