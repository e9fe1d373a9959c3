/* SPDX-License-Identifier: Apache-2.0 */
/* The secret of a Redis, and what an operator must know of it. See redis_secret.h. */
#include "store/redis_secret.h"

#include "base/aq_file.h"
#include "base/aq_log.h"
#include "store/redis_info.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECRET_KEY "aq:secret"
#define SECRET_HEX_SIZE (2 * sizeof(aq_hash_secret_t) + 1)

typedef struct {
    char text[SECRET_HEX_SIZE];
} secret_text_t;

/* ---- the secret ------------------------------------------------------------------------------------------------- */

/* 1 where the copy was read. */
static int copy_read(const char *path, aq_hash_secret_t *secret)
{
    char text[SECRET_HEX_SIZE] = "";
    int fd;
    ssize_t size;

    if (path == NULL || aq_file_open(path, O_RDONLY, 0, &fd) != APR_SUCCESS) {
        return 0;
    }
    size = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    return size == (ssize_t)sizeof(text) - 1 &&
           aq_hash_hex_parse(text, secret->bytes, sizeof(secret->bytes)) == APR_SUCCESS;
}

static aq_redis_failure_t secret_read(void *data, const redisReply *reply)
{
    secret_text_t *secret = data;

    if (reply->type != REDIS_REPLY_STRING || reply->len != sizeof(secret->text) - 1) {
        return AQ_REDIS_PROTOCOL;
    }
    apr_cpystrn(secret->text, reply->str, sizeof(secret->text));
    return AQ_REDIS_DONE;
}

/* Redis's secret, which becomes `secret` where it has none. */
static aq_redis_failure_t secret_agree(aq_redis_link_t *link, secret_text_t *secret)
{
    const char *const set[] = {"SETNX", SECRET_KEY, secret->text, NULL};
    const char *const get[] = {"GET", SECRET_KEY, NULL};
    const aq_redis_failure_t failure = aq_redis_words_ask(link, set, NULL, NULL);

    return failure == AQ_REDIS_DONE ? aq_redis_words_ask(link, get, secret_read, secret) : failure;
}

static apr_status_t copy_keep(const char *path, const secret_text_t *secret)
{
    apr_status_t rv = path != NULL ? aq_file_replace(path, secret->text, sizeof(secret->text) - 1, 0600) : APR_SUCCESS;

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 423, rv,
               "%s: the copy of the secret in Redis cannot be kept; a start while Redis is away "
               "will fail",
               path);
    }
    return rv;
}

apr_status_t aq_redis_secret_find(apr_pool_t *p, aq_redis_link_t *link, const char *path, aq_hash_secret_t *secret,
                                  int *is_reached, const char **error)
{
    const int has_copy = copy_read(path, secret);
    aq_redis_failure_t failure;
    secret_text_t text;

    *error = NULL;
    if (!has_copy && aq_hash_random(secret, sizeof(*secret)) != APR_SUCCESS) {
        *error = "no random numbers";
        return APR_EGENERAL;
    }
    aq_hash_hex_write(text.text, secret->bytes, sizeof(secret->bytes));
    failure = secret_agree(link, &text);
    *is_reached = failure == AQ_REDIS_DONE;
    if (!*is_reached && !has_copy) {
        *error =
            apr_psprintf(p,
                         "%s does not answer (%s), and this server has never reached it: the first start needs it, "
                         "since all machines must count under the same names",
                         aq_redis_link_address(link)->name, aq_redis_failure_name(failure));
        return APR_EGENERAL;
    }
    if (*is_reached) {
        if (aq_hash_hex_parse(text.text, secret->bytes, sizeof(secret->bytes)) != APR_SUCCESS) {
            *error = apr_psprintf(p, "%s: its key " SECRET_KEY " is not ours", aq_redis_link_address(link)->name);
            return APR_EGENERAL;
        }
        (void)copy_keep(path, &text);
    }
    aq_redis_link_mark(link, SECRET_KEY, text.text);
    return APR_SUCCESS;
}

apr_status_t aq_redis_secret_read(apr_pool_t *p, aq_redis_link_t *link, aq_hash_secret_t *secret, const char **error)
{
    const char *const get[] = {"GET", SECRET_KEY, NULL};
    const char *name = aq_redis_link_address(link)->name;
    secret_text_t text = {""};
    const aq_redis_failure_t failure = aq_redis_words_ask(link, get, secret_read, &text);

    *error = NULL;
    if (failure == AQ_REDIS_PROTOCOL) {
        *error = apr_psprintf(p, "%s holds no counters of ours: no server has counted there yet", name);
    } else if (failure != AQ_REDIS_DONE) {
        *error = apr_psprintf(p, "%s does not answer: %s", name, aq_redis_failure_name(failure));
    } else if (aq_hash_hex_parse(text.text, secret->bytes, sizeof(secret->bytes)) != APR_SUCCESS) {
        *error = apr_psprintf(p, "%s: its key " SECRET_KEY " is not ours", name);
    }
    return *error == NULL ? APR_SUCCESS : APR_EGENERAL;
}

/* ---- the server ------------------------------------------------------------------------------------------------- */

/* The first of the servers that is so; -1: none. */
static int server_find(aq_redis_link_t *link, int (*is_so)(aq_redis_link_t *link, int server))
{
    int server = aq_redis_link_server(link, 0);

    while (server >= 0 && !is_so(link, server)) {
        server = aq_redis_link_server(link, server + 1);
    }
    return server;
}

static void memory_check(aq_redis_link_t *link)
{
    if (server_find(link, aq_redis_info_may_evict) >= 0) {
        AQ_LOG(AQ_LOG_WARNING, 424, APR_SUCCESS,
               "%s may throw counters away when its memory is full: set maxmemory-policy noeviction",
               aq_redis_link_address(link)->name);
    }
}

static void persistence_check(aq_redis_link_t *link)
{
    if (server_find(link, aq_redis_info_keeps_nothing) >= 0) {
        AQ_LOG(AQ_LOG_WARNING, 425, APR_SUCCESS,
               "%s keeps nothing on disk: a restart of it begins all counters anew; set appendonly yes, or save",
               aq_redis_link_address(link)->name);
    }
}

/* A server that does not let us look is not warned about. */
void aq_redis_server_check(aq_redis_link_t *link)
{
    aq_redis_link_quiet_set(link, 1);
    memory_check(link);
    persistence_check(link);
    aq_redis_link_quiet_set(link, 0);
}
