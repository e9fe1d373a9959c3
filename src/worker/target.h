/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Target: sends one request to where a batch location says, over libcurl.
 *
 * The body goes from the spool and the answer to the spool, in pieces. Only http and https; no redirect is followed, no
 * proxy of the environment used, no cookie kept.
 */
#ifndef AQ_TARGET_H
#define AQ_TARGET_H

#include "batch/batch_config.h"
#include "batch/outcome.h"
#include "batch/spool.h"

/* A connection to targets, kept between calls. One thread at a time. */
typedef struct aq_target_t aq_target_t;

/* NULL when memory ran out. Ends with `p`. The program has called curl_global_init. */
aq_target_t *aq_target_open(apr_pool_t *p);

typedef struct {
    const aq_batch_t *batch;
    const aq_batch_location_t *location;
    int body_fd;             /* at the beginning of the body */
    aq_spool_file_t *result; /* where the answer's body goes */
    int64_t result_max_bytes;
    void (*progress)(void *data, int64_t done, int64_t total, int64_t failed); /* told now and then; NULL: not wanted */
    void *progress_data;
    const _Atomic int *stop; /* once it is not 0 the call ends soon */
} aq_target_call_t;

typedef struct {
    aq_target_end_t end;
    int was_stopped; /* `end` then tells only whether the request had begun (AQ_TARGET_LOST) or not */
    int status;
    int64_t retry_after_s;
    const char *content_type; /* NULL: none */
    const char *headers;      /* kept headers, JSON object text */
    const char *detail;       /* a sentence for the client about what went wrong; NULL: nothing */
} aq_target_answer_t;

/* Calls and waits for the end, at most the location's timeout_ms. Texts in `p`. What libcurl said of a failure is logged. */
void aq_target_run(aq_target_t *target, apr_pool_t *p, const aq_target_call_t *call, aq_target_answer_t *answer);

#endif
