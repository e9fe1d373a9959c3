/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config check: what its parts share. Each part looks at one thing and adds findings, each with its place.
 */
#ifndef AQ_CONFIG_CHECK_H
#define AQ_CONFIG_CHECK_H

#include "ctl/ctl.h"

typedef struct {
    aq_ctl_t *ctl;
    json_t *findings; /* of { "place", "finding" } */
} aq_check_t;

/* Adds a finding; one that was found there before is not said again. */
void aq_check_found(aq_check_t *check, const char *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * What holds at locations (config_sections.c): limits that are not counted, callers whom nothing identifies or who have
 * no plan, limits out of reach beside those of the plans. `key_count`: how many keys are in force.
 */
aq_ctl_exit_t aq_check_sections(aq_check_t *check, apr_hash_t *plans, unsigned key_count);

#endif
