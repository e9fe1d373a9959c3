/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache: what mod_cache must not do beside a quota.
 *
 *   answer first        Its quick handler answers before httpd knows the location, so before anything is counted and
 *                       before a key is looked at: a start-up error where it would do so for a location with quota.
 *   share what is one   Without `Authorization` it takes a response for everybody's. Ours has keys in other headers, and
 *   caller's            takes them off the request: so it is told that there was one (RFC 9111, 3.5).
 *
 * Its normal handler runs behind our charge and ahead of our headers, so cached responses are counted, and none of our
 * headers is ever stored.
 */
#ifndef AQ_CACHE_H
#define AQ_CACHE_H

#include "httpd/config.h"

/*
 * Once the whole configuration is read: OK, or HTTP_INTERNAL_SERVER_ERROR with the reason in the log, which names both
 * lines and says what to set. Notes in `server` whether anything is cached. Scratch comes from `ptemp`.
 */
int aq_cache_check(aq_server_config_t *server, apr_pool_t *ptemp);

/* Registers the filter. */
void aq_cache_register(void);

/* Hook insert_filter, where something is cached. */
void aq_cache_insert(request_rec *r);

#endif
