/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Problem documents (RFC 9457): the body of every refusal of ours, and of httpd's own errors at a location with quota.
 *
 * A refusal calls aq_problem_refuse and returns what it returns: httpd then makes its error response, and problem.c puts
 * the document in place of httpd's HTML, unless the operator's ErrorDocument holds for that status.
 */
#ifndef AQ_PROBLEM_H
#define AQ_PROBLEM_H

#include <httpd.h>
#include <stdint.h>

typedef struct {
    int status;
    const char *type;      /* URI; NULL: "about:blank" */
    const char *code;      /* short word for programs, "result-not-ready"; NULL: none */
    const char *detail;    /* a sentence for people; NULL: none */
    int64_t retry_after_s; /* > 0: sent as Retry-After and member retry_after */
    int hides_request_id;  /* 1: no member request_id, so that all answers of this kind are the same to the byte */
} aq_problem_t;

/*
 * Notes the problem (copied; strings must live as long as the request) and returns its status, for a hook or handler to
 * return. Where the request has a body that nobody will read, the connection is closed after the answer, so that httpd
 * does not read the body first.
 */
int aq_problem_refuse(request_rec *r, const aq_problem_t *problem);

/* 1 where the request says that it has a body, before a handler reads it. */
int aq_problem_has_unread_body(const request_rec *r);

/* Hook insert_error_filter: sets the document as the body of the error response. */
void aq_problem_insert(request_rec *r);

/* The document as text in r->pool: type, title, status, detail, code, request_id, and for 429 the limit's members. */
const char *aq_problem_text(request_rec *r, int status);

/* Whether the response of that status is a refusal by a limit: then request->charge->refusing names it. */
int aq_problem_is_over_quota(request_rec *r, int status);

/* What Retry-After says on a response of that status; 0 or less: nothing. */
int64_t aq_problem_retry_after_s(request_rec *r, int status);

/* A sentence for people about the response of that status, never NULL. */
const char *aq_problem_detail(request_rec *r, int status);

#endif
