/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items: lines are counted and found the same however a body is split, and bad ones are told without being held.
 */
#include "batch/items.h"

#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

#define FOUND_MAX 64

static aq_item_t found[FOUND_MAX];
static int found_count;

static void take_piece(aq_items_reader_t *reader, const char *data, size_t size)
{
    aq_item_t item;
    size_t used;

    while (size > 0) {
        if (aq_items_read(reader, data, size, &used, &item)) {
            ck_assert_int_lt(found_count, FOUND_MAX);
            found[found_count++] = item;
        }
        data += used;
        size -= used;
    }
}

/* Reads the body in pieces of `piece` bytes; what was found is in `found`. The count must say the same. */
static void read_body(const char *body, size_t size, size_t piece)
{
    aq_items_reader_t reader;
    aq_items_count_t count = {0};
    aq_item_t item;

    found_count = 0;
    aq_items_begin(&reader);
    for (size_t at = 0; at < size; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        take_piece(&reader, body + at, length);
        aq_items_count(&count, body + at, length);
    }
    if (aq_items_end(&reader, &item)) {
        found[found_count++] = item;
    }
    ck_assert_int_eq(aq_items_end(&reader, &item), 0);
    ck_assert_int_eq(aq_items_total(&count), found_count);
}

START_TEST(lines_are_found_with_their_place_however_the_body_is_split)
{
    static const char body[] = "{\"a\":1}\r\n\n[2,\n\"\xc3\xa9\"\n  7  ";
    static const aq_item_t expected[] = {
        {.line = 1, .offset = 0, .bytes = 8, .verdict = AQ_ITEM_GOOD},
        {.line = 2, .offset = 9, .bytes = 0, .verdict = AQ_ITEM_NOT_JSON},
        {.line = 3, .offset = 10, .bytes = 3, .verdict = AQ_ITEM_NOT_JSON},
        {.line = 4, .offset = 14, .bytes = 4, .verdict = AQ_ITEM_GOOD},
        {.line = 5, .offset = 19, .bytes = 5, .verdict = AQ_ITEM_GOOD},
    };

    for (size_t piece = 1; piece <= sizeof body; piece++) {
        read_body(body, sizeof body - 1, piece);
        ck_assert_int_eq(found_count, 5);
        for (int i = 0; i < 5; i++) {
            ck_assert_int_eq(found[i].line, expected[i].line);
            ck_assert_int_eq(found[i].offset, expected[i].offset);
            ck_assert_int_eq(found[i].bytes, expected[i].bytes);
            ck_assert_int_eq(found[i].verdict, expected[i].verdict);
        }
    }
}
END_TEST

static const struct {
    const char *body;
    int lines;
} COUNTS[] = {{"", 0}, {"\n", 1}, {"1", 1}, {"1\n", 1}, {"1\n2", 2}, {"1\n2\n", 2}, {"\n\n\n", 3}, {"\r\n", 1}};

START_TEST(a_line_is_what_an_editor_counts)
{
    for (size_t piece = 1; piece < 5; piece++) {
        read_body(COUNTS[_i].body, strlen(COUNTS[_i].body), piece);
        ck_assert_int_eq(found_count, COUNTS[_i].lines);
    }
}
END_TEST

/* A line of so many bytes, a string, and a good one behind it. */
static aq_item_verdict_t verdict_of_length(size_t bytes, size_t piece)
{
    char *body = malloc(bytes + 3);

    ck_assert_ptr_nonnull(body);
    memset(body, 'x', bytes);
    body[0] = body[bytes - 1] = '"';
    memcpy(body + bytes, "\n1\n", 3);
    read_body(body, bytes + 3, piece);
    free(body);
    ck_assert_int_eq(found_count, 2);
    ck_assert_int_eq(found[0].bytes, (int64_t)bytes);
    ck_assert_int_eq(found[1].verdict, AQ_ITEM_GOOD);
    ck_assert_int_eq(found[1].offset, (int64_t)bytes + 1);
    return found[0].verdict;
}

