/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All keys of a Redis at once, for tools: read as a keys file, and edited as one (identity/keyedit_place.h).
 *
 * Reading walks the whole Redis by SCAN, so that no index has to be kept that a writer by hand could forget. An edit writes
 * the fields that differ and nothing else, so that what others write meanwhile stays; records of one call, twenty, are
 * changed together or not at all. Tools exclude each other by a lock in Redis, which goes by itself half a minute after it was
 * last written under; who has lost it, having stood still for that long, writes nothing more.
 *
 * The names of the records and their form are in redis_key_records.h.
 */
#ifndef AQ_REDIS_KEYS_EDIT_H
#define AQ_REDIS_KEYS_EDIT_H

#include "identity/keyedit_place.h"
#include "store/redis_link.h"

/*
 * Reads all: a new reference at `*document`, keys by their ids. Records that are none are left out, a sentence on each in
 * `p` in `refusals` (of const char *; NULL: not asked for). On failure a sentence in `p` at `*error`.
 */
apr_status_t aq_redis_keys_read_all(apr_pool_t *p, aq_redis_link_t *link, json_t **document,
                                    apr_array_header_t *refusals, const char **error);

/*
 * Writes what `after` says otherwise than `before`, while the lock has `token`; with "" whoever has it. Errors as above:
 * APR_EGENERAL where the lock is lost.
 */
apr_status_t aq_redis_keys_write(apr_pool_t *p, aq_redis_link_t *link, const char *token, const json_t *before,
                                 const json_t *after, const char **error);

/* The place, in `p`; `link` must outlive it. */
const aq_keyedit_place_t *aq_redis_keys_place(apr_pool_t *p, aq_redis_link_t *link);

#endif
