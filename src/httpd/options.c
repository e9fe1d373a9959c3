/* SPDX-License-Identifier: Apache-2.0 */
/* Options: merging and setters. See options.h. */
#include "httpd/options.h"

#include "base/aq_units.h"
#include "httpd/directive_values.h"
#include "httpd/error_body.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MIN_MS INT64_C(100)
#define TIMEOUT_MAX_MS (INT64_C(24) * 3600 * 1000)

/* The options of the section that is being read, made where it has none yet. */
static aq_location_options_t *options_of(const cmd_parms *cmd, aq_location_config_t *location)
{
    if (!location->options) {
        location->options = apr_palloc(cmd->pool, sizeof(*location->options));
        *location->options = (aq_location_options_t){
            .headers = AQ_UNSET, .reset_is_delta = AQ_UNSET, .max_body_bytes = AQ_UNSET, .timeout_ms = AQ_UNSET};
    }
    return location->options;
}

aq_location_options_t *aq_options_merge(apr_pool_t *p, aq_location_options_t *outer, aq_location_options_t *inner)
{
    aq_location_options_t *merged;

    if (!outer || !inner) {
        return inner ? inner : outer;
    }
    merged = apr_pmemdup(p, inner, sizeof(*inner));
    merged->headers = inner->headers == AQ_UNSET ? outer->headers : inner->headers;
    merged->reset_is_delta = inner->reset_is_delta == AQ_UNSET ? outer->reset_is_delta : inner->reset_is_delta;
    merged->max_body_bytes = inner->max_body_bytes == AQ_UNSET ? outer->max_body_bytes : inner->max_body_bytes;
    merged->timeout_ms = inner->timeout_ms == AQ_UNSET ? outer->timeout_ms : inner->timeout_ms;
    if (outer->bodies && inner->bodies) {
        merged->bodies = apr_array_append(p, outer->bodies, inner->bodies);
    } else if (outer->bodies) {
        merged->bodies = outer->bodies;
    }
    return merged;
}

const char *aq_option_headers(cmd_parms *cmd, void *location, const char *families, const char *reset)
{
    static const struct {
        const char *name;
        unsigned headers;
    } known[] = {{"x-ratelimit", AQ_HEADERS_X},
                 {"ietf", AQ_HEADERS_IETF},
                 {"both", AQ_HEADERS_X | AQ_HEADERS_IETF},
                 {"none", 0}};
    aq_location_options_t *options = options_of(cmd, location);

    options->headers = AQ_UNSET;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (ap_cstr_casecmp(families, known[i].name) == 0) {
            options->headers = (int)known[i].headers;
        }
    }
    if (options->headers == AQ_UNSET) {
        return aq_not_allowed(cmd, families, "x-ratelimit, ietf, both, none");
    }
    if (!reset) {
        return NULL;
    }
    options->reset_is_delta = ap_cstr_casecmp(reset, "reset=delta") == 0;
    return options->reset_is_delta || ap_cstr_casecmp(reset, "reset=epoch") == 0
               ? NULL
               : aq_not_allowed(cmd, reset, "reset=epoch, reset=delta");
}

/* An error status that httpd knows, in three digits; 0 else. httpd takes those it does not know for a 500. */
static int error_status_parse(const char *text)
{
    int status = strlen(text) == 3 && strspn(text, "0123456789") == 3 ? (int)apr_atoi64(text) : 0;

    if (!ap_is_HTTP_ERROR(status) ||
        (status != HTTP_INTERNAL_SERVER_ERROR && ap_index_of_response(status) == ap_index_of_response(0))) {
        return 0;
    }
    return status;
}

const char *aq_option_error_body(cmd_parms *cmd, void *location, const char *first, const char *second)
{
    aq_location_options_t *options = options_of(cmd, location);
    aq_error_body_t added = {.status = second ? error_status_parse(first) : HTTP_TOO_MANY_REQUESTS};
    const char *body = second ? second : first;
    const char *error;

    if (added.status == 0) {
        return aq_not_allowed(cmd, first, "the status of an error, such as 429 or 504, before problem or a file");
    }
    if (ap_cstr_casecmp(body, "problem") != 0) {
        const char *path = ap_server_root_relative(cmd->pool, body);

        if (!path) {
            return aq_not_allowed(cmd, body, "problem, or the path of a JSON file");
        }
        if (aq_template_load(cmd->pool, path, aq_error_body_names, AQ_ERROR_BODY_VALUES, &added.body, &error) !=
            APR_SUCCESS) {
            return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL);
        }
    }
    if (!options->bodies) {
        options->bodies = apr_array_make(cmd->pool, 2, sizeof(aq_error_body_t));
    }
    APR_ARRAY_PUSH(options->bodies, aq_error_body_t) = added;
    return NULL;
}

const aq_template_t *aq_options_body_find(const aq_location_options_t *options, int status)
{
    for (int i = options && options->bodies ? options->bodies->nelts : 0; i > 0; i--) {
        const aq_error_body_t *body = &APR_ARRAY_IDX(options->bodies, i - 1, aq_error_body_t);

        if (body->status == status) {
            return body->body;
        }
    }
    return NULL;
}

const char *aq_option_max_body(cmd_parms *cmd, void *location, const char *size)
{
    aq_location_options_t *options = options_of(cmd, location);

    if (ap_cstr_casecmp(size, "none") == 0) {
        options->max_body_bytes = INT64_MAX;
    } else if (aq_units_size_parse(size, &options->max_body_bytes) != APR_SUCCESS) {
        return aq_not_allowed(cmd, size, AQ_UNITS_SIZE_FORM ", or none");
    }
    return NULL;
}

const char *aq_option_request_timeout(cmd_parms *cmd, void *location, const char *duration)
{
    aq_location_options_t *options = options_of(cmd, location);

    if (ap_cstr_casecmp(duration, "none") == 0) {
        options->timeout_ms = AQ_TIMEOUT_NONE;
        return NULL;
    }
    if (aq_units_duration_parse(duration, &options->timeout_ms) != APR_SUCCESS ||
        options->timeout_ms < TIMEOUT_MIN_MS || options->timeout_ms > TIMEOUT_MAX_MS) {
        return aq_not_allowed(cmd, duration, AQ_UNITS_DURATION_FORM ", from 100ms to 1d, or none");
    }
    aq_config_server(cmd->server)->has_deadlines = 1;
    return NULL;
}
