/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl batch: list, show, cancel, retry and purge, on the queue itself, while httpd and worker run or not.
 */
#include "ctl/ctl.h"

#include "base/aq_units.h"
#include "batch/spool.h"

#include <apr_strings.h>
#include <apr_time.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIST_DEFAULT 50
#define PURGE_PAGE 200
#define LOOK_EVERY_US 300000
#define BAR_WIDTH 30

typedef struct {
    const aq_ctl_t *ctl;
    const aq_batch_config_t *config;
    aq_queue_t *queue;
    aq_spool_t *spool; /* NULL: not opened yet */
} batches_t;

static aq_ctl_exit_t fail_unknown(const char *id)
{
    return aq_ctl_fail(AQ_CTL_REFUSED, "there is no batch %s", id);
}

static aq_ctl_exit_t batches_open(aq_ctl_t *ctl, batches_t *batches)
{
    *batches = (batches_t){.ctl = ctl};
    return aq_ctl_queue_open(ctl, &batches->config, &batches->queue);
}

/* As its client sees it, but for the links, and with what is the operator's to know. */
static json_t *batch_json(const aq_batch_t *batch)
{
    json_t *json = aq_batch_json(batch, "");

    if (json) {
        (void)json_object_del(json, "links");
        (void)json_object_set_new(json, "tenant", json_string(batch->tenant));
        (void)json_object_set_new(json, "key", batch->key_id ? json_string(batch->key_id) : json_null());
        (void)json_object_set_new(json, "location", json_string(batch->location));
    }
    return json;
}

/* The filters of --tenant and --status. */
static aq_ctl_exit_t query_read(const aq_ctl_t *ctl, aq_queue_query_t *query)
{
    aq_batch_status_t status;

    *query = (aq_queue_query_t){.tenant = ctl->tenant, .status = -1, .limit = LIST_DEFAULT};
    if (ctl->status && aq_batch_status_parse(ctl->status, &status) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_USAGE, "--status must be queued, running, canceling, succeeded, failed or canceled");
    }
    query->status = ctl->status ? (int)status : -1;
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_batch_list(aq_ctl_t *ctl)
{
    static const aq_ctl_column_t columns[] = {{"ID", "id"},
                                              {"TENANT", "tenant"},
                                              {"STATUS", "status"},
                                              {"ATTEMPT", "attempt"},
                                              {"CREATED", "created_at"},
                                              {"FINISHED", "finished_at"},
                                              {"LOCATION", "location"},
                                              {.heading = NULL}};
    aq_queue_query_t query;
    aq_queue_page_t page;
    batches_t batches;
    aq_ctl_exit_t code = query_read(ctl, &query);

    if (code == AQ_CTL_DONE) {
        code = aq_ctl_count_read(ctl, &query.limit);
    }
    if (code != AQ_CTL_DONE || (code = batches_open(ctl, &batches)) != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_queue_list(batches.queue, ctl->p, &query, &page);
    if (rv != APR_SUCCESS) {
        return aq_ctl_fail_with("the batches cannot be listed", rv);
    }
    json_t *rows = json_array();
    for (int i = 0; i < page.batches->nelts; i++) {
        (void)json_array_append_new(rows, batch_json(APR_ARRAY_IDX(page.batches, i, const aq_batch_t *)));
    }
    code = aq_ctl_rows_print(ctl, json_pack("{s:o, s:I}", "batches", rows, "total", (json_int_t)page.total), "batches",
                             columns);
    if (code == AQ_CTL_DONE && !ctl->is_json && page.has_more) {
        (void)fprintf(stderr, "%d of %" APR_INT64_T_FMT "; a COUNT shows more\n", page.batches->nelts, page.total);
    }
    return code;
}

/* "[##########          ] 33 %  333 of 1000, 2 failed" where the total is known. */
static const char *progress_text(apr_pool_t *p, const aq_batch_t *batch)
{
    char bar[BAR_WIDTH + 1];
    int64_t done = batch->progress_done, total = batch->progress_total;

    if (total <= 0) {
        return "";
    }
    done = done < total ? done : total;
    int share = (int)((double)done / (double)total * BAR_WIDTH);
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', (size_t)share);
    bar[BAR_WIDTH] = '\0';
    return apr_psprintf(p, "[%s] %d %%  %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT ", %" APR_INT64_T_FMT " failed  ",
                        bar, (int)((double)done / (double)total * 100), batch->progress_done, total,
                        batch->progress_failed);
}

static const char *state_text(apr_pool_t *p, const aq_batch_t *batch)
{
    return apr_psprintf(p, "%s%s, attempt %d of %d%s%s", progress_text(p, batch), aq_batch_status_name(batch->status),
                        batch->attempt, batch->max_attempts, batch->error_code ? ", " : "",
                        batch->error_code ? batch->error_code : "");
}

/* On a terminal one line that is written over; elsewhere a line for each change. */
static void state_print(apr_pool_t *p, const aq_batch_t *batch)
{
    int is_terminal = isatty(STDOUT_FILENO);

    (void)printf("%s%s%s", is_terminal ? "\r\033[K" : "", state_text(p, batch),
                 !is_terminal || aq_batch_is_over(batch->status) ? "\n" : "");
    (void)fflush(stdout);
}

/* Until it is over; `*batch` is then as it ended. Says how it stands unless the answer is JSON. */
static apr_status_t follow(const batches_t *batches, const char *id, aq_batch_t **batch)
{
    apr_status_t rv = APR_SUCCESS;
    int64_t shown = -1;
    apr_pool_t *p;

    if ((rv = apr_pool_create(&p, batches->ctl->p)) != APR_SUCCESS) {
        return rv;
    }
    do {
        if (shown >= 0) {
            apr_sleep(LOOK_EVERY_US);
        }
        apr_pool_clear(p);
        rv = aq_queue_find(batches->queue, p, id, batch);
        if (rv == APR_SUCCESS && (*batch)->version != shown) {
            shown = (*batch)->version;
            if (!batches->ctl->is_json) {
                state_print(p, *batch);
            }
        }
    } while (rv == APR_SUCCESS && !aq_batch_is_over((*batch)->status));
    return rv;
}

aq_ctl_exit_t aq_ctl_batch_show(aq_ctl_t *ctl)
{
    aq_batch_t *batch;
    batches_t batches;
    aq_ctl_exit_t code = batches_open(ctl, &batches);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = ctl->is_following ? follow(&batches, ctl->argument, &batch)
                                        : aq_queue_find(batches.queue, ctl->p, ctl->argument, &batch);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? fail_unknown(ctl->argument) : aq_ctl_fail_with("the batch cannot be read", rv);
    }
    code = ctl->is_following ? aq_ctl_answer_print(ctl, batch_json(batch), NULL) : aq_ctl_json_print(batch_json(batch));
    if (code == AQ_CTL_DONE && ctl->is_following && batch->status != AQ_BATCH_SUCCEEDED) {
        code = AQ_CTL_REFUSED;
    }
    return code;
}

