/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and tenants as Redis holds them, and as a keys file does. One hash a record, simple enough to be written by hand:
 *
 *     aq:{keys}:key:SHA256      of the key's text, 64 lower-case hexadecimal digits
 *         id, tenant            as in a keys file; needed
 *         scopes                words with spaces between: "invoices:read invoices:write"
 *         expires_at            "2027-01-01T00:00:00Z"
 *         disabled              true, false, 1, 0
 *         counts_as             an id
 *         limit:NAME            a rate that overrides the limit of that name: "100000/month"
 *
 *     aq:{keys}:tenant:NAME
 *         plan                  needed
 *         max_keys, billing_day numbers
 *         webhook               the object of a keys file, as JSON
 *         limit:NAME            as above
 *
 *     aq:{keys}:lock            held by apiquotactl while it edits
 *     aq:{keys}:                never exists; KEYS[1] of each script, see is_whole in redis_link.h
 *
 * Other fields are kept, and mean nothing; what no text can hold is JSON in a field "json:NAME". A value that is not of its
 * kind becomes a member of the wrong type, which the rules of keys files refuse, with their words.
 *
 * All names have one hash tag, so that a key and its tenant are read by one script, also in a cluster.
 */
#ifndef AQ_REDIS_KEY_RECORDS_H
#define AQ_REDIS_KEY_RECORDS_H

#include "base/aq_hash.h"
#include "base/aq_json.h"

#include <apr_tables.h>
#include <hiredis/hiredis.h>

#define AQ_REDIS_KEYS "aq:{keys}:"
#define AQ_REDIS_KEYS_KEY AQ_REDIS_KEYS "key:"
#define AQ_REDIS_KEYS_TENANT AQ_REDIS_KEYS "tenant:"
#define AQ_REDIS_KEYS_LOCK AQ_REDIS_KEYS "lock"
#define AQ_REDIS_KEYS_LOCK_LIFE_MS "30000"

/*
 * A record's fields, as HGETALL tells them, as the entry of a keys file: a new reference. NULL with a sentence at `*refusal`
 * where they are no record, or with `*refusal` NULL where there is none.
 */
json_t *aq_redis_key_entry_read(const redisReply *reply, apr_pool_t *p, const char **refusal);

/* An entry as fields: an array of const char *, names and values in turn, in `p`. `sha256` and NULLs are left out. */
apr_array_header_t *aq_redis_key_entry_fields(apr_pool_t *p, const json_t *entry);

/*
 * Reads one record or more. KEYS[2…] their names; ARGV[1] "key": one key, and its tenant behind it; "tenant": as it is
 * needed to answer requests; "all": everything. Reply: for each nil, where there is none; a text, why it is no record; or
 * its fields and values in turn. A record has 64 fields and 16 kB at most. A constant.
 */
const char *aq_redis_key_script_read(void);

/* Walks names: ARGV[1] cursor. Reply: cursor, names. A constant. */
const char *aq_redis_key_script_walk(void);

/*
 * Changes records, all or none. KEYS[2…] their names; ARGV[1] what the lock must hold, and then holds for its whole life again
 * ("": anything); then for each the number of fields that go and they, the number of those that are set and they with their
 * values; -1 in place of the first: the record goes. Reply: nil, or an objection. A constant.
 */
const char *aq_redis_key_script_change(void);

/* How many records one call of these reads or changes at most. */
#define AQ_REDIS_KEYS_PAGE 20

#endif
