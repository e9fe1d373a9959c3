/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log format: LogFormats, lines and times as httpd writes them, and as it never would.
 */
#include "ctl/log_format.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define OCTOBER_MS INT64_C(971211336000) /* 2000-10-10T20:55:36Z */
#define WHEN "10/Oct/2000:13:55:36 -0700"

static aq_log_format_t *format_of(const char *text, int key_field)
{
    aq_log_format_t *format;
    const char *error;
    apr_status_t rv = aq_log_format_parse(fixture_pool, text, key_field, &format, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    return format;
}

static const char *parse(const char *format, int key_field, const char *line, aq_log_line_t *parsed)
{
    return aq_log_line_parse(format_of(format, key_field), line, strlen(line), parsed);
}

static void assert_text(aq_log_text_t text, const char *wanted)
{
    ck_assert_uint_eq(text.size, strlen(wanted));
    ck_assert_int_eq(memcmp(text.size ? text.at : "", wanted, text.size), 0);
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *format;
    int key_field;
    const char *line;
    const char *user, *address;
    int status, is_request;
} LINES[] = {
    {"common", 0, "127.0.0.1 - k_1 [" WHEN "] \"GET /a HTTP/1.0\" 200 2326", "k_1", "127.0.0.1", 200, 1},
    /* what stands behind the last field that matters is not looked at */
    {"common", 0, "::1 - - [" WHEN "] \"GET / HTTP/1.1\" 304 - \"ref\" \"agent\"", "", "::1", 304, 1},
    {"combined", 0, "h - bob [" WHEN "] \"GET /\\\"q\\\" HTTP/1.1\" 404 1 \"-\" \"\\\\\"", "bob", "h", 404, 1},
    {"vhost_combined", 0, "api.test:443 h - u [" WHEN "] \"GET / HTTP/1.1\" 429 1 \"-\" \"-\"", "u", "h", 429, 1},
    /* a user may have spaces, and a quotation mark that ends nothing is escaped */
    {"common", 0, "h - a b [" WHEN "] \"G\" 200 1", "a b", "h", 200, 1},
    {"common", 0, "h - u [" WHEN "] \"\\\"\\\\\" 200 1", "u", "h", 200, 1},
    /* a connection that sent no request */
    {"common", 0, "h - - [" WHEN "] \"-\" 408 -", "", "h", 408, 0},
    {"%h %t %>s", 0, "h [" WHEN "] -", "", "h", 0, 1},
    /* the key's id from the environment wins over %u, %a over %h, the final status over the first */
    {"%h %a %u %{APIQUOTA_KEY_ID}e %t %s %>s", 0, "a b c d [" WHEN "] 200 404", "d", "b", 404, 1},
    {"%h %u \"%{X-Key}i\" %t", 3, "h u \"k 7\" [" WHEN "]", "k 7", "h", 0, 1},
    {"%u\\t%t\\t%%\\t%>s", 0, "u\t[" WHEN "]\t%\t200", "u", "", 200, 1},
    {"\\\"%r\\\" %t", 0, "\"-\" [" WHEN "]", "", "", 0, 0},
    {"%400,501{User-agent}i %!200,304{Referer}i %^FB %t", 0, "- - - [" WHEN "]", "", "", 0, 1},
};

START_TEST(a_line_of_the_format_is_read)
{
    aq_log_line_t line;
    const char *error = parse(LINES[_i].format, LINES[_i].key_field, LINES[_i].line, &line);

    ck_assert_msg(!error, "%s: %s", LINES[_i].line, error);
    ck_assert_int_eq(line.time_ms, OCTOBER_MS);
    assert_text(line.user, LINES[_i].user);
    assert_text(line.address, LINES[_i].address);
    ck_assert_int_eq(line.status, LINES[_i].status);
    ck_assert_int_eq(line.is_request, LINES[_i].is_request);
}
END_TEST

static const struct {
    const char *format, *line, *error;
} NO_LINES[] = {
    {"common", "", "fewer fields"},
    {"common", "127.0.0.1", "fewer fields"},
    {"common", "h - u [" WHEN "] \"GET / HTTP/1.1", "fewer fields"},
    {"common", "h - u [" WHEN "] \"GET /\" HTTP/1.1\" 200 1", "status"},
    {"common", "h - u [" WHEN "] \"GET /\"x HTTP/1.1\" 200 1", "fewer fields"},
    {"common", "h - u [" WHEN "] \"G\" 20 1", "status"},
    {"common", "h - u [" WHEN "] \"G\" 2000 1", "status"},
    {"common", "h - u [" WHEN "] \"G\" 2x0 1", "status"},
    {"common", "h - u [" WHEN "] \"G\"  1", "status"},
    {"common", "h - u [" WHEN "] \"G\" 20000000000000000000000000 1", "status"},
    {"common", "h - u [32/Oct/2000:13:55:36 -0700] \"G\" 200 1", "time"},
    {"common", "h - u [31/Feb/2000:13:55:36 -0700] \"G\" 200 1", "time"},
    {"common", "h - u [10/Okt/2000:13:55:36 -0700] \"G\" 200 1", "time"},
    {"common", "h - u [10/Oct/2000:24:55:36 -0700] \"G\" 200 1", "time"},
    {"common", "h - u [10/Oct/2000:13:60:36 -0700] \"G\" 200 1", "time"},
    {"common", "h - u [10/Oct/2000:13:55:36 -07] \"G\" 200 1", "time"},
    {"common", "h - u [10/Oct/2000:13:55:36 -2500] \"G\" 200 1", "time"},
    {"common", "h - u [10/Oct/1969:13:55:36 -0700] \"G\" 200 1", "time"},
    {"common", "h - u [10/Oct/20x0:13:55:36 -0700] \"G\" 200 1", "time"},
    {"common", "h - u [] \"G\" 200 1", "time"},
    {"x %t", "y [" WHEN "]", "does not begin"},
    {"%{sec}t", "12x", "time"},
    {"%{sec}t", "", "time"},
    {"%{sec}t", "99999999999999999999", "time"},
    {"%{%Y-%m-%dT%H:%M:%S%z}t", "2000-10-10T13:55:36-0700x", "time"},
};

START_TEST(a_line_of_another_form_is_refused_with_a_reason)
{
    aq_log_line_t line;
    const char *error = parse(NO_LINES[_i].format, 0, NO_LINES[_i].line, &line);

    ck_assert_msg(error && strstr(error, NO_LINES[_i].error), "%s: %s", NO_LINES[_i].line, error ? error : "was read");
}
END_TEST

/* ---- times ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *format, *line;
    int64_t ms;
} TIMES[] = {
    {"%t", "[" WHEN "]", OCTOBER_MS},
    {"%t", "[10/Oct/2000:20:55:36 +0000]", OCTOBER_MS},
    {"%t", "[11/Oct/2000:02:25:36 +0530]", OCTOBER_MS},
    {"%t", "[01/Jan/1970:00:00:00 +0000]", 0},
    {"%t", "[29/Feb/2024:23:59:59 +0000]", INT64_C(1709251199000)},
    {"%{sec}t", "971211336", OCTOBER_MS},
    {"%{msec}t", "971211336123", OCTOBER_MS + 123},
    {"%{begin:usec}t", "971211336123999", OCTOBER_MS + 123},
    {"%{end:sec}t", "971211336", OCTOBER_MS},
    {"%{sec}t.%{msec_frac}t", "971211336.123", OCTOBER_MS + 123},
    {"%t.%{usec_frac}t", "[" WHEN "].123456", OCTOBER_MS + 123},
    /* of several times the finest, of equals the first; a part is added to whole seconds alone */
    {"%{msec_frac}t %t %{msec}t", "999 [" WHEN "] 971211336123", OCTOBER_MS + 123},
    {"%{sec}t %t", "971211336 [11/Oct/2000:13:55:36 -0700]", OCTOBER_MS},
    {"%{sec}t.%{msec_frac}t %{usec_frac}t", "971211336.123 456789", OCTOBER_MS + 456},
    {"%{%Y-%m-%dT%H:%M:%S%z}t", "2000-10-10T13:55:36-0700", OCTOBER_MS},
    {"%{%Y-%m-%d %H:%M:%S}t", "2000-10-10 20:55:36", OCTOBER_MS},
};

