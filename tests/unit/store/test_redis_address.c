/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of Redis: one server, sentinels, a cluster; what is refused, and that no password is ever said. */
#include "store/redis_address.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static apr_status_t parse(const char *word, const char *option, aq_redis_address_t **address, const char **error)
{
    const char *const words[] = {word, option};

    return aq_redis_address_parse(fixture_pool, words, option != NULL ? 2 : 1, address, error);
}

START_TEST(address_is_read_with_all_that_it_says)
{
    aq_redis_address_t *address;
    const char *error;

    ck_assert_int_eq(parse("redis://us%65r:p%40ss:word@[::1]:6380/12", "budget=80ms", &address, &error), APR_SUCCESS);
    ck_assert_str_eq(address->user, "user");
    ck_assert_str_eq(address->password, "p@ss:word");
    ck_assert_uint_eq(address->place_count, 1);
    ck_assert_str_eq(address->places[0].host, "::1");
    ck_assert_int_eq(address->places[0].port, 6380);
    ck_assert_int_eq(address->db, 12);
    ck_assert_int_eq(address->budget_ms, 80);
    ck_assert_str_eq(address->name, "redis://user@[::1]:6380/12");
    ck_assert_int_eq(parse("redis://localhost", NULL, &address, &error), APR_SUCCESS);
    ck_assert_int_eq(address->places[0].port, AQ_REDIS_PORT);
    ck_assert_ptr_null(address->password);
    ck_assert_int_eq(parse("unix:/run/redis.sock", "db=3", &address, &error), APR_SUCCESS);
    ck_assert_str_eq(address->socket, "/run/redis.sock");
    ck_assert_int_eq(address->db, 3);
}
END_TEST

static const char *const NO_ADDRESSES[][2] = {
    {"redis://:secret@", NULL},
    {"redis://:secret@h:0", NULL},
    {"redis://:secret@h:1x", NULL},
    {"redis://:secret@h/x", NULL},
    {"redis://:secret@h/65536", NULL},
    {"redis://:secret@[::1", NULL},
    {"redis://:se%cret@h", NULL},
    {"redis://u@h", NULL},
    {"redis://:secret@h", "budget=11s"},
    {"redis://:secret@h", "budget=0"},
    {"redis://:secret@h", "mode=x"},
    {"redis://:secret@h", "ca=/x"},
    {"redis://:secret@h", "sni="},
    {"unix:x", NULL},
    {"unix:", NULL},
    {"redis://:secret@h", "password-env=X"},
    {"http://h", NULL},
    {"redis://:secret@h,i", NULL},
    {"redis+sentinel://:secret@h", NULL},
    {"redis+sentinel://:secret@h/", NULL},
    {"redis+sentinel://:secret@h//0", NULL},
    {"redis+sentinel://:secret@h,/m", NULL},
    {"redis+sentinel://:secret@h/m/x", NULL},
    {"redis+sentinel://:secret@1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/m", NULL},
    {"redis+sentinel://:secret@h/m", "sentinel-user=u"},
    {"redis+cluster://:secret@h/1", NULL},
    {"redis+cluster://:secret@h", "db=1"},
    {"redis+cluster://:secret@h", "sentinel-password-env=X"},
    {"redis+cluster://", NULL},
    {"redis://h", "password=secret"},
    {"redis://h", "secret"},
    {"redis://h", "passwd=not@secret"},
    {"redis://h", "0secret=="},
    {"redis://h", "a/secret="},
    {"redis://h", "secret:=@"},
};

START_TEST(address_that_cannot_be_is_refused_without_its_password)
{
    const char *const *words = NO_ADDRESSES[_i], *error = NULL;
    aq_redis_address_t *address;

    ck_assert_msg(parse(words[0], words[1], &address, &error) != APR_SUCCESS, "%s", words[0]);
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_null(strstr(error, "secret"));
}
END_TEST

START_TEST(option_that_is_none_is_named_without_its_value)
{
    const char *const words[] = {"redis://h", "password=secret"};
    aq_redis_address_t *address;
    const char *error;

    ck_assert_int_ne(aq_redis_address_parse_beside(fixture_pool, words, 2, ", size=", &address, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "\"password=...\" is not allowed here; allowed: budget=, "));
    ck_assert_ptr_nonnull(strstr(error, "password-file="));
    ck_assert_ptr_nonnull(strstr(error, "sni=, size="));
    ck_assert_str_eq(aq_redis_word_masked(fixture_pool, "redis:/:secret@h:1/0"), "...@h:1/0");
    ck_assert_str_eq(aq_redis_word_masked(fixture_pool, "redis:/:se=cret@h"), "...@h");
    ck_assert_str_eq(aq_redis_word_masked(fixture_pool, "sqlight"), "sqlight");
}
END_TEST

