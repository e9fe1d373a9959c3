/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis counters: the counter store that several machines share, in Redis or Valkey.
 *
 * Strict: each take is one script and one blocking round trip for all limits of the request, so that what is admitted over
 * all machines is the limit exactly. What is given back, and places of what runs at once that are released, are sent
 * without waiting; what the caller is told then is what it was told before, less its own charge. Windows go by Redis's
 * clock. The moments that a caller is told are in its own time where the two differ by more than a second; a wait is right
 * in either.
 *
 * Leased: as redis_leased.h tells, slices of limits are taken in advance and spent on this machine.
 *
 * A charge that timed out was made once or not at all, and is never repeated.
 *
 * The names of counters are hashes, whose secret is kept in Redis ("aq:secret") for all machines alike, and copied to a file,
 * so that a server can start while Redis is away.
 */
#ifndef AQ_REDIS_COUNTERS_H
#define AQ_REDIS_COUNTERS_H

#include "limit/counter_store.h"
#include "store/redis_link.h"

/* How long a process's members outlive its last word. */
#define AQ_REDIS_MEMBER_LIFE_MS INT64_C(30000)

typedef struct {
    int is_clock_given;      /* windows go by the caller's `now_ms`: for tests, which set the time */
    int waits_to_settle;     /* what is given back is waited for, and answered as it then is: for tests and tools */
    int64_t member_life_ms;  /* 0: AQ_REDIS_MEMBER_LIFE_MS */
    const char *secret_file; /* the copy of the secret; NULL: none */
    int is_tool;             /* it looks at what servers count: makes nothing, warns of nothing */
    int is_leased;           /* see redis_leased.h */
    int is_leased_by_name;   /* of those, limits alone that ask for it (store=leased) */
    aq_time_ms_t (*boot_clock)(void); /* by which slices die, for tests; NULL: aq_clock_boot_ms, or the time given */
} aq_redis_counters_options_t;

/*
 * Opens the store at `address` (complete, see aq_redis_address_complete), which must outlive it. To be called before
 * forking; nothing of the connection is inherited. A server that does not answer is no failure where the copy of the secret
 * is there. Warns where the server may evict counters or keeps them nowhere. APR_SUCCESS, or a status and a sentence in `p`
 * at `*error`; `*store` is then NULL. Lives as long as `p`. Not thread-safe.
 */
apr_status_t aq_redis_counters_open(apr_pool_t *p, const aq_redis_address_t *address,
                                    const aq_redis_counters_options_t *options, aq_counter_store_t **store,
                                    const char **error);

/*
 * For a timer of each process, every 100 ms or so: tries a server that was away, and keeps alive what this process holds.
 * `ptemp` is for scratch.
 */
void aq_redis_counters_tend(aq_counter_store_t *store, apr_pool_t *ptemp);

/*
 * In leased mode, for a timer like that one: gives slices back that are idle or whose time is over. With `is_end`, when the
 * process ends, all that the machine holds, and waits for the answers. Strict: nothing.
 */
void aq_redis_counters_return(aq_counter_store_t *store, aq_time_ms_t now_ms, int is_end);

/*
 * From here on `seen` is told what Redis last said of each counter: its words, at that moment. From the thread that asked,
 * within its call.
 */
typedef void aq_redis_counters_seen_fn(void *data, const aq_counter_t *counter, const uint64_t words[AQ_WINDOW_WORDS],
                                       aq_time_ms_t now_ms);
void aq_redis_counters_watch(aq_counter_store_t *store, aq_redis_counters_seen_fn *seen, void *data);

/* The link, for what it counts. */
aq_redis_link_t *aq_redis_counters_link(const aq_counter_store_t *store);

#endif
