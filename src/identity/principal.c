/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Principal: names and scopes, and the credentials of a header.
 */
#include "identity/principal.h"

#include <apr_cstr.h>
#include <string.h>

#define SCHEME "Bearer"

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

/* Sixteen bytes that the machine compares at once, wherever it can. */
typedef uint8_t bytes_t __attribute__((vector_size(16)));

/* All ones where a byte is a control, a space, a comma, or beyond visible ASCII. */
static inline bytes_t foreign_bytes(const char *text)
{
    bytes_t bytes;

    memcpy(&bytes, text, sizeof(bytes));
    return (bytes_t)(bytes < 0x21) | (bytes_t)(bytes > 0x7e) | (bytes_t)(bytes == ',');
}

/* It runs on every request, where byte by byte it would cost as much as the keyed hash. */
static int is_key_text(const char *text, size_t size)
{
    char padded[sizeof(bytes_t)];
    bytes_t foreign;
    uint64_t halves[2];

    if (size < sizeof(padded)) {
        memset(padded, 'a', sizeof(padded));
        memcpy(padded, text, size);
        return is_key_text(padded, sizeof(padded));
    }
    /* The last sixteen first; the loop then need not care for a rest. */
    foreign = foreign_bytes(text + size - sizeof(bytes_t));
    for (size_t i = 0; i + sizeof(bytes_t) < size; i += sizeof(bytes_t)) {
        foreign |= foreign_bytes(text + i);
    }
    memcpy(halves, &foreign, sizeof(halves));
    return (halves[0] | halves[1]) == 0;
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

/* Nearly everyone writes it one way, and that is a comparison of a few instructions. */
static inline int is_of_scheme(const char *value)
{
    if (strncmp(value, SCHEME " ", sizeof(SCHEME)) == 0) {
        return 1;
    }
    return apr_cstr_casecmpn(value, SCHEME, sizeof(SCHEME) - 1) == 0 && value[sizeof(SCHEME) - 1] == ' ';
}

int aq_bearer_token(const char *value, const char **token, size_t *size)
{
    *token = NULL;
    *size = 0;
    while (value && (*value == ' ' || *value == '\t')) {
        value++;
    }
    if (!value || !is_of_scheme(value)) {
        return 0;
    }
    return aq_bare_token(value + sizeof(SCHEME) - 1, token, size);
}

int aq_token_is_joined(const char *value)
{
    return value && strchr(value, ',') != NULL;
}
