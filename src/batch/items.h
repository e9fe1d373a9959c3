/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items: a body of NDJSON, one item a line, as it is counted while it comes and read when its items are sent.
 *
 * Pure: no file, no clock, no memory of its own. The body comes in pieces, split anywhere. A line ends with LF; what is
 * behind the last one is a line too unless it is empty. Every line is an item, an empty one also, so that line numbers
 * (from 1) are those of the client's editor. A line that is no JSON value (RFC 8259), is too long or too deep is found
 * as a bad one; it harms no other. The reader holds no text: memory is the same for lines of any size.
 */
#ifndef AQ_ITEMS_H
#define AQ_ITEMS_H

#include "base/aq_json_check.h"

/* Longer lines are bad. Without the LF. */
#define AQ_ITEMS_LINE_MAX_BYTES (INT64_C(1) << 20)

/* How many lines have come. All zero to begin with. */
typedef struct {
    int64_t ended; /* lines with their LF */
    int has_rest;  /* something has come behind the last of them */
} aq_items_count_t;

void aq_items_count(aq_items_count_t *count, const char *data, size_t size);

static inline int64_t aq_items_total(const aq_items_count_t *count)
{
    return count->ended + count->has_rest;
}

typedef enum { AQ_ITEM_GOOD, AQ_ITEM_NOT_JSON, AQ_ITEM_TOO_LONG, AQ_ITEM_TOO_DEEP } aq_item_verdict_t;

/* A line of the body, and where it lies there. */
typedef struct {
    int64_t line;
    int64_t offset, bytes; /* without the LF */
    aq_item_verdict_t verdict;
} aq_item_t;

typedef struct {
    int64_t line;  /* of the one that is being read */
    int64_t begin; /* where it begins */
    int64_t at;    /* how far the body was read */
    aq_json_check_t check;
} aq_items_reader_t;

void aq_items_begin(aq_items_reader_t *reader);

/*
 * Reads on in the next piece. 1: a line has ended, `*item` tells of it; `*used` bytes of the piece are read, and the rest
 * is to come again. 0: the piece is read.
 */
int aq_items_read(aq_items_reader_t *reader, const char *data, size_t size, size_t *used, aq_item_t *item);

/* After the last piece. 1: there was a last line without LF. */
int aq_items_end(aq_items_reader_t *reader, aq_item_t *item);

/* The error of a bad line for its client: static texts; NULL for a good one. */
const char *aq_item_error_code(aq_item_verdict_t verdict);
const char *aq_item_error_detail(aq_item_verdict_t verdict);

#endif
