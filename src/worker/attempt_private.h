/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an attempt at one request (attempt.c) and one at a batch of items (attempt_items.c) share: the attempt, and the ways
 * it ends.
 */
#ifndef AQ_ATTEMPT_PRIVATE_H
#define AQ_ATTEMPT_PRIVATE_H

#include "worker/attempt.h"

typedef struct {
    aq_worker_t *worker;
    apr_pool_t *pool;
    const aq_job_t *job;
    const aq_batch_location_t *location;
    aq_held_job_t held;
    aq_spool_file_t *result;
    aq_target_answer_t answer;
    aq_time_ms_t began_ms; /* boot time */
    int is_without_spool;  /* it was not there: nothing is known of the body */
    aq_trouble_t trouble;  /* in writing its row */
} aq_attempt_t;

/* The verified body, for the caller to close. Where it cannot be had `answer` says so, and it is logged. */
apr_status_t aq_attempt_body_open(aq_attempt_t *attempt, int *body_fd);

/* 1, after a pause, when a write of the row that ended so is to be tried again. */
int aq_attempt_try_again(aq_attempt_t *attempt, apr_status_t rv);

/*
 * Each writes the row under the token of the claim, again and again until that works or the lease is lost: APR_NOTFOUND
 * where the job is no longer ours.
 */
apr_status_t aq_attempt_finish(aq_attempt_t *attempt, const aq_job_result_t *result);

/* Gives the job back, to be due after `wait_ms`; canceled where that was asked for. */
void aq_attempt_hand_back(aq_attempt_t *attempt, int64_t wait_ms);

/* Writes down what `answer`, or its absence, means. Without a spool the job waits for it, and no attempt is counted. */
void aq_attempt_conclude(aq_attempt_t *attempt);

/* What `rv` of writing the row, and the words, say of the end. */
void aq_attempt_log_end(const aq_attempt_t *attempt, apr_status_t rv, const char *became, const char *error_code);

/* The attempt at a batch of items, whole. */
void aq_attempt_items(aq_attempt_t *attempt);

#endif