START_TEST(sentinels_and_their_master_are_read)
{
    aq_redis_address_t *address;
    const char *error;

    ck_assert_int_eq(parse("redis+sentinel://:pw@a,b:7,[::1]:8/main/3", "sentinel-password-env=PATH", &address, &error),
                     APR_SUCCESS);
    ck_assert_int_eq(address->topology, AQ_REDIS_SENTINEL);
    ck_assert_uint_eq(address->place_count, 3);
    ck_assert_str_eq(address->places[0].host, "a");
    ck_assert_int_eq(address->places[0].port, AQ_REDIS_SENTINEL_PORT);
    ck_assert_int_eq(address->places[1].port, 7);
    ck_assert_str_eq(address->places[2].host, "::1");
    ck_assert_str_eq(address->master, "main");
    ck_assert_int_eq(address->db, 3);
    ck_assert_str_eq(address->password, "pw");
    ck_assert_str_eq(address->name, "redis+sentinel://a:26379,b:7,[::1]:8/main/3");
    ck_assert_int_eq(aq_redis_address_complete(fixture_pool, address, &error), APR_SUCCESS);
    ck_assert_str_eq(address->sentinel_password, getenv("PATH"));
    ck_assert_str_eq(address->password, "pw");
}
END_TEST

START_TEST(nodes_of_a_cluster_are_read)
{
    aq_redis_address_t *address;
    const char *error;

    ck_assert_int_eq(parse("redis+cluster://a,b:7", "budget=1s", &address, &error), APR_SUCCESS);
    ck_assert_int_eq(address->topology, AQ_REDIS_CLUSTER);
    ck_assert_uint_eq(address->place_count, 2);
    ck_assert_int_eq(address->places[0].port, AQ_REDIS_PORT);
    ck_assert_str_eq(address->places[1].host, "b");
    ck_assert_str_eq(address->name, "redis+cluster://a:6379,b:7");
    ck_assert_ptr_null(address->master);
}
END_TEST

#ifndef AQ_HAVE_REDIS_TLS
START_TEST(tls_that_this_build_lacks_is_refused_with_what_to_do)
{
    static const char *const words[] = {"rediss://h", "rediss+sentinel://h/m", "rediss+cluster://h"};

    for (unsigned i = 0; i < 3; i++) {
        aq_redis_address_t *address;
        const char *error = "";

        ck_assert_int_ne(parse(words[i], NULL, &address, &error), APR_SUCCESS);
        ck_assert_ptr_nonnull(strstr(error, "needs TLS in hiredis, which this build lacks"));
    }
}
END_TEST
#endif

START_TEST(words_say_the_address_again_and_no_password)
{
    static const char *const said[][2] = {
        {"redis://[::1]:7/4", "password-file=/etc/p"},
        {"redis://:hush@h", "budget=1s"},
        {"unix:/run/redis.sock", "db=3"},
        {"redis+sentinel://a:1,[::1]:2/main/3", "sentinel-password-file=/etc/s"},
        {"redis+cluster://:hush@a:1,b:2", ""},
    };

    for (unsigned i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        aq_redis_address_t *address;
        aq_redis_address_t *again;
        const char *error;
        const apr_array_header_t *words;

        ck_assert_int_eq(parse(said[i][0], *said[i][1] != '\0' ? said[i][1] : NULL, &address, &error), APR_SUCCESS);
        words = aq_redis_address_words(fixture_pool, address);
        ck_assert_ptr_null(strstr(apr_array_pstrcat(fixture_pool, words, ' '), "hush"));
        ck_assert_int_eq(
            aq_redis_address_parse(fixture_pool, (const char *const *)words->elts, words->nelts, &again, &error),
            APR_SUCCESS);
        ck_assert_str_eq(again->name, address->name);
        ck_assert_pstr_eq(again->password_file, address->password_file);
        ck_assert_pstr_eq(again->sentinel_password_file, address->sentinel_password_file);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, address_is_read_with_all_that_it_says);
    tcase_add_loop_test(tests, address_that_cannot_be_is_refused_without_its_password, 0,
                        sizeof(NO_ADDRESSES) / sizeof(NO_ADDRESSES[0]));
    tcase_add_test(tests, option_that_is_none_is_named_without_its_value);
    tcase_add_test(tests, sentinels_and_their_master_are_read);
    tcase_add_test(tests, nodes_of_a_cluster_are_read);
#ifndef AQ_HAVE_REDIS_TLS
    tcase_add_test(tests, tls_that_this_build_lacks_is_refused_with_what_to_do);
#endif
    tcase_add_test(tests, words_say_the_address_again_and_no_password);
}

int main(void)
{
    return fixture_run("Addresses of Redis", add);
}
