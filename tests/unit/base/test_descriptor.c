/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: what is handed over is the same open file, and nothing blocks.
 */
#include "base/aq_descriptor.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

START_TEST(descriptor_that_is_handed_over_is_the_same_open_file)
{
    int ends[2], handed = -1, pipe_ends[2];
    char byte = 0;

    ck_assert(aq_descriptor_pair(ends) == APR_SUCCESS);
    ck_assert(pipe(pipe_ends) == 0);
    ck_assert(aq_descriptor_send(ends[0], pipe_ends[1]) == APR_SUCCESS);
    (void)close(pipe_ends[1]);
    ck_assert(aq_descriptor_receive(ends[1], &handed) == APR_SUCCESS);
    ck_assert(write(handed, "x", 1) == 1);
    ck_assert(read(pipe_ends[0], &byte, 1) == 1);
    ck_assert_int_eq(byte, 'x');
    ck_assert(fcntl(handed, F_GETFD) & FD_CLOEXEC);
    (void)close(handed);
    (void)close(pipe_ends[0]);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

START_TEST(receiving_does_not_wait)
{
    int ends[2], handed = 7;

    ck_assert(aq_descriptor_pair(ends) == APR_SUCCESS);
    ck_assert(APR_STATUS_IS_EAGAIN(aq_descriptor_receive(ends[1], &handed)));
    ck_assert_int_eq(handed, -1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

START_TEST(message_without_a_descriptor_is_refused)
{
    int ends[2], handed = 7;

    ck_assert(aq_descriptor_pair(ends) == APR_SUCCESS);
    ck_assert(write(ends[0], "x", 1) == 1);
    ck_assert(aq_descriptor_receive(ends[1], &handed) == APR_EGENERAL);
    ck_assert_int_eq(handed, -1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

START_TEST(sending_to_nobody_is_an_error_and_no_signal)
{
    int ends[2];

    ck_assert(aq_descriptor_pair(ends) == APR_SUCCESS);
    (void)close(ends[1]);
    ck_assert(aq_descriptor_send(ends[0], STDERR_FILENO) != APR_SUCCESS);
    (void)close(ends[0]);
}
END_TEST

START_TEST(sending_does_not_wait_for_a_side_that_takes_nothing)
{
    apr_status_t rv = APR_SUCCESS;
    int ends[2];

    ck_assert(aq_descriptor_pair(ends) == APR_SUCCESS);
    for (int i = 0; i < 10000 && rv == APR_SUCCESS; i++) {
        rv = aq_descriptor_send(ends[0], STDERR_FILENO);
    }
    ck_assert(rv != APR_SUCCESS);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("descriptor");
    TCase *tcase = tcase_create("descriptor");

    tcase_add_test(tcase, descriptor_that_is_handed_over_is_the_same_open_file);
    tcase_add_test(tcase, receiving_does_not_wait);
    tcase_add_test(tcase, message_without_a_descriptor_is_refused);
    tcase_add_test(tcase, sending_to_nobody_is_an_error_and_no_signal);
    tcase_add_test(tcase, sending_does_not_wait_for_a_side_that_takes_nothing);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