/* Prints that something was done to a batch. */
static aq_ctl_exit_t done_print(const aq_ctl_t *ctl, const char *id, const char *status, const char *sentence)
{
    return aq_ctl_answer_print(ctl, json_pack("{s:s, s:s}", "id", id, "status", status), sentence);
}

aq_ctl_exit_t aq_ctl_batch_cancel(aq_ctl_t *ctl)
{
    aq_queue_now_t now = aq_ctl_queue_now(ctl);
    aq_batch_t *batch;
    batches_t batches;
    aq_ctl_exit_t code = batches_open(ctl, &batches);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_queue_cancel(batches.queue, ctl->p, ctl->argument, &now, &batch);
    if (rv == APR_NOTFOUND) {
        return fail_unknown(ctl->argument);
    }
    if (rv != APR_SUCCESS) {
        return rv == APR_EINVAL ? aq_ctl_fail(AQ_CTL_REFUSED, "%s is over", ctl->argument)
                                : aq_ctl_fail_with("the batch cannot be canceled", rv);
    }
    const char *status = aq_batch_status_name(batch->status);
    return done_print(ctl, batch->id, status, apr_psprintf(ctl->p, "%s is %s.", batch->id, status));
}

/* `ptemp` is for scratch: of many batches, each once. */
static aq_ctl_exit_t files_remove(batches_t *batches, const aq_expired_t *gone, apr_pool_t *ptemp)
{
    const aq_batch_config_t *config = batches->config;
    const char *error;

    if (!batches->spool && aq_spool_open(batches->ctl->p, config->spool_folder, config->spool_max_bytes,
                                         &batches->spool, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    apr_status_t rv = gone->keeps_body ? APR_SUCCESS : aq_spool_body_remove(batches->spool, ptemp, gone->id);
    if (rv == APR_SUCCESS && gone->result_token > 0) {
        rv = aq_spool_result_remove(batches->spool, ptemp, gone->id, gone->result_token);
    }
    return rv == APR_SUCCESS ? AQ_CTL_DONE : aq_ctl_fail_with("a file of the batch cannot be removed", rv);
}

aq_ctl_exit_t aq_ctl_batch_retry(aq_ctl_t *ctl)
{
    aq_queue_now_t now = aq_ctl_queue_now(ctl);
    aq_expired_t gone;
    batches_t batches;
    aq_ctl_exit_t code = batches_open(ctl, &batches);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_queue_retry(batches.queue, ctl->argument, &now, &gone);
    if (rv == APR_NOTFOUND) {
        return fail_unknown(ctl->argument);
    }
    if (rv == APR_ENOENT) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "the body of %s is no longer kept: it has to be submitted anew",
                           ctl->argument);
    }
    if (rv != APR_SUCCESS) {
        return rv == APR_EINVAL ? aq_ctl_fail(AQ_CTL_REFUSED, "%s has neither failed nor been canceled", ctl->argument)
                                : aq_ctl_fail_with("the batch cannot be queued again", rv);
    }
    code = files_remove(&batches, &gone, ctl->p);
    return code == AQ_CTL_DONE
               ? done_print(ctl, gone.id, "queued", apr_psprintf(ctl->p, "%s is queued again.", gone.id))
               : code;
}

