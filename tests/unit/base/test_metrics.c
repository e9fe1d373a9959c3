/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: rows, adding by many processes, the past hour, and files that are none.
 */
#include "base/aq_metrics.h"
#include "unit/fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MINUTE INT64_C(60000)
#define NOW (INT64_C(29000000) * MINUTE)
#define PROCESSES 8
#define ADDITIONS 50000

static aq_metrics_t *metrics_open(const char *name)
{
    aq_metrics_t *metrics;

    ck_assert_int_eq(aq_metrics_open(fixture_pool, fixture_path(name), AQ_METRICS_ROWS_SERVER, &metrics), APR_SUCCESS);
    return metrics;
}

START_TEST(rows_are_found_again_and_by_another_process_too)
{
    aq_metrics_t *metrics = metrics_open("rows");
    unsigned basic = aq_metrics_row(metrics, AQ_METRIC_REQUESTS, "basic", "");
    unsigned other = aq_metrics_row(metrics, AQ_METRIC_REQUESTS, "other", "");
    unsigned limit = aq_metrics_row(metrics, AQ_METRIC_LIMITED, "basic", "minute");

    ck_assert_uint_eq(basic, 1);
    ck_assert_uint_eq(other, basic + AQ_DECISION_COUNT);
    ck_assert_uint_eq(limit, other + AQ_DECISION_COUNT);
    ck_assert_uint_eq(aq_metrics_row(metrics, AQ_METRIC_REQUESTS, "other", ""), other);
    ck_assert_uint_eq(aq_metrics_row_find(metrics, AQ_METRIC_LIMITED, "basic", "day"), 0);
    aq_metrics_add(metrics, limit, 5);
    metrics = metrics_open("rows");
    ck_assert_uint_eq(aq_metrics_row_find(metrics, AQ_METRIC_LIMITED, "basic", "minute"), limit);
    ck_assert_uint_eq(aq_metrics_total(metrics, limit), 5);
}
END_TEST

START_TEST(who_finds_no_room_has_row_0)
{
    char name[16];
    aq_metrics_t *metrics;
    unsigned row = 1;

    ck_assert_int_eq(aq_metrics_open(fixture_pool, fixture_path("small"), 64, &metrics), APR_SUCCESS);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof(name), "plan%d", i);
        row = aq_metrics_row(metrics, AQ_METRIC_REQUESTS, name, "");
        ck_assert_uint_eq(row, 1 + (unsigned)i * AQ_DECISION_COUNT);
    }
    ck_assert_uint_eq(aq_metrics_row(metrics, AQ_METRIC_REQUESTS, "one more", ""), 0);
    ck_assert_uint_ne(aq_metrics_row(metrics, AQ_METRIC_LIMITED, "one", "more"), 0);
    aq_metrics_add(metrics, 0, 1);
    ck_assert_uint_eq(aq_metrics_used(metrics), 62);
}
END_TEST

