/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error bodies of an API's own shape: APIQuotaErrorBody's templates, and what their placeholders stand for.
 *
 * The same placeholders stand in the message= of a limit.
 */
#ifndef AQ_ERROR_BODY_H
#define AQ_ERROR_BODY_H

#include "base/aq_template.h"

#include <httpd.h>

#define AQ_ERROR_BODY_VALUES 8

/* The placeholders: names alone, for aq_template_load. */
extern const aq_template_value_t aq_error_body_names[AQ_ERROR_BODY_VALUES];

/* The template filled for the error response of that status, in r->pool. NULL where memory ran out. */
const char *aq_error_body_text(request_rec *r, int status, const aq_template_t *template);

/* A limit's message, its placeholders filled, in r->pool. */
const char *aq_error_body_message(request_rec *r, int status, const char *message);

#endif
