/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suggest: what somebody may have meant who typed a name that there is none of.
 */
#ifndef AQ_SUGGEST_H
#define AQ_SUGGEST_H

#include <apr_tables.h>

/*
 * Of `names` (of const char *) the one that is nearest to `word`: by letters that are missing, too many, other ones, or
 * two in the wrong order. NULL where none is near: more than a third of its letters would have to change.
 */
const char *aq_suggest(const char *word, const apr_array_header_t *names);

#endif
