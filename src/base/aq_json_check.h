/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON check: whether a text that comes in pieces is one JSON value (RFC 8259) in UTF-8.
 *
 * It keeps a state, never the text: a hundred bytes whatever the size. jansson builds a tree, which for a hostile line
 * takes fifty times the line, and where the answer is only yes or no nobody needs it.
 *
 * Stricter than jansson in nothing. It takes what jansson refuses though the grammar allows it: numbers of any size,
 * \u0000, halves of surrogate pairs, a name twice in one object.
 */
#ifndef AQ_JSON_CHECK_H
#define AQ_JSON_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Arrays and objects in each other: what common parsers take with ease. */
#define AQ_JSON_CHECK_DEPTH_MAX 512

typedef enum {
    AQ_JSON_GOOD,
    AQ_JSON_BAD, /* also one that is not over */
    AQ_JSON_TOO_DEEP
} aq_json_verdict_t;

typedef struct {
    int state;
    int is_name;             /* the string is a member's name */
    int left;                /* of \u escapes and of UTF-8 sequences: how many are to come */
    const char *literal;     /* what is left of true, false or null */
    unsigned char low, high; /* between which the next byte of a UTF-8 sequence lies */
    int depth;
    unsigned char is_object[AQ_JSON_CHECK_DEPTH_MAX / 8]; /* a bit for each level, else it is an array */
} aq_json_check_t;

void aq_json_check_begin(aq_json_check_t *check);

/* The next piece, split anywhere. */
void aq_json_check_add(aq_json_check_t *check, const char *data, size_t size);

/* What the pieces are so far, taken as a whole. */
aq_json_verdict_t aq_json_check_end(const aq_json_check_t *check);

#endif
