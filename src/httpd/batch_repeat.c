/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key's form, its lock, and which requests count as one. The location is part of a request: two hosts may have one path
 * and mean different things by it. See batch_repeat.h.
 */
#include "httpd/batch_repeat.h"

#include "httpd/httpd_log.h"
#include "batch/upload_lock.h"
#include "httpd/batch_handler.h"

#include <string.h>

#define KEY_MAX 255
#define RETRY_AFTER_S 1

int aq_batch_repeat_key(request_rec *r, const char **key)
{
    *key = apr_table_get(r->headers_in, "Idempotency-Key");
    if (!*key) {
        return OK;
    }
    size_t size = strlen(*key);
    for (const char *at = *key; *at; at++) {
        size = *at >= ' ' && *at < 0x7f ? size : 0;
    }
    if (size > 0 && size <= KEY_MAX) {
        return OK;
    }
    return aq_problem_refuse(
        r, &(aq_problem_t){.status = HTTP_BAD_REQUEST,
                           .code = "idempotency-key-invalid",
                           .detail = "Idempotency-Key must have 1 to 255 characters of printable ASCII."});
}

int aq_batch_repeat_lock(request_rec *r, const aq_spool_t *spool, apr_pool_t *p, const aq_batch_t *batch)
{
    apr_status_t rv = aq_upload_lock_take(spool, p, batch->tenant, batch->idempotency_key);

    if (rv == APR_SUCCESS) {
        return OK;
    }
    if (APR_STATUS_IS_EBUSY(rv)) {
        return aq_problem_refuse(
            r, &(aq_problem_t){.status = HTTP_CONFLICT,
                               .code = "idempotency-key-in-use",
                               .detail = "The first request with this Idempotency-Key is still uploading.",
                               .retry_after_s = RETRY_AFTER_S});
    }
    AQ_PACED_LOG(AQ_LOG_ERROR, 1270, rv, "the spool cannot lock an idempotency key: a batch was refused");
    return aq_batch_refuse_unavailable(r, "Batches cannot be taken now.");
}

static int is_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int aq_batch_repeat_is_same(const aq_batch_t *a, const aq_batch_t *b)
{
    return is_equal(a->location, b->location) && is_equal(a->method, b->method) && is_equal(a->path, b->path) &&
           is_equal(a->query, b->query) && is_equal(a->request.sha256, b->request.sha256);
}
