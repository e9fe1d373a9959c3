/* SPDX-License-Identifier: Apache-2.0 */
/* Log format. See log_format.h. Which directives matter is a table. */
#include "ctl/log_format.h"

#include "ctl/log_time.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <string.h>

typedef enum { ROLE_NONE, ROLE_TIME, ROLE_STATUS, ROLE_USER, ROLE_ADDRESS, ROLE_REQUEST, ROLE_COUNT } role_t;

typedef struct {
    role_t role;
    int rank; /* of two fields with one role, the higher one has it */
    int is_quoted;
    aq_log_time_t *time; /* ROLE_TIME */
    aq_log_text_t after; /* the literal text that ends it; size 0: the line's end */
} field_t;

struct aq_log_format_t {
    aq_log_text_t before; /* literal text in front of the first field */
    apr_array_header_t *fields;
};

static const struct {
    char letter;
    const char *argument; /* NULL: must have none */
    role_t role;
    int rank;
} roles[] = {
    {'t', "", ROLE_TIME, 0}, /* with any argument */
    {'s', NULL, ROLE_STATUS, 1},  {'u', NULL, ROLE_USER, 1},    {'e', "APIQUOTA_KEY_ID", ROLE_USER, 2},
    {'h', NULL, ROLE_ADDRESS, 1}, {'a', NULL, ROLE_ADDRESS, 2}, {'r', NULL, ROLE_REQUEST, 1},
};
#define ROLE_ROW_COUNT (sizeof(roles) / sizeof(roles[0]))

#define RANK_CHOSEN 9 /* --key-field */

/* ---- the format ------------------------------------------------------------------------------------------------- */

/* What the parser of a format holds. */
typedef struct {
    apr_pool_t *p;
    const char *at;
    char *literal; /* what has been read of the text between two fields */
    size_t literal_size;
    const char *error;
} format_reader_t;

static const char *format_of_name(const char *name)
{
    static const struct {
        const char *name, *format;
    } named[] = {
        {"common", "%h %l %u %t \"%r\" %>s %b"},
        {"combined", "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\""},
        {"vhost_combined", "%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""},
    };

    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        if (strcmp(name, named[i].name) == 0) {
            return named[i].format;
        }
    }
    return name;
}

/* Reads what stands behind "%": modifiers, {argument}, letter. The letter, or 0 with reader->error. */
static char directive_read(format_reader_t *reader, const char **argument, int *is_final)
{
    *argument = NULL;
    *is_final = 0;
    for (; *reader->at && strchr("<>!,0123456789", *reader->at); reader->at++) {
        *is_final |= *reader->at == '>';
    }
    if (*reader->at == '{') {
        const char *end = strchr(reader->at, '}');
        if (!end) {
            reader->error = "\"{\" is not closed with \"}\"";
            return 0;
        }
        *argument = apr_pstrmemdup(reader->p, reader->at + 1, (size_t)(end - reader->at - 1));
        reader->at = end + 1;
    }
    /* %^FB, %^ti and %^to have three letters. */
    reader->at += *reader->at == '^' && reader->at[1] ? 2 : 0;
    if (!apr_isalpha(*reader->at)) {
        reader->error = "a \"%\" has no letter behind it";
        return 0;
    }
    return *reader->at++;
}

static void role_find(field_t *field, char letter, const char *argument, int is_final)
{
    for (size_t i = 0; i < ROLE_ROW_COUNT; i++) {
        int is_any = roles[i].argument && !roles[i].argument[0];
        int is_same =
            roles[i].argument && argument ? strcmp(roles[i].argument, argument) == 0 : !roles[i].argument && !argument;
        if (roles[i].letter == letter && (is_any || is_same)) {
            field->role = roles[i].role;
            field->rank = roles[i].rank + is_final;
        }
    }
}

/* Ends the literal that was being read, and gives it to the field before it, or to the line's beginning. */
static void literal_end(format_reader_t *reader, aq_log_format_t *format)
{
    aq_log_text_t text = {apr_pstrmemdup(reader->p, reader->literal, reader->literal_size), reader->literal_size};
    field_t *last = format->fields->nelts ? &APR_ARRAY_IDX(format->fields, format->fields->nelts - 1, field_t) : NULL;

    if (!last) {
        format->before = text;
    } else {
        last->after = text;
        last->is_quoted = last->is_quoted && text.size > 0 && text.at[0] == '"';
        if (text.size == 0 && *reader->at) {
            reader->error = "two fields have nothing between them, so that nobody can tell where one ends";
        }
    }
    reader->literal_size = 0;
}

static void field_read(format_reader_t *reader, aq_log_format_t *format)
{
    const char *argument;
    int is_final;
    char letter = directive_read(reader, &argument, &is_final);
    field_t field = {.role = ROLE_NONE};

    if (!letter) {
        return;
    }
    role_find(&field, letter, argument, is_final);
    if (field.role == ROLE_TIME) {
        field.time = aq_log_time_create(reader->p, argument);
        if (!field.time) {
            reader->error = apr_psprintf(reader->p, "no moment can be told from \"%%{%.80s}t\"", argument);
            return;
        }
        if (!argument) {
            reader->literal[reader->literal_size++] = '[';
        }
    }
    field.is_quoted = reader->literal_size > 0 && reader->literal[reader->literal_size - 1] == '"';
    literal_end(reader, format);
    APR_ARRAY_PUSH(format->fields, field_t) = field;
    if (field.role == ROLE_TIME && !argument) {
        reader->literal[reader->literal_size++] = ']';
    }
}