START_TEST(f69_a_line_that_is_too_long_is_that_lines_error)
{
    const size_t most = (size_t)AQ_ITEMS_LINE_MAX_BYTES;

    ck_assert_int_eq(verdict_of_length(most, 65536), AQ_ITEM_GOOD);
    ck_assert_int_eq(verdict_of_length(most + 1, 65536), AQ_ITEM_TOO_LONG);
    ck_assert_int_eq(verdict_of_length(most + 1, 1), AQ_ITEM_TOO_LONG);
    ck_assert_int_eq(verdict_of_length((size_t)10 << 20, 65536), AQ_ITEM_TOO_LONG);
    ck_assert_int_eq(verdict_of_length((size_t)10 << 20, (size_t)20 << 20), AQ_ITEM_TOO_LONG);
}
END_TEST

START_TEST(f69_a_line_that_is_too_deep_is_that_lines_error)
{
    char body[4000];

    memset(body, '[', 1500);
    memset(body + 1500, ']', 1500);
    memcpy(body + 3000, "\n{}", 3);
    read_body(body, 3003, 100);
    ck_assert_int_eq(found_count, 2);
    ck_assert_int_eq(found[0].verdict, AQ_ITEM_TOO_DEEP);
    ck_assert_int_eq(found[1].verdict, AQ_ITEM_GOOD);
}
END_TEST

START_TEST(f69_a_million_empty_lines_are_a_million_bad_items)
{
    char block[4096];
    aq_items_reader_t reader;
    aq_items_count_t count = {0};
    int64_t lines = 0, bad = 0;
    aq_item_t item;

    memset(block, '\n', sizeof block);
    aq_items_begin(&reader);
    for (int i = 0; i < 250; i++) {
        aq_items_count(&count, block, 4000);
        for (size_t at = 0, used; at < 4000; at += used) {
            int has_line = aq_items_read(&reader, block + at, 4000 - at, &used, &item);
            bad += has_line && item.line == ++lines && item.verdict == AQ_ITEM_NOT_JSON;
        }
    }
    ck_assert_int_eq(aq_items_total(&count), 1000000);
    ck_assert_int_eq(bad, 1000000);
}
END_TEST

START_TEST(each_bad_line_has_an_error_for_its_client)
{
    ck_assert_ptr_null(aq_item_error_code(AQ_ITEM_GOOD));
    ck_assert_str_eq(aq_item_error_code(AQ_ITEM_NOT_JSON), "not-json");
    ck_assert_str_eq(aq_item_error_code(AQ_ITEM_TOO_LONG), "line-too-long");
    ck_assert_str_eq(aq_item_error_code(AQ_ITEM_TOO_DEEP), "too-deep");
    ck_assert_ptr_nonnull(strstr(aq_item_error_detail(AQ_ITEM_TOO_LONG), "1048576"));
    ck_assert_int_eq(AQ_ITEMS_LINE_MAX_BYTES, 1048576);
    ck_assert_ptr_nonnull(strstr(aq_item_error_detail(AQ_ITEM_TOO_DEEP), "512"));
    ck_assert_int_eq(AQ_JSON_CHECK_DEPTH_MAX, 512);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, lines_are_found_with_their_place_however_the_body_is_split);
    tcase_add_loop_test(tests, a_line_is_what_an_editor_counts, 0, sizeof COUNTS / sizeof COUNTS[0]);
    tcase_add_test(tests, f69_a_line_that_is_too_long_is_that_lines_error);
    tcase_add_test(tests, f69_a_line_that_is_too_deep_is_that_lines_error);
    tcase_add_test(tests, f69_a_million_empty_lines_are_a_million_bad_items);
    tcase_add_test(tests, each_bad_line_has_an_error_for_its_client);
}

int main(void)
{
    return fixture_run("items", add_tests);
}
