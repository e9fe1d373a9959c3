/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Home signature: good for one result of one machine, for a minute.
 */
#include "batch/home_signature.h"

#include "unit/fixture.h"

#include <apr_strings.h>
#include <string.h>

#define NOW_MS INT64_C(1700000000999)

static const aq_hash_secret_t SECRET = {{1, 2, 3}};

static int is_good(const char *text, const aq_hash_secret_t *secret, const char *machine, const char *id,
                   int64_t now_ms)
{
    return aq_home_signature_is_good(fixture_pool, text, secret, machine, id, now_ms);
}

/* printf 'apiquota-home v1\n1700000000\nm_1\nbatch_1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:010203000… */
START_TEST(it_is_what_openssl_makes)
{
    ck_assert_str_eq(aq_home_signature_make(fixture_pool, &SECRET, "m_1", "batch_1", NOW_MS),
                     "v1,1700000000,9901c70bdf35c441ef0c732d1298151fcbb96a8194eb4e391c4c1333c1609190");
}
END_TEST

START_TEST(it_is_good_for_what_was_signed_alone)
{
    static const aq_hash_secret_t other = {{1, 2, 4}};
    const char *text = aq_home_signature_make(fixture_pool, &SECRET, "m_1", "batch_1", NOW_MS);

    ck_assert(is_good(text, &SECRET, "m_1", "batch_1", NOW_MS));
    ck_assert(!is_good(text, &other, "m_1", "batch_1", NOW_MS));
    ck_assert(!is_good(text, &SECRET, "m_2", "batch_1", NOW_MS));
    ck_assert(!is_good(text, &SECRET, "m_1", "batch_2", NOW_MS));
    ck_assert(!is_good(apr_pstrcat(fixture_pool, text, "0", NULL), &SECRET, "m_1", "batch_1", NOW_MS));
    ck_assert(!is_good(apr_pstrndup(fixture_pool, text, strlen(text) - 1), &SECRET, "m_1", "batch_1", NOW_MS));
}
END_TEST

START_TEST(it_is_good_for_a_minute_either_way)
{
    const char *text = aq_home_signature_make(fixture_pool, &SECRET, "m_1", "batch_1", NOW_MS);
    const int64_t signed_ms = NOW_MS / 1000 * 1000;

    ck_assert(is_good(text, &SECRET, "m_1", "batch_1", signed_ms + 60000));
    ck_assert(!is_good(text, &SECRET, "m_1", "batch_1", signed_ms + 60001));
    ck_assert(is_good(text, &SECRET, "m_1", "batch_1", signed_ms - 60000));
    ck_assert(!is_good(text, &SECRET, "m_1", "batch_1", signed_ms - 60001));
}
END_TEST

static const char *const NONE[] = {NULL,
                                   "",
                                   "v1",
                                   "v1,",
                                   "v1,,",
                                   "v1,1700000000",
                                   "v1,1700000000,",
                                   "v2,1700000000,00",
                                   "v1,-1,00",
                                   "v1,99999999999999999999999999,00",
                                   "v1,x,00",
                                   "1700000000,00"};

START_TEST(what_is_no_signature_is_told)
{
    ck_assert(!is_good(NONE[_i], &SECRET, "m_1", "batch_1", NOW_MS));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, it_is_what_openssl_makes);
    tcase_add_test(tests, it_is_good_for_what_was_signed_alone);
    tcase_add_test(tests, it_is_good_for_a_minute_either_way);
    tcase_add_loop_test(tests, what_is_no_signature_is_told, 0, sizeof NONE / sizeof NONE[0]);
}

int main(void)
{
    return fixture_run("home_signature", add_tests);
}
