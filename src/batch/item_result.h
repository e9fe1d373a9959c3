/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Item result: the line that tells what became of an item.
 *
 *     {"line":7,"status":201,"body":{"id":"c_7"}}
 *     {"line":8,"status":200,"body":"stored\n","content_type":"text/plain"}
 *     {"line":9,"status":200,"body":"iVBORw…","encoding":"base64","content_type":"image/png"}
 *     {"line":10,"status":422,"body":{"error":"no name"},"error":{"code":"target-status","detail":"the target answered 422"}}
 *     {"line":11,"status":null,"body":null,"error":{"code":"not-json","detail":"the line is not one JSON value in UTF-8"}}
 *
 * An answer that says it is JSON, and is, becomes the body as it is, byte for byte but for line ends between its tokens:
 * no number changes its digits. Any other text is a string, and what is no UTF-8 is base64.
 */
#ifndef AQ_ITEM_RESULT_H
#define AQ_ITEM_RESULT_H

#include <apr_pools.h>
#include <stdint.h>

/* The longest answer of a target to an item that is kept. */
#define AQ_ITEM_ANSWER_MAX_BYTES ((size_t)65536)

typedef struct {
    int64_t line;
    int status;                            /* 0: there was no answer */
    const char *content_type;              /* NULL: none */
    const char *body;                      /* NULL: none, or not kept */
    size_t body_bytes;                     /* at most AQ_ITEM_ANSWER_MAX_BYTES */
    int is_body_left_out;                  /* the target sent one, but the result is too long already */
    const char *error_code, *error_detail; /* NULL: the item succeeded */
} aq_item_result_t;

/* The line in `p`, without LF; NULL when memory ran out. `*size`: its bytes, at most 6 times the body's and some hundred. */
const char *aq_item_result_text(apr_pool_t *p, const aq_item_result_t *result, size_t *size);

/* The line of an item that was begun and of which nothing else is known, into `text`; its bytes. `room` is above 200. */
size_t aq_item_unknown_text(char *text, size_t room, int64_t line);

#endif