static void literal_read(format_reader_t *reader)
{
    char c = *reader->at++;

    if (c == '%') {
        reader->at++; /* "%%" */
    } else if (c == '\\' && *reader->at) {
        char escaped = *reader->at++;
        c = (char)(escaped == 't' ? '\t' : escaped == 'n' ? '\n' : escaped);
    }
    reader->literal[reader->literal_size++] = c;
}

/* Each role to one field, but for times, whose parts are added; then away with what stands behind the last. */
static const char *roles_settle(apr_pool_t *p, aq_log_format_t *format, int key_field)
{
    int best[ROLE_COUNT] = {0}, last = 0, has_time = 0;
    field_t *fields = (field_t *)(void *)format->fields->elts;
    int count = format->fields->nelts;

    if (key_field > count) {
        return apr_psprintf(p, "there is no field %d, the format has %d", key_field, count);
    }
    if (key_field > 0) {
        fields[key_field - 1].role = ROLE_USER;
        fields[key_field - 1].rank = RANK_CHOSEN;
    }
    for (int i = 0; i < count; i++) {
        best[fields[i].role] = fields[i].rank > best[fields[i].role] ? fields[i].rank : best[fields[i].role];
    }
    for (int i = 0; i < count; i++) {
        if (fields[i].rank < best[fields[i].role]) {
            fields[i].role = ROLE_NONE;
        }
        has_time |= fields[i].role == ROLE_TIME && fields[i].time->form != AQ_LOG_TIME_MS_PART &&
                    fields[i].time->form != AQ_LOG_TIME_US_PART;
        last = fields[i].role != ROLE_NONE ? i + 1 : last;
    }
    format->fields->nelts = last;
    return has_time ? NULL : "it has no %t, so that nobody can tell when a request came";
}

apr_status_t aq_log_format_parse(apr_pool_t *p, const char *text, int key_field, aq_log_format_t **format,
                                 const char **error)
{
    aq_log_format_t *made = apr_pcalloc(p, sizeof(*made));
    format_reader_t reader = {.p = p, .at = format_of_name(text)};

    reader.literal = apr_palloc(p, strlen(reader.at) + 3); /* and the brackets of a time */
    made->fields = apr_array_make(p, 8, sizeof(field_t));
    while (*reader.at && !reader.error) {
        if (*reader.at == '%' && reader.at[1] != '%') {
            reader.at++;
            field_read(&reader, made);
        } else {
            literal_read(&reader);
        }
    }
    if (!reader.error) {
        literal_end(&reader, made);
        reader.error = roles_settle(p, made, key_field);
    }
    *error = reader.error ? apr_psprintf(p, "the log format \"%.200s\": %s", text, reader.error) : NULL;
    *format = reader.error ? NULL : made;
    return reader.error ? APR_EGENERAL : APR_SUCCESS;
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static int is_escaped(const char *from, const char *at)
{
    int backslashes = 0;

    while (at - backslashes > from && at[-1 - backslashes] == '\\') {
        backslashes++;
    }
    return backslashes % 2;
}

/* Where the field that begins at `at` ends; NULL where what should follow it does not. */
static const char *field_end(const field_t *field, const char *at, const char *end)
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

static int status_read(aq_log_text_t value, int *status)
{
    *status = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.at[i] < '0' || value.at[i] > '9') {
            return is_dash(value);
        }
        *status = *status * 10 + (value.at[i] - '0');
    }
    return value.size == 3;
}

static const char *value_take(const field_t *field, aq_log_text_t value, aq_log_line_t *parsed)
{
    aq_time_ms_t time_ms;

    switch (field->role) {
    case ROLE_TIME:
        if (!aq_log_time_read(field->time, value.at, value.size, &time_ms)) {
            return "its time cannot be read";
        }
        parsed->time_ms += time_ms;
        break;
    case ROLE_STATUS:
        return status_read(value, &parsed->status) ? NULL : "its status is no number of three digits";
    case ROLE_USER:
        parsed->user = is_dash(value) ? (aq_log_text_t){.at = NULL} : value;
        break;
    case ROLE_ADDRESS:
        parsed->address = is_dash(value) ? (aq_log_text_t){.at = NULL} : value;
        break;
    case ROLE_REQUEST:
        parsed->is_request = !is_dash(value);
        break;
    case ROLE_NONE:
    case ROLE_COUNT:
        break;
    }
    return NULL;
}

const char *aq_log_line_parse(aq_log_format_t *format, const char *line, size_t size, aq_log_line_t *parsed)
{
    const field_t *fields = (const field_t *)(const void *)format->fields->elts;
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
