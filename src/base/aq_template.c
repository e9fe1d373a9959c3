/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Template: checked once when it is loaded, then copied with its strings filled. See aq_template.h.
 *
 * The tree of the template is never changed nor referred to by what is made from it, so threads share it without a lock.
 */
#include "base/aq_template.h"

#include "base/aq_json.h"

#include <apr_strings.h>
#include <apr_tables.h>
#include <string.h>
#include <sys/uio.h>

#define OPENING "{{"
#define CLOSING "}}"

struct aq_template_t {
    json_t *document;
};

/* A placeholder within a text. */
typedef struct {
    const char *start; /* at its opening */
    const char *end;   /* behind its closing; NULL where it is not closed */
    const char *name;
    size_t name_size;
} placeholder_t;

/* The first one from `text` on; 0 where there is none. */
static int placeholder_find(const char *text, placeholder_t *found)
{
    const char *close;

    found->start = strstr(text, OPENING);
    if (!found->start) {
        return 0;
    }
    found->name = found->start + strlen(OPENING);
    close = strstr(found->name, CLOSING);
    found->end = close ? close + strlen(CLOSING) : NULL;
    found->name_size = close ? (size_t)(close - found->name) : 0;
    return 1;
}

static const aq_template_value_t *value_find(const aq_template_value_t *values, size_t count,
                                             const placeholder_t *placeholder)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(values[i].name) == placeholder->name_size &&
            memcmp(values[i].name, placeholder->name, placeholder->name_size) == 0) {
            return &values[i];
        }
    }
    return NULL;
}

static const char *value_text(apr_pool_t *p, const aq_template_value_t *value)
{
    if (!value || value->kind == AQ_TEMPLATE_NONE) {
        return "";
    }
    return value->kind == AQ_TEMPLATE_NUMBER ? apr_psprintf(p, "%" APR_INT64_T_FMT, value->number) : value->text;
}

static void piece_add(apr_array_header_t *pieces, const char *text, size_t size)
{
    /* iovec has no const; the pieces are only read. */
    APR_ARRAY_PUSH(pieces, struct iovec) = (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = size};
}

/* `text` with its placeholders filled; those without a value go, or stay where `keeps_unknown`. */
static const char *text_fill(apr_pool_t *p, const char *text, const aq_template_value_t *values, size_t count,
                             int keeps_unknown)
{
    apr_array_header_t *pieces = apr_array_make(p, 4, sizeof(struct iovec));
    placeholder_t found;

    while (placeholder_find(text, &found) && found.end) {
        const aq_template_value_t *value = value_find(values, count, &found);
        const char *filled = value_text(p, value);

        piece_add(pieces, text, (size_t)(found.start - text));
        if (!value && keeps_unknown) {
            piece_add(pieces, found.start, (size_t)(found.end - found.start));
        } else {
            piece_add(pieces, filled, strlen(filled));
        }
        text = found.end;
    }
    if (pieces->nelts == 0) {
        return text;
    }
    piece_add(pieces, text, strlen(text));
    return apr_pstrcatv(p, (const struct iovec *)(void *)pieces->elts, (apr_size_t)pieces->nelts, NULL);
}

const char *aq_template_text(apr_pool_t *p, const char *text, const aq_template_value_t *values, size_t count)
{
    return text_fill(p, text, values, count, 1);
}

/* A string of any bytes. */
static json_t *string_make(apr_pool_t *p, const char *text)
{
    json_t *string = json_string(text);
    char *ascii;

    if (string) {
        return string;
    }
    ascii = apr_pstrdup(p, text);
    for (char *at = ascii; *at; at++) {
        if ((unsigned char)*at >= 0x80) {
            *at = '?';
        }
    }
    return json_string(ascii);
}

static json_t *string_fill(apr_pool_t *p, const char *text, const aq_template_value_t *values, size_t count)
{
    placeholder_t found;

    if (placeholder_find(text, &found) && found.start == text && found.end && !*found.end) {
        const aq_template_value_t *value = value_find(values, count, &found);

        if (!value || value->kind == AQ_TEMPLATE_NONE) {
            return json_null();
        }
        if (value->kind == AQ_TEMPLATE_NUMBER) {
            return json_integer((json_int_t)value->number);
        }
    }
    return string_make(p, text_fill(p, text, values, count, 0));
}

static json_t *node_fill(apr_pool_t *p, json_t *node, const aq_template_value_t *values, size_t count);

static json_t *object_fill(apr_pool_t *p, json_t *object, const aq_template_value_t *values, size_t count)
{
    json_t *filled = json_object();
    const char *name;
    json_t *member;

    json_object_foreach(object, name, member)
    {
        if (json_object_set_new(filled, name, node_fill(p, member, values, count)) != 0) {
            json_decref(filled);
            return NULL;
        }
    }
    return filled;
}

