/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the janitor does on the spool: what is past its time goes, what is oldest goes where room is short, and what a crash
 * left behind, on either side, is found.
 *
 * Rows are written before their files are removed: a crash between leaves a file that no row names, and the sweep finds
 * it. Rows whose files lie on another machine are that machine's to look at. A file is swept only when the queue, asked
 * under its write lock, names it not; a row is added only when its body, looked at under the same lock, is there.
 */
#include "worker/janitor.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <unistd.h>

#define AT_ONCE 100
#define ORPHAN_AGE_MS (INT64_C(3600) * 1000)
#define LOOKED_AT_ONCE 1000 /* rows a sweep, for files that are lost */
#define TRIM_PART 20        /* it is trimmed to a twentieth of the spool below where it begins */

/* The files of what the queue no longer names. One that stays is an orphan, which the sweep finds. */
static void files_remove(aq_worker_t *worker, apr_pool_t *ptemp, const apr_array_header_t *gone)
{
    for (int i = 0; i < gone->nelts; i++) {
        const aq_expired_t *batch = &APR_ARRAY_IDX(gone, i, aq_expired_t);
        apr_status_t rv = batch->keeps_body ? APR_SUCCESS : aq_spool_body_remove(worker->spool, ptemp, batch->id);
        if (rv == APR_SUCCESS && batch->result_token != 0) {
            rv = aq_spool_result_remove(worker->spool, ptemp, batch->id, batch->result_token);
        }
        if (rv != APR_SUCCESS) {
            AQ_LOG(AQ_LOG_WARNING, 634, rv, "batch %s: a file of it cannot be removed", batch->id);
        }
    }
}

static void expire(aq_worker_t *worker, apr_pool_t *ptemp)
{
    aq_queue_now_t now = aq_worker_now(worker);
    apr_array_header_t *expired;
    apr_status_t rv;
    int has_more;

    do {
        apr_pool_clear(ptemp);
        if ((rv = aq_queue_expire(worker->queue, ptemp, &now, AT_ONCE, &expired, &has_more)) != APR_SUCCESS) {
            AQ_LOG(AQ_LOG_WARNING, 633, rv, "expired batches cannot be removed");
            return;
        }
        files_remove(worker, ptemp, expired);
    } while (has_more && !worker->stopping);
}

static int64_t bytes_of(const apr_array_header_t *trimmed)
{
    int64_t bytes = 0;

    for (int i = 0; i < trimmed->nelts; i++) {
        bytes += APR_ARRAY_IDX(trimmed, i, aq_expired_t).bytes;
    }
    return bytes;
}

/* Frees `bytes`, or all that may go: `*freed_bytes`. */
static apr_status_t trim(aq_worker_t *worker, apr_pool_t *ptemp, int64_t bytes, int64_t *freed_bytes)
{
    apr_array_header_t *trimmed;
    unsigned batches = 0;
    apr_status_t rv;

    *freed_bytes = 0;
    do {
        apr_pool_clear(ptemp);
        rv = aq_queue_trim(worker->queue, ptemp, bytes - *freed_bytes, AT_ONCE, &trimmed);
        files_remove(worker, ptemp, trimmed);
        *freed_bytes += bytes_of(trimmed);
        batches += (unsigned)trimmed->nelts;
    } while (rv == APR_SUCCESS && trimmed->nelts > 0 && *freed_bytes < bytes && !worker->stopping);
    if (batches > 0) {
        AQ_LOG(AQ_LOG_NOTICE, 685, APR_SUCCESS,
               "the spool is nearly full: bodies and results of the oldest %u finished batches were removed, "
               "%" APR_INT64_T_FMT " bytes",
               batches, *freed_bytes);
    }
    return rv;
}

/* Where nothing may go any more the operator has to know it before uploads are refused. */
static void room_tell(aq_worker_t *worker, apr_status_t rv, int is_full)
{
    aq_trouble_t *trouble = &worker->room_trouble;

    switch (aq_trouble_note(trouble, is_full ? APR_ENOSPC : rv, aq_clock_boot_ms())) {
    case AQ_TROUBLE_LASTS:
        AQ_LOG(AQ_LOG_WARNING, 686, rv, "the spool is nearly full, and %s%s",
               is_full ? "all of it is still needed" : "no room can be made", trouble->lasting);
        break;
    case AQ_TROUBLE_IS_OVER:
        AQ_LOG(AQ_LOG_NOTICE, 625, APR_SUCCESS, "the spool has room again%s", trouble->lasting);
        break;
    case AQ_TROUBLE_NO_NEWS:
        break;
    }
}

void aq_janitor_trim(aq_worker_t *worker)
{
    int64_t keep_bytes = aq_settings_keep_bytes(&worker->settings);
    int64_t stored_bytes = aq_spool_stored(worker->spool);
    int64_t filled_bytes = 0, freed_bytes = 0;
    apr_pool_t *ptemp;

    if (keep_bytes == 0) {
        return;
    }
    apr_status_t rv = aq_spool_filled(worker->spool, &filled_bytes);
    if (rv == APR_SUCCESS && filled_bytes > keep_bytes && (rv = apr_pool_create(&ptemp, worker->pool)) == APR_SUCCESS) {
        rv = trim(worker, ptemp, filled_bytes - keep_bytes + keep_bytes / TRIM_PART, &freed_bytes);
        apr_pool_destroy(ptemp);
    }
    /* What only arrives may yet come to nothing. */
    room_tell(worker, rv, rv == APR_SUCCESS && !worker->stopping && stored_bytes - freed_bytes > keep_bytes);
}

/* A file that is old, and whether it is named. */
typedef struct {
    aq_worker_t *worker;
    apr_pool_t *pool;
    const char *id;
    int64_t token; /* 0: a body; below 0: a segment */
    int was_removed;
} old_file_t;

