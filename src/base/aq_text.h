/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that is put together piece by piece: pages and other long answers. The pieces lie in one pool until they are joined.
 * Where memory runs out the pool's own handling of that applies.
 */
#ifndef AQ_TEXT_H
#define AQ_TEXT_H

#include <apr_pools.h>
#include <apr_tables.h>

typedef struct {
    apr_pool_t *p;
    apr_array_header_t *pieces; /* of const char * */
} aq_text_t;

/* An empty text in `p`. */
aq_text_t *aq_text_create(apr_pool_t *p);

/* Appends a string that stays as it is at least as long as the text. */
void aq_text_add(aq_text_t *text, const char *piece);

/* Appends what printf would print; to be used for texts of ours and numbers only, in HTML. */
void aq_text_addf(aq_text_t *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends any string so that it stands in HTML, also inside of a quoted attribute, as what it is. NULL: nothing. */
void aq_text_add_html(aq_text_t *text, const char *any);

/* Appends any string so that it stands inside of the quotes of a label (Prometheus text format 0.0.4). */
void aq_text_add_label(aq_text_t *text, const char *any);

/* The whole text, in the text's pool. */
const char *aq_text_join(const aq_text_t *text);

#endif
