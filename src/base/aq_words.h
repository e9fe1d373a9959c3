/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words: the arguments of a directive, split as httpd does, with one thing more: quotes may also stand within a word, as
 * in message="The day is used up."
 */
#ifndef AQ_WORDS_H
#define AQ_WORDS_H

#include <apr_tables.h>

/*
 * Splits `line` at white space into `*words` (of const char *, in `p`). Within '…' or "…" white space is kept, and a
 * backslash takes the next character as it is. NULL, or why the line cannot be split (a constant).
 */
const char *aq_words_split(apr_pool_t *p, const char *line, apr_array_header_t **words);

#endif
