/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: what the directives set, for the whole server and for a location.
 *
 * Server settings are those of the main server alone: virtual hosts share one state folder, one store, one set of plans
 * and keys. Location settings merge like httpd's own: the inner section wins, member by member.
 * directives.c fills these structs, lifecycle.c opens what they name, everything else only reads them.
 */
#ifndef AQ_CONFIG_H
#define AQ_CONFIG_H

#include "batch/batch_config.h"
#include "batch/queue.h"
#include "batch/spool.h"
#include "identity/key_lookup.h"
#include "identity/keyfile.h"
#include "limit/charge.h"
#include "store/redis_address.h"
#include "store/redis_keys_config.h"
#include "store/redis_queue_setting.h"

/* httpd.h first: http_config.h needs its types. */
#include <httpd.h>
#include <http_config.h>

#define AQ_UNSET (-1)

/*
 * For what a hook calls only where it has something to do. Inlined, it would have every request of every location pay for
 * saving its registers.
 */
#define AQ_APART __attribute__((noinline))

/* LOCAL: this machine's shared memory counts; without Redis there is no other store, and it is ALLOW. */
typedef enum { AQ_STORE_FAILURE_ALLOW, AQ_STORE_FAILURE_DENY, AQ_STORE_FAILURE_LOCAL } aq_store_failure_t;

/* What is open while the server runs. Made by lifecycle.c; lives as long as the configuration. */
typedef struct {
    aq_counter_store_t *store;
    aq_counter_store_t *redis;        /* where `store` is Redis, or asks it: what a timer tends; NULL: it does not */
    struct aq_tally_t *tally;         /* what is counted for metrics and status page (tally.h) */
    aq_keys_t *keys;                  /* of the keys file; NULL: there is none */
    aq_key_lookup_t *key_lookup;      /* of APIQuotaKeyStore; NULL: there is none */
    struct aq_redis_link_t *key_link; /* where keys have a Redis of their own: what a timer tends; else NULL */
    aq_spool_t *spool;                /* NULL unless a location takes batches; opened in each child */
    aq_queue_t *queue;                /* the same */
    int are_batches_refused;          /* their folders cannot be used: 503 */
} aq_runtime_t;

typedef struct {
    const char *state_dir;
    const char *store_file;    /* NULL: STATE_DIR/counters */
    aq_redis_address_t *redis; /* NULL: shared memory alone */
    int64_t store_size;        /* bytes; AQ_UNSET: AQ_STORE_SIZE_DEFAULT */
    int store_failure;         /* aq_store_failure_t or AQ_UNSET */
    const char *key_file;
    aq_redis_keys_config_t *key_store;     /* NULL: keys live in the keys file */
    int has_batches;                       /* 1: APIQuotaBatch was read, and the hooks of batches are registered */
    int has_early;                         /* 1: some location has a limit of phase=early, and its hook is registered */
    int knows_others;                      /* 1: some location counts callers without keys */
    int ipv6_prefix;                       /* bits of an IPv6 address that make one caller; AQ_UNSET */
    int daily_use;                         /* 1: what tenants use is counted by day; AQ_UNSET, 0: it is not */
    apr_hash_t *expressions;               /* of per=expr=…: text -> const ap_expr_info_t * */
    apr_hash_t *plans;                     /* name -> aq_plan_t *, in the pool of the configuration */
    aq_plan_t *open_plan;                  /* while <APIQuotaPlan> is being read, else NULL */
    apr_array_header_t *location_limits;   /* of aq_limit_t *: all that stand outside of plans */
    int shares_suffixes;                   /* 1: two limits that may apply at once show in headers of one suffix */
    apr_array_header_t *sections;          /* of aq_location_config_t *: every section that holds a directive of ours */
    const char *queue_file;                /* NULL: STATE_DIR/batches/queue.db */
    aq_redis_queue_setting_t *queue_redis; /* NULL: the queue is in SQLite */
    int spool_is_shared;
    const char *spool_dir; /* NULL: STATE_DIR/batches/spool */
    int64_t spool_max_bytes;
    int64_t spool_tenant_max_bytes;
    int spool_keep_percent;
    int64_t queue_tenant_max; /* batches of one tenant that may be queued */
    int worker;               /* 0, 1 or AQ_UNSET (on where a location takes batches) */
    int worker_threads;
    apr_array_header_t *webhook_allow; /* of const char *: networks; NULL: none */
    const char *worker_program;        /* NULL: the one that was installed with the module */
    aq_batch_config_t *batch;          /* made in post_config: all batch locations; empty where there are none */
    int has_deadlines;                 /* a location has APIQuotaRequestTimeout */
    int has_cache;                     /* mod_cache is on somewhere */
    aq_runtime_t *runtime;             /* NULL before post_config */
} aq_server_config_t;

/* One entry of APIQuotaKeyFrom, in the order written. */
typedef struct {
    const char *header; /* "Authorization" for bearer */
    int is_bearer;
    int is_known_to_caches; /* the header is Authorization: shared caches keep its answers from others, RFC 9111, 3.5 */
} aq_key_source_t;

#define AQ_FREE_STATUSES_MAX 8

/* What becomes of an upload to a location. Prefer: a batch where the client asks for it with Prefer: respond-async. */
typedef enum { AQ_BATCH_MODE_OFF, AQ_BATCH_MODE_ON, AQ_BATCH_MODE_PREFER } aq_batch_mode_t;

