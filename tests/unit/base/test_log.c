/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log: what reaches a sink.
 */
#include "unit/fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static struct {
    int count;
    aq_log_level_t level;
    unsigned number;
    apr_status_t status;
    char text[4096];
} last;

static void sink(void *data, aq_log_level_t level, unsigned number, apr_status_t status, const char *text)
{
    ck_assert_ptr_eq(data, &last);
    last.count++;
    last.level = level;
    last.number = number;
    last.status = status;
    (void)apr_cpystrn(last.text, text, sizeof(last.text));
}

START_TEST(sink_is_told_level_number_status_and_text)
{
    aq_log_sink_set(sink, &last);
    AQ_LOG(AQ_LOG_ERROR, 42, APR_ENOENT, "%s is %d", "this", 7);
    ck_assert_int_eq(last.count, 1);
    ck_assert_int_eq(last.level, AQ_LOG_ERROR);
    ck_assert_uint_eq(last.number, 42);
    ck_assert_int_eq(last.status, APR_ENOENT);
    ck_assert_str_eq(last.text, "this is 7");
}
END_TEST

START_TEST(less_important_lines_than_wanted_are_dropped)
{
    aq_log_sink_set(sink, &last);
    AQ_LOG(AQ_LOG_DEBUG, 1, 0, "not by default");
    ck_assert_int_eq(last.count, 0);
    aq_log_level_set(AQ_LOG_ERROR);
    AQ_LOG(AQ_LOG_WARNING, 1, 0, "no");
    ck_assert_int_eq(last.count, 0);
    AQ_LOG(AQ_LOG_ERROR, 1, 0, "yes");
    ck_assert_int_eq(last.count, 1);
}
END_TEST

START_TEST(control_characters_are_escaped)
{
    aq_log_sink_set(sink, &last);
    AQ_LOG(AQ_LOG_ERROR, 1, 0, "a\nb\r\t\x1b[1m\x7f %s", "ü");
    ck_assert_str_eq(last.text, "a\\x0ab\\x0d\\x09\\x1b[1m\\x7f ü");
}
END_TEST

START_TEST(long_lines_are_cut_also_where_escapes_make_them_long)
{
    char text[5000];

    aq_log_sink_set(sink, &last);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    AQ_LOG(AQ_LOG_ERROR, 1, 0, "%s", text);
    ck_assert_uint_ge(strlen(last.text), 2000);
    ck_assert_uint_lt(strlen(last.text), 2048);
    memset(text, '\n', sizeof(text) - 1);
    AQ_LOG(AQ_LOG_ERROR, 1, 0, "%s", text);
    ck_assert_uint_ge(strlen(last.text), 2000);
    ck_assert_uint_lt(strlen(last.text), 2048);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, sink_is_told_level_number_status_and_text);
    tcase_add_test(tests, less_important_lines_than_wanted_are_dropped);
    tcase_add_test(tests, control_characters_are_escaped);
    tcase_add_test(tests, long_lines_are_cut_also_where_escapes_make_them_long);
}

int main(void)
{
    return fixture_run("log", add);
}
