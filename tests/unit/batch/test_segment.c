/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments: what was noted whole is known afterwards, what was torn is done again, and the result has each line once.
 */
#include "batch/segment.h"

#include "unit/fixture.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ITEMS 20

static const char ID[] = "batch_01aryz6s410000000000000000";
static const char OTHER_ID[] = "batch_01aryz6s410000000000000001";

static const char *folder;
static aq_spool_t *spool;
static _Atomic int stop_flag;

static void setup_bounded(int64_t max_bytes)
{
    char *made = apr_pstrdup(fixture_pool, fixture_path("spool-XXXXXX"));
    const char *error;

    ck_assert_ptr_nonnull(mkdtemp(made));
    folder = made;
    ck_assert_int_eq(aq_spool_prepare(folder, (uid_t)-1, (gid_t)-1, fixture_pool, &error), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_open(fixture_pool, folder, max_bytes, &spool, &error), APR_SUCCESS);
    stop_flag = 0;
}

static void setup(void)
{
    setup_bounded(0);
}

static const char *path_of(const char *id, int token)
{
    return apr_psprintf(fixture_pool, "%s/segment/%s.%d", folder, id, token);
}

/* A segment of this lease, with a pool of its own. */
static aq_segment_t *begin(int token, apr_pool_t **pool)
{
    aq_segment_t *segment;

    ck_assert_int_eq(apr_pool_create(pool, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_segment_begin(spool, *pool, ID, token, &segment), APR_SUCCESS);
    return segment;
}

static void add(aq_segment_t *segment, aq_segment_kind_t kind, int64_t line, const char *text)
{
    ck_assert_int_eq(aq_segment_add(segment, kind, line, text, strlen(text)), APR_SUCCESS);
}

static void end(aq_segment_t *segment, apr_pool_t *pool)
{
    ck_assert_int_eq(aq_segment_flush(segment), APR_SUCCESS);
    apr_pool_destroy(pool);
}

/* A segment with a line done, for each line named. */
static void write_segment(int token, int first, int last, const char *mark)
{
    apr_pool_t *pool;
    aq_segment_t *segment = begin(token, &pool);

    for (int line = first; line <= last; line++) {
        add(segment, AQ_SEGMENT_DONE, line, apr_psprintf(fixture_pool, "%s%d", mark, line));
    }
    end(segment, pool);
}

static aq_items_known_t recover(void)
{
    aq_items_known_t known;

    aq_items_known_make(fixture_pool, ITEMS, &known);
    ck_assert_int_eq(aq_segments_recover(spool, fixture_pool, ID, &known), APR_SUCCESS);
    return known;
}

static const char *merge(aq_items_known_t *known)
{
    aq_merge_stop_t stop = {.flag = &stop_flag, .from = 2};
    aq_batch_body_t body;
    aq_spool_file_t *file;

    aq_items_known_make(fixture_pool, ITEMS, known);
    ck_assert_int_eq(aq_spool_result_begin(spool, fixture_pool, ID, 9, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_segments_merge(spool, fixture_pool, ID, known, file, &stop), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_result_commit(file, &body), APR_SUCCESS);
    /* A result of no bytes has no file. */
    return body.bytes > 0 ? fixture_read(aq_spool_result_path(spool, fixture_pool, ID, 9)) : "";
}

static int64_t used(void)
{
    int64_t bytes;

    ck_assert_int_eq(aq_spool_used(spool, fixture_pool, &bytes), APR_SUCCESS);
    return bytes;
}

static int64_t size_of(const char *path)
{
    struct stat info;

    ck_assert_int_eq(stat(path, &info), 0);
    return info.st_size;
}

START_TEST(what_is_noted_is_known_to_the_next_lease)
{
    apr_pool_t *pool;
    aq_segment_t *segment = begin(1, &pool);

    add(segment, AQ_SEGMENT_DONE, 1, "{\"line\":1}");
    add(segment, AQ_SEGMENT_FAILED, 3, "{\"line\":3}");
    add(segment, AQ_SEGMENT_BEGUN, 4, "");
    add(segment, AQ_SEGMENT_BEGUN, 5, "");
    add(segment, AQ_SEGMENT_TRIED, 5, "2");
    add(segment, AQ_SEGMENT_TRIED, 6, "1");
    add(segment, AQ_SEGMENT_DONE, 6, "{\"line\":6}");
    end(segment, pool);
    aq_items_known_t known = recover();
    ck_assert_int_eq(known.done, 3);
    ck_assert_int_eq(known.failed, 1);
    ck_assert_int_eq(known.result_bytes, 33);
    ck_assert(aq_items_is_done(&known, 1) && !aq_items_is_done(&known, 2) && aq_items_is_done(&known, 3));
    ck_assert(aq_items_is_unknown(&known, 4) && !aq_items_is_unknown(&known, 5) && !aq_items_is_unknown(&known, 1));
    ck_assert_int_eq(aq_items_tries(&known, 5), 2);
    ck_assert_int_eq(aq_items_tries(&known, 6) + aq_items_tries(&known, 1), 0);
}
END_TEST

START_TEST(what_was_not_flushed_is_not_known)
{
    apr_pool_t *pool;
    aq_segment_t *segment = begin(1, &pool);

    add(segment, AQ_SEGMENT_DONE, 1, "1");
    ck_assert_int_eq(aq_segment_sync(segment), APR_SUCCESS);
    add(segment, AQ_SEGMENT_DONE, 2, "2");
    apr_pool_destroy(pool);
    ck_assert_int_eq(recover().done, 1);
}
END_TEST

START_TEST(a_last_record_torn_at_any_byte_is_cut_and_those_before_it_stay)
{
    write_segment(1, 1, 3, "{\"text\":\"of some length\"}");
    const char *text = fixture_read(path_of(ID, 1));
    int64_t whole = (int64_t)strlen(text);
    int64_t record = whole / 3;
    ck_assert_int_eq(record * 3, whole);
    for (int64_t bytes = 2 * record; bytes < whole; bytes++) {
        fixture_write(path_of(ID, 1), apr_pstrmemdup(fixture_pool, text, (size_t)bytes));
        ck_assert_int_eq(recover().done, 2);
        ck_assert_int_eq(size_of(path_of(ID, 1)), 2 * record);
        /* The same tear with the room that was reserved behind it, which reads as zeros. */
        fixture_write(path_of(ID, 1), apr_pstrmemdup(fixture_pool, text, (size_t)bytes));
        ck_assert_int_eq(truncate(path_of(ID, 1), 100000), 0);
        ck_assert_int_eq(recover().done, 2);
        ck_assert_int_eq(size_of(path_of(ID, 1)), 2 * record);
    }
    fixture_write(path_of(ID, 1), text);
    ck_assert_int_eq(recover().done, 3);
}
END_TEST

START_TEST(a_byte_that_changed_anywhere_ends_the_segment_there)
{
    write_segment(1, 1, 3, "text");
    const char *text = fixture_read(path_of(ID, 1));
    size_t size = strlen(text), record = size / 3;

    for (size_t at = record; at < 2 * record; at++) {
        char *changed = apr_pstrdup(fixture_pool, text);
        changed[at] ^= 1;
        fixture_write(path_of(ID, 1), changed);
        ck_assert_int_eq(recover().done, 1);
        ck_assert_int_eq(size_of(path_of(ID, 1)), (int64_t)record);
    }
}
END_TEST

START_TEST(the_result_has_each_line_once_in_order_whoever_did_it)
{
    aq_items_known_t known;
    apr_pool_t *pool;

    write_segment(2, 5, 7, "two-");
    write_segment(10, 6, 9, "ten-"); /* 6 and 7 again, by a lease that came later */
    aq_segment_t *segment = begin(3, &pool);
    add(segment, AQ_SEGMENT_FAILED, 12, "three-12");
    add(segment, AQ_SEGMENT_DONE, 1, "three-1");
    add(segment, AQ_SEGMENT_DONE, 1, "three-1-again");
    add(segment, AQ_SEGMENT_DONE, ITEMS + 1, "out of bounds");
    end(segment, pool);
    ck_assert_str_eq(merge(&known), "three-1\ntwo-5\ntwo-6\ntwo-7\nten-8\nten-9\nthree-12\n");
    ck_assert_int_eq(known.done, 7);
    ck_assert_int_eq(known.failed, 1);
}
END_TEST

START_TEST(the_result_tells_of_items_that_were_only_begun)
{
    aq_items_known_t known;
    apr_pool_t *pool;
    aq_segment_t *segment = begin(1, &pool);

    add(segment, AQ_SEGMENT_BEGUN, 2, "");
    add(segment, AQ_SEGMENT_BEGUN, 1, "");
    add(segment, AQ_SEGMENT_DONE, 1, "one");
    add(segment, AQ_SEGMENT_BEGUN, 3, "");
    add(segment, AQ_SEGMENT_TRIED, 3, "1");
    add(segment, AQ_SEGMENT_BEGUN, 20, "");
    end(segment, pool);
    const char *text = merge(&known);
    ck_assert_int_eq(strncmp(text, "one\n{\"line\":2,\"status\":null", 27), 0);
    ck_assert_ptr_nonnull(strstr(text, "\n{\"line\":20,"));
    ck_assert_ptr_null(strstr(text, "{\"line\":3,"));
    ck_assert_int_eq(known.done, 3);
    ck_assert_int_eq(known.failed, 2);
}
END_TEST

START_TEST(a_result_of_nothing_is_empty)
{
    aq_items_known_t known;

    ck_assert_str_eq(merge(&known), "");
    ck_assert_int_eq(known.done, 0);
}
END_TEST

START_TEST(a_merge_ends_when_it_is_told_to)
{
    aq_merge_stop_t stop = {.flag = &stop_flag, .from = 2};
    aq_items_known_t known;
    aq_spool_file_t *file;

    write_segment(1, 1, 3, "x");
    aq_items_known_make(fixture_pool, ITEMS, &known);
    ck_assert_int_eq(aq_spool_result_begin(spool, fixture_pool, ID, 9, &file), APR_SUCCESS);
    stop_flag = 2;
    ck_assert_int_eq(aq_segments_merge(spool, fixture_pool, ID, &known, file, &stop), APR_EINTR);
}
END_TEST

START_TEST(long_texts_are_kept_and_longer_ones_refused)
{
    char *text = apr_palloc(fixture_pool, AQ_SEGMENT_TEXT_MAX_BYTES + 1);
    aq_items_known_t known;
    apr_pool_t *pool;
    aq_segment_t *segment = begin(1, &pool);

    memset(text, 'x', AQ_SEGMENT_TEXT_MAX_BYTES + 1);
    for (int line = 1; line <= 5; line++) {
        ck_assert_int_eq(aq_segment_add(segment, AQ_SEGMENT_DONE, line, text, AQ_SEGMENT_TEXT_MAX_BYTES), APR_SUCCESS);
        add(segment, AQ_SEGMENT_DONE, line + 10, "short");
    }
    ck_assert_int_eq(aq_segment_flush(segment), APR_SUCCESS);
    ck_assert_uint_eq(strlen(merge(&known)), 5 * (AQ_SEGMENT_TEXT_MAX_BYTES + 1) + 5 * 6);
    ck_assert_int_eq(known.done, 10);
    ck_assert_int_eq(aq_segment_add(segment, AQ_SEGMENT_DONE, 6, text, AQ_SEGMENT_TEXT_MAX_BYTES + 1), APR_EINVAL);
    ck_assert_int_eq(aq_segment_add(segment, AQ_SEGMENT_DONE, 6, "x", 1), APR_EINVAL);
    apr_pool_destroy(pool);
}
END_TEST

START_TEST(a_text_with_a_line_end_is_refused)
{
    apr_pool_t *pool;
    aq_segment_t *segment = begin(1, &pool);

    ck_assert_int_eq(aq_segment_add(segment, AQ_SEGMENT_DONE, 1, "a\nb", 3), APR_EINVAL);
    apr_pool_destroy(pool);
}
END_TEST

START_TEST(segments_count_as_used_room_while_they_grow_and_afterwards)
{
    aq_spool_file_t *file;
    apr_pool_t *pool;

    setup_bounded(200000);
    aq_segment_t *segment = begin(1, &pool);
    add(segment, AQ_SEGMENT_DONE, 1, "x");
    ck_assert_int_eq(aq_segment_flush(segment), APR_SUCCESS);
    ck_assert_int_gt(used(), 60000);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, 150000, &file), APR_ENOSPC);
    apr_pool_destroy(pool);
    ck_assert_int_lt(used(), 100);
    ck_assert_int_eq(aq_spool_body_begin(spool, fixture_pool, NULL, 199000, &file), APR_SUCCESS);
}
END_TEST

