/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch repeat: the Idempotency-Key of an upload, by which a client may send it again after a lost answer.
 *
 * A key is its tenant's, over all hosts and locations. With the same request it leads to the same batch; with another one
 * it is refused (422), and while the first request is still uploading too (409).
 */
#ifndef AQ_BATCH_REPEAT_H
#define AQ_BATCH_REPEAT_H

#include "batch/batch.h"
#include "batch/spool.h"

#include <httpd.h>

/* The key that the request has, NULL where it has none. OK, or the status of a refusal: what is no key is not ignored. */
int aq_batch_repeat_key(request_rec *r, const char **key);

/*
 * Keeps other requests with the batch's key out until `p` is cleared. OK, or the status of a refusal: 409 where the first
 * request with this key is still uploading.
 */
int aq_batch_repeat_lock(request_rec *r, const aq_spool_t *spool, apr_pool_t *p, const aq_batch_t *batch);

/* 1 where both are of one request: location, method, path, query and body. */
int aq_batch_repeat_is_same(const aq_batch_t *a, const aq_batch_t *b);

#endif
