/* SPDX-License-Identifier: Apache-2.0 */
/* Words: the arguments of a directive. See aq_words.h. */
#include "base/aq_words.h"

#include <apr_lib.h>
#include <string.h>

/* Takes one word off `line`, into `out`, which has room for all of it. Where it ends; NULL: a quote is open. */
static const char *word_read(const char *line, char *out)
{
    char quote = 0;

    for (; *line && (quote || !apr_isspace(*line)); line++) {
        if (*line == '\\' && quote && line[1]) {
            *out++ = *++line;
        } else if (*line == quote) {
            quote = 0;
        } else if (!quote && (*line == '"' || *line == '\'')) {
            quote = *line;
        } else {
            *out++ = *line;
        }
    }
    *out = '\0';
    return quote ? NULL : line;
}

const char *aq_words_split(apr_pool_t *p, const char *line, apr_array_header_t **words)
{
    *words = apr_array_make(p, 8, sizeof(const char *));
    for (;;) {
        while (apr_isspace(*line)) {
            line++;
        }
        if (!*line) {
            return NULL;
        }
        char *word = apr_palloc(p, strlen(line) + 1);
        line = word_read(line, word);
        if (!line) {
            return "a quotation mark is not closed";
        }
        APR_ARRAY_PUSH(*words, const char *) = word;
    }
}
