/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch runtime: spool and queue as a child of httpd holds them open.
 *
 * They are opened by the first request of a child that needs them, as the child's user: most children of a prefork
 * server never do, and root never opens the database. Where that fails the next request tries again, so that a full disk
 * or a wrong owner is mended without a restart.
 */
#ifndef AQ_BATCH_RUNTIME_H
#define AQ_BATCH_RUNTIME_H

#include "httpd/config.h"

/* How long a request waits for the queue's write lock before it answers 503. */
#define AQ_BATCH_QUEUE_WAIT_MS 5000

/*
 * Opens both unless they are open; afterwards the members `spool` and `queue` of the server's runtime are set and may be
 * used by any thread until the child ends. A failure is logged, now or when httpd was restarted. Thread-safe.
 */
apr_status_t aq_batch_runtime_open(const server_rec *s);

#endif
