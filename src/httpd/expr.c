/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of directives. See expr.h. */
#include "httpd/expr.h"

#include "httpd/httpd_log.h"

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <http_log.h>
#include <string.h>

#define PREFIX "expr="

int aq_expr_is(const char *argument)
{
    return ap_cstr_casecmpn(argument, PREFIX, sizeof(PREFIX) - 1) == 0;
}

const char *aq_expr_argument(cmd_parms *cmd, const char *line)
{
    const char *argument;

    while (apr_isspace(*line)) {
        line++;
    }
    if (*line != '"' && *line != '\'') {
        return *line ? line : NULL;
    }
    argument = ap_getword_conf(cmd->pool, &line);
    return *line || !*argument ? NULL : argument;
}

/* "%{http:", not the "http:" of an address. */
static int is_family(const char *text, const char *at, size_t length)
{
    return at > text && at[-1] == '{' && at[length] == ':';
}

/* How an expression reads headers of the request: as a function, as a variable's family, or as a variable. */
static int reads_headers(const char *text)
{
    static const char *const functions[] = {"http", "req", "req_novary"};

    for (const char *at = text; *at; at++) {
        int is_begin = at == text || !(apr_isalnum(at[-1]) || at[-1] == '_');
        if (at > text && at[-1] == '{' && ap_cstr_casecmpn(at, "HTTP_", 5) == 0) {
            return 1;
        }
        for (size_t i = 0; is_begin && i < sizeof(functions) / sizeof(*functions); i++) {
            size_t length = strlen(functions[i]);
            if (ap_cstr_casecmpn(at, functions[i], length) == 0 &&
                (is_family(text, at, length) || at[length + strspn(at + length, " \t")] == '(')) {
                return 1;
            }
        }
    }
    return 0;
}

const char *aq_expr_parse(cmd_parms *cmd, const char *argument, aq_expr_kind_t kind, const ap_expr_info_t **expr)
{
    unsigned flags = AP_EXPR_FLAG_DONT_VARY | (kind == AQ_EXPR_CONDITION ? 0 : AP_EXPR_FLAG_STRING_RESULT);
    const char *text, *error = NULL;

    if (!aq_expr_is(argument) || !argument[sizeof(PREFIX) - 1]) {
        return apr_psprintf(cmd->pool, "%s: \"%s\" is not allowed here; allowed: expr= and an expression",
                            cmd->cmd->name, argument);
    }
    text = argument + sizeof(PREFIX) - 1;
    if (kind != AQ_EXPR_CLIENTS_TEXT && reads_headers(text)) {
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" reads a header of the request, and a client could write what it likes there; "
                            "where a server in front sets it, take it over by SetEnvIf and ask for %%{reqenv:NAME}",
                            cmd->cmd->name, argument);
    }
    *expr = ap_expr_parse_cmd_mi(cmd, apr_pstrdup(cmd->pool, text), flags, &error, NULL, APLOG_NO_MODULE);
    return error ? apr_psprintf(cmd->pool, "%s: \"%s\" is no expression: %s", cmd->cmd->name, argument, error) : NULL;
}

static void failure_log(const ap_expr_info_t *expr, const char *error)
{
    AQ_PACED_LOG(AQ_LOG_ERROR, 1501, 0, "the expression in %s:%u cannot be told: %s", expr->filename, expr->line_number,
                 error);
}

const char *aq_expr_text(request_rec *r, const ap_expr_info_t *expr)
{
    const char *error = NULL, *text = ap_expr_str_exec(r, expr, &error);

    if (error) {
        failure_log(expr, error);
    }
    return text && !error ? text : "";
}

int aq_expr_holds(request_rec *r, const ap_expr_info_t *expr)
{
    const char *error = NULL;
    int holds = ap_expr_exec(r, expr, &error);

    if (error) {
        failure_log(expr, error);
    }
    return holds > 0 && !error;
}
