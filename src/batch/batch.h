/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch: what a client submitted and polls; its states, its ID, and how it reads as JSON.
 *
 *            submit            claim                     2xx
 *     (none) ------> queued ---------> running ----------------------> succeeded
 *                      ^  |              |  |   4xx, attempts used up
 *                      |  |              |  +------------------------> failed
 *                      |  | cancel       |
 *       another        |  +----------+   | cancel
 *       attempt        |             v   v
 *                      +--- running  canceled <--- canceling ---> succeeded | failed (the cancel came too late)
 *
 * Pure: no clock, no queue, no files. The queue (queue.h) makes the transitions durable; this file says which there are.
 */
#ifndef AQ_BATCH_H
#define AQ_BATCH_H

#include "base/aq_clock.h"
#include "base/aq_json.h"

/* "batch_", 26 characters of Crockford's base 32 in lower case (128 bits: 48 of time in ms, 80 random), zero. */
#define AQ_BATCH_ID_SIZE 33

typedef enum {
    AQ_BATCH_QUEUED,
    AQ_BATCH_RUNNING,
    AQ_BATCH_CANCELING,
    AQ_BATCH_SUCCEEDED,
    AQ_BATCH_FAILED,
    AQ_BATCH_CANCELED,
    AQ_BATCH_STATUS_COUNT
} aq_batch_status_t;

/* How long a batch is kept where nothing else is said: 7 days. */
#define AQ_BATCH_RETENTION_MS (INT64_C(7) * 86400 * 1000)

/* A body on the spool: its size and hash were taken while it was written. */
typedef struct {
    const char *content_type; /* NULL: none was given */
    int64_t bytes;
    const char *sha256; /* 64 hex digits */
} aq_batch_body_t;

typedef struct {
    char id[AQ_BATCH_ID_SIZE];
    aq_batch_status_t status;
    const char *tenant;
    const char *key_id;
    const char *location;        /* the batch location that took it, as runtime.json names it */
    const char *idempotency_key; /* NULL: none */

    aq_time_ms_t created_at_ms, started_at_ms, finished_at_ms, expires_at_ms, cancel_requested_at_ms; /* 0: not yet */
    aq_time_ms_t next_attempt_at_ms; /* wall time; 0: not waiting */
    int attempt, max_attempts;
    int never_repeat;  /* the target is not idempotent: an attempt that may have had an effect is the last */
    int wants_webhook; /* its end is told to the tenant's webhook (webhook.h) */

    int64_t retention_ms;              /* how long it is kept once it is over; 0: AQ_BATCH_RETENTION_MS */
    int64_t result_retention_ms;       /* the same of its result alone; 0: as long as the batch */
    aq_time_ms_t result_expires_at_ms; /* 0: with the batch, or not over yet */
    aq_time_ms_t start_by_ms;          /* still queued then, it fails; 0: it may wait for ever */

    const char *method, *path, *query; /* of the request; path without query; query NULL: none */
    const char *headers;               /* JSON object text of headers to send to the target, lower-case names */
    aq_batch_body_t request;
    int64_t items; /* lines of its body that are sent one by one (items.h); 0: the body is sent as one request */

    int response_status;          /* 0: none yet */
    const char *response_headers; /* JSON object text, already filtered */
    aq_batch_body_t response;
    int64_t result_token; /* which attempt's result file is the answer; 0: there is none, or it is no longer kept */
    int body_gone;        /* the request's body is no longer kept, so it cannot be retried */

    int64_t progress_done, progress_total, progress_failed; /* total 0: not known */
    const char *error_code, *error_detail;                  /* NULL unless failed, or waiting after a failure */
    const char *metadata;                                   /* JSON text; NULL: none */
    int64_t version;                                        /* grows with every visible change; the ETag of the batch */

    const char *home; /* the machine on whose spool its files lie; NULL: on this one's, or all machines' */
    int is_elsewhere; /* that is another machine */
    int is_home_down; /* and its worker has not been heard of for a while: it waits, where it is not over */
} aq_batch_t;

/* "queued" …; never NULL. */
const char *aq_batch_status_name(aq_batch_status_t status);
/* APR_EGENERAL for a word that is no status. */
apr_status_t aq_batch_status_parse(const char *name, aq_batch_status_t *status);
/* 1 for succeeded, failed, canceled. */
int aq_batch_is_over(aq_batch_status_t status);

/* 1 where it is over and no longer kept at `now_ms`, whether or not it has been removed. */
static inline int aq_batch_has_expired(const aq_batch_t *batch, aq_time_ms_t now_ms)
{
    return batch->expires_at_ms > 0 && batch->expires_at_ms <= now_ms;
}

/* 1 where it waits for the machine that has its body. */
static inline int aq_batch_waits_for_machine(const aq_batch_t *batch)
{
    return batch->is_home_down && !aq_batch_is_over(batch->status);
}

/* Makes an ID for `now_ms` from 10 random bytes. */
void aq_batch_id_write(char id[AQ_BATCH_ID_SIZE], aq_time_ms_t now_ms, const unsigned char random[10]);
/* 1 when `text` has the exact form of an ID. Everything else is answered 404 without asking the queue. */
int aq_batch_id_is_valid(const char *text);

/*
 * The batch as clients see it (design/4): a new reference. `base_url` ("/v1/batches") is the prefix of its links.
 * NULL only when memory ran out. Never contains key_id's secret, tenant's internals or spool paths.
 */
json_t *aq_batch_json(const aq_batch_t *batch, const char *base_url);

/*
 * Seconds a client should wait before it polls again, for Retry-After: 1 at first, then a tenth of the batch's age, or
 * until its next attempt; 1 to 30. Of no meaning for a batch that is over.
 */
int aq_batch_poll_after_s(const aq_batch_t *batch, aq_time_ms_t now_ms);

#endif
