/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind `apiquotactl simulate` share; for them alone. */
#ifndef AQ_SIMULATE_H
#define AQ_SIMULATE_H

#include "ctl/ctl.h"
#include "ctl/log_reader.h"
#include "ctl/replay.h"

/* The answer, as JSON: docs/simulate.md tells its members. `notes` are of const char *. NULL: no memory. */
json_t *aq_simulate_answer(apr_pool_t *p, const aq_replay_result_t *result, const aq_log_reader_report_t *report,
                           const apr_array_header_t *notes);

/* Prints the answer for eyes on standard output. */
void aq_simulate_print(apr_pool_t *p, const json_t *answer);

#endif
