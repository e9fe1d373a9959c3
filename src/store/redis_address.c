/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of Redis servers. See redis_address.h. */
#include "store/redis_address.h"

#include "base/aq_file.h"
#include "base/aq_units.h"

#include <apr_escape.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD_MAX 512

static const struct {
    const char *scheme;
    int is_tls, is_socket;
} schemes[] = {
    {"redis://", 0, 0}, {"rediss://", 1, 0}, {"redis+unix:", 0, 1}, {"unix:", 0, 1}, {NULL, 0, 0},
};

static int scheme_find(const char *word)
{
    int i = 0;

    while (schemes[i].scheme != NULL && strncmp(word, schemes[i].scheme, strlen(schemes[i].scheme)) != 0) {
        i++;
    }
    return i;
}

int aq_redis_address_is(const char *word)
{
    return schemes[scheme_find(word)].scheme != NULL;
}

/* A number from 0 to `most`, or -1. */
static int number_parse(const char *text, int most)
{
    char *end;
    const apr_int64_t number = apr_strtoi64(text, &end, 10);

    return apr_isdigit(*text) && *end == '\0' && number <= most ? (int)number : -1;
}

/* USER, :PASSWORD or USER:PASSWORD, percent-encoded as URLs are. */
static const char *credentials_parse(apr_pool_t *p, char *text, aq_redis_address_t *address)
{
    char *colon = strchr(text, ':');
    const char *user;
    const char *password = NULL;

    if (colon != NULL) {
        *colon = '\0';
        password = apr_punescape_url(p, colon + 1, "", "", 0);
        if (password == NULL) {
            return "the password in the address is not percent-encoded as it must be in a URL";
        }
    }
    user = apr_punescape_url(p, text, "", "", 0);
    if (user == NULL) {
        return "the user in the address is not percent-encoded as it must be in a URL";
    }
    address->user = *user != '\0' ? user : NULL;
    address->password = password != NULL && *password != '\0' ? password : NULL;
    return NULL;
}

/* HOST, HOST:PORT or [IPv6]:PORT. */
static const char *host_parse(char *text, aq_redis_address_t *address)
{
    char *end = text + strcspn(text, ":");

    if (*text == '[') {
        end = strchr(text, ']');
        if (end == NULL || (end[1] != ':' && end[1] != '\0')) {
            return "an IPv6 address stands in brackets, as in redis://[::1]:6379";
        }
        text++;
        *end++ = '\0';
    }
    address->port = AQ_REDIS_PORT;
    if (*end == ':') {
        address->port = number_parse(end + 1, 65535);
        *end = '\0';
    }
    address->host = text;
    if (*text == '\0') {
        return "a host is missing, as in redis://127.0.0.1:6379/0";
    }
    return address->port < 1 ? "a port is a number from 1 to 65535" : NULL;
}

static const char *db_parse(const char *text, aq_redis_address_t *address)
{
    address->db = *text != '\0' ? number_parse(text, AQ_REDIS_DB_MAX) : 0;
    return address->db < 0 ? "a database is a number from 0 to 65535" : NULL;
}

static const char *url_parse(apr_pool_t *p, const char *rest, aq_redis_address_t *address)
{
    char *text = apr_pstrdup(p, rest);
    char *at = strrchr(text, '@');
    char *slash;
    const char *error = NULL;

    if (at != NULL) {
        *at = '\0';
        error = credentials_parse(p, text, address);
        text = at + 1;
    }
    slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = '\0';
        error = error != NULL ? error : db_parse(slash + 1, address);
    }
    return error != NULL ? error : host_parse(text, address);
}

static const char *text_set(apr_pool_t *p, const char *value, const char **setting)
{
    *setting = apr_pstrdup(p, value);
    return *value != '\0' ? NULL : "a value";
}

static const char *budget_set(const char *value, aq_redis_address_t *address)
{
    return aq_units_duration_parse(value, &address->budget_ms) == APR_SUCCESS &&
                   address->budget_ms <= AQ_REDIS_BUDGET_MS_MAX
               ? NULL
               : "a time of at most 10s, such as 50ms";
}

static const char *mode_set(const char *value, aq_redis_address_t *address)
{
    address->mode = AQ_REDIS_STRICT;
    return strcmp(value, "strict") == 0 ? NULL : "mode=strict";
}

/* Sets one NAME=VALUE. NULL, or what is allowed. */
static const char *option_set(apr_pool_t *p, const char *word, aq_redis_address_t *address)
{
    const struct {
        const char *name;
        const char **setting;
    } texts[] = {
        {"password-file=", &address->password_file},
        {"password-env=", &address->password_env},
        {"user=", &address->user},
        {"ca=", &address->ca},
        {"cert=", &address->cert},
        {"key=", &address->key},
        {"sni=", &address->sni},
    };

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strncmp(word, texts[i].name, strlen(texts[i].name)) == 0) {
            return text_set(p, word + strlen(texts[i].name), texts[i].setting);
        }
    }
    if (strncmp(word, "budget=", 7) == 0) {
        return budget_set(word + 7, address);
    }
    if (strncmp(word, "mode=", 5) == 0) {
        return mode_set(word + 5, address);
    }
    if (strncmp(word, "db=", 3) == 0) {
        return db_parse(word + 3, address);
    }
    return "budget=, mode=, user=, db=, password-file=, password-env=, ca=, cert=, key=, sni=";
}

