/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of who is not known. See key_refusal.h. */
#include "httpd/key_refusal.h"

#include "httpd/refusal.h"
#include "httpd/rules.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

/* RFC 6750, section 3.1: who presented nothing is not told of an error. */
static const char *const bearer_errors[] = {
    [AQ_KEY_MISSING] = "",
    [AQ_KEY_AMBIGUOUS] = ", error=\"invalid_request\"",
    [AQ_KEY_UNKNOWN] = ", error=\"invalid_token\"",
    [AQ_KEY_DISABLED] = ", error=\"invalid_token\"",
    [AQ_KEY_EXPIRED] = ", error=\"invalid_token\"",
    [AQ_KEYS_AWAY] = NULL, /* it may be a good one */
};

void aq_key_challenge_set(request_rec *r, aq_identified_t why)
{
    const char *realm = ap_auth_name(r);

    if (!bearer_errors[why]) {
        return;
    }
    apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                   apr_pstrcat(r->pool, "Bearer realm=\"", realm ? realm : "api", "\"", bearer_errors[why], NULL));
}

/* Why a key did not lead to a principal, as the client reads it. */
static const aq_problem_t refusals[] = {
    [AQ_KEY_MISSING] = {.status = HTTP_UNAUTHORIZED,
                        .code = "key-missing",
                        .detail = "This API needs a key. Send it as \"Authorization: Bearer <key>\" or in the header "
                                  "that the API's documentation names."},
    [AQ_KEY_AMBIGUOUS] = {.status = HTTP_BAD_REQUEST,
                          .code = "key-ambiguous",
                          .detail = "More than one key was presented. Send exactly one."},
    [AQ_KEY_UNKNOWN] = {.status = HTTP_UNAUTHORIZED, .code = "key-unknown", .detail = "The key is not known."},
    [AQ_KEY_DISABLED] = {.status = HTTP_UNAUTHORIZED, .code = "key-disabled", .detail = "The key is disabled."},
    [AQ_KEY_EXPIRED] = {.status = HTTP_UNAUTHORIZED, .code = "key-expired", .detail = "The key has expired."},
    [AQ_KEYS_AWAY] = {.status = HTTP_SERVICE_UNAVAILABLE,
                      .code = "keys-unavailable",
                      .detail = "It cannot be known now whose key this is. Try again.",
                      .retry_after_s = 1},
};

int aq_key_refuse(request_rec *r, aq_identified_t why)
{
    aq_key_challenge_set(r, why);
    return aq_problem_refuse(r, &refusals[why]);
}

static int takes_keys(const aq_location_rules_t *rules)
{
    int takes = !rules || rules->caller_count == AQ_UNSET;

    for (int i = 0; !takes && i < rules->caller_count; i++) {
        takes = rules->callers[i].caller == AQ_CALLER_KEY;
    }
    return takes;
}

int aq_unknown_refuse(request_rec *r, const aq_request_t *request)
{
    static const aq_problem_t unauthorized = {
        .status = HTTP_UNAUTHORIZED, .code = "caller-unknown", .detail = "This API needs to know its callers."};
    static const aq_problem_t forbidden = {
        .status = HTTP_FORBIDDEN, .code = "caller-unknown", .detail = "This API needs to know its callers."};

    if (takes_keys(aq_config_location(r)->rules)) {
        if (!aq_quota_is_dry_run(r)) {
            aq_key_challenge_set(r, request->identified);
        }
        return aq_quota_refuse(r, &refusals[request->identified]);
    }
    if (!ap_auth_type(r)) {
        return aq_quota_refuse(r, &forbidden);
    }
    if (!aq_quota_is_dry_run(r)) {
        ap_note_auth_failure(r);
    }
    return aq_quota_refuse(r, &unauthorized);
}
