/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners: the processes that hold places of limits on what runs at once, and whether they still live.
 *
 * Each process that needs it takes a number of its own, never used before (the counter file keeps the last one), and holds
 * the byte of that offset in a lock file, by fcntl. Such a lock goes with the process, however that ends, also where a
 * child that it forked lives on; so a place whose owner holds no byte any more is free. A restart of the server voids all
 * places by that. Numbers are not given again before 2^32 processes.
 *
 * Locks of this kind go, too, when their process closes any descriptor of the file: nothing else may open it. All
 * functions are thread-safe, and may be called in forked children of the process that opened the owners.
 */
#ifndef AQ_OWNERS_H
#define AQ_OWNERS_H

#include "base/aq_clock.h"

#include <apr_pools.h>
#include <stdatomic.h>

typedef struct aq_owners_t aq_owners_t;

/*
 * Opens the lock file at `path`, or makes it (mode 0600). `last` is the number given last, shared by all processes. NULL:
 * to look only, who lives. `*owners` in `p`, closed with it; or the status of what failed.
 */
apr_status_t aq_owners_open(apr_pool_t *p, const char *path, _Atomic uint64_t *last, aq_owners_t **owners);

/* 1 where processes may take numbers; 0 where the owners were opened to look. */
int aq_owners_is_writable(const aq_owners_t *owners);

/* This process's number, never 0. It is taken at the first call. APR_SUCCESS, or why the byte could not be locked. */
apr_status_t aq_owners_self(aq_owners_t *owners, uint32_t *self);

/* 1 where `owner` lives, or lived a tenth of a second before `now_ms`; also where that cannot be told. */
int aq_owners_is_alive(aq_owners_t *owners, uint32_t owner, aq_time_ms_t now_ms);

#endif