START_TEST(processes_lose_nothing_and_may_be_killed)
{
    aq_metrics_t *metrics = metrics_open("processes");
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_REQUESTS, "basic", "");
    pid_t victim = fork(), pids[PROCESSES];

    if (victim == 0) {
        aq_metrics_shard_choose(metrics, 0);
        for (;;) {
            aq_metrics_add(metrics, row + 1, 1);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            aq_metrics_shard_choose(metrics, (uint64_t)i % 3);
            for (int n = 0; n < ADDITIONS; n++) {
                aq_metrics_add(metrics, row, 1);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(kill(victim, SIGKILL), 0);
    ck_assert_int_eq(waitpid(victim, NULL, 0), victim);
    ck_assert_uint_eq(aq_metrics_total(metrics, row), (uint64_t)PROCESSES * ADDITIONS);
    aq_metrics_add(metrics, row, 1);
    ck_assert_uint_eq(aq_metrics_total(metrics, row), (uint64_t)PROCESSES * ADDITIONS + 1);
}
END_TEST

static uint64_t sum_of(const uint64_t minutes[AQ_METRICS_HOUR])
{
    uint64_t sum = 0;

    for (int i = 0; i < AQ_METRICS_HOUR; i++) {
        sum += minutes[i];
    }
    return sum;
}

START_TEST(the_past_hour_is_told_minute_by_minute)
{
    aq_metrics_t *metrics = metrics_open("hour");
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_LIMITED, "basic", "minute");
    uint64_t minutes[AQ_METRICS_HOUR];

    for (int i = 0; i <= 130; i++) {
        aq_metrics_tick(metrics, NOW + i * MINUTE);
        aq_metrics_tick(metrics, NOW + i * MINUTE + 30000);
        aq_metrics_add(metrics, row, (uint64_t)i);
    }
    aq_metrics_hour(metrics, row, NOW + 130 * MINUTE + 59999, minutes);
    for (int i = 0; i < AQ_METRICS_HOUR; i++) {
        ck_assert_uint_eq(minutes[i], (uint64_t)(130 - (AQ_METRICS_HOUR - 1 - i)));
    }
}
END_TEST

START_TEST(minutes_that_nobody_noted_have_none_and_the_next_one_has_theirs)
{
    aq_metrics_t *metrics = metrics_open("gap");
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_LIMITED, "basic", "minute");
    uint64_t minutes[AQ_METRICS_HOUR];

    aq_metrics_tick(metrics, NOW);
    aq_metrics_add(metrics, row, 7);
    aq_metrics_tick(metrics, NOW + 10 * MINUTE);
    aq_metrics_add(metrics, row, 2);
    aq_metrics_hour(metrics, row, NOW + 10 * MINUTE, minutes);
    ck_assert_uint_eq(minutes[AQ_METRICS_HOUR - 1], 2);
    ck_assert_uint_eq(minutes[AQ_METRICS_HOUR - 11], 7);
    ck_assert_uint_eq(sum_of(minutes), 9);
    /* All of it is past. */
    aq_metrics_tick(metrics, NOW + 200 * MINUTE);
    aq_metrics_hour(metrics, row, NOW + 200 * MINUTE, minutes);
    ck_assert_uint_eq(sum_of(minutes), 0);
}
END_TEST

START_TEST(a_clock_that_steps_back_makes_no_numbers_up)
{
    aq_metrics_t *metrics = metrics_open("back");
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_LIMITED, "basic", "minute");
    uint64_t minutes[AQ_METRICS_HOUR];

    aq_metrics_tick(metrics, NOW);
    aq_metrics_add(metrics, row, 3);
    aq_metrics_tick(metrics, NOW + MINUTE);
    aq_metrics_add(metrics, row, 4);
    aq_metrics_tick(metrics, NOW - 5 * MINUTE);
    aq_metrics_hour(metrics, row, NOW - 5 * MINUTE, minutes);
    ck_assert_uint_eq(sum_of(minutes), 0);
    aq_metrics_tick(metrics, NOW);
    aq_metrics_hour(metrics, row, NOW, minutes);
    ck_assert_uint_le(sum_of(minutes), 7);
}
END_TEST

START_TEST(observations_fall_into_their_bucket)
{
    static const aq_metric_t histograms[] = {AQ_METRIC_STORE_SECONDS, AQ_METRIC_BATCH_SECONDS};
    aq_metrics_t *metrics = metrics_open("histogram");

    for (int h = 0; h < 2; h++) {
        const aq_metric_family_t *family = aq_metric_family(histograms[h]);
        unsigned row = aq_metrics_row(metrics, histograms[h], "", ""), bounds = aq_metric_width(histograms[h]) - 2;
        int64_t sum_ns = 0;

        for (unsigned i = 0; i < bounds; i++) {
            /* The text that is shown is the number that is compared. */
            ck_assert_double_eq_tol(strtod(family->values[i], NULL) * 1e9, (double)family->bounds_ns[i], 0.5);
            aq_metrics_observe(metrics, histograms[h], row, family->bounds_ns[i]);
            aq_metrics_observe(metrics, histograms[h], row, family->bounds_ns[i] + 1);
            sum_ns += 2 * family->bounds_ns[i] + 1;
        }
        ck_assert_uint_eq(aq_metrics_total(metrics, row), 1);
        for (unsigned i = 1; i < bounds; i++) {
            ck_assert_uint_eq(aq_metrics_total(metrics, row + i), 2);
        }
        ck_assert_str_eq(family->values[bounds], AQ_METRICS_BOUND_ABOVE);
        ck_assert_uint_eq(aq_metrics_total(metrics, row + bounds), 1);
        ck_assert_str_eq(family->values[bounds + 1], AQ_METRICS_BOUND_SUM);
        ck_assert_uint_eq(aq_metrics_total(metrics, row + bounds + 1), (uint64_t)sum_ns);
    }
}
END_TEST

