/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Problem documents: noting why we refuse, and putting the document in place of httpd's HTML.
 *
 * httpd makes an error response by itself and clears the headers while it does so. The one seam it leaves is the custom
 * response of a status: it is set when httpd has decided to make the response (insert_error_filter), and only where the
 * operator has set none. The content type is set by the settle filter, the last to see the response.
 */
#include "httpd/problem.h"

#include "base/aq_json.h"
#include "httpd/error_body.h"
#include "httpd/options.h"
#include "httpd/request.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <mod_core.h>

#define TYPE_QUOTA_EXCEEDED "https://iana.org/assignments/http-problem-types#quota-exceeded"

int aq_problem_has_unread_body(const request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    return (length && strcmp(length, "0") != 0) || apr_table_get(r->headers_in, "Transfer-Encoding");
}

int aq_problem_refuse(request_rec *r, const aq_problem_t *problem)
{
    aq_request_t *request = aq_request_state(r);

    request->problem = apr_pmemdup(request->pool, problem, sizeof(*problem));
    if (aq_problem_has_unread_body(r)) {
        r->connection->keepalive = AP_CONN_CLOSE;
    }
    return problem->status;
}

/* "429 Too Many Requests" without its number. */
static const char *reason_phrase(int status)
{
    const char *line = ap_get_status_line(status);

    return strlen(line) > 4 ? line + 4 : line;
}

static void member_set(json_t *document, const char *name, json_t *value)
{
    /* A failure here is lack of memory: the member is missing then, the document still valid. */
    (void)json_object_set_new(document, name, value);
}

static void quota_members_set(json_t *document, const aq_charge_t *charge)
{
    const aq_counter_t *counter = &charge->counters[charge->refusing];
    int64_t wait_s = aq_charge_retry_after_s(charge);

    member_set(document, "violated-policies", json_pack("[s]", counter->limit->name));
    member_set(document, "limit", json_integer((json_int_t)counter->limit->capacity));
    member_set(document, "window", json_string(counter->limit->window_text));
    if (wait_s > 0) {
        member_set(document, "retry_after", json_integer(wait_s));
        member_set(document, "reset", json_integer(aq_charge_reset_s(charge)));
    }
}

static const char *quota_detail(request_rec *r, const aq_charge_t *charge)
{
    apr_pool_t *p = r->pool;
    const aq_limit_t *limit = charge->counters[charge->refusing].limit;
    const int is_concurrent = limit->rate.period == AQ_PERIOD_CONCURRENT;
    int64_t wait_s = aq_charge_retry_after_s(charge);

    if (limit->message) {
        return aq_error_body_message(r, HTTP_TOO_MANY_REQUESTS, limit->message);
    }
    if (wait_s < 0 && charge->cost > limit->capacity && !is_concurrent) {
        return apr_psprintf(p,
                            "The request counts as %" APR_UINT64_T_FMT ", and the limit \"%s\" of %" APR_UINT64_T_FMT
                            " never has room for that; waiting does not help.",
                            (apr_uint64_t)charge->cost, limit->name, limit->capacity);
    }
    if (wait_s < 0) {
        return apr_psprintf(p, "The limit \"%s\" of %" APR_UINT64_T_FMT " is used up; waiting does not help.",
                            limit->name, limit->capacity);
    }
    return apr_psprintf(p,
                        "The limit \"%s\" of %" APR_UINT64_T_FMT
                        " requests %s%s is used up. Try again after %" APR_INT64_T_FMT " second%s.",
                        limit->name, limit->capacity, is_concurrent ? "at the same time" : "per ",
                        is_concurrent ? "" : limit->window_text, wait_s, wait_s == 1 ? "" : "s");
}

static int is_over_quota(const aq_request_t *request, int status)
{
    const aq_charge_t *refusing = request ? aq_request_refusing(request) : NULL;

    return status == HTTP_TOO_MANY_REQUESTS && refusing && refusing->refusing >= 0;
}

int aq_problem_is_over_quota(request_rec *r, int status)
{
    return is_over_quota(aq_request_find(r), status);
}

int64_t aq_problem_retry_after_s(request_rec *r, int status)
{
    const aq_request_t *request = aq_request_find(r);

    if (is_over_quota(request, status)) {
        return aq_charge_retry_after_s(aq_request_refusing(request));
    }
    return request && request->problem && request->problem->status == status ? request->problem->retry_after_s : 0;
}

const char *aq_problem_detail(request_rec *r, int status)
{
    const aq_request_t *request = aq_request_find(r);

    if (is_over_quota(request, status)) {
        return quota_detail(r, aq_request_refusing(request));
    }
    if (request && request->problem && request->problem->status == status && request->problem->detail) {
        return request->problem->detail;
    }
    return reason_phrase(status);
}

const char *aq_problem_text(request_rec *r, int status)
{
    const aq_request_t *request = aq_request_find(r);
    const aq_problem_t *problem = request && request->problem && request->problem->status == status
                                      ? request->problem
                                      : &(aq_problem_t){.status = status};
    int is_quota = is_over_quota(request, status);
    const char *id = aq_request_id(r);
    const char *detail = is_quota ? quota_detail(r, aq_request_refusing(request)) : problem->detail;
    const char *type = is_quota ? TYPE_QUOTA_EXCEEDED : problem->type;
    json_t *document = json_pack("{s:s, s:s, s:i}", "type", type ? type : "about:blank", "title", reason_phrase(status),
                                 "status", status);
    const char *text;

    if (!document) {
        return "{}";
    }
    if (detail) {
        member_set(document, "detail", json_string(detail));
    }
    if (problem->code) {
        member_set(document, "code", json_string(problem->code));
    }
    if (is_quota) {
        quota_members_set(document, aq_request_refusing(request));
    } else if (problem->retry_after_s > 0) {
        member_set(document, "retry_after", json_integer(problem->retry_after_s));
    }
    if (*id && !problem->hides_request_id) {
        member_set(document, "request_id", json_string(id));
    }
    text = aq_json_text(r->pool, document);
    json_decref(document);
    return text ? text : "{}";
}

/* The problem document, or the body that the location asks for in its place. */
static const char *body_text(request_rec *r, int status, const char **content_type)
{
    const aq_template_t *template = aq_options_body_find(aq_config_location(r)->options, status);
    const char *text = template ? aq_error_body_text(r, status, template) : NULL;

    *content_type = text ? "application/json" : "application/problem+json";
    return text ? text : aq_problem_text(r, status);
}

void aq_problem_insert(request_rec *r)
{
    aq_request_t *request = aq_request_find(r);
    int is_ours = request && request->problem && request->problem->status == r->status;

    if (r->main || (aq_config_location(r)->quota != 1 && !is_ours) || !ap_is_HTTP_ERROR(r->status)) {
        return;
    }
    if (ap_response_code_string(r, ap_index_of_response(r->status))) {
        return;
    }
    request = aq_request_state(r);
    ap_custom_response(r, r->status, body_text(r, r->status, &request->problem_content_type));
    request->problem_status = r->status;
}
