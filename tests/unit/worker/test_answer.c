/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answer: which headers are kept for replay, and which of a request are never sent on.
 */
#include "worker/answer.h"

#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *value, *json;
} ALONE[] = {
    {"Content-Type", "text/csv", "{\"content-type\":\"text/csv\"}"},
    {"ETag", "\"a\"", "{\"etag\":\"\\\"a\\\"\"}"},
    {"X-Empty", "", "{\"x-empty\":\"\"}"},
    {"Content-Length", "5", "{}"},
    {"Content-Range", "bytes 0-4/9", "{}"},
    {"Accept-Ranges", "bytes", "{}"},
    {"Transfer-Encoding", "chunked", "{}"},
    {"Connection", "close", "{}"},
    {"Keep-Alive", "timeout=5", "{}"},
    {"Upgrade", "h2c", "{}"},
    {"Set-Cookie", "a=b", "{}"},
    {"SET-COOKIE2", "a=b", "{}"},
    {"X-RateLimit-Remaining-Daily", "3", "{}"},
    {"RateLimit", "x", "{}"},
    {"RateLimit-Policy", "x", "{}"},
    {"Retry-After", "5", "{}"},
    {"WWW-Authenticate", "Basic", "{}"},
    {"Strict-Transport-Security", "max-age=1", "{}"},
    {"Clear-Site-Data", "*", "{}"},
    {"X-Accel-Redirect", "/etc", "{}"},
    {"X-Sendfile", "/etc/passwd", "{}"},
    {"APIQuota-Result", "replay", "{}"},
    {"X-Latin", "\xe9", "{}"},
    {"X-Control", "a\x01", "{}"},
    {"X-Tab", "a\tb", "{\"x-tab\":\"a\\tb\"}"},
    {"X Blank", "a", "{}"},
    {"X@Sign", "a", "{}"},
    {"X\xc3\xa9", "a", "{}"},
};

START_TEST(a_header_is_kept_or_not)
{
    apr_table_t *headers = apr_table_make(fixture_pool, 4);

    apr_table_addn(headers, ALONE[_i].name, ALONE[_i].value);
    ck_assert_str_eq(aq_answer_headers_json(fixture_pool, headers), ALONE[_i].json);
}
END_TEST

START_TEST(a_content_type_that_cannot_be_shown_is_none)
{
    apr_table_t *headers = apr_table_make(fixture_pool, 4);

    ck_assert_ptr_null(aq_answer_content_type(headers));
    apr_table_setn(headers, "Content-Type", "text/plain; charset=\xff");
    ck_assert_ptr_null(aq_answer_content_type(headers));
    apr_table_setn(headers, "Content-Type", "text/\x01plain");
    ck_assert_ptr_null(aq_answer_content_type(headers));
    apr_table_setn(headers, "Content-Type", "text/plain; charset=utf-8");
    ck_assert_str_eq(aq_answer_content_type(headers), "text/plain; charset=utf-8");
}
END_TEST

START_TEST(headers_of_one_name_are_joined_and_those_of_the_connection_left_out)
{
    apr_table_t *headers = apr_table_make(fixture_pool, 4);

    apr_table_addn(headers, "Link", "<a>");
    apr_table_addn(headers, "X-Hop", "1");
    apr_table_addn(headers, "link", "<b>");
    apr_table_addn(headers, "connection", "close , x-HOP");
    ck_assert_str_eq(aq_answer_headers_json(fixture_pool, headers), "{\"link\":\"<a>, <b>\"}");
}
END_TEST

static const struct {
    const char *name;
    int is_reserved;
} REQUEST[] = {
    {"accept", 0},
    {"user-agent", 0},
    {"content-encoding", 0},
    {"x-tenant-note", 0},
    {"content-type", 1},
    {"content-length", 1},
    {"Host", 1},
    {"authorization", 1},
    {"cookie", 1},
    {"idempotency-key", 1},
    {"apiquota-batch-id", 1},
    {"APIQuota-Anything", 1},
    {"transfer-encoding", 1},
    {"expect", 1},
    {"connection", 1},
    {"te", 1},
};

START_TEST(f64_what_only_the_worker_may_say_is_reserved)
{
    ck_assert_msg(aq_answer_is_reserved(REQUEST[_i].name) == REQUEST[_i].is_reserved, "%s", REQUEST[_i].name);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, a_header_is_kept_or_not, 0, sizeof ALONE / sizeof ALONE[0]);
    tcase_add_test(tests, a_content_type_that_cannot_be_shown_is_none);
    tcase_add_test(tests, headers_of_one_name_are_joined_and_those_of_the_connection_left_out);
    tcase_add_loop_test(tests, f64_what_only_the_worker_may_say_is_reserved, 0, sizeof REQUEST / sizeof REQUEST[0]);
}

int main(void)
{
    return fixture_run("answer", add_tests);
}
