/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a Redis or Valkey server is and how to speak to it, as APIQuotaStore says it:
 *
 *     redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]     rediss:// the same over TLS     unix:PATH     redis+unix:PATH
 *
 *     password-file=PATH | password-env=NAME     user=NAME     db=N     budget=50ms     mode=strict
 *     ca=FILE  cert=FILE  key=FILE  sni=NAME     of TLS
 *
 * Parsing is pure: files and the environment are read by aq_redis_address_complete. A password is in `password` alone,
 * never in `name`, which is what logs and other files may show.
 */
#ifndef AQ_REDIS_ADDRESS_H
#define AQ_REDIS_ADDRESS_H

#include <apr_errno.h>
#include <apr_tables.h>
#include <stdint.h>

#define AQ_REDIS_PORT 6379
#define AQ_REDIS_BUDGET_MS_DEFAULT 50
#define AQ_REDIS_BUDGET_MS_MAX 10000
#define AQ_REDIS_DB_MAX 65535

typedef enum { AQ_REDIS_STRICT } aq_redis_mode_t;

typedef struct {
    const char *name;   /* as in a log: the address without a password */
    const char *host;   /* NULL: a Unix socket */
    const char *socket; /* NULL: a host */
    int port;
    int db;
    const char *user;     /* of an ACL; NULL: the default one */
    const char *password; /* NULL: none, or not read yet */
    const char *password_file, *password_env;
    int is_tls;
    const char *ca, *cert, *key, *sni; /* files, and the name that the server's certificate must have; NULL: host */
    int64_t budget_ms;                 /* for connecting and asking together */
    aq_redis_mode_t mode;
} aq_redis_address_t;

/* 1 where `word`, the first behind APIQuotaStore, is such an address. */
int aq_redis_address_is(const char *word);

/*
 * Parses `count` words, the first the address, into `*address` in `p`. APR_EGENERAL and a sentence in `p` at `*error` that
 * names the word (never a password) and what is allowed; `*error` is else NULL. TLS where it was not built in is refused.
 */
apr_status_t aq_redis_address_parse(apr_pool_t *p, const char *const *words, int count, aq_redis_address_t **address,
                                    const char **error);

/*
 * The words that say the address again, but for a password that stands in it: for files that others may read. An array of
 * const char * in `p`.
 */
apr_array_header_t *aq_redis_address_words(apr_pool_t *p, const aq_redis_address_t *address);

/* Reads the password from where the address says. Errors as above. To be called while files may still be read. */
apr_status_t aq_redis_address_complete(apr_pool_t *p, aq_redis_address_t *address, const char **error);

#endif
