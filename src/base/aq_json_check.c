/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state for what may come next, a function for each group of states. A byte that ends a number belongs to what follows:
 * it is looked at twice.
 */
#include "base/aq_json_check.h"

#include <string.h>

enum {
    VALUE,       /* a value has to come */
    FIRST_VALUE, /* behind [: a value, or ] */
    NAME,        /* a member has to come */
    FIRST_NAME,  /* behind {: a member, or } */
    COLON,       /* behind a name */
    AFTER,       /* behind a value: a comma, the end of what it is in, or of the text */
    STRING,      /* in a string */
    UTF8,        /* in one, within a character */
    ESCAPE,      /* in one, behind a backslash */
    HEX,         /* in one, within \uXXXX */
    LITERAL,     /* in true, false, null */
    MINUS,       /* numbers: behind the sign */
    ZERO,        /* behind a leading zero */
    INTEGER,     /* behind another digit */
    POINT,       /* behind the point */
    FRACTION,    /* behind a digit of the fraction */
    EXPONENT,    /* behind e */
    EXPONENT_SIGN,
    EXPONENT_DIGITS,
    BAD,
    TOO_DEEP
};

static int is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static int is_hex(unsigned char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static int in_object(const aq_json_check_t *check)
{
    int level = check->depth - 1;

    return check->depth > 0 && (check->is_object[level / 8] >> (level % 8) & 1) != 0;
}

static int open_level(aq_json_check_t *check, int is_object)
{
    int level = check->depth;

    if (level == AQ_JSON_CHECK_DEPTH_MAX) {
        return TOO_DEEP;
    }
    unsigned bit = 1U << (level % 8);
    unsigned bits = check->is_object[level / 8];
    check->is_object[level / 8] = (unsigned char)(is_object ? bits | bit : bits & ~bit);
    check->depth++;
    return is_object ? FIRST_NAME : FIRST_VALUE;
}

static int close_level(aq_json_check_t *check, int is_object)
{
    if (check->depth == 0 || in_object(check) != is_object) {
        return BAD;
    }
    check->depth--;
    return AFTER;
}

static int begin_literal(aq_json_check_t *check, const char *rest)
{
    check->literal = rest;
    return LITERAL;
}

static int begin_string(aq_json_check_t *check, int is_name)
{
    check->is_name = is_name;
    return STRING;
}

static int take_value(aq_json_check_t *check, unsigned char c)
{
    switch (c) {
    case '"':
        return begin_string(check, 0);
    case '{':
        return open_level(check, 1);
    case '[':
        return open_level(check, 0);
    case 't':
        return begin_literal(check, "rue");
    case 'f':
        return begin_literal(check, "alse");
    case 'n':
        return begin_literal(check, "ull");
    case '-':
        return MINUS;
    case '0':
        return ZERO;
    default:
        return is_digit(c) ? INTEGER : BAD;
    }
}

static int take_after(aq_json_check_t *check, unsigned char c)
{
    if (c == ',' && check->depth > 0) {
        return in_object(check) ? NAME : VALUE;
    }
    return c == ']' || c == '}' ? close_level(check, c == '}') : BAD;
}

/* What may have white space before it. */
static int take_between(aq_json_check_t *check, unsigned char c)
{
    if (is_space(c)) {
        return check->state;
    }
    switch (check->state) {
    case FIRST_VALUE:
        return c == ']' ? close_level(check, 0) : take_value(check, c);
    case FIRST_NAME:
        return c == '"' ? begin_string(check, 1) : c == '}' ? close_level(check, 1) : BAD;
    case NAME:
        return c == '"' ? begin_string(check, 1) : BAD;
    case COLON:
        return c == ':' ? VALUE : BAD;
    case AFTER:
        return take_after(check, c);
    default:
        return take_value(check, c);
    }
}

/* The first byte of a character of several. RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF. */
static int begin_utf8(aq_json_check_t *check, unsigned char c)
{
    if (c < 0xc2 || c > 0xf4) {
        return BAD;
    }
    check->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    check->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    check->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return UTF8;
}

static int take_utf8(aq_json_check_t *check, unsigned char c)
{
    if (c < check->low || c > check->high) {
        return BAD;
    }
    check->low = 0x80;
    check->high = 0xbf;
    return --check->left > 0 ? UTF8 : STRING;
}

static int take_in_string(aq_json_check_t *check, unsigned char c)
{
    switch (check->state) {
    case UTF8:
        return take_utf8(check, c);
    case ESCAPE:
        check->left = 4;
        return c == 'u' ? HEX : c != '\0' && strchr("\"\\/bfnrt", c) != NULL ? STRING : BAD;
    case HEX:
        return !is_hex(c) ? BAD : --check->left > 0 ? HEX : STRING;
    default:
        break;
    }
    if (c == '"') {
        return check->is_name ? COLON : AFTER;
    }
    return c == '\\' ? ESCAPE : c < 0x20 ? BAD : c < 0x80 ? STRING : begin_utf8(check, c);
}

static int take_literal(aq_json_check_t *check, unsigned char c)
{
    if (c != (unsigned char)*check->literal) {
        return BAD;
    }
    check->literal++;
    return *check->literal != '\0' ? LITERAL : AFTER;
}

static int take_in_number(aq_json_check_t *check, unsigned char c)
{
    int is_e = c == 'e' || c == 'E';

    switch (check->state) {
    case MINUS:
        return c == '0' ? ZERO : is_digit(c) ? INTEGER : BAD;
    case POINT:
        return is_digit(c) ? FRACTION : BAD;
    case EXPONENT:
        return c == '+' || c == '-' ? EXPONENT_SIGN : is_digit(c) ? EXPONENT_DIGITS : BAD;
    case EXPONENT_SIGN:
        return is_digit(c) ? EXPONENT_DIGITS : BAD;
    default:
        break;
    }
    /* In these states the number may be over. */
    if (is_digit(c) && check->state != ZERO) {
        return check->state;
    }
    if (c == '.' && (check->state == ZERO || check->state == INTEGER)) {
        return POINT;
    }
    if (is_e && check->state != EXPONENT_DIGITS) {
        return EXPONENT;
    }
    check->state = AFTER;
    return take_between(check, c);
}

static int take(aq_json_check_t *check, unsigned char c)
{
    if (check->state <= AFTER) {
        return take_between(check, c);
    }
    if (check->state <= HEX) {
        return take_in_string(check, c);
    }
    return check->state == LITERAL ? take_literal(check, c) : take_in_number(check, c);
}

void aq_json_check_begin(aq_json_check_t *check)
{
    *check = (aq_json_check_t){.state = VALUE};
}

void aq_json_check_add(aq_json_check_t *check, const char *data, size_t size)
{
    for (size_t i = 0; i < size && check->state < BAD; i++) {
        check->state = take(check, (unsigned char)data[i]);
    }
}

aq_json_verdict_t aq_json_check_end(const aq_json_check_t *check)
{
    switch (check->state) {
    case AFTER:
    case ZERO:
    case INTEGER:
    case FRACTION:
    case EXPONENT_DIGITS:
        return check->depth == 0 ? AQ_JSON_GOOD : AQ_JSON_BAD;
    case TOO_DEEP:
        return AQ_JSON_TOO_DEEP;
    default:
        return AQ_JSON_BAD;
    }
}
