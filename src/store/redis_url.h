/* SPDX-License-Identifier: Apache-2.0 */
/* The first word of an address of Redis, read and written. See redis_address.h, whose parts these are. */
#ifndef AQ_REDIS_URL_H
#define AQ_REDIS_URL_H

#include "store/redis_address.h"

/* 1 where `word` begins as an address does. */
int aq_redis_url_is(const char *word);

/* Parses `word` into `*address`, in `p`. NULL, or a sentence that repeats nothing of it, since it may hold a password. */
const char *aq_redis_url_parse(apr_pool_t *p, const char *word, aq_redis_address_t *address);

/* A database, as in a URL or behind db=. NULL, or a sentence. */
const char *aq_redis_url_db_parse(const char *text, aq_redis_address_t *address);

/* Writes the word again, in `p`: without user, password and database. */
const char *aq_redis_url_write(apr_pool_t *p, const aq_redis_address_t *address);

/* The same as it stands in a log: with user and database. */
const char *aq_redis_url_name(apr_pool_t *p, const aq_redis_address_t *address);

#endif
