/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared-memory counters: the counter store in a mapped file, shared by all processes of a server (and of a second server
 * on the same folder), kept over restarts.
 *
 * Guarantees. No lock is ever held, so a process may die or be stopped at any instruction: the others go on, and what it
 * leaves behind is wrong by its own unfinished requests at most. A limit is never exceeded, whoever races. A counter that
 * still matters is never given up for another one: when the table is full, new keys and tenants fail with APR_ENOSPC,
 * while new counters of subjects that anyone can invent have long been made to share overflow counters, of which each
 * limit has a few, chosen by hash: stricter for them, never free.
 *
 * Limits on what runs at once need PATH.owners beside it, whose bytes are locked by the processes that count.
 *
 * What is in the file is told in shm_layout.h, how slots are found and given in shm_table.c, how counters are charged in
 * shm_counters.c.
 */
#ifndef AQ_SHM_COUNTERS_H
#define AQ_SHM_COUNTERS_H

#include "limit/counter_store.h"

/*
 * Opens the counter file at `path`, or makes it with `size_bytes` (64 kB to 1 TB; 64 bytes a counter). To be called by
 * httpd's parent before it forks; children inherit the store. The folder should be writable for its owner alone.
 *
 * A file that cannot be used is set aside as PATH.bad-<seconds>, with an error line; a symbolic link is refused. With
 * `may_resize` (a full start) a file of another size is carried over into a new one, unless another server uses it; else
 * the old size stays, with a warning. Lives as long as `p`. APR_SUCCESS, or a status and a sentence in `p` at `*error`;
 * `*store` is then NULL. Not thread-safe.
 */
apr_status_t aq_shm_counters_open(apr_pool_t *p, const char *path, uint64_t size_bytes, int may_resize,
                                  aq_time_ms_t now_ms, aq_counter_store_t **store, const char **error);

/*
 * Notes what another store, which counts for all machines, last said of a counter: it then goes on from there when it is
 * charged here. Not for concurrent limits. Where there is no place for it, nothing is noted.
 */
void aq_shm_counters_note(aq_counter_store_t *store, const aq_counter_t *counter, const uint64_t words[AQ_WINDOW_WORDS],
                          aq_time_ms_t now_ms);

/*
 * Opens an existing counter file to look at it, also while a server uses it: take and give_back fail with APR_EACCES.
 * Nothing is made, set aside or locked. Errors as above.
 */
apr_status_t aq_shm_counters_open_readonly(apr_pool_t *p, const char *path, aq_counter_store_t **store,
                                           const char **error);

/* The same, and aq_counter_store_reset acts. Needs to write to the file; APR_EAGAIN while a server is just opening it. */
apr_status_t aq_shm_counters_open_to_reset(apr_pool_t *p, const char *path, aq_counter_store_t **store,
                                           const char **error);

#endif