static const char *name_make(apr_pool_t *p, const aq_redis_address_t *address)
{
    if (address->socket != NULL) {
        return apr_psprintf(p, "unix:%s (database %d)", address->socket, address->db);
    }
    return apr_psprintf(p, strchr(address->host, ':') != NULL ? "%s%s%s[%s]:%d/%d" : "%s%s%s%s:%d/%d",
                        address->is_tls ? "rediss://" : "redis://", address->user != NULL ? address->user : "",
                        address->user != NULL ? "@" : "", address->host, address->port, address->db);
}

/* What no single word can know. */
static const char *whole_check(const aq_redis_address_t *address)
{
    const int passwords =
        (address->password != NULL) + (address->password_file != NULL) + (address->password_env != NULL);

    if (passwords > 1) {
        return "the password is given more than once: in the address, by password-file= or by password-env=";
    }
    if (address->user != NULL && passwords == 0) {
        return "a user needs a password: password-file=PATH or password-env=NAME";
    }
    if (!address->is_tls &&
        (address->ca != NULL || address->cert != NULL || address->key != NULL || address->sni != NULL)) {
        return "ca=, cert=, key= and sni= are for rediss://";
    }
    if ((address->cert != NULL) != (address->key != NULL)) {
        return "cert= and key= belong together";
    }
#ifndef AQ_HAVE_REDIS_TLS
    if (address->is_tls) {
        return "rediss:// needs TLS in hiredis, which this build lacks (Debian 13 has it, Debian 12 has not); use "
               "redis:// in a network that you trust, or through a tunnel";
    }
#endif
    return NULL;
}

apr_status_t aq_redis_address_parse(apr_pool_t *p, const char *const *words, int count, aq_redis_address_t **address,
                                    const char **error)
{
    aq_redis_address_t *parsed = apr_pcalloc(p, sizeof(*parsed));
    const int scheme = scheme_find(words[0]);
    const char *wrong = NULL;

    *address = parsed;
    *error = NULL;
    parsed->budget_ms = AQ_REDIS_BUDGET_MS_DEFAULT;
    parsed->is_tls = schemes[scheme].is_tls;
    if (schemes[scheme].scheme == NULL) {
        wrong = "an address begins with redis://, rediss:// or unix:";
    } else if (schemes[scheme].is_socket) {
        parsed->socket = apr_pstrdup(p, words[0] + strlen(schemes[scheme].scheme));
        wrong = *parsed->socket == '/' ? NULL : "unix: is followed by an absolute path";
    } else {
        wrong = url_parse(p, words[0] + strlen(schemes[scheme].scheme), parsed);
    }
    for (int i = 1; wrong == NULL && i < count; i++) {
        const char *allowed = option_set(p, words[i], parsed);

        wrong = allowed != NULL ? apr_psprintf(p, "\"%s\" is not allowed here; allowed: %s", words[i], allowed) : NULL;
    }
    wrong = wrong != NULL ? wrong : whole_check(parsed);
    if (wrong != NULL) {
        *error = wrong;
        return APR_EGENERAL;
    }
    parsed->name = name_make(p, parsed);
    return APR_SUCCESS;
}

apr_array_header_t *aq_redis_address_words(apr_pool_t *p, const aq_redis_address_t *address)
{
    const struct {
        const char *name, *value;
    } options[] = {
        {"user=", address->user},
        {"password-file=", address->password_file},
        {"password-env=", address->password_env},
        {"ca=", address->ca},
        {"cert=", address->cert},
        {"key=", address->key},
        {"sni=", address->sni},
    };
    apr_array_header_t *words = apr_array_make(p, 8, sizeof(const char *));

    APR_ARRAY_PUSH(words, const char *) =
        address->socket != NULL
            ? apr_pstrcat(p, "unix:", address->socket, NULL)
            : apr_psprintf(p, strchr(address->host, ':') != NULL ? "%s[%s]:%d" : "%s%s:%d",
                           address->is_tls ? "rediss://" : "redis://", address->host, address->port);
    APR_ARRAY_PUSH(words, const char *) = apr_psprintf(p, "db=%d", address->db);
    for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (options[i].value != NULL) {
            APR_ARRAY_PUSH(words, const char *) = apr_pstrcat(p, options[i].name, options[i].value, NULL);
        }
    }
    return words;
}

/* The first line of a file, in `p`. */
static apr_status_t password_read(apr_pool_t *p, const char *path, const char **password)
{
    char *text = apr_pcalloc(p, PASSWORD_MAX + 1);
    int fd;
    ssize_t size;
    apr_status_t rv = aq_file_open(path, O_RDONLY, 0, &fd);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    size = read(fd, text, PASSWORD_MAX);
    rv = size < 0 ? APR_FROM_OS_ERROR(errno) : APR_SUCCESS;
    (void)close(fd);
    text[strcspn(text, "\r\n")] = '\0';
    *password = text;
    return rv;
}

apr_status_t aq_redis_address_complete(apr_pool_t *p, aq_redis_address_t *address, const char **error)
{
    apr_status_t rv = APR_SUCCESS;

    *error = NULL;
    if (address->password_file != NULL) {
        rv = password_read(p, address->password_file, &address->password);
        if (rv != APR_SUCCESS) {
            *error = apr_psprintf(p, "password-file=%s cannot be read", address->password_file);
            return rv;
        }
    } else if (address->password_env != NULL) {
        address->password = apr_pstrdup(p, getenv(address->password_env));
    }
    if ((address->password_file != NULL || address->password_env != NULL) &&
        (address->password == NULL || *address->password == '\0')) {
        *error = apr_psprintf(p, "%s%s holds no password",
                              address->password_file != NULL ? "password-file=" : "password-env=",
                              address->password_file != NULL ? address->password_file : address->password_env);
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}