/* Batch settings of a location: see design/4 and docs/directives.md. AQ_UNSET where not set. */
typedef struct {
    int mode; /* aq_batch_mode_t */
    const char *target;
    int64_t max_body_bytes;
    int64_t timeout_ms;
    int attempts;
    int64_t retention_ms, result_retention_ms;
    int64_t max_wait_ms;
    int concurrency;
    int concurrency_is_of_all; /* means something where concurrency is set */
    int target_is_idempotent;
    int is_items; /* 1: the body is NDJSON, whose lines are sent one by one */
    int max_items;
    int items_parallel, items_timeout_ms;
    int64_t items_gap_us;
    int wants_webhook;
    apr_array_header_t *forward; /* of const char *: header names; NULL: none */
    /* set in post_config, for locations that take batches */
    const char *name;     /* as in worker.json: see aq_batch_location_t */
    const char *base_url; /* path of the section with SetHandler apiquota-batches, "/v1/batches" */
} aq_location_batch_t;

/* What few locations set: see options.h. */
typedef struct aq_location_options_t aq_location_options_t;

/* Who asks and what is counted, where it is not a key and one: see rules.h. */
typedef struct aq_location_rules_t aq_location_rules_t;

/* What APIQuota says. */
#define AQ_QUOTA_OFF 0
#define AQ_QUOTA_ON 1
#define AQ_QUOTA_DRY_RUN 2 /* all is counted and noted, nothing refused, nothing told to the client */

typedef struct {
    const char *section;          /* the argument of <Location> or <Directory>; NULL for the server's own */
    int is_default;               /* of a server's own level, once all is read: nothing is set, merging need not copy */
    int quota;                    /* AQ_QUOTA_* or AQ_UNSET */
    apr_array_header_t *key_from; /* of aq_key_source_t; NULL: bearer, then header:X-API-Key */
    int forward_key;              /* 0: the client's key is taken off the request before the handler sees it */
    int free_statuses[AQ_FREE_STATUSES_MAX];
    int free_count;             /* AQ_UNSET: 304 alone */
    apr_array_header_t *limits; /* of const aq_limit_t *; NULL: none of the location's own */
    aq_location_batch_t batch;
    aq_location_options_t *options; /* NULL: none of them is set */
    aq_location_rules_t *rules;     /* NULL: none of them is set */
} aq_location_config_t;

/* Defaults, in one place; docs/directives.md repeats them. */
#define AQ_STORE_SIZE_DEFAULT (INT64_C(64) << 20)
#define AQ_SPOOL_MAX_DEFAULT (INT64_C(10) << 30)
#define AQ_SPOOL_KEEP_DEFAULT 90
#define AQ_SPOOL_TENANT_MAX_DEFAULT (INT64_C(1) << 30)
#define AQ_QUEUE_TENANT_MAX_DEFAULT INT64_C(100000)
#define AQ_WORKER_THREADS_DEFAULT 4
#define AQ_BATCH_MAX_BODY_DEFAULT (INT64_C(50) << 20)
#define AQ_BATCH_TIMEOUT_MS_DEFAULT (INT64_C(5) * 60 * 1000)
#define AQ_BATCH_ITEMS_TIMEOUT_MS_DEFAULT (INT64_C(24) * 3600 * 1000) /* of all items together */
#define AQ_BATCH_MAX_ITEMS_DEFAULT 100000
#define AQ_BATCH_ITEMS_PARALLEL_DEFAULT 4
#define AQ_BATCH_ITEM_TIMEOUT_MS_DEFAULT (INT64_C(30) * 1000) /* of one of them */
#define AQ_BATCH_ATTEMPTS_DEFAULT 5
#define AQ_BATCH_RETENTION_MS_DEFAULT (INT64_C(7) * 24 * 3600 * 1000)
#define AQ_BATCH_MAX_WAIT_MS_DEFAULT (INT64_C(24) * 3600 * 1000)

extern module AP_MODULE_DECLARE_DATA apiquota_module;

/* Allocators and merger for the module record. */
void *aq_config_server_create(apr_pool_t *p, server_rec *s);
void *aq_config_location_create(apr_pool_t *p, char *section);
void *aq_config_location_merge(apr_pool_t *p, void *outer, void *inner);

/* The server's settings, the same from whichever virtual host is asked. Never NULL. */
static inline aq_server_config_t *aq_config_server(const server_rec *s)
{
    return (aq_server_config_t *)ap_get_module_config(s->module_config, &apiquota_module);
}

/* The location's settings, merged. Never NULL. */
static inline aq_location_config_t *aq_config_location(const request_rec *r)
{
    return (aq_location_config_t *)ap_get_module_config(r->per_dir_config, &apiquota_module);
}

/* A copy that outlives the pool of a subrequest, in which sections were merged; without its limits, which are charged. */
aq_location_config_t *aq_config_location_copy(apr_pool_t *p, const aq_location_config_t *location);

/* Notes for each server whether its own level sets anything of ours. Once, when the configuration is complete. */
void aq_config_server_default_mark(server_rec *s);

/* 1 where `status` costs nothing at this location. */
int aq_config_is_free(const aq_location_config_t *location, int status);

/* A setting, or its default where it is AQ_UNSET. */
static inline int64_t aq_config_value(int64_t set, int64_t fallback)
{
    return set == AQ_UNSET ? fallback : set;
}

/* The directives (directives.c and batch_directives.c joined). */
extern const command_rec aq_directives[];

#endif
