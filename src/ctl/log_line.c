/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a log, read by their format. See log_format.h. */
#include "ctl/log_format_private.h"

#include <string.h>

static int is_escaped(const char *from, const char *at)
{
    int backslashes = 0;

    while (at - backslashes > from && at[-1 - backslashes] == '\\') {
        backslashes++;
    }
    return backslashes % 2;
}

/* Where the field that begins at `at` ends; NULL where what should follow it does not. */
static const char *field_end(const aq_log_field_t *field, const char *at, const char *end)
{
    const char *found = at;

    if (field->after.size == 0) {
        return end;
    }
    while (found < end && (found = memchr(found, field->after.at[0], (size_t)(end - found))) != NULL) {
        int is_there =
            (size_t)(end - found) >= field->after.size && memcmp(found, field->after.at, field->after.size) == 0;
        if (field->is_quoted && !is_escaped(at, found)) {
            return is_there ? found : NULL;
        }
        if (!field->is_quoted && is_there) {
            return found;
        }
        found++;
    }
    return NULL;
}

static int is_dash(aq_log_text_t value)
{
    return value.size == 1 && value.at[0] == '-';
}

static aq_log_text_t text_or_none(aq_log_text_t value)
{
    static const aq_log_text_t none;

    return is_dash(value) ? none : value;
}

static int status_read(aq_log_text_t value, int *status)
{
    *status = 0;
    for (size_t i = 0; value.size == 3 && i < value.size; i++) {
        if (value.at[i] < '0' || value.at[i] > '9') {
            return 0;
        }
        *status = *status * 10 + (value.at[i] - '0');
    }
    return value.size == 3 || is_dash(value);
}

/* What is between the spaces of "GET /v1 HTTP/1.1"; in HTTP/0.9 the last one is missing. */
static aq_log_text_t target_of(aq_log_text_t request)
{
    const char *end = request.at + request.size, *space = memchr(request.at, ' ', request.size);
    const char *at = space ? space + 1 : end, *stop = at < end ? memchr(at, ' ', (size_t)(end - at)) : NULL;

    return (aq_log_text_t){at, (size_t)((stop ? stop : end) - at)};
}

static const char *value_take(const aq_log_field_t *field, aq_log_text_t value, aq_log_line_t *parsed)
{
    aq_time_ms_t time_ms;

    switch (field->role) {
    case AQ_ROLE_TIME:
    case AQ_ROLE_TIME_PART:
        if (!aq_log_time_read(field->time, value.at, value.size, &time_ms)) {
            return "its time cannot be read";
        }
        parsed->time_ms += time_ms;
        break;
    case AQ_ROLE_STATUS:
        return status_read(value, &parsed->status) ? NULL : "its status is no number of three digits";
    case AQ_ROLE_USER:
        parsed->user = text_or_none(value);
        break;
    case AQ_ROLE_ADDRESS:
        parsed->address = text_or_none(value);
        break;
    case AQ_ROLE_REQUEST:
        parsed->is_request = !is_dash(value);
        parsed->target = target_of(value);
        break;
    case AQ_ROLE_NONE:
    case AQ_ROLE_COUNT:
        break;
    }
    return NULL;
}

const char *aq_log_line_parse(aq_log_format_t *format, const char *line, size_t size, aq_log_line_t *parsed)
{
    const aq_log_field_t *fields = (const aq_log_field_t *)(const void *)format->fields->elts;
    const char *at = line, *end = line + size;

    *parsed = (aq_log_line_t){.is_request = 1};
    if (size < format->before.size || memcmp(line, format->before.at, format->before.size) != 0) {
        return "it does not begin as the log format says";
    }
    at += format->before.size;
    for (int i = 0; i < format->fields->nelts; i++) {
        const char *stop = field_end(&fields[i], at, end);
        if (!stop) {
            return "it has fewer fields than the log format";
        }
        const char *error = value_take(&fields[i], (aq_log_text_t){at, (size_t)(stop - at)}, parsed);
        if (error) {
            return error;
        }
        at = stop + fields[i].after.size;
    }
    return NULL;
}
