/* SPDX-License-Identifier: Apache-2.0 */
/* What the placeholders of a body stand for. See error_body.h. */
#include "httpd/error_body.h"

#include "httpd/request.h"

#include <apr_strings.h>
#include <string.h>

/* {{message}} comes last: a message may hold all the others. */
enum { LIMIT, WINDOW, RETRY_AFTER, RESET, LIMIT_NAME, TIMESTAMP, REQUEST_ID, MESSAGE };

const aq_template_value_t aq_error_body_names[AQ_ERROR_BODY_VALUES] = {
    [LIMIT] = {.name = "limit"},
    [WINDOW] = {.name = "window"},
    [RETRY_AFTER] = {.name = "retry_after"},
    [RESET] = {.name = "reset"},
    [LIMIT_NAME] = {.name = "limit_name"},
    [TIMESTAMP] = {.name = "timestamp"},
    [REQUEST_ID] = {.name = "request_id"},
    [MESSAGE] = {.name = "message"},
};

static void number_set(aq_template_value_t *value, int64_t number)
{
    value->kind = AQ_TEMPLATE_NUMBER;
    value->number = number;
}

static void text_set(aq_template_value_t *value, const char *text)
{
    value->kind = text && *text ? AQ_TEMPLATE_TEXT : AQ_TEMPLATE_NONE;
    value->text = text;
}

/* "2026-11-22T00:00:00Z": whole seconds, as Retry-After has them. */
static const char *timestamp(apr_pool_t *p, aq_time_ms_t now_ms)
{
    char text[AQ_RFC3339_SIZE];

    aq_clock_rfc3339_write(text, now_ms);
    text[strlen("2026-11-22T00:00:00")] = '\0';
    return apr_pstrcat(p, text, "Z", NULL);
}

static void quota_values_set(aq_template_value_t *values, const aq_charge_t *charge)
{
    const aq_limit_t *limit = charge->counters[charge->refusing].limit;

    number_set(&values[LIMIT], (int64_t)limit->capacity);
    text_set(&values[WINDOW], limit->window_text);
    text_set(&values[LIMIT_NAME], limit->name);
    if (aq_charge_retry_after_s(charge) > 0) {
        number_set(&values[RESET], aq_charge_reset_s(charge));
    }
}

/* All but {{message}}. */
static void values_make(request_rec *r, int status, aq_template_value_t values[AQ_ERROR_BODY_VALUES])
{
    const aq_request_t *request = aq_request_state(r);
    const int64_t wait_s = aq_problem_retry_after_s(r, status);

    memcpy(values, aq_error_body_names, sizeof(aq_error_body_names));
    if (wait_s > 0) {
        number_set(&values[RETRY_AFTER], wait_s);
        number_set(&values[RESET], (request->now_ms + AQ_MS_PER_S - 1) / AQ_MS_PER_S + wait_s);
    }
    if (aq_problem_is_over_quota(r, status)) {
        quota_values_set(values, aq_request_refusing(request));
    }
    if (!request->problem || !request->problem->hides_request_id) {
        text_set(&values[TIMESTAMP], timestamp(r->pool, request->now_ms));
        text_set(&values[REQUEST_ID], aq_request_id(r));
    }
}

const char *aq_error_body_message(request_rec *r, int status, const char *message)
{
    aq_template_value_t values[AQ_ERROR_BODY_VALUES];

    if (!strstr(message, "{{")) {
        return message;
    }
    values_make(r, status, values);
    return aq_template_text(r->pool, message, values, MESSAGE);
}

const char *aq_error_body_text(request_rec *r, int status, const aq_template_t *template)
{
    aq_template_value_t values[AQ_ERROR_BODY_VALUES];

    values_make(r, status, values);
    text_set(&values[MESSAGE], aq_problem_detail(r, status));
    return aq_template_render(r->pool, template, values, AQ_ERROR_BODY_VALUES);
}
