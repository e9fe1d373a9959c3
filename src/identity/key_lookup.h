/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key look-up: who presents a key, where keys live in an origin that is asked (key_origin.h).
 *
 * What was read becomes a key set of one key, and is remembered by a keyed hash of the text, as in a loaded file. So long
 * as it is fresh, nobody is asked. Then one request asks again, while the others go on with what was known: a change is
 * obeyed within the origin's fresh_ms and the time of one question. While the origin cannot be asked, what was known is
 * believed for stale_ms; whoever is not known then, or was unknown before, is AQ_KEYS_AWAY, which says nothing of his key.
 *
 * Bounds. AQ_KEY_LOOKUP_ENTRIES are remembered, about 8 kB each, those that were asked for last. Texts that led to nothing
 * take a quarter of the places at most and never one of a key's. The origin is asked for at most
 * AQ_KEY_LOOKUP_UNKNOWN_MAX texts a second that lead to nothing; from there until the second is over, texts that nobody
 * remembers are AQ_KEYS_AWAY. So a flood of invented keys costs the origin no more than that, and those who are known
 * nothing.
 *
 * A record that breaks a rule is refused, like an entry of a keys file, and said in the log (AQ00204), as long as it is asked
 * for once a minute.
 */
#ifndef AQ_KEY_LOOKUP_H
#define AQ_KEY_LOOKUP_H

#include "identity/key_origin.h"
#include "identity/keyfile.h"

#define AQ_KEY_LOOKUP_ENTRIES 4096
#define AQ_KEY_LOOKUP_UNKNOWN_MAX 1000 /* a second, in each process */
/* How long after a failure the origin is tried again for what is remembered. */
#define AQ_KEY_LOOKUP_RETRY_MS 250

typedef struct aq_key_lookup_t aq_key_lookup_t;

/*
 * A look-up in `origin`. `plans` and `secret` as for aq_keys_create; they, the origin and `p` must outlive it. Not
 * thread-safe. Children that are forked later go on with it, each for itself.
 */
apr_status_t aq_key_lookup_create(apr_pool_t *p, aq_key_origin_t *origin, apr_hash_t *plans,
                                  const aq_hash_secret_t *secret, aq_key_lookup_t **lookup);

/*
 * Finds who presents the key `text` of `size` bytes. AQ_IDENTIFIED with `*principal`, or why not, with `*principal` NULL.
 * `*set` owns the principal, held for the caller, who gives it back with aq_key_set_release; NULL where nothing is held.
 * `memo` as for aq_key_set_find_again, `ptemp` for scratch. Thread-safe.
 */
aq_identified_t aq_key_lookup_find(aq_key_lookup_t *lookup, aq_key_memo_t *memo, const char *text, size_t size,
                                   aq_time_ms_t now_ms, apr_pool_t *ptemp, const aq_key_set_t **set,
                                   const aq_principal_t **principal);

/* The same for a tenant by its name, see aq_key_set_tenant: AQ_IDENTIFIED, AQ_KEY_UNKNOWN or AQ_KEYS_AWAY. */
aq_identified_t aq_key_lookup_tenant(aq_key_lookup_t *lookup, const char *tenant, aq_time_ms_t now_ms,
                                     apr_pool_t *ptemp, const aq_key_set_t **set, const aq_principal_t **principal);

#endif
