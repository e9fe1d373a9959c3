/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outcome: what becomes of a job, line by line, and how long it waits.
 */
#include "batch/outcome.h"

#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

/* `idempotent`, `not`: the status where the target is idempotent, and where it is not; attempts are left. */
static const struct {
    aq_target_end_t end;
    int status;
    aq_batch_status_t idempotent, not ;
    const char *code, *code_not;
} ROWS[] = {
    {AQ_TARGET_ANSWERED, 200, AQ_BATCH_SUCCEEDED, AQ_BATCH_SUCCEEDED, NULL, NULL},
    {AQ_TARGET_ANSWERED, 204, AQ_BATCH_SUCCEEDED, AQ_BATCH_SUCCEEDED, NULL, NULL},
    {AQ_TARGET_ANSWERED, 299, AQ_BATCH_SUCCEEDED, AQ_BATCH_SUCCEEDED, NULL, NULL},
    {AQ_TARGET_ANSWERED, 301, AQ_BATCH_FAILED, AQ_BATCH_FAILED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 400, AQ_BATCH_FAILED, AQ_BATCH_FAILED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 500, AQ_BATCH_FAILED, AQ_BATCH_FAILED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 408, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 425, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 429, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 502, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 503, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "target-status", "target-status"},
    {AQ_TARGET_ANSWERED, 504, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "target-status", "target-status"},
    {AQ_TARGET_REFUSED, 0, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "target-unreachable", "target-unreachable"},
    {AQ_TARGET_LOST, 0, AQ_BATCH_QUEUED, AQ_BATCH_FAILED, "target-lost", "outcome-unknown"},
    {AQ_TARGET_TIMED_OUT, 0, AQ_BATCH_QUEUED, AQ_BATCH_FAILED, "target-timeout", "outcome-unknown"},
    {AQ_TARGET_TOO_LARGE, 200, AQ_BATCH_FAILED, AQ_BATCH_FAILED, "response-too-large", "response-too-large"},
    {AQ_BODY_MISSING, 0, AQ_BATCH_FAILED, AQ_BATCH_FAILED, "body-missing", "body-missing"},
    {AQ_BODY_CHANGED, 0, AQ_BATCH_FAILED, AQ_BATCH_FAILED, "body-changed", "body-changed"},
    {AQ_WORKER_TROUBLE, 0, AQ_BATCH_QUEUED, AQ_BATCH_QUEUED, "worker-trouble", "worker-trouble"},
    {AQ_WORKER_LOST, 0, AQ_BATCH_QUEUED, AQ_BATCH_FAILED, "worker-lost", "outcome-unknown"},
};

static aq_outcome_t decide(int i, int attempt, int is_idempotent)
{
    return aq_outcome_decide(&(aq_attempt_end_t){.end = ROWS[i].end,
                                                 .status = ROWS[i].status,
                                                 .attempt = attempt,
                                                 .max_attempts = 3,
                                                 .target_is_idempotent = is_idempotent},
                             0.5);
}

static void assert_code(const char *code, const char *wanted)
{
    ck_assert_msg(code == wanted || (code != NULL && wanted != NULL && strcmp(code, wanted) == 0), "%s, not %s", code,
                  wanted);
}

START_TEST(each_end_has_its_outcome)
{
    aq_outcome_t outcome = decide(_i, 1, 1);
    ck_assert_int_eq(outcome.status, ROWS[_i].idempotent);
    assert_code(outcome.error_code, ROWS[_i].code);

    outcome = decide(_i, 1, 0);
    ck_assert_int_eq(outcome.status, ROWS[_i].not );
    assert_code(outcome.error_code, ROWS[_i].code_not);
}
END_TEST

START_TEST(the_last_attempt_is_never_followed_by_another)
{
    aq_outcome_t outcome = decide(_i, 3, 1);

    ck_assert_int_ne(outcome.status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(outcome.status, ROWS[_i].idempotent == AQ_BATCH_SUCCEEDED ? AQ_BATCH_SUCCEEDED : AQ_BATCH_FAILED);
    assert_code(outcome.error_code, ROWS[_i].code);
}
END_TEST

static const struct {
    aq_target_end_t end;
    int attempt;
    int64_t retry_after_s;
    double random;
    int64_t wait_ms;
} WAITS[] = {
    {AQ_TARGET_REFUSED, 1, 0, 0.0, 500},
    {AQ_TARGET_REFUSED, 1, 0, 0.5, 1000},
    {AQ_TARGET_REFUSED, 2, 0, 0.5, 16000},
    {AQ_TARGET_REFUSED, 4, 0, 0.0, 128000},
    {AQ_TARGET_REFUSED, 13, 0, 0.5, AQ_RETRY_WAIT_MAX_MS},
    {AQ_TARGET_REFUSED, 2000000000, 0, 0.5, AQ_RETRY_WAIT_MAX_MS},
    {AQ_TARGET_ANSWERED, 1, 7, 0.5, 7000},
    {AQ_TARGET_ANSWERED, 3, 7, 0.5, 81000},
    {AQ_TARGET_ANSWERED, 1, INT64_MAX, 0.5, AQ_RETRY_WAIT_MAX_MS},
    {AQ_WORKER_LOST, 1, 0, 0.9, 0},
    {AQ_WORKER_LOST, 2, 0, 0.5, 1000},
};

START_TEST(waits_grow_and_are_bounded)
{
    aq_outcome_t outcome = aq_outcome_decide(&(aq_attempt_end_t){.end = WAITS[_i].end,
                                                                 .status = 503,
                                                                 .retry_after_s = WAITS[_i].retry_after_s,
                                                                 .attempt = WAITS[_i].attempt,
                                                                 .max_attempts = 2000000001,
                                                                 .target_is_idempotent = 1},
                                             WAITS[_i].random);

    ck_assert_int_eq(outcome.status, AQ_BATCH_QUEUED);
    ck_assert_int_eq(outcome.wait_ms, WAITS[_i].wait_ms);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, each_end_has_its_outcome, 0, sizeof ROWS / sizeof ROWS[0]);
    tcase_add_loop_test(tests, the_last_attempt_is_never_followed_by_another, 0, sizeof ROWS / sizeof ROWS[0]);
    tcase_add_loop_test(tests, waits_grow_and_are_bounded, 0, sizeof WAITS / sizeof WAITS[0]);
}

int main(void)
{
    return fixture_run("outcome", add_tests);
}
