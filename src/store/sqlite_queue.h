/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: job rows in one WAL database, for the batches of one machine.
 */
#ifndef AQ_SQLITE_QUEUE_H
#define AQ_SQLITE_QUEUE_H

#include "batch/queue.h"

/*
 * Opens (and makes) the database at `path`, mode 0600. Open it after fork and as the user that httpd runs as, never as
 * root. `wait_ms` is how long a write may wait for the lock before APR_EBUSY. Closed by aq_queue_close, or with `p`.
 * `*error` in `p` says what is wrong: not readable, not writable, not a database, of a newer layout.
 */
apr_status_t aq_sqlite_queue_open(apr_pool_t *p, const char *path, int wait_ms, aq_queue_t **queue, const char **error);

#endif