START_TEST(times_are_read_with_their_zones)
{
    aq_log_line_t line;
    aq_log_format_t *format = format_of(TIMES[_i].format, 0);

    /* Twice, since the second time comes from what was remembered of the first. */
    for (int i = 0; i < 2; i++) {
        const char *error = aq_log_line_parse(format, TIMES[_i].line, strlen(TIMES[_i].line), &line);
        ck_assert_msg(!error, "%s: %s", TIMES[_i].line, error);
        ck_assert_int_eq(line.time_ms, TIMES[_i].ms);
    }
}
END_TEST

/* ---- formats ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *format;
    int key_field;
    const char *error;
} NO_FORMATS[] = {
    {"", 0, "no %t"},
    {"%h %u", 0, "no %t"},
    {"%{msec_frac}t", 0, "no %t"},
    {"%h%u %t", 0, "nothing between them"},
    {"%{Referer %t", 0, "not closed"},
    {"%t %", 0, "no letter"},
    {"%t %5", 0, "no letter"},
    {"%{hello}t", 0, "no moment"},
    {"%{%H:%M}t", 0, "no moment"},
    {"common", 8, "no field 8"},
};

START_TEST(a_format_that_tells_too_little_is_refused)
{
    aq_log_format_t *format;
    const char *error;

    ck_assert_int_eq(
        aq_log_format_parse(fixture_pool, NO_FORMATS[_i].format, NO_FORMATS[_i].key_field, &format, &error),
        APR_EGENERAL);
    ck_assert_ptr_null(format);
    ck_assert_msg(strstr(error, NO_FORMATS[_i].error) != NULL, "%s", error);
}
END_TEST

/* ---- any bytes -------------------------------------------------------------------------------------------------- */

