/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of directives: httpd's own (ap_expr), parsed with the configuration, asked once a request at most.
 *
 * What decides on plan, cost and exemption must not be what a client can write itself: an expression that reads a
 * request's headers is a configuration error, but where it only tells counters apart.
 */
#ifndef AQ_EXPR_H
#define AQ_EXPR_H

/* httpd.h first: the others need its types. */
#include <httpd.h>
#include <ap_expr.h>
#include <http_config.h>

typedef enum {
    AQ_EXPR_TEXT,         /* "%{reqenv:plan}": its value */
    AQ_EXPR_CLIENTS_TEXT, /* the same, and headers may be read */
    AQ_EXPR_CONDITION     /* "%{REQUEST_URI} == '/x'": true or false */
} aq_expr_kind_t;

/*
 * Parses "expr=…" (what stands behind the sign may hold spaces) into `*expr`, which lives as long as the configuration.
 * NULL, or a sentence that names the directive and the value.
 */
const char *aq_expr_parse(cmd_parms *cmd, const char *argument, aq_expr_kind_t kind, const ap_expr_info_t **expr);

/*
 * What a directive with one argument was given, from its raw line: the rest of the line, or what stands in quotes. NULL
 * where there is nothing, or something behind the quotes.
 */
const char *aq_expr_argument(cmd_parms *cmd, const char *line);

/* 1 where `argument` begins with "expr=". */
int aq_expr_is(const char *argument);

/* The value, never NULL; "" where it cannot be told, which is logged. In r->pool. */
const char *aq_expr_text(request_rec *r, const ap_expr_info_t *expr);

/* 1 where the condition holds; 0 where it does not or cannot be told, which is logged. */
int aq_expr_holds(request_rec *r, const ap_expr_info_t *expr);

#endif