/* A running job's results are left alone whatever their token: one of them may be about to count. */
static int is_named(const aq_batch_t *batch, int64_t token)
{
    if (batch == NULL) {
        return 0;
    }
    if (token < 0) {
        return batch->items > 0 && batch->status != AQ_BATCH_SUCCEEDED && !batch->body_gone;
    }
    return token == 0 ? !batch->body_gone
                      : token == batch->result_token || batch->status == AQ_BATCH_RUNNING ||
                            batch->status == AQ_BATCH_CANCELING;
}

static apr_status_t file_remove(const old_file_t *file)
{
    aq_spool_t *spool = file->worker->spool;

    if (file->token < 0) {
        return aq_spool_segment_remove(spool, file->pool, file->id, -file->token);
    }
    return file->token == 0 ? aq_spool_body_remove(spool, file->pool, file->id)
                            : aq_spool_result_remove(spool, file->pool, file->id, file->token);
}

/* Under the write lock: a row that would name the file cannot come in between. */
static apr_status_t remove_unnamed(void *data, const aq_batch_t *batch)
{
    old_file_t *file = data;

    if (is_named(batch, file->token)) {
        return APR_SUCCESS;
    }
    apr_status_t rv = file_remove(file);
    file->was_removed = rv == APR_SUCCESS;
    return rv;
}

/* Asked without the lock first: nearly all files are named. */
static int judge_file(void *data, const char *id, int64_t token)
{
    old_file_t *file = data;
    aq_batch_t *batch;

    apr_pool_clear(file->pool);
    file->id = id;
    file->token = token;
    file->was_removed = 0;
    if (file->worker->stopping) {
        return 0;
    }
    apr_status_t rv = aq_queue_find(file->worker->queue, file->pool, id, &batch);
    if ((rv != APR_SUCCESS && rv != APR_NOTFOUND) || is_named(batch, token)) {
        return 0;
    }
    rv = aq_queue_look(file->worker->queue, file->pool, id, remove_unnamed, file);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 687, rv, "an orphan of batch %s cannot be removed", id);
    }
    return file->was_removed;
}

static int is_there(const char *path)
{
    return access(path, F_OK) == 0 || errno != ENOENT;
}

/* A batch that is over whose files are not there: it takes no room, and has no result to give. */
static void judge_row(aq_worker_t *worker, apr_pool_t *ptemp, const aq_batch_t *batch)
{
    aq_expired_t gone = {.keeps_body = 1};

    if (!batch->body_gone && !is_there(aq_spool_body_path(worker->spool, ptemp, batch->id))) {
        gone.keeps_body = 0;
    }
    if (batch->result_token != 0 && batch->response.bytes > 0 &&
        !is_there(aq_spool_result_path(worker->spool, ptemp, batch->id, batch->result_token))) {
        gone.result_token = batch->result_token;
    }
    /* A spool that is not mounted has lost nothing. */
    if ((gone.keeps_body && gone.result_token == 0) || !aq_spool_is_there(worker->spool)) {
        return;
    }
    (void)apr_cpystrn(gone.id, batch->id, sizeof gone.id);
    apr_status_t rv = aq_queue_forget(worker->queue, &gone);
    if (rv != APR_NOTFOUND) {
        AQ_LOG(AQ_LOG_WARNING, 688, rv, "batch %s: its %s is gone from the spool", batch->id,
               gone.result_token == 0 ? "body"
               : gone.keeps_body      ? "result"
                                      : "body and result");
    }
}

/*
 * Some rows each time, from the newest on and then anew. What is not over is told by the attempt that finds no body. Rows
 * of batches that end meanwhile were read before: their files are there.
 */
static apr_status_t look_for_lost_files(aq_worker_t *worker, apr_pool_t *ptemp)
{
    aq_queue_query_t query = {
        .status = -1, .before = worker->looked_at[0] != '\0' ? worker->looked_at : NULL, .limit = LOOKED_AT_ONCE};
    aq_queue_page_t page;

    apr_pool_clear(ptemp);
    apr_status_t rv = aq_queue_list(worker->queue, ptemp, &query, &page);
    for (int i = 0; rv == APR_SUCCESS && i < page.batches->nelts && !worker->stopping; i++) {
        const aq_batch_t *batch = APR_ARRAY_IDX(page.batches, i, const aq_batch_t *);
        if (aq_batch_is_over(batch->status) && !batch->is_elsewhere) {
            judge_row(worker, ptemp, batch);
        }
        (void)apr_cpystrn(worker->looked_at, page.has_more ? batch->id : "", sizeof worker->looked_at);
    }
    return rv;
}

void aq_janitor_sweep(aq_worker_t *worker, int is_thorough)
{
    unsigned removed = 0;
    apr_pool_t *ptemp;

    apr_status_t rv = apr_pool_create(&ptemp, worker->pool);
    if (rv != APR_SUCCESS) {
        return;
    }
    expire(worker, ptemp);
    rv = aq_spool_sweep(worker->spool, ptemp, aq_clock_now_ms() - ORPHAN_AGE_MS, is_thorough ? judge_file : NULL,
                        &(old_file_t){.worker = worker, .pool = ptemp}, &removed);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 635, rv, "the spool cannot be swept");
    } else if (removed > 0) {
        AQ_LOG(AQ_LOG_NOTICE, 636, APR_SUCCESS, "the spool is swept: %u orphans removed", removed);
    }
    if ((rv = look_for_lost_files(worker, ptemp)) != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_WARNING, 689, rv, "lost files cannot be looked for");
    }
    apr_pool_destroy(ptemp);
}
