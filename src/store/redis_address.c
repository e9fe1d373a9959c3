/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of Redis servers. See redis_address.h. */
#include "store/redis_address.h"

#include "base/aq_file.h"
#include "base/aq_units.h"
#include "store/redis_url.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD_MAX 512
#define OPTIONS                                                                                                        \
    "budget=, mode=, user=, db=, password-file=, password-env=, sentinel-user=, sentinel-password-file=, "             \
    "sentinel-password-env=, ca=, cert=, key=, sni="

int aq_redis_address_is(const char *word)
{
    return aq_redis_url_is(word);
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
    address->mode = strcmp(value, "leased") == 0 ? AQ_REDIS_LEASED : AQ_REDIS_STRICT;
    return address->mode == AQ_REDIS_LEASED || strcmp(value, "strict") == 0 ? NULL : "mode=strict, mode=leased";
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
        {"sentinel-user=", &address->sentinel_user},
        {"sentinel-password-file=", &address->sentinel_password_file},
        {"sentinel-password-env=", &address->sentinel_password_env},
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
        return aq_redis_url_db_parse(word + 3, address);
    }
    return OPTIONS;
}

const char *aq_redis_word_masked(apr_pool_t *p, const char *word)
{
    const size_t name = strcspn(word, "=:/@");
    const char *at = strrchr(word, '@');

    if (word[name] == '=') {
        return apr_pstrcat(p, apr_pstrmemdup(p, word, name), "=...", NULL);
    }
    return at != NULL ? apr_pstrcat(p, "...", at, NULL) : word;
}

/* What is wrong with an option. A value that is none is told, but not a word that is no option: it may be a password. */
static const char *option_refuse(apr_pool_t *p, const char *word, const char *allowed, const char *own)
{
    const size_t name = strspn(word, "abcdefghijklmnopqrstuvwxyz-");

    if (strcmp(allowed, OPTIONS) != 0) {
        return apr_psprintf(p, "\"%s\" is not allowed here; allowed: %s", word, allowed);
    }
    /* Passwords in base64 end with "=", too. */
    if (name == 0 || word[name] != '=') {
        return apr_psprintf(p, "a word behind the address is no option; allowed: %s%s", OPTIONS, own);
    }
    return apr_psprintf(p, "\"%.*s=...\" is not allowed here; allowed: %s%s", (int)name, word, OPTIONS, own);
}

static const char *passwords_check(const aq_redis_address_t *address)
{
    const int passwords =
        (address->password != NULL) + (address->password_file != NULL) + (address->password_env != NULL);
    const int of_sentinels = (address->sentinel_password_file != NULL) + (address->sentinel_password_env != NULL);

    if (passwords > 1) {
        return "the password is given more than once: in the address, by password-file= or by password-env=";
    }
    if (address->user != NULL && passwords == 0) {
        return "a user needs a password: password-file=PATH or password-env=NAME";
    }
    if (of_sentinels > 1) {
        return "the sentinels' password is given twice: by sentinel-password-file= and by sentinel-password-env=";
    }
    if (address->sentinel_user != NULL && of_sentinels == 0) {
        return "sentinel-user= needs a password: sentinel-password-file=PATH or sentinel-password-env=NAME";
    }
    if (of_sentinels != 0 && address->topology != AQ_REDIS_SENTINEL) {
        return "sentinel-user= and sentinel-password-...= are for redis+sentinel://";
    }
    return NULL;
}

/* What no single word can know. */
static const char *whole_check(const aq_redis_address_t *address)
{
    const char *wrong = passwords_check(address);

    if (wrong != NULL) {
        return wrong;
    }
    if (address->topology == AQ_REDIS_CLUSTER && address->db != 0) {
        return "a cluster has the database 0 and no other";
    }
    if (address->topology == AQ_REDIS_CLUSTER && address->mode == AQ_REDIS_LEASED) {
        return "mode=leased is not for redis+cluster://";
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
    return aq_redis_address_parse_beside(p, words, count, "", address, error);
}

apr_status_t aq_redis_address_parse_beside(apr_pool_t *p, const char *const *words, int count, const char *own,
                                           aq_redis_address_t **address, const char **error)
{
    aq_redis_address_t *parsed = apr_pcalloc(p, sizeof(*parsed));
    const char *wrong;

    *address = parsed;
    *error = NULL;
    parsed->budget_ms = AQ_REDIS_BUDGET_MS_DEFAULT;
    wrong = aq_redis_url_parse(p, words[0], parsed);
    for (int i = 1; wrong == NULL && i < count; i++) {
        const char *allowed = option_set(p, words[i], parsed);

        wrong = allowed != NULL ? option_refuse(p, words[i], allowed, own) : NULL;
    }
    wrong = wrong != NULL ? wrong : whole_check(parsed);
    if (wrong != NULL) {
        *error = wrong;
        return APR_EGENERAL;
    }
    parsed->name = aq_redis_url_name(p, parsed);
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
        {"sentinel-user=", address->sentinel_user},
        {"sentinel-password-file=", address->sentinel_password_file},
        {"sentinel-password-env=", address->sentinel_password_env},
        {"ca=", address->ca},
        {"cert=", address->cert},
        {"key=", address->key},
        {"sni=", address->sni},
    };
    apr_array_header_t *words = apr_array_make(p, 12, sizeof(const char *));

    APR_ARRAY_PUSH(words, const char *) = aq_redis_url_write(p, address);
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

/* Reads a password from `file` or from the variable `env`, where one of them is named. */
static apr_status_t password_find(apr_pool_t *p, const char *file, const char *env, const char *prefix,
                                  const char **password, const char **error)
{
    apr_status_t rv = APR_SUCCESS;

    if (file == NULL && env == NULL) {
        return APR_SUCCESS;
    }
    if (file != NULL) {
        rv = password_read(p, file, password);
    } else {
        *password = apr_pstrdup(p, getenv(env));
    }
    if (rv != APR_SUCCESS) {
        *error = apr_psprintf(p, "%spassword-file=%s cannot be read", prefix, file);
    } else if (*password == NULL || **password == '\0') {
        *error = apr_psprintf(p, "%spassword-%s=%s holds no password", prefix, file != NULL ? "file" : "env",
                              file != NULL ? file : env);
        rv = APR_EGENERAL;
    }
    return rv;
}

apr_status_t aq_redis_address_complete(apr_pool_t *p, aq_redis_address_t *address, const char **error)
{
    apr_status_t rv;

    *error = NULL;
    rv = password_find(p, address->password_file, address->password_env, "", &address->password, error);
    if (rv == APR_SUCCESS) {
        rv = password_find(p, address->sentinel_password_file, address->sentinel_password_env, "sentinel-",
                           &address->sentinel_password, error);
    }
    return rv;
}
