/* SPDX-License-Identifier: Apache-2.0 */
/* Text put together piece by piece: see aq_text.h. */
#include "base/aq_text.h"

#include <apr_strings.h>
#include <stdarg.h>
#include <string.h>

/* What stands for a character; NULL: itself. */
typedef const char *substitute_fn(unsigned char character);

aq_text_t *aq_text_create(apr_pool_t *p)
{
    aq_text_t *text = apr_palloc(p, sizeof(*text));

    text->p = p;
    text->pieces = apr_array_make(p, 256, sizeof(const char *));
    return text;
}

void aq_text_add(aq_text_t *text, const char *piece)
{
    APR_ARRAY_PUSH(text->pieces, const char *) = piece;
}

void aq_text_addf(aq_text_t *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    aq_text_add(text, apr_pvsprintf(text->p, format, arguments));
    va_end(arguments);
}

static void add_substituted(aq_text_t *text, const char *any, substitute_fn *substitute)
{
    const char *begin = any;

    for (const char *at = any; at && *at; at++) {
        const char *instead = substitute((unsigned char)*at);

        if (instead) {
            aq_text_add(text, apr_pstrmemdup(text->p, begin, (apr_size_t)(at - begin)));
            aq_text_add(text, instead);
            begin = at + 1;
        }
    }
    if (begin && *begin) {
        aq_text_add(text, apr_pstrdup(text->p, begin));
    }
}

/* Control characters have no place in HTML, and no meaning in a name. */
static const char *html_substitute(unsigned char character)
{
    switch (character) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return character < ' ' || character == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

void aq_text_add_html(aq_text_t *text, const char *any)
{
    add_substituted(text, any, html_substitute);
}

static const char *label_substitute(unsigned char character)
{
    switch (character) {
    case '\\':
        return "\\\\";
    case '"':
        return "\\\"";
    case '\n':
        return "\\n";
    default:
        return NULL;
    }
}

void aq_text_add_label(aq_text_t *text, const char *any)
{
    add_substituted(text, any, label_substitute);
}

const char *aq_text_join(const aq_text_t *text)
{
    return apr_array_pstrcat(text->p, text->pieces, 0);
}
