/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exec: runs the program of an `exec:PATH` target.
 *
 *     standard input     the body
 *     standard output    the result
 *     standard error     the log, a line at a time
 *     descriptor 3       progress: lines "DONE TOTAL [FAILED]"
 *     environment        PATH, LANG, APIQUOTA_BATCH_ID, _TENANT, _KEY_ID, _ATTEMPT, _METHOD, _PATH, _QUERY,
 *                        _CONTENT_TYPE, and APIQUOTA_HEADER_NAME for each header that was kept
 *
 * Exit code 0 is an answer of 200, 75 (EX_TEMPFAIL of sysexits.h) one of 503, any other one of 500. It runs in a process
 * group of its own, which ends with it, with the time-out, with a stop and with the worker (keeper.h).
 */
#ifndef AQ_EXEC_H
#define AQ_EXEC_H

#include "worker/target.h"

/* 1 for "exec:PATH". */
int aq_exec_is_target(const char *target);

/* As aq_target_run, for such a target. */
void aq_exec_run(apr_pool_t *p, const aq_target_call_t *call, aq_target_answer_t *answer);

#endif
