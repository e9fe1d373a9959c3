/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upload lock: of one tenant's idempotency key at most one first request is uploading.
 *
 *   SPOOL/uploading    an empty file; a key locks the one byte of it at the place that its hash tells
 *
 * A client that repeats a request while the first is still on its way is told so before it sends the body once more. The
 * kernel frees the lock when the upload's process dies or closes the file, so a killed upload blocks nobody. It belongs to
 * the open file (F_OFD_SETLK), not to the process as a plain fcntl lock does: uploads are threads of one process.
 */
#ifndef AQ_UPLOAD_LOCK_H
#define AQ_UPLOAD_LOCK_H

#include "batch/spool.h"

/*
 * Takes the lock of the tenant's idempotency key, without waiting; it is given back when `p` is cleared. APR_EBUSY where
 * another upload holds it. Thread-safe.
 */
apr_status_t aq_upload_lock_take(const aq_spool_t *spool, apr_pool_t *p, const char *tenant,
                                 const char *idempotency_key);

#endif