/* Removes one; `*removed` counts. A batch that another removed meanwhile is no failure. */
static aq_ctl_exit_t purge_one(batches_t *batches, const char *id, apr_pool_t *ptemp, int64_t *removed)
{
    aq_expired_t gone;
    apr_status_t rv = aq_queue_remove(batches->queue, id, &gone);

    if (rv == APR_NOTFOUND) {
        return AQ_CTL_DONE;
    }
    if (rv != APR_SUCCESS) {
        return rv == APR_EINVAL ? aq_ctl_fail(AQ_CTL_REFUSED, "%s is not over: cancel it first", id)
                                : aq_ctl_fail_with("the batch cannot be removed", rv);
    }
    ++*removed;
    return files_remove(batches, &gone, ptemp);
}

/* Those of a page that are over, and finished before `before_ms`. */
static aq_ctl_exit_t purge_page(batches_t *batches, const aq_queue_page_t *page, aq_time_ms_t before_ms,
                                apr_pool_t *ptemp, int64_t *removed)
{
    aq_ctl_exit_t code = AQ_CTL_DONE;

    for (int i = 0; code == AQ_CTL_DONE && i < page->batches->nelts; i++) {
        const aq_batch_t *batch = APR_ARRAY_IDX(page->batches, i, const aq_batch_t *);
        if (aq_batch_is_over(batch->status) && batch->finished_at_ms <= before_ms) {
            code = purge_one(batches, batch->id, ptemp, removed);
        }
    }
    return code;
}

/* All that are over, of --tenant and --status, and finished before `before_ms`. */
static aq_ctl_exit_t purge_many(batches_t *batches, aq_queue_query_t query, aq_time_ms_t before_ms, int64_t *removed)
{
    aq_ctl_exit_t code = AQ_CTL_DONE;
    aq_queue_page_t page = {.has_more = 1};
    char last[AQ_BATCH_ID_SIZE];
    apr_pool_t *ptemp;

    query.limit = PURGE_PAGE;
    if (apr_pool_create(&ptemp, batches->ctl->p) != APR_SUCCESS) {
        return aq_ctl_fail_with("the batches cannot be listed", APR_ENOMEM);
    }
    while (code == AQ_CTL_DONE && page.has_more) {
        apr_pool_clear(ptemp);
        apr_status_t rv = aq_queue_list(batches->queue, ptemp, &query, &page);
        if (rv != APR_SUCCESS) {
            return aq_ctl_fail_with("the batches cannot be listed", rv);
        }
        if (page.batches->nelts > 0) {
            apr_cpystrn(last, APR_ARRAY_IDX(page.batches, page.batches->nelts - 1, aq_batch_t *)->id, sizeof(last));
            query.before = last;
        }
        code = purge_page(batches, &page, before_ms, ptemp, removed);
    }
    return code;
}

aq_ctl_exit_t aq_ctl_batch_purge(aq_ctl_t *ctl)
{
    aq_queue_query_t query;
    int64_t older_ms = 0, removed = 0;
    batches_t batches;
    aq_batch_t *batch;
    aq_ctl_exit_t code = query_read(ctl, &query);
    int is_many = ctl->tenant || ctl->status || ctl->older_than;

    if (code == AQ_CTL_DONE && is_many == (ctl->argument != NULL)) {
        code = aq_ctl_fail(AQ_CTL_USAGE, "name either a batch, or --tenant, --status or --older-than");
    }
    if (code == AQ_CTL_DONE && query.status >= 0 && !aq_batch_is_over((aq_batch_status_t)query.status)) {
        code = aq_ctl_fail(AQ_CTL_USAGE, "--status must be succeeded, failed or canceled: only such batches are over");
    }
    if (code == AQ_CTL_DONE && ctl->older_than && aq_units_duration_parse(ctl->older_than, &older_ms) != APR_SUCCESS) {
        code = aq_ctl_fail(AQ_CTL_USAGE, "--older-than takes " AQ_UNITS_DURATION_FORM);
    }
    if (code != AQ_CTL_DONE || (code = batches_open(ctl, &batches)) != AQ_CTL_DONE) {
        return code;
    }
    if (is_many) {
        code = purge_many(&batches, query, ctl->now_ms - older_ms, &removed);
    } else {
        code = aq_queue_find(batches.queue, ctl->p, ctl->argument, &batch) == APR_NOTFOUND
                   ? fail_unknown(ctl->argument)
                   : purge_one(&batches, ctl->argument, ctl->p, &removed);
    }
    return code == AQ_CTL_DONE ? aq_ctl_answer_print(ctl, json_pack("{s:I}", "removed", (json_int_t)removed),
                                                     apr_psprintf(ctl->p, "%" APR_INT64_T_FMT " removed.", removed))
                               : code;
}