/* Every byte of a good line changed and cut, in memory that ends where the line does, so that a sanitizer sees. */
START_TEST(any_bytes_are_read_or_refused)
{
    static const char good[] = "127.0.0.1 - k_1 [" WHEN "] \"GET /a\\\"b HTTP/1.0\" 200 2326";
    static const char *const formats[] = {"common", "combined", "%a %{usec}t \"%r\" %>s", "%{%d/%b/%Y:%H:%M:%S %z}t"};
    unsigned seed = 1;

    for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
        aq_log_format_t *format = format_of(formats[f], 0);
        for (int round = 0; round < 20000; round++) {
            size_t size = (size_t)rand_r(&seed) % sizeof(good);
            char *line = malloc(size ? size : 1);
            ck_assert_ptr_nonnull(line);
            memcpy(line, good, size);
            for (int i = rand_r(&seed) % 4; size > 0 && i > 0; i--) {
                line[(size_t)rand_r(&seed) % size] = (char)rand_r(&seed);
            }
            aq_log_line_t parsed;
            if (!aq_log_line_parse(format, line, size, &parsed)) {
                ck_assert_int_ge(parsed.time_ms, 0);
                ck_assert_uint_le(parsed.user.size + parsed.address.size, size);
            }
            free(line);
        }
    }
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_loop_test(tests, a_line_of_the_format_is_read, 0, sizeof(LINES) / sizeof(LINES[0]));
    tcase_add_loop_test(tests, a_line_of_another_form_is_refused_with_a_reason, 0,
                        sizeof(NO_LINES) / sizeof(NO_LINES[0]));
    tcase_add_loop_test(tests, times_are_read_with_their_zones, 0, sizeof(TIMES) / sizeof(TIMES[0]));
    tcase_add_loop_test(tests, a_format_that_tells_too_little_is_refused, 0,
                        sizeof(NO_FORMATS) / sizeof(NO_FORMATS[0]));
    tcase_add_test(tests, any_bytes_are_read_or_refused);
}

int main(void)
{
    return fixture_run("log_format", tests_add);
}
