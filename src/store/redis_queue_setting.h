/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in Redis a queue is, as APIQuotaQueue says it, and as runtime.json says it to worker and tools:
 *
 *     ADDRESS [durability=always|everysec|none] [tenant-max=N] [home=URL] [option of redis_address.h …]
 *
 * The words go through a file that others read, so a password stands in none of them.
 */
#ifndef AQ_REDIS_QUEUE_SETTING_H
#define AQ_REDIS_QUEUE_SETTING_H

#include "store/redis_durability.h"

#define AQ_REDIS_QUEUE_FORM                                                                                            \
    "redis://[USER@]HOST[:PORT][/DB] or unix:PATH, then durability=always|everysec|none, tenant-max=N, home=URL, "     \
    "password-file=PATH and what else APIQuotaStore allows"

typedef struct {
    aq_redis_address_t *address;
    aq_redis_durability_t durability;
    int64_t tenant_max;   /* 0: not said */
    const char *home_url; /* where the other machines reach this one's results; no slash at its end; NULL: nowhere */
} aq_redis_queue_setting_t;

/*
 * Parses `count` words into `*setting`, in `p`. Pure. APR_EGENERAL and a sentence in `p` at `*error`, which names what is
 * allowed and repeats no password.
 */
apr_status_t aq_redis_queue_setting_parse(apr_pool_t *p, const char *const *words, int count,
                                          aq_redis_queue_setting_t **setting, const char **error);

/* The words that say it again, but for tenant_max. An array of const char * in `p`. */
apr_array_header_t *aq_redis_queue_setting_words(apr_pool_t *p, const aq_redis_queue_setting_t *setting);

#endif