START_TEST(f44_a_full_spool_ends_a_segment_and_what_was_whole_stays)
{
    char *text = apr_palloc(fixture_pool, 10001);
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *pool;
    int added = 0;

    setup_bounded(100000);
    memset(text, 'x', 10000);
    text[10000] = '\0';
    aq_segment_t *segment = begin(1, &pool);
    while (rv == APR_SUCCESS && added < ITEMS) {
        rv = aq_segment_add(segment, AQ_SEGMENT_DONE, ++added, text, 10000);
        rv = rv == APR_SUCCESS ? aq_segment_flush(segment) : rv;
    }
    ck_assert_int_eq(rv, APR_ENOSPC);
    ck_assert_int_eq(added, 10);
    ck_assert_int_le(used(), 100000);
    apr_pool_destroy(pool);
    ck_assert_int_eq(recover().done, 9);
}
END_TEST

START_TEST(segments_go_with_the_body_and_those_of_others_stay)
{
    apr_pool_t *pool;
    aq_segment_t *other;

    write_segment(1, 1, 3, "x");
    write_segment(7, 1, 3, "x");
    ck_assert_int_eq(apr_pool_create(&pool, fixture_pool), APR_SUCCESS);
    ck_assert_int_eq(aq_segment_begin(spool, pool, OTHER_ID, 1, &other), APR_SUCCESS);
    end(other, pool);
    ck_assert_int_eq(aq_spool_body_remove(spool, fixture_pool, ID), APR_SUCCESS);
    ck_assert_int_eq(access(path_of(ID, 1), F_OK) + access(path_of(ID, 7), F_OK), -2);
    ck_assert_int_eq(access(path_of(OTHER_ID, 1), F_OK), 0);
    ck_assert_int_eq(used(), 0);
}
END_TEST

