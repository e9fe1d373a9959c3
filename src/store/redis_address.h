/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a Redis or Valkey server is and how to speak to it, as APIQuotaStore says it:
 *
 *     redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]                            unix:PATH     redis+unix:PATH
 *     redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],HOST[:PORT],…/MASTER[/DB]
 *     redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],HOST[:PORT],…
 *     rediss://, rediss+sentinel://, rediss+cluster:// the same over TLS
 *
 *     password-file=PATH | password-env=NAME     user=NAME     db=N     budget=50ms     mode=strict|leased
 *     sentinel-password-file=PATH | sentinel-password-env=NAME     sentinel-user=NAME
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
#define AQ_REDIS_SENTINEL_PORT 26379
#define AQ_REDIS_PLACES_MAX 16
#define AQ_REDIS_BUDGET_MS_DEFAULT 50
#define AQ_REDIS_BUDGET_MS_MAX 10000
#define AQ_REDIS_DB_MAX 65535

/* See redis_counters.h and redis_leased.h. */
typedef enum { AQ_REDIS_STRICT, AQ_REDIS_LEASED } aq_redis_mode_t;

/* How the servers behind an address hang together. */
typedef enum {
    AQ_REDIS_SINGLE,
    AQ_REDIS_SENTINEL, /* the places are sentinels, who know which server is the master */
    AQ_REDIS_CLUSTER   /* the places are some of its nodes, who know all */
} aq_redis_topology_t;

typedef struct {
    const char *host;
    int port;
} aq_redis_place_t;

typedef struct {
    const char *name; /* as in a log: the address without a password */
    aq_redis_topology_t topology;
    const aq_redis_place_t *places; /* where to begin; a single server is the first */
    unsigned place_count;           /* 0: a Unix socket */
    const char *master;             /* its name among sentinels; else NULL */
    const char *socket;             /* NULL: places */
    int db;                         /* 0 in a cluster, which has no other */
    const char *user;               /* of an ACL; NULL: the default one */
    const char *password;           /* NULL: none, or not read yet */
    const char *password_file, *password_env;
    const char *sentinel_user, *sentinel_password; /* as the two above, of the sentinels */
    const char *sentinel_password_file, *sentinel_password_env;
    int is_tls;
    const char *ca, *cert, *key, *sni; /* files, and the name that a server's certificate must have; NULL: its host */
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
 * The same for a directive with options beside, which it took out of `words`: `own` is the end of the list of what is
 * allowed, such as ", size=".
 */
apr_status_t aq_redis_address_parse_beside(apr_pool_t *p, const char *const *words, int count, const char *own,
                                           aq_redis_address_t **address, const char **error);

/*
 * A word that is not understood, as a message may show it, in `p`: of NAME=VALUE the name alone, of what has an "@" the part
 * from there on. So an address whose scheme is mistyped, and password=..., tell no password.
 */
const char *aq_redis_word_masked(apr_pool_t *p, const char *word);

/*
 * The words that say the address again, but for a password that stands in it: for files that others may read. An array of
 * const char * in `p`.
 */
apr_array_header_t *aq_redis_address_words(apr_pool_t *p, const aq_redis_address_t *address);

/* Reads the password from where the address says. Errors as above. To be called while files may still be read. */
apr_status_t aq_redis_address_complete(apr_pool_t *p, aq_redis_address_t *address, const char **error);

#endif
