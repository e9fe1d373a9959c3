/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script of the queue in Redis: each call of the queue is one call of it, so that each change is whole. It is written
 * in Lua, in four files (redis_queue_rows.lua and the three beside it) that make one text.
 *
 * Layout. All keys begin with "aq:{q}:", whose tag keeps them in one slot of a Cluster; one database has one queue.
 * Names joined to one key (as tenant and location) have the first's length before them. A batch is also its job:
 *
 *     b:ID            hash: the columns of queue_columns.h (none for 0 and NULL), and seq, home, token, worker, the lease
 *                     (machine, lease_boot_id, lease_until_ms, lease_ms, beat), the names of its last claim and end
 *     l  ls:STATUS  tl:TENANT  ts:STATUS TENANT     sorted sets of IDs, for lists
 *     n  n:TENANT     hash: how many of each status, and bytes on the spool
 *     r:HOME TENANT LOCATION    the line of jobs that are ready, by seq (the order they came in)
 *     tr:HOME TENANT  the locations where a tenant has a line      t:HOME   tenants that have one, by their turn
 *     hl:HOME         the locations where anyone has one           ht:HOME LOCATION   the tenants there, by the same turns
 *     d:HOME          jobs that wait, by the time until when       o        queued ones, by the time they may wait until
 *     u               hash: how many run, of a tenant, at a location, of a tenant there
 *     w:WORKER        what a worker has in hand                    ep:WORKER  its epoch (see verbs.settle)
 *     e:HOME  er:HOME  f:HOME   batches by when they expire, by when their result does, and those with files, by their end
 *     k  kx           hash: tenant and idempotency key -> ID; those kept longer than their batch, by until when
 *     x:ID            nothing of this ID is added (see verbs.look)
 *     homes  h:HOME   homes of batches that are over; a home at work, and its URL for the others: it expires a minute
 *                     after its worker was last heard of
 *     secret          what one machine's requests to another are signed with
 *     m:ID            hash: a message to a webhook; ml mls: mt: mts: for lists, md those that wait, by the time until when,
 *                     mdt:TENANT the line of those that may be sent, mx mxt: claimed, me expiring, mw tenants that have a
 *                     line, by their turn
 *     c               hash: the counters behind seq and turns
 *
 * Nothing but x:, h: and ep: goes by itself: what is not over is never trimmed. What a verb looks at is indexed by state, so
 * that finished batches cost nothing; a claim reads the locations that have jobs ready, and at each the tenants up to the
 * first that may run.
 *
 *     KEYS    "aq:{q}:", which never exists: see is_whole in redis_link.h
 *     ARGV    verb, then what is said above each verb
 *     reply   a code (aq_redis_code_t), then what the verb says
 */
#ifndef AQ_REDIS_QUEUE_SCRIPT_H
#define AQ_REDIS_QUEUE_SCRIPT_H

#include <apr_pools.h>

#define AQ_REDIS_QUEUE_PREFIX "aq:{q}:"

typedef enum {
    AQ_REDIS_CODE_DONE,
    AQ_REDIS_CODE_NONE,
    AQ_REDIS_CODE_EXISTS,
    AQ_REDIS_CODE_FULL,
    AQ_REDIS_CODE_QUOTA,
    AQ_REDIS_CODE_WRONG,
    AQ_REDIS_CODE_GONE,
    AQ_REDIS_CODE_BUSY,
    AQ_REDIS_CODES
} aq_redis_code_t;

/* Its text, in `p`. */
const char *aq_redis_queue_script(apr_pool_t *p);

#endif