/* Knows the segment of lease 7 and nothing else. */
static int judge(void *data, const char *id, int64_t token)
{
    (*(int *)data)++;
    return token != -7 && aq_spool_segment_remove(spool, fixture_pool, id, -token) == APR_SUCCESS;
}

START_TEST(the_sweep_removes_old_segments_that_nobody_knows)
{
    unsigned removed;
    int asked = 0;

    write_segment(1, 1, 3, "x");
    write_segment(7, 1, 3, "x");
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, 1000, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 0);
    ck_assert_int_eq(aq_spool_sweep(spool, fixture_pool, INT64_MAX, judge, &asked, &removed), APR_SUCCESS);
    ck_assert_uint_eq(removed, 1);
    ck_assert_int_eq(asked, 2);
    ck_assert_int_eq(access(path_of(ID, 7), F_OK), 0);
    ck_assert_int_gt(used(), 0);
}
END_TEST

START_TEST(a_lease_has_one_segment)
{
    aq_segment_t *second;
    apr_pool_t *pool;

    aq_segment_t *first = begin(1, &pool);
    end(first, pool);
    ck_assert_int_ne(aq_segment_begin(spool, fixture_pool, ID, 1, &second), APR_SUCCESS);
    ck_assert_ptr_null(second);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, what_is_noted_is_known_to_the_next_lease);
    tcase_add_test(tests, what_was_not_flushed_is_not_known);
    tcase_add_test(tests, a_last_record_torn_at_any_byte_is_cut_and_those_before_it_stay);
    tcase_add_test(tests, a_byte_that_changed_anywhere_ends_the_segment_there);
    tcase_add_test(tests, the_result_has_each_line_once_in_order_whoever_did_it);
    tcase_add_test(tests, the_result_tells_of_items_that_were_only_begun);
    tcase_add_test(tests, a_result_of_nothing_is_empty);
    tcase_add_test(tests, a_merge_ends_when_it_is_told_to);
    tcase_add_test(tests, long_texts_are_kept_and_longer_ones_refused);
    tcase_add_test(tests, a_text_with_a_line_end_is_refused);
    tcase_add_test(tests, segments_count_as_used_room_while_they_grow_and_afterwards);
    tcase_add_test(tests, f44_a_full_spool_ends_a_segment_and_what_was_whole_stays);
    tcase_add_test(tests, segments_go_with_the_body_and_those_of_others_stay);
    tcase_add_test(tests, the_sweep_removes_old_segments_that_nobody_knows);
    tcase_add_test(tests, a_lease_has_one_segment);
}

int main(void)
{
    return fixture_run("segment", add_tests);
}
