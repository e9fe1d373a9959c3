/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log format: what an httpd LogFormat says of each line, and lines read back by it.
 *
 * A format is a row of fields, each ended by the text that follows it; a quoted field is ended by the first quotation
 * mark that no backslash escapes, as httpd writes them. Of the fields only those are kept that tell when a request came,
 * from whom, and how it was answered; what stands behind the last of them is not looked at. Lines are bytes: a NUL or
 * anything else may stand in them.
 */
#ifndef AQ_LOG_FORMAT_H
#define AQ_LOG_FORMAT_H

#include "base/aq_clock.h"

#include <apr_pools.h>

/* A part of a line: owned by the line, not ended by a zero. */
typedef struct {
    const char *at;
    size_t size;
} aq_log_text_t;

/* What a line says. */
typedef struct {
    aq_time_ms_t time_ms;
    int status;            /* 0: the format has none, or httpd wrote "-" */
    int is_request;        /* 0: the connection ended before there was one; httpd then writes "-" for %r */
    aq_log_text_t user;    /* size 0: none */
    aq_log_text_t address; /* size 0: none */
    aq_log_text_t target;  /* of the request line: "/v1/x?y=1"; size 0: none */
} aq_log_line_t;

typedef struct aq_log_format_t aq_log_format_t;

/*
 * Parses "common", "combined", "vhost_combined" or the text of a LogFormat, whose backslashes may be doubled as in a
 * configuration file. The user of a line is %{APIQUOTA_KEY_ID}e, else %u; with `key_field` > 0 the field of that number,
 * counted from 1. The address is %a, else %h. `*format` in `p`; or APR_EGENERAL and a sentence in `p` at `*error`.
 */
apr_status_t aq_log_format_parse(apr_pool_t *p, const char *text, int key_field, aq_log_format_t **format,
                                 const char **error);

/* Reads a line without its newline. NULL, or why it is none of the format (a constant). Not thread-safe. */
const char *aq_log_line_parse(aq_log_format_t *format, const char *line, size_t size, aq_log_line_t *parsed);

#endif
