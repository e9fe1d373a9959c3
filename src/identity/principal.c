/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Principal: names and scopes, and the credentials of a header.
 */
#include "identity/principal.h"

#include <apr_cstr.h>
#include <string.h>

#define SCHEME "Bearer"
#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

int aq_principal_name_is_valid(const char *name)
{
    size_t size = 0;

    for (; name && name[size]; size++) {
        unsigned char c = (unsigned char)name[size];
        if (size == AQ_PRINCIPAL_NAME_MAX || c <= 0x20 || c >= 0x7f || c == '"' || c == '\\') {
            return 0;
        }
    }
    return size > 0;
}

int aq_principal_has_scope(const aq_principal_t *principal, const char *scope)
{
    for (unsigned i = 0; i < principal->scope_count; i++) {
        if (strcmp(principal->scopes[i], scope) == 0) {
            return 1;
        }
    }
    return 0;
}

/*
 * The top bit of some byte is set where a byte of the word is a control, a space, a comma, or beyond ASCII. Each
 * difference sets it for what it looks for; a borrow reaches other bytes only out of one that is found already.
 */
static inline uint64_t foreign_bytes(uint64_t word)
{
    return word | (word - EACH_BYTE(0x21)) | ((word ^ EACH_BYTE(0x7f)) - EACH_BYTE(0x01)) |
           ((word ^ EACH_BYTE(',')) - EACH_BYTE(0x01));
}

/* Eight bytes at a time: it runs on every request, where byte by byte it would cost as much as the keyed hash. */
static int is_key_text(const char *text, size_t size)
{
    uint64_t word = EACH_BYTE('a'), foreign;

    if (size < sizeof(word)) {
        memcpy(&word, text, size);
        return (foreign_bytes(word) & EACH_BYTE(0x80)) == 0;
    }
    /* The last eight first; the loop then need not care for a rest. */
    memcpy(&word, text + size - sizeof(word), sizeof(word));
    foreign = foreign_bytes(word);
    for (size_t i = 0; i + sizeof(word) < size; i += sizeof(word)) {
        memcpy(&word, text + i, sizeof(word));
        foreign |= foreign_bytes(word);
    }
    return (foreign & EACH_BYTE(0x80)) == 0;
}

int aq_bare_token(const char *value, const char **token, size_t *size)
{
    *token = NULL;
    *size = 0;
    if (!value) {
        return 0;
    }
    while (*value == ' ' || *value == '\t') {
        value++;
    }
    size_t length = strlen(value);
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t')) {
        length--;
    }
    if (length == 0 || !is_key_text(value, length)) {
        return 0;
    }
    *token = value;
    *size = length;
    return 1;
}

int aq_bearer_token(const char *value, const char **token, size_t *size)
{
    *token = NULL;
    *size = 0;
    while (value && (*value == ' ' || *value == '\t')) {
        value++;
    }
    if (!value || apr_cstr_casecmpn(value, SCHEME, sizeof(SCHEME) - 1) != 0 || value[sizeof(SCHEME) - 1] != ' ') {
        return 0;
    }
    return aq_bare_token(value + sizeof(SCHEME) - 1, token, size);
}

int aq_token_is_joined(const char *value)
{
    return value && strchr(value, ',') != NULL;
}
