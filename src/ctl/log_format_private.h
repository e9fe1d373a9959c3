/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind log_format.h share; for them alone. */
#ifndef AQ_LOG_FORMAT_PRIVATE_H
#define AQ_LOG_FORMAT_PRIVATE_H

#include "ctl/log_format.h"
#include "ctl/log_time.h"

#include <apr_tables.h>

typedef enum {
    AQ_ROLE_NONE,
    AQ_ROLE_TIME,
    AQ_ROLE_TIME_PART, /* of a second, to be added */
    AQ_ROLE_STATUS,
    AQ_ROLE_USER,
    AQ_ROLE_ADDRESS,
    AQ_ROLE_REQUEST,
    AQ_ROLE_COUNT
} aq_log_role_t;

typedef struct {
    aq_log_role_t role;
    int rank; /* of two fields with one role, the higher one has it, of equals the first */
    int is_quoted;
    aq_log_time_t *time; /* AQ_ROLE_TIME, AQ_ROLE_TIME_PART */
    aq_log_text_t after; /* the literal text that ends it; size 0: the line's end */
} aq_log_field_t;

struct aq_log_format_t {
    aq_log_text_t before;       /* literal text in front of the first field */
    apr_array_header_t *fields; /* of aq_log_field_t */
};

#endif