START_TEST(a_reader_neither_makes_a_file_nor_takes_a_foreign_one)
{
    aq_metrics_t *metrics = metrics_open("read"), *reading;
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_HEARTBEAT, "", "");

    aq_metrics_shard_choose(metrics, 5);
    aq_metrics_set(metrics, row, 77);
    aq_metrics_set(metrics, row, 78);
    ck_assert_int_eq(aq_metrics_open_readonly(fixture_pool, fixture_path("read"), &reading), APR_SUCCESS);
    ck_assert_uint_eq(aq_metrics_total(reading, aq_metrics_row_find(reading, AQ_METRIC_HEARTBEAT, "", "")), 78);
    ck_assert_int_ne(aq_metrics_open_readonly(fixture_pool, fixture_path("none"), &reading), APR_SUCCESS);
    ck_assert_ptr_null(reading);
    ck_assert_int_ne(access(fixture_path("none"), F_OK), 0);
    fixture_write(fixture_path("foreign"), "AQMETRIC but not one");
    ck_assert_int_ne(aq_metrics_open_readonly(fixture_pool, fixture_path("foreign"), &reading), APR_SUCCESS);
}
END_TEST

/* What is changed in a good file, at which byte. */
static const long SPOILT[] = {0, 8, 12, 16, 24};

START_TEST(a_spoilt_header_is_no_header)
{
    const char *path = fixture_path("spoilt");
    aq_metrics_t *metrics = metrics_open("spoilt");
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_LIMITED, "basic", "minute");
    FILE *file;

    aq_metrics_add(metrics, row, 1);
    file = fopen(path, "r+");
    ck_assert_int_eq(fseek(file, SPOILT[_i], SEEK_SET), 0);
    ck_assert_uint_eq(fwrite("\xff\xff\xff\xff", 1, 4, file), 4);
    ck_assert_int_eq(fclose(file), 0);
    metrics = metrics_open("spoilt");
    ck_assert_uint_eq(aq_metrics_used(metrics), 1);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(without_a_file_it_counts_in_memory)
{
    aq_metrics_t *metrics;
    pid_t pid;

    ck_assert_int_ne(aq_metrics_open(fixture_pool, fixture_path("no/such/folder"), 64, &metrics), APR_SUCCESS);
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_LIMITED, "basic", "minute");
    ck_assert_uint_ne(row, 0);
    pid = fork();
    if (pid == 0) {
        aq_metrics_add(metrics, row, 3);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_uint_eq(aq_metrics_total(metrics, row), 3);
}
END_TEST

START_TEST(store_errors_have_reasons)
{
    aq_metrics_t *metrics = metrics_open("errors");
    unsigned row = aq_metrics_row(metrics, AQ_METRIC_STORE_ERRORS, "", "");

    aq_store_error_count(AQ_STORE_ERROR_FULL); /* nowhere yet */
    aq_store_errors_install(metrics, row);
    aq_store_error_count(AQ_STORE_ERROR_TIMEOUT);
    aq_store_error_count(aq_store_error_of(APR_ENOSPC));
    aq_store_error_count(aq_store_error_of(APR_EGENERAL));
    ck_assert_uint_eq(aq_metrics_total(metrics, row + AQ_STORE_ERROR_FULL), 1);
    ck_assert_uint_eq(aq_metrics_total(metrics, row + AQ_STORE_ERROR_TIMEOUT), 1);
    ck_assert_uint_eq(aq_metrics_total(metrics, row + AQ_STORE_ERROR_OTHER), 1);
    ck_assert_uint_eq(aq_metric_width(AQ_METRIC_STORE_ERRORS), AQ_STORE_ERROR_COUNT);
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_test(tests, rows_are_found_again_and_by_another_process_too);
    tcase_add_test(tests, who_finds_no_room_has_row_0);
    tcase_add_test(tests, processes_lose_nothing_and_may_be_killed);
    tcase_add_test(tests, the_past_hour_is_told_minute_by_minute);
    tcase_add_test(tests, minutes_that_nobody_noted_have_none_and_the_next_one_has_theirs);
    tcase_add_test(tests, a_clock_that_steps_back_makes_no_numbers_up);
    tcase_add_test(tests, observations_fall_into_their_bucket);
    tcase_add_test(tests, a_reader_neither_makes_a_file_nor_takes_a_foreign_one);
    tcase_add_loop_test(tests, a_spoilt_header_is_no_header, 0, sizeof(SPOILT) / sizeof(SPOILT[0]));
    tcase_add_test(tests, without_a_file_it_counts_in_memory);
    tcase_add_test(tests, store_errors_have_reasons);
}

int main(void)
{
    return fixture_run("metrics", tests_add);
}
