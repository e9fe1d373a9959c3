/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of Redis servers. See redis_url.h. */
#include "store/redis_url.h"

#include <apr_escape.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

static const struct {
    const char *scheme;
    int is_tls, is_socket;
    aq_redis_topology_t topology;
    int port;
} schemes[] = {
    {"redis://", 0, 0, AQ_REDIS_SINGLE, AQ_REDIS_PORT},
    {"rediss://", 1, 0, AQ_REDIS_SINGLE, AQ_REDIS_PORT},
    {"redis+sentinel://", 0, 0, AQ_REDIS_SENTINEL, AQ_REDIS_SENTINEL_PORT},
    {"rediss+sentinel://", 1, 0, AQ_REDIS_SENTINEL, AQ_REDIS_SENTINEL_PORT},
    {"redis+cluster://", 0, 0, AQ_REDIS_CLUSTER, AQ_REDIS_PORT},
    {"rediss+cluster://", 1, 0, AQ_REDIS_CLUSTER, AQ_REDIS_PORT},
    {"redis+unix:", 0, 1, AQ_REDIS_SINGLE, 0},
    {"unix:", 0, 1, AQ_REDIS_SINGLE, 0},
    {NULL, 0, 0, AQ_REDIS_SINGLE, 0},
};

static int scheme_find(const char *word)
{
    int i = 0;

    while (schemes[i].scheme != NULL && strncmp(word, schemes[i].scheme, strlen(schemes[i].scheme)) != 0) {
        i++;
    }
    return i;
}

int aq_redis_url_is(const char *word)
{
    return schemes[scheme_find(word)].scheme != NULL;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* A number from 0 to `most`, or -1. */
static int number_parse(const char *text, int most)
{
    char *end;
    const apr_int64_t number = apr_strtoi64(text, &end, 10);

    return apr_isdigit(*text) && *end == '\0' && number <= most ? (int)number : -1;
}

const char *aq_redis_url_db_parse(const char *text, aq_redis_address_t *address)
{
    address->db = *text != '\0' ? number_parse(text, AQ_REDIS_DB_MAX) : 0;
    return address->db < 0 ? "a database is a number from 0 to 65535" : NULL;
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
static const char *place_parse(char *text, int port, aq_redis_place_t *place)
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
    place->port = port;
    if (*end == ':') {
        place->port = number_parse(end + 1, 65535);
        *end = '\0';
    }
    place->host = text;
    if (*text == '\0') {
        return "a host is missing, as in redis://127.0.0.1:6379/0";
    }
    return place->port < 1 ? "a port is a number from 1 to 65535" : NULL;
}

/* One place, or several with commas between. */
static const char *places_parse(apr_pool_t *p, char *text, int port, aq_redis_address_t *address)
{
    aq_redis_place_t *places = apr_pcalloc(p, AQ_REDIS_PLACES_MAX * sizeof(*places));
    const unsigned most = address->topology == AQ_REDIS_SINGLE ? 1 : AQ_REDIS_PLACES_MAX;
    const char *error = NULL;

    address->places = places;
    while (error == NULL && text != NULL) {
        char *comma = strchr(text, ',');

        if (address->place_count == most) {
            return most == 1 ? "several hosts are for redis+sentinel:// and redis+cluster://"
                             : "sixteen hosts are the most that can be named";
        }
        if (comma != NULL) {
            *comma++ = '\0';
        }
        error = place_parse(text, port, &places[address->place_count++]);
        text = comma;
    }
    return error;
}

/* What stands behind the hosts: DB, MASTER[/DB], or nothing. */
static const char *path_parse(char *path, aq_redis_address_t *address)
{
    char *slash;

    if (address->topology == AQ_REDIS_CLUSTER) {
        return path == NULL || *path == '\0' || strcmp(path, "0") == 0
                   ? NULL
                   : "a cluster has the database 0 and no other: nothing stands behind its hosts";
    }
    if (address->topology == AQ_REDIS_SINGLE) {
        return path != NULL ? aq_redis_url_db_parse(path, address) : NULL;
    }
    if (path == NULL || *path == '\0' || *path == '/') {
        return "the master's name is missing, as the sentinels know it: redis+sentinel://HOST:26379,HOST:26379/MASTER";
    }
    slash = strchr(path, '/');
    if (slash != NULL) {
        *slash++ = '\0';
    }
    address->master = path;
    return slash != NULL ? aq_redis_url_db_parse(slash, address) : NULL;
}

const char *aq_redis_url_parse(apr_pool_t *p, const char *word, aq_redis_address_t *address)
{
    const int scheme = scheme_find(word);
    char *text;
    char *at;
    char *path;
    const char *error = NULL;

    if (schemes[scheme].scheme == NULL) {
        return "an address begins with redis://, rediss://, redis+sentinel://, redis+cluster:// or unix:";
    }
    address->is_tls = schemes[scheme].is_tls;
    address->topology = schemes[scheme].topology;
    text = apr_pstrdup(p, word + strlen(schemes[scheme].scheme));
    if (schemes[scheme].is_socket) {
        address->socket = text;
        return *text == '/' ? NULL : "unix: is followed by an absolute path";
    }
    at = strrchr(text, '@');
    if (at != NULL) {
        *at = '\0';
        error = credentials_parse(p, text, address);
        text = at + 1;
    }
    path = strchr(text, '/');
    if (path != NULL) {
        *path++ = '\0';
    }
    if (error == NULL) {
        error = path_parse(path, address);
    }
    return error != NULL ? error : places_parse(p, text, schemes[scheme].port, address);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static const char *scheme_of(const aq_redis_address_t *address)
{
    int i = 0;

    while (schemes[i].is_socket || schemes[i].is_tls != address->is_tls || schemes[i].topology != address->topology) {
        i++;
    }
    return schemes[i].scheme;
}

static const char *places_write(apr_pool_t *p, const aq_redis_address_t *address)
{
    apr_array_header_t *all = apr_array_make(p, (int)address->place_count, sizeof(const char *));

    for (unsigned i = 0; i < address->place_count; i++) {
        const aq_redis_place_t *place = &address->places[i];

        APR_ARRAY_PUSH(all, const char *) =
            apr_psprintf(p, strchr(place->host, ':') != NULL ? "[%s]:%d" : "%s:%d", place->host, place->port);
    }
    return apr_array_pstrcat(p, all, ',');
}

const char *aq_redis_url_write(apr_pool_t *p, const aq_redis_address_t *address)
{
    if (address->socket != NULL) {
        return apr_pstrcat(p, "unix:", address->socket, NULL);
    }
    return apr_pstrcat(p, scheme_of(address), places_write(p, address), address->master != NULL ? "/" : "",
                       address->master != NULL ? address->master : "", NULL);
}

const char *aq_redis_url_name(apr_pool_t *p, const aq_redis_address_t *address)
{
    const char *db = address->topology != AQ_REDIS_CLUSTER ? apr_psprintf(p, "/%d", address->db) : "";

    if (address->socket != NULL) {
        return apr_psprintf(p, "unix:%s (database %d)", address->socket, address->db);
    }
    return apr_pstrcat(p, scheme_of(address), address->user != NULL ? address->user : "",
                       address->user != NULL ? "@" : "", places_write(p, address), address->master != NULL ? "/" : "",
                       address->master != NULL ? address->master : "", db, NULL);
}
