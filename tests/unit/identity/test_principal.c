/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Principal: names, scopes, and the credentials of a header.
 */
#include "identity/principal.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define KEY "aq_AbC-_9012345678901234567890123456789012345x"

static const struct {
    const char *value, *token; /* NULL: none */
} BEARER[] = {
    {"Bearer " KEY, KEY},
    {"bearer " KEY, KEY},
    {"bEaReR " KEY, KEY},
    {"Bearer    " KEY "  ", KEY},
    {" \tBearer " KEY "\t", KEY},
    {"Bearer x", "x"},
    {"Bearer a.b~c+d/e==", "a.b~c+d/e=="},
    {"Bearer !\"#{}:;|~", "!\"#{}:;|~"},
    {NULL, NULL},
    {"", NULL},
    {" ", NULL},
    {"Bearer", NULL},
    {"Bearer ", NULL},
    {"Bearer  \t ", NULL},
    {"Bearer" KEY, NULL},
    {"Bearer\t" KEY, NULL},
    {"Bearers " KEY, NULL},
    {"Basic " KEY, NULL},
    {KEY, NULL},
    {"Bearer a b", NULL},
    {"Bearer aaaaaaaa b", NULL},
    {"Bearer a\tb", NULL},
    {"Bearer a\rb", NULL},
    {"Bearer aaaaaaaaa\nb", NULL},
    {"Bearer a\x7f", NULL},
    {"Bearer aaaaaaaaaaaaaaa\x7f", NULL},
    {"Bearer \xc3\xbc", NULL},
    {"Bearer aaaaaaaaaaaaaaa\x80", NULL},
    {"Bearer \xff" KEY, NULL},
    {"Bearer " KEY ", Bearer " KEY, NULL},
    {"Bearer a,b", NULL},
};

START_TEST(bearer_token_is_taken_out)
{
    const char *token;
    size_t size;
    int found = aq_bearer_token(BEARER[_i].value, &token, &size);

    ck_assert_msg(found == (BEARER[_i].token != NULL), "%s", BEARER[_i].value);
    if (found) {
        ck_assert_str_eq(apr_pstrmemdup(fixture_pool, token, size), BEARER[_i].token);
        ck_assert(token >= BEARER[_i].value && token < BEARER[_i].value + strlen(BEARER[_i].value));
    } else {
        ck_assert_ptr_null(token);
        ck_assert_uint_eq(size, 0);
    }
}
END_TEST

/* Every byte at every place of texts around the size of a word, against the rule itself. */
START_TEST(every_byte_at_every_place_is_judged)
{
    char text[32];
    const char *token;
    size_t size;

    for (size_t length = 1; length < 26; length++) {
        for (size_t place = 0; place < length; place++) {
            for (int byte = 1; byte < 256; byte++) {
                int is_visible = byte > 0x20 && byte < 0x7f && byte != ',';
                int is_trimmed = (byte == ' ' || byte == '\t') && (place == 0 || place == length - 1) && length > 1;
                memset(text, 'k', length);
                text[length] = '\0';
                text[place] = (char)byte;
                ck_assert_msg(aq_bare_token(text, &token, &size) == (is_visible || is_trimmed), "byte %d at %d of %d",
                              byte, (int)place, (int)length);
                ck_assert(!is_visible || size == length);
            }
        }
    }
}
END_TEST

START_TEST(bare_token_is_trimmed)
{
    const char *token;
    size_t size;

    ck_assert_int_eq(aq_bare_token("\t " KEY " \t", &token, &size), 1);
    ck_assert_str_eq(apr_pstrmemdup(fixture_pool, token, size), KEY);
    ck_assert_int_eq(aq_bare_token(NULL, &token, &size), 0);
    ck_assert_int_eq(aq_bare_token(" \t", &token, &size), 0);
    ck_assert_int_eq(aq_bare_token("", &token, &size), 0);
}
END_TEST

START_TEST(joined_headers_are_told)
{
    ck_assert_int_eq(aq_token_is_joined("a, b"), 1);
    ck_assert_int_eq(aq_token_is_joined("a"), 0);
    ck_assert_int_eq(aq_token_is_joined(NULL), 0);
}
END_TEST

static const struct {
    const char *name;
    int is_valid;
} NAMES[] = {
    {"acme", 1},   {"k_7f3a9c", 1},   {"invoices:write", 1},
    {"{acme}", 1}, {"a/b?c#d%41", 1}, {"!~", 1},
    {NULL, 0},     {"", 0},           {"a b", 0},
    {"a\n", 0},    {"a\x7f", 0},      {"\xc3\xbc", 0},
    {"a\"b", 0},   {"a\\b", 0},       {"\t", 0},
};

START_TEST(names_are_visible_and_short)
{
    char name[AQ_PRINCIPAL_NAME_MAX + 2];

    ck_assert_msg(aq_principal_name_is_valid(NAMES[_i].name) == NAMES[_i].is_valid, "%s", NAMES[_i].name);
    memset(name, 'a', sizeof(name));
    name[AQ_PRINCIPAL_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(aq_principal_name_is_valid(name), 0);
    ck_assert_int_eq(aq_principal_name_is_valid(name + 1), 1);
}
END_TEST

START_TEST(scopes_are_held_or_not)
{
    const char *const scopes[] = {"invoices:write", "a"};
    const aq_principal_t some = {.scopes = scopes, .scope_count = 2}, none = {.scope_count = 0};

    ck_assert_int_eq(aq_principal_has_scope(&some, "a"), 1);
    ck_assert_int_eq(aq_principal_has_scope(&some, "invoices:write"), 1);
    ck_assert_int_eq(aq_principal_has_scope(&some, "invoices"), 0);
    ck_assert_int_eq(aq_principal_has_scope(&some, ""), 0);
    ck_assert_int_eq(aq_principal_has_scope(&none, "a"), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, bearer_token_is_taken_out, 0, sizeof(BEARER) / sizeof(BEARER[0]));
    tcase_add_test(tests, every_byte_at_every_place_is_judged);
    tcase_add_test(tests, bare_token_is_trimmed);
    tcase_add_test(tests, joined_headers_are_told);
    tcase_add_loop_test(tests, names_are_visible_and_short, 0, sizeof(NAMES) / sizeof(NAMES[0]));
    tcase_add_test(tests, scopes_are_held_or_not);
}

int main(void)
{
    return fixture_run("principal", add);
}
