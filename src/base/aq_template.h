/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Template: a JSON document with placeholders, filled anew for each answer.
 *
 * A placeholder is {{name}} inside a string of the document. Where it is all of the string and its value is a number,
 * the number takes the string's place; where it is all of the string and there is no value, null does. Within other
 * text a value stands as text, and none as nothing. Since the document is a tree and not text, the result is valid JSON
 * whatever the values are.
 */
#ifndef AQ_TEMPLATE_H
#define AQ_TEMPLATE_H

#include <apr_errno.h>
#include <apr_pools.h>
#include <stddef.h>
#include <stdint.h>

/* Larger files are refused: a template is kept in memory, and its answers are made in memory. */
#define AQ_TEMPLATE_MAX_BYTES ((size_t)64 * 1024)

typedef struct aq_template_t aq_template_t;

typedef enum { AQ_TEMPLATE_NONE, AQ_TEMPLATE_NUMBER, AQ_TEMPLATE_TEXT } aq_template_kind_t;

typedef struct {
    const char *name;
    aq_template_kind_t kind;
    int64_t number;   /* AQ_TEMPLATE_NUMBER */
    const char *text; /* AQ_TEMPLATE_TEXT: any bytes; what is not UTF-8 is shown as "?" */
} aq_template_value_t;

/*
 * Loads the file: an object, whose placeholders are all among the `count` names of `known` (only their names are looked
 * at). `*template` lives as long as `p`. On failure NULL, and `*error` a sentence in `p` with the file and the place: a
 * line for what is no JSON, a path such as "error.message" for a placeholder. Not thread-safe.
 */
apr_status_t aq_template_load(apr_pool_t *p, const char *path, const aq_template_value_t *known, size_t count,
                              const aq_template_t **template, const char **error);

/* The same from a JSON text, `name` standing for the file in errors. */
apr_status_t aq_template_parse(apr_pool_t *p, const char *name, const char *text, const aq_template_value_t *known,
                               size_t count, const aq_template_t **template, const char **error);

/*
 * The document with these values, as compact JSON in `p`; NULL only where memory ran out. A placeholder that is not
 * among the values is filled with nothing. Thread-safe: a template is only read.
 */
const char *aq_template_render(apr_pool_t *p, const aq_template_t *template, const aq_template_value_t *values,
                               size_t count);

/* Plain text with these values; a placeholder that is not among them stays as it is. `text` itself where it has none. */
const char *aq_template_text(apr_pool_t *p, const char *text, const aq_template_value_t *values, size_t count);

#endif
