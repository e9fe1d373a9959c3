/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the SQLite queue share: the open queue, and the frame around everything that writes.
 *
 * Two connections: the writer, used only under the write lock, and the reader, used under its own mutex. So a reader
 * never waits for a writer's sync.
 */
#ifndef AQ_SQLITE_PRIVATE_H
#define AQ_SQLITE_PRIVATE_H

#include "batch/queue.h"
#include "store/sqlite_group.h"
#include "store/sqlite_link.h"
#include "store/sqlite_lock.h"

typedef struct aq_sqlite_queue_t {
    aq_queue_t queue; /* first: an aq_queue_t * is also a pointer to this */
    apr_pool_t *pool;
    pid_t owner; /* the process that opened it; a forked child must not touch it */
    aq_sqlite_lock_t lock;
    aq_sqlite_link_t writer;
    aq_sqlite_link_t reader;
    pthread_mutex_t reader_mutex;
    aq_sqlite_group_t group;
} aq_sqlite_queue_t;

static inline aq_sqlite_queue_t *aq_sqlite_queue_of(aq_queue_t *q)
{
    return (aq_sqlite_queue_t *)(void *)q;
}

/*
 * A write: take the lock, begin; then whatever the caller does with `writer`; end. `rv` is how that went: APR_SUCCESS
 * commits, everything else rolls back and is returned. After a begin that failed there is nothing to end. APR_INCOMPLETE: the
 * commit could not be synced; nothing is changed, unless a crash comes before the next commit.
 */
apr_status_t aq_sqlite_write_begin(aq_sqlite_queue_t *queue);
apr_status_t aq_sqlite_write_begin_within(aq_sqlite_queue_t *queue, int wait_ms);
apr_status_t aq_sqlite_write_end(aq_sqlite_queue_t *queue, apr_status_t rv);

/*
 * The same for what is asked often: `change` does the writing, and shares its transaction, and so its sync, with those of
 * other threads that come meanwhile (sqlite_group.h). It may run in another thread, while the caller waits.
 */
typedef apr_status_t aq_sqlite_change_fn(aq_sqlite_queue_t *queue, void *data);
apr_status_t aq_sqlite_write(aq_sqlite_queue_t *queue, aq_sqlite_change_fn *change, void *data);

extern const aq_queue_ops_t aq_sqlite_queue_ops;

/* Closes the queue: the cleanup of its pool (sqlite_open.c). */
apr_status_t aq_sqlite_queue_end(void *queue);

/* The batch as the writer sees it now, under the write lock; APR_NOTFOUND and NULL (sqlite_batches.c). */
apr_status_t aq_sqlite_read_one(aq_sqlite_queue_t *queue, apr_pool_t *p, const char *id, aq_batch_t **batch);

/* What both connections can be asked: a tenant's use (sqlite_batches.c), how many there are of each status (sqlite_queue.c). */
apr_status_t aq_sqlite_use_read(aq_sqlite_link_t *link, const char *tenant, aq_queue_use_t *use);
apr_status_t aq_sqlite_totals_read(aq_sqlite_link_t *reader, const char *tenant, aq_queue_counts_t *counts);

/* The operations on batches (sqlite_batches.c). */
apr_status_t aq_sqlite_use(aq_queue_t *q, const char *tenant, aq_queue_use_t *use);
apr_status_t aq_sqlite_list(aq_queue_t *q, apr_pool_t *p, const aq_queue_query_t *query, aq_queue_page_t *page);
apr_status_t aq_sqlite_cancel(aq_queue_t *q, apr_pool_t *p, const char *id, const aq_queue_now_t *now,
                              aq_batch_t **batch);
apr_status_t aq_sqlite_retry(aq_queue_t *q, const char *id, const aq_queue_now_t *now, aq_expired_t *gone);
apr_status_t aq_sqlite_remove(aq_queue_t *q, const char *id, aq_expired_t *gone);
apr_status_t aq_sqlite_overdue(aq_queue_t *q, const aq_queue_now_t *now, unsigned *failed);
apr_status_t aq_sqlite_expire(aq_queue_t *q, apr_pool_t *p, const aq_queue_now_t *now, int most,
                              apr_array_header_t **expired, int *has_more);

/* What is asked for the files of batches (sqlite_files.c). */
apr_status_t aq_sqlite_trim(aq_queue_t *q, apr_pool_t *p, int64_t bytes, int most, apr_array_header_t **trimmed);
apr_status_t aq_sqlite_forget(aq_queue_t *q, const aq_expired_t *gone);
apr_status_t aq_sqlite_look(aq_queue_t *q, apr_pool_t *ptemp, const char *id, aq_queue_look_fn *fn, void *data);

/* The operations on jobs (sqlite_claim.c and sqlite_jobs.c); the others are in sqlite_queue.c. */
apr_status_t aq_sqlite_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                             const aq_queue_limits_t *limits, aq_job_t *job);
apr_status_t aq_sqlite_cancels(aq_queue_t *q, apr_pool_t *p, const char *worker, apr_array_header_t **asked);
apr_status_t aq_sqlite_renew(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now, int lease_ms,
                             apr_array_header_t **held);
apr_status_t aq_sqlite_progress(aq_queue_t *q, const char *id, int64_t token, int64_t done, int64_t total,
                                int64_t failed);
apr_status_t aq_sqlite_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                              const aq_job_result_t *result);
apr_status_t aq_sqlite_again(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now, int64_t wait_ms,
                             const char *error_code, const char *error_detail);
apr_status_t aq_sqlite_hand_back(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                 int64_t wait_ms);
apr_status_t aq_sqlite_recover(aq_queue_t *q, const aq_queue_now_t *now, const char *dead_worker, unsigned *recovered,
                               unsigned *failed);

/* The messages to webhooks (sqlite_webhooks.c). */
apr_status_t aq_sqlite_webhook_test(aq_queue_t *q, const char *id, const char *tenant, const aq_queue_now_t *now);
apr_status_t aq_sqlite_webhook_find(aq_queue_t *q, apr_pool_t *p, const char *id, aq_webhook_t **webhook);
apr_status_t aq_sqlite_webhook_list(aq_queue_t *q, apr_pool_t *p, const aq_webhook_query_t *query,
                                    apr_array_header_t **webhooks);
apr_status_t aq_sqlite_webhook_retry(aq_queue_t *q, const char *id);
apr_status_t aq_sqlite_webhook_claim(aq_queue_t *q, apr_pool_t *p, const char *worker, const aq_queue_now_t *now,
                                     int lease_ms, int tenant_most, aq_delivery_t *delivery);
apr_status_t aq_sqlite_webhook_finish(aq_queue_t *q, const char *id, int64_t token, const aq_queue_now_t *now,
                                      const aq_delivery_result_t *result);

/* Ends the claims whose lease is over, and those of `dead_worker`. Takes the write lock only where there are such. */
apr_status_t aq_sqlite_webhooks_recover(aq_sqlite_queue_t *queue, const aq_queue_now_t *now, const char *dead_worker);

#endif
