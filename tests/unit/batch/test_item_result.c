/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Item result: what a target answered becomes one line of JSON, whatever it was.
 */
#include "batch/item_result.h"

#include "unit/fixture.h"

#include <jansson.h>
#include <string.h>

#define BODY(text) .body = (text), .body_bytes = sizeof(text) - 1

static const struct {
    aq_item_result_t result;
    const char *text;
} CASES[] = {
    {{.line = 7, .status = 201, .content_type = "application/json", BODY("{\"id\": 1.10}")},
     "{\"line\":7,\"status\":201,\"body\":{\"id\": 1.10}}"},
    {{.line = 1,
      .status = 200,
      .content_type = "Application/Problem+JSON; charset=utf-8",
      BODY("{\r\n \"a\": [1]\n}\n")},
     "{\"line\":1,\"status\":200,\"body\":{   \"a\": [1] } }"},
    {{.line = 1, .status = 200, .content_type = "application/json", BODY("{\"id\":")},
     "{\"line\":1,\"status\":200,\"body\":\"{\\\"id\\\":\",\"content_type\":\"application/json\"}"},
    {{.line = 1, .status = 200, .content_type = "text/plain", BODY("7\n")},
     "{\"line\":1,\"status\":200,\"body\":\"7\\n\",\"content_type\":\"text/plain\"}"},
    {{.line = 1, .status = 200, .content_type = "application/jsonp", BODY("7")},
     "{\"line\":1,\"status\":200,\"body\":\"7\",\"content_type\":\"application/jsonp\"}"},
    {{.line = 1, .status = 200, BODY("a\0b")}, "{\"line\":1,\"status\":200,\"body\":\"a\\u0000b\"}"},
    {{.line = 1, .status = 200, .content_type = "image/png", BODY("\x89PNG")},
     "{\"line\":1,\"status\":200,\"body\":\"iVBORw==\",\"encoding\":\"base64\",\"content_type\":\"image/png\"}"},
    {{.line = 1, .status = 200, .content_type = "te\xffxt", BODY("x")}, "{\"line\":1,\"status\":200,\"body\":\"x\"}"},
    {{.line = 1, .status = 204}, "{\"line\":1,\"status\":204,\"body\":null}"},
    {{.line = 1, .status = 200, .is_body_left_out = 1},
     "{\"line\":1,\"status\":200,\"body\":null,\"body_left_out\":true}"},
    {{.line = INT64_C(10000000000), .error_code = "not-json", .error_detail = "no \"JSON\""},
     "{\"line\":10000000000,\"status\":null,\"body\":null,"
     "\"error\":{\"code\":\"not-json\",\"detail\":\"no \\\"JSON\\\"\"}}"},
    {{.line = 2,
      .status = 422,
      .content_type = "application/json",
      BODY("[]"),
      .error_code = "target-status",
      .error_detail = "the target answered 422"},
     "{\"line\":2,\"status\":422,\"body\":[],\"error\":{\"code\":\"target-status\",\"detail\":\"the target answered "
     "422\"}}"},
};

START_TEST(an_answer_becomes_a_line_of_json)
{
    size_t size;
    const char *text = aq_item_result_text(fixture_pool, &CASES[_i].result, &size);

    ck_assert_str_eq(text, CASES[_i].text);
    ck_assert_uint_eq(size, strlen(text));
    json_t *json = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(json);
    json_decref(json);
}
END_TEST

START_TEST(the_longest_answer_fits_a_record_whatever_is_in_it)
{
    static const char bytes[] = {'\x01', '\xff', 'x'};
    char *body = apr_palloc(fixture_pool, AQ_ITEM_ANSWER_MAX_BYTES);
    size_t size;

    for (size_t i = 0; i < sizeof bytes; i++) {
        memset(body, bytes[i], AQ_ITEM_ANSWER_MAX_BYTES);
        aq_item_result_t result = {.line = 1, .status = 200, .body = body, .body_bytes = AQ_ITEM_ANSWER_MAX_BYTES};
        ck_assert_ptr_nonnull(aq_item_result_text(fixture_pool, &result, &size));
        ck_assert_uint_le(size, 6 * AQ_ITEM_ANSWER_MAX_BYTES + 200);
    }
}
END_TEST

START_TEST(an_item_of_which_nothing_is_known_says_so)
{
    char text[256];
    size_t size = aq_item_unknown_text(text, sizeof text, INT64_MAX);
    json_t *json = json_loadb(text, size, 0, NULL);

    ck_assert_ptr_nonnull(json);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "error"), "code")), "outcome-unknown");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "line")), INT64_MAX);
    json_decref(json);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, an_answer_becomes_a_line_of_json, 0, sizeof CASES / sizeof CASES[0]);
    tcase_add_test(tests, the_longest_answer_fits_a_record_whatever_is_in_it);
    tcase_add_test(tests, an_item_of_which_nothing_is_known_says_so);
}

int main(void)
{
    return fixture_run("item_result", add_tests);
}
