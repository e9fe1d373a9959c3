/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options: what a location may say about its headers, error bodies, sizes and times.
 *
 * Most locations say nothing of it. So the options lie behind one pointer of the location's settings, NULL where none is
 * set: httpd merges settings for every request, and copies no more than before. AQ_OPTION_DIRECTIVES holds the rows for
 * directives.c.
 */
#ifndef AQ_OPTIONS_H
#define AQ_OPTIONS_H

#include "base/aq_template.h"
#include "httpd/config.h"

/* Which families of headers show the limits; bits. */
#define AQ_HEADERS_X 1U    /* X-RateLimit-* */
#define AQ_HEADERS_IETF 2U /* RateLimit, RateLimit-Policy */

/* APIQuotaRequestTimeout none: beside AQ_UNSET, what an inner section may say. */
#define AQ_TIMEOUT_NONE 0

/* One APIQuotaErrorBody. */
typedef struct {
    int status;
    const aq_template_t *body; /* NULL: the problem document */
} aq_error_body_t;

struct aq_location_options_t {
    int headers;                /* AQ_HEADERS_* or AQ_UNSET */
    int reset_is_delta;         /* 1: X-RateLimit-Reset in seconds from now; 0: epoch seconds; AQ_UNSET */
    apr_array_header_t *bodies; /* of aq_error_body_t, the inner section's last; NULL: none */
    int64_t max_body_bytes;     /* AQ_UNSET: no bound of ours; INT64_MAX: none, said */
    int64_t timeout_ms;         /* of a whole request; AQ_UNSET, AQ_TIMEOUT_NONE: none */
};

/* Either may be NULL; the result is NULL where both are. Member by member the inner one wins. */
aq_location_options_t *aq_options_merge(apr_pool_t *p, aq_location_options_t *outer, aq_location_options_t *inner);

/* The families of headers that a location shows; `options` may be NULL. */
static inline unsigned aq_options_headers(const aq_location_options_t *options)
{
    return options && options->headers != AQ_UNSET ? (unsigned)options->headers : AQ_HEADERS_X;
}

/* The template for the body of a status, or NULL for the problem document; `options` may be NULL. */
const aq_template_t *aq_options_body_find(const aq_location_options_t *options, int status);

/* Setters: NULL, or a sentence that names the directive, the value and what is allowed. */
const char *aq_option_headers(cmd_parms *cmd, void *location, const char *families, const char *reset);
const char *aq_option_error_body(cmd_parms *cmd, void *location, const char *first, const char *second);
const char *aq_option_max_body(cmd_parms *cmd, void *location, const char *size);
const char *aq_option_request_timeout(cmd_parms *cmd, void *location, const char *duration);

#define AQ_OPTION_DIRECTIVES                                                                                           \
    AP_INIT_TAKE12("APIQuotaHeaders", aq_option_headers, NULL, RSRC_CONF | ACCESS_CONF,                                \
                   "which headers show the limits: x-ratelimit|ietf|both|none [reset=epoch|delta]"),                   \
        AP_INIT_TAKE12("APIQuotaErrorBody", aq_option_error_body, NULL, RSRC_CONF | ACCESS_CONF,                       \
                       "the body of a refusal: [STATUS] problem, or the FILE of a JSON template"),                     \
        AP_INIT_TAKE1("APIQuotaMaxBody", aq_option_max_body, NULL, RSRC_CONF | ACCESS_CONF,                            \
                      "the largest body of a request, in bytes, 1m, 50m ..., or none"),                                \
        AP_INIT_TAKE1("APIQuotaRequestTimeout", aq_option_request_timeout, NULL, RSRC_CONF | ACCESS_CONF,              \
                      "how long a whole request may take, such as 29s, or none")

#endif
