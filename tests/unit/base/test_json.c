/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON: what is loaded, what is refused and how that is said.
 */
#include "base/aq_json.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *text;
    const char *said; /* NULL: it loads */
} FILES[] = {
    {"{\"a\": 1}", NULL},
    {"[]", NULL},
    {"{\"a\": \"\xc3\xbc\"}\n ", NULL},
    {"", "line 1"},
    {"{\"a\": 1", "line 1"},
    {"{\n\"a\": 1,\n\"a\": 2}", "line 3, column 3: duplicate object key"},
    {"{} x", "line 1"},
    {"{\"a\": \"\xff\"}", "line 1"},
    {"{\"a\": \"\xc0\xaf\"}", "line 1"},
    {"{\"a\": \"\\u0000\"}", "line 1"},
    {"{\"a\": \"\\ud800\"}", "line 1"},
    {"{\"a\": 99999999999999999999}", "line 1"},
    {"7", "line 1"},
};

START_TEST(files_are_json_or_refused_with_the_place)
{
    const char *path = fixture_path("file.json"), *error;
    json_t *json;

    fixture_write(path, FILES[_i].text);
    apr_status_t rv = aq_json_file_load(fixture_pool, path, 1000, &json, &error);
    if (!FILES[_i].said) {
        ck_assert_msg(rv == APR_SUCCESS, "%s", error);
        ck_assert_ptr_null(error);
        ck_assert_ptr_nonnull(json);
        json_decref(json);
        return;
    }
    ck_assert_int_eq(rv, APR_EGENERAL);
    ck_assert_ptr_null(json);
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_msg(strstr(error, FILES[_i].said) != NULL, "%s", error);
}
END_TEST

START_TEST(errors_never_hold_what_stands_in_the_file)
{
    const char *path = fixture_path("secret.json"), *error;
    json_t *json;

    fixture_write(path, "{\"secret\" \"whsec_1\"}");
    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, 1000, &json, &error), APR_EGENERAL);
    ck_assert_msg(!strstr(error, "whsec"), "%s", error);
    fixture_write(path, "{\"secret\": whsec_1}");
    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, 1000, &json, &error), APR_EGENERAL);
    ck_assert_msg(!strstr(error, "whsec"), "%s", error);
}
END_TEST

START_TEST(deep_nesting_is_refused_and_no_crash)
{
    const char *path = fixture_path("deep.json"), *error;
    char *text = apr_palloc(fixture_pool, 1000001);
    json_t *json;

    memset(text, '[', 1000000);
    text[1000000] = '\0';
    fixture_write(path, text);
    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, 2000000, &json, &error), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "depth"));
}
END_TEST

START_TEST(what_is_too_large_or_no_file_is_refused_unread)
{
    const char *path = fixture_path("large.json"), *fifo = fixture_path("fifo"), *error;
    json_t *json;

    fixture_write(path, "[1,2,3]");
    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, 7, &json, &error), APR_SUCCESS);
    json_decref(json);
    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, 6, &json, &error), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "has 7 bytes, more than the 6 allowed"));
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    ck_assert_int_eq(aq_json_file_load(fixture_pool, fifo, 6, &json, &error), APR_EGENERAL);
    ck_assert_int_eq(aq_json_file_load(fixture_pool, fixture_path("."), 6, &json, &error), APR_EGENERAL);
    ck_assert_int_eq(aq_json_file_load(fixture_pool, fixture_path("missing"), 6, &json, &error), APR_ENOENT);
    ck_assert_ptr_nonnull(strstr(error, "missing"));
}
END_TEST

START_TEST(text_keeps_the_order_of_members)
{
    json_t *json = json_pack("{s:i, s:[s, n], s:b}", "z", 1, "a", "x", "m", 1);

    ck_assert_str_eq(aq_json_text(fixture_pool, json), "{\"z\":1,\"a\":[\"x\",null],\"m\":true}");
    ck_assert_ptr_null(aq_json_string(json, "z"));
    ck_assert_ptr_null(aq_json_string(json, "none"));
    ck_assert_ptr_null(aq_json_string(NULL, "z"));
    json_decref(json);
}
END_TEST

START_TEST(any_text_is_a_string_also_where_it_is_no_utf8)
{
    static const struct {
        const char *text, *string;
    } cases[] = {{"ann", "ann"},
                 {"", ""},
                 {"caf\xc3\xa9", "caf\xc3\xa9"},
                 {"caf\xe9", "caf\xef\xbf\xbd"},
                 {"\xff\xc3\xa9!", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!"}};
    json_t *none = aq_json_any_text(NULL);

    ck_assert(json_is_null(none));
    json_decref(none);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *string = aq_json_any_text(cases[i].text);

        ck_assert_str_eq(json_string_value(string), cases[i].string);
        json_decref(string);
    }
}
END_TEST

START_TEST(a_time_is_a_text_and_no_time_is_null)
{
    json_t *none = aq_json_time(0), *some = aq_json_time(1);

    ck_assert(json_is_null(none));
    ck_assert_str_eq(json_string_value(some), "1970-01-01T00:00:00.001Z");
    json_decref(none);
    json_decref(some);
}
END_TEST

START_TEST(a_replaced_file_is_loaded_as_it_was_written)
{
    const char *path = fixture_path("replaced.json"), *error;
    json_t *json = json_pack("{s:s}", "a", "\xc3\xbc\n"), *again;
    struct stat info;

    ck_assert_int_eq(aq_json_file_replace(path, json, 0640, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777, 0640);
    ck_assert_int_eq(aq_json_file_load(fixture_pool, path, 1000, &again, &error), APR_SUCCESS);
    ck_assert_int_eq(json_equal(json, again), 1);
    json_decref(json);
    json_decref(again);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, files_are_json_or_refused_with_the_place, 0, sizeof(FILES) / sizeof(FILES[0]));
    tcase_add_test(tests, errors_never_hold_what_stands_in_the_file);
    tcase_add_test(tests, deep_nesting_is_refused_and_no_crash);
    tcase_add_test(tests, what_is_too_large_or_no_file_is_refused_unread);
    tcase_add_test(tests, text_keeps_the_order_of_members);
    tcase_add_test(tests, any_text_is_a_string_also_where_it_is_no_utf8);
    tcase_add_test(tests, a_time_is_a_text_and_no_time_is_null);
    tcase_add_test(tests, a_replaced_file_is_loaded_as_it_was_written);
}

int main(void)
{
    return fixture_run("json", add);
}
