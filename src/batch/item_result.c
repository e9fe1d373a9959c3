/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Made by jansson, all but a body that is JSON already.
 */
#include "batch/item_result.h"

#include "base/aq_json.h"
#include "base/aq_json_check.h"

#include <apr_encode.h>
#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* "application/json", "application/problem+json", with or without parameters. */
static int says_json(const char *type)
{
    size_t size = type != NULL ? strcspn(type, "; \t") : 0;

    return (size == 16 && strncasecmp(type, "application/json", 16) == 0) ||
           (size > 5 && strncasecmp(type + size - 5, "+json", 5) == 0);
}

static int is_json(const aq_item_result_t *result)
{
    aq_json_check_t check;

    if (!says_json(result->content_type)) {
        return 0;
    }
    aq_json_check_begin(&check);
    aq_json_check_add(&check, result->body, result->body_bytes);
    return aq_json_check_end(&check) == AQ_JSON_GOOD;
}

/* In JSON a line end can only lie between tokens. */
static const char *json_body(apr_pool_t *p, const aq_item_result_t *result)
{
    char *text = apr_pstrmemdup(p, result->body, result->body_bytes);

    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\r') {
            *c = ' ';
        }
    }
    return text;
}

static const char *json_text(apr_pool_t *p, json_t *json)
{
    const char *text = json != NULL ? aq_json_text(p, json) : NULL;

    json_decref(json);
    return text;
}

/* The body as JSON text; what has to be told of it beside is added to `rest`. NULL when memory ran out. */
static const char *body_text(apr_pool_t *p, const aq_item_result_t *result, const char **rest)
{
    if (result->is_body_left_out) {
        *rest = ",\"body_left_out\":true";
        return "null";
    }
    if (result->body == NULL || result->body_bytes == 0) {
        return "null";
    }
    if (is_json(result)) {
        return json_body(p, result);
    }
    json_t *type = result->content_type != NULL ? json_string(result->content_type) : NULL;
    const char *type_text = type != NULL ? json_text(p, type) : NULL;
    *rest = type_text != NULL ? apr_pstrcat(p, ",\"content_type\":", type_text, NULL) : "";
    json_t *string = json_stringn(result->body, result->body_bytes);
    if (string != NULL) {
        return json_text(p, string);
    }
    *rest = apr_pstrcat(p, ",\"encoding\":\"base64\"", *rest, NULL);
    return apr_pstrcat(p, "\"",
                       apr_pencode_base64_binary(p, (const unsigned char *)result->body,
                                                 (apr_ssize_t)result->body_bytes, APR_ENCODE_NONE, NULL),
                       "\"", NULL);
}

static const char *error_text(apr_pool_t *p, const aq_item_result_t *result)
{
    if (result->error_code == NULL) {
        return "";
    }
    const char *error =
        json_text(p, json_pack("{s:s, s:s?}", "code", result->error_code, "detail", result->error_detail));
    return error != NULL ? apr_pstrcat(p, ",\"error\":", error, NULL) : NULL;
}

const char *aq_item_result_text(apr_pool_t *p, const aq_item_result_t *result, size_t *size)
{
    const char *rest = "";
    const char *body = body_text(p, result, &rest);
    const char *error = error_text(p, result);

    *size = 0;
    if (body == NULL || error == NULL) {
        return NULL;
    }
    const char *text = apr_pstrcat(p, "{\"line\":", apr_psprintf(p, "%" APR_INT64_T_FMT, result->line),
                                   ",\"status\":", result->status != 0 ? apr_itoa(p, result->status) : "null",
                                   ",\"body\":", body, rest, error, "}", NULL);
    *size = strlen(text);
    return text;
}

size_t aq_item_unknown_text(char *text, size_t room, int64_t line)
{
    int size = snprintf(text, room,
                        "{\"line\":%" APR_INT64_T_FMT ",\"status\":null,\"body\":null,\"error\":{\"code\":"
                        "\"outcome-unknown\",\"detail\":\"the worker was lost while the item was being sent\"}}",
                        line);

    return size > 0 && (size_t)size < room ? (size_t)size : 0;
}
