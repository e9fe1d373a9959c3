/* SPDX-License-Identifier: Apache-2.0 */
/* Log format. See log_format.h. Which directives matter is a table. */
#include "ctl/log_format_private.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

static const struct {
    char letter;
    const char *argument; /* NULL: must have none */
    aq_log_role_t role;
    int rank;
} roles[] = {
    {'t', "", AQ_ROLE_TIME, 0}, /* with any argument */
    {'s', NULL, AQ_ROLE_STATUS, 1},  {'u', NULL, AQ_ROLE_USER, 1},    {'e', "APIQUOTA_KEY_ID", AQ_ROLE_USER, 2},
    {'h', NULL, AQ_ROLE_ADDRESS, 1}, {'a', NULL, AQ_ROLE_ADDRESS, 2}, {'r', NULL, AQ_ROLE_REQUEST, 1},
};
#define ROLE_ROW_COUNT (sizeof(roles) / sizeof(roles[0]))

#define RANK_SECONDS 1
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

static void role_find(aq_log_field_t *field, char letter, const char *argument, int is_final)
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
    aq_log_field_t *last =
        format->fields->nelts ? &APR_ARRAY_IDX(format->fields, format->fields->nelts - 1, aq_log_field_t) : NULL;

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

/* Times of whole seconds have the least rank, and are the only ones to which a part is added. */
static void time_role_set(aq_log_field_t *field)
{
    static const struct {
        aq_log_role_t role;
        int rank;
    } by_form[] = {
        [AQ_LOG_TIME_CLF] = {AQ_ROLE_TIME, RANK_SECONDS},     [AQ_LOG_TIME_S] = {AQ_ROLE_TIME, RANK_SECONDS},
        [AQ_LOG_TIME_PATTERN] = {AQ_ROLE_TIME, RANK_SECONDS}, [AQ_LOG_TIME_MS] = {AQ_ROLE_TIME, RANK_SECONDS + 1},
        [AQ_LOG_TIME_US] = {AQ_ROLE_TIME, RANK_SECONDS + 2},  [AQ_LOG_TIME_MS_PART] = {AQ_ROLE_TIME_PART, 1},
        [AQ_LOG_TIME_US_PART] = {AQ_ROLE_TIME_PART, 2},
    };

    field->role = by_form[field->time->form].role;
    field->rank = by_form[field->time->form].rank;
}

static void field_read(format_reader_t *reader, aq_log_format_t *format)
{
    const char *argument;
    int is_final;
    char letter = directive_read(reader, &argument, &is_final);
    aq_log_field_t field = {.role = AQ_ROLE_NONE};

    if (!letter) {
        return;
    }
    role_find(&field, letter, argument, is_final);
    if (field.role == AQ_ROLE_TIME) {
        field.time = aq_log_time_create(reader->p, argument);
        if (!field.time) {
            reader->error = apr_psprintf(reader->p, "no moment can be told from \"%%{%.80s}t\"", argument);
            return;
        }
        time_role_set(&field);
        if (!argument) {
            reader->literal[reader->literal_size++] = '[';
        }
    }
    field.is_quoted = reader->literal_size > 0 && reader->literal[reader->literal_size - 1] == '"';
    literal_end(reader, format);
    APR_ARRAY_PUSH(format->fields, aq_log_field_t) = field;
    if (field.time && !argument) {
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

/* Each role to one field; then away with what stands behind the last that has one. */
static const char *roles_settle(apr_pool_t *p, aq_log_format_t *format, int key_field)
{
    aq_log_field_t *fields = (aq_log_field_t *)(void *)format->fields->elts, *best[AQ_ROLE_COUNT] = {NULL};
    int count = format->fields->nelts, last = 0;

    if (key_field > count) {
        return apr_psprintf(p, "there is no field %d, the format has %d", key_field, count);
    }
    if (key_field > 0) {
        fields[key_field - 1].role = AQ_ROLE_USER;
        fields[key_field - 1].rank = RANK_CHOSEN;
    }
    for (int i = 0; i < count; i++) {
        aq_log_field_t **chosen = &best[fields[i].role];
        *chosen = !*chosen || fields[i].rank > (*chosen)->rank ? &fields[i] : *chosen;
    }
    if (!best[AQ_ROLE_TIME]) {
        return "it has no %t, so that nobody can tell when a request came";
    }
    best[AQ_ROLE_TIME_PART] = best[AQ_ROLE_TIME]->rank == RANK_SECONDS ? best[AQ_ROLE_TIME_PART] : NULL;
    for (int i = 0; i < count; i++) {
        fields[i].role = best[fields[i].role] == &fields[i] ? fields[i].role : AQ_ROLE_NONE;
        last = fields[i].role != AQ_ROLE_NONE ? i + 1 : last;
    }
    format->fields->nelts = last;
    return NULL;
}

apr_status_t aq_log_format_parse(apr_pool_t *p, const char *text, int key_field, aq_log_format_t **format,
                                 const char **error)
{
    aq_log_format_t *made = apr_pcalloc(p, sizeof(*made));
    format_reader_t reader = {.p = p, .at = format_of_name(text)};

    reader.literal = apr_palloc(p, strlen(reader.at) + 3); /* and the brackets of a time */
    made->fields = apr_array_make(p, 8, sizeof(aq_log_field_t));
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