static json_t *array_fill(apr_pool_t *p, json_t *array, const aq_template_value_t *values, size_t count)
{
    json_t *filled = json_array();

    for (size_t i = 0; i < json_array_size(array); i++) {
        if (json_array_append_new(filled, node_fill(p, json_array_get(array, i), values, count)) != 0) {
            json_decref(filled);
            return NULL;
        }
    }
    return filled;
}

static json_t *node_fill(apr_pool_t *p, json_t *node, const aq_template_value_t *values, size_t count)
{
    if (json_is_object(node)) {
        return object_fill(p, node, values, count);
    }
    if (json_is_array(node)) {
        return array_fill(p, node, values, count);
    }
    return json_is_string(node) ? string_fill(p, json_string_value(node), values, count) : json_deep_copy(node);
}

const char *aq_template_render(apr_pool_t *p, const aq_template_t *template, const aq_template_value_t *values,
                               size_t count)
{
    json_t *filled = node_fill(p, template->document, values, count);
    const char *text = filled ? aq_json_text(p, filled) : NULL;

    json_decref(filled);
    return text;
}

/* What is checked while the tree is walked, and where. */
typedef struct {
    apr_pool_t *p;
    const aq_template_value_t *known;
    size_t count;
    const char *error;
} check_t;

static const char *names_join(const check_t *check)
{
    const char *names = "";

    for (size_t i = 0; i < check->count; i++) {
        names = apr_pstrcat(check->p, names, i ? ", " : "", OPENING, check->known[i].name, CLOSING, NULL);
    }
    return names;
}

static void string_check(check_t *check, const char *text, const char *place)
{
    placeholder_t found;

    while (!check->error && placeholder_find(text, &found)) {
        if (!found.end) {
            check->error = apr_psprintf(check->p, "%s: \"" OPENING "\" without \"" CLOSING "\"", place);
        } else if (!value_find(check->known, check->count, &found)) {
            check->error =
                apr_psprintf(check->p, "%s: " OPENING "%.*s" CLOSING " is no placeholder; allowed: %s", place,
                             found.name_size < 80 ? (int)found.name_size : 80, found.name, names_join(check));
        }
        text = found.end;
    }
}

static void node_check(check_t *check, json_t *node, const char *place)
{
    const char *name;
    json_t *member;

    if (json_is_string(node)) {
        string_check(check, json_string_value(node), place);
    }
    for (size_t i = 0; !check->error && i < json_array_size(node); i++) {
        node_check(check, json_array_get(node, i), apr_psprintf(check->p, "%s[%" APR_SIZE_T_FMT "]", place, i));
    }
    json_object_foreach(node, name, member)
    {
        const char *inner = apr_pstrcat(check->p, place, *place ? "." : "", name, NULL);

        if (!check->error && strstr(name, OPENING)) {
            check->error = apr_pstrcat(check->p, inner, ": a placeholder cannot stand in a name", NULL);
        }
        if (!check->error) {
            node_check(check, member, inner);
        }
    }
}

static apr_status_t document_drop(void *document)
{
    json_decref(document);
    return APR_SUCCESS;
}

/* Takes over the reference to `document`. */
static apr_status_t template_make(apr_pool_t *p, const char *name, json_t *document, const aq_template_value_t *known,
                                  size_t count, const aq_template_t **template, const char **error)
{
    check_t check = {.p = p, .known = known, .count = count};
    aq_template_t *made;

    if (!json_is_object(document)) {
        check.error = "is no JSON object";
    } else {
        node_check(&check, document, "");
    }
    if (check.error) {
        *error = apr_pstrcat(p, name, ": ", check.error, NULL);
        json_decref(document);
        return APR_EGENERAL;
    }
    made = apr_palloc(p, sizeof(*made));
    made->document = document;
    apr_pool_cleanup_register(p, document, document_drop, apr_pool_cleanup_null);
    *template = made;
    return APR_SUCCESS;
}

apr_status_t aq_template_load(apr_pool_t *p, const char *path, const aq_template_value_t *known, size_t count,
                              const aq_template_t **template, const char **error)
{
    json_t *document;
    apr_status_t rv = aq_json_file_load(p, path, AQ_TEMPLATE_MAX_BYTES, &document, error);

    *template = NULL;
    return rv == APR_SUCCESS ? template_make(p, path, document, known, count, template, error) : rv;
}

apr_status_t aq_template_parse(apr_pool_t *p, const char *name, const char *text, const aq_template_value_t *known,
                               size_t count, const aq_template_t **template, const char **error)
{
    json_error_t place;
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &place);

    *template = NULL;
    *error = NULL;
    if (!document) {
        *error = apr_psprintf(p, "%s: line %d, column %d: is no valid JSON", name, place.line, place.column);
        return APR_EGENERAL;
    }
    return template_make(p, name, document, known, count, template, error);
}
