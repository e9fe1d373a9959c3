/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON check: agrees with jansson on what is JSON, however the text is split.
 */
#include "base/aq_json_check.h"

#include "unit/fixture.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static aq_json_verdict_t check_split(const char *text, size_t size, size_t at)
{
    aq_json_check_t check;

    aq_json_check_begin(&check);
    aq_json_check_add(&check, text, at);
    aq_json_check_add(&check, text + at, size - at);
    return aq_json_check_end(&check);
}

/* The verdict, which must not depend on where the text is split. */
static aq_json_verdict_t verdict(const char *text, size_t size)
{
    aq_json_verdict_t whole = check_split(text, size, 0);

    for (size_t at = 1; at <= size; at++) {
        ck_assert_msg(check_split(text, size, at) == whole, "split at %zu: %s", at, text);
    }
    return whole;
}

static const char *const GOOD[] = {
    "{}",
    "[]",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "12",
    "-1.5e+3",
    "0.1",
    "1E2",
    "1e-2",
    "10e9999",
    "\"\"",
    "\"a\\\"b\\\\c\\/\\b\\f\\n\\r\\t\\u00e9\"",
    " { \"a\" : [ 1 , { \"b\" : null } , \"x\" ] , \"c\" : {} }\r\n",
    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
    "\"\xed\x9f\xbf\xf4\x8f\xbf\xbf\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "{\"a\":1,\"a\":2}",
    "123456789012345678901234567890",
};

static const char *const BAD[] = {
    "",
    " ",
    "{",
    "[",
    "}",
    "]",
    "[1",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,}",
    "[1,]",
    "[,1]",
    "{,}",
    "{1:2}",
    "{\"a\" 1}",
    "[1 2]",
    "1 2",
    "nul",
    "nulll",
    "True",
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "1e",
    "1e+",
    "+1",
    "0x1",
    "1.e2",
    "\"",
    "\"\\x\"",
    "\"\\u12g4\"",
    "\"\\u123\"",
    "\"a\tb\"",
    "\"a\nb\"",
    "\"\xff\"",
    "\"\xc0\x80\"",
    "\"\xc3\"",
    "\"\xe0\x80\x80\"",
    "\"\xed\xa0\x80\"",
    "\"\xf0\x80\x80\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xf5\x80\x80\x80\"",
    "\"\x80\"",
    "[}",
    "{]",
    "\xef\xbb\xbf{}",
    "'a'",
    "{} {}",
    "[1]]",
    "NaN",
    "Infinity",
    "/* */ 1",
};

START_TEST(what_is_json_is_good)
{
    ck_assert_int_eq(verdict(GOOD[_i], strlen(GOOD[_i])), AQ_JSON_GOOD);
}
END_TEST

START_TEST(what_is_none_is_bad)
{
    ck_assert_int_eq(verdict(BAD[_i], strlen(BAD[_i])), AQ_JSON_BAD);
}
END_TEST

START_TEST(a_zero_byte_is_bad_wherever_it_stands)
{
    ck_assert_int_eq(verdict("1\0", 2), AQ_JSON_BAD);
    ck_assert_int_eq(verdict("\"a\0b\"", 5), AQ_JSON_BAD);
    ck_assert_int_eq(verdict("\"\\\0\"", 4), AQ_JSON_BAD);
}
END_TEST

START_TEST(levels_are_counted_up_to_the_bound)
{
    enum { MOST = AQ_JSON_CHECK_DEPTH_MAX };
    char text[2 * MOST + 4];

    memset(text, '[', MOST);
    memset(text + MOST, ']', MOST);
    ck_assert_int_eq(check_split(text, 2 * MOST, 7), AQ_JSON_GOOD);
    memset(text, '[', MOST + 1);
    memset(text + MOST + 1, ']', MOST + 1);
    ck_assert_int_eq(check_split(text, 2 * MOST + 2, 7), AQ_JSON_TOO_DEEP);
}
END_TEST

/* Objects and arrays that alternate through all levels: each must be closed by its own kind. */
START_TEST(each_level_remembers_what_it_is)
{
    char text[8 * 200];
    size_t size = 0;

    for (int i = 0; i < 100; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "%s", i % 3 == 0 ? "{\"a\":" : "[");
    }
    text[size++] = '1';
    for (int i = 99; i >= 0; i--) {
        text[size++] = i % 3 == 0 ? '}' : ']';
    }
    ck_assert_int_eq(check_split(text, size, size / 2), AQ_JSON_GOOD);
    text[size - 50] = text[size - 50] == '}' ? ']' : '}';
    ck_assert_int_eq(check_split(text, size, size / 2), AQ_JSON_BAD);
}
END_TEST

/* What jansson refuses though the grammar has it: then the two are not compared. */
static int is_beyond_jansson(const json_error_t *error)
{
    static const char *const words[] = {"too big",  "overflow", "\\u0000",    "surrogate",
                                        "NUL byte", "Unicode",  "real number"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strstr(error->text, words[i]) != NULL) {
            return 1;
        }
    }
    return 0;
}

START_TEST(it_agrees_with_jansson_on_a_hundred_thousand_mutations)
{
    static const char letters[] = "{}[]\",:0123456789.eE+-truefalsn \\u\xc3\xa9\xe2\x82\xac\x01";
    unsigned state = 1;
    int good = 0, bad = 0;
    char text[128];

    for (int round = 0; round < 100000; round++) {
        const char *seed = GOOD[(size_t)round % (sizeof GOOD / sizeof GOOD[0])];
        size_t size = strlen(seed);
        json_error_t error;
        memcpy(text, seed, size);
        for (int i = 0; i < round / 40000 + 1 && size > 0; i++) {
            state = state * 1103515245 + 12345;
            text[state / 7919 % size] = letters[state / 65536 % (sizeof letters - 1)];
        }
        json_t *json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        aq_json_verdict_t ours = check_split(text, size, size / 2);
        if (json != NULL || !is_beyond_jansson(&error)) {
            ck_assert_msg((json != NULL) == (ours == AQ_JSON_GOOD), "%.*s: %s", (int)size, text, error.text);
        }
        good += json != NULL;
        bad += json == NULL;
        json_decref(json);
    }
    ck_assert_int_gt(good, 10000);
    ck_assert_int_gt(bad, 10000);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, what_is_json_is_good, 0, sizeof GOOD / sizeof GOOD[0]);
    tcase_add_loop_test(tests, what_is_none_is_bad, 0, sizeof BAD / sizeof BAD[0]);
    tcase_add_test(tests, a_zero_byte_is_bad_wherever_it_stands);
    tcase_add_test(tests, levels_are_counted_up_to_the_bound);
    tcase_add_test(tests, each_level_remembers_what_it_is);
    tcase_add_test(tests, it_agrees_with_jansson_on_a_hundred_thousand_mutations);
}

int main(void)
{
    return fixture_run("json_check", add_tests);
}
