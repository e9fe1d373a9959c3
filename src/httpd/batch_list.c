/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch list: GET <batches>?status=&limit=&cursor=, a page of the tenant's batches, newest first.
 *
 * A cursor is opaque to clients. It is what tells the last batch of the page before from others of its tenant, so it
 * stays right while batches come and go, reveals nothing, and one that is made up finds the tenant's own batches alone.
 */
#include "httpd/batch_handler.h"

#include "httpd/httpd_log.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <string.h>

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 200
#define ID_PREFIX "batch_"

static int refuse_parameter(request_rec *r, const char *detail)
{
    return aq_problem_refuse(
        r, &(aq_problem_t){.status = HTTP_BAD_REQUEST, .code = "parameter-invalid", .detail = detail});
}

/* Each reads the value of one parameter; NULL, or what is allowed. */
static const char *status_read(apr_pool_t *p, const char *value, aq_queue_query_t *query)
{
    aq_batch_status_t status;

    (void)p;
    if (aq_batch_status_parse(value, &status) != APR_SUCCESS) {
        return "status must be one of queued, running, canceling, succeeded, failed, canceled.";
    }
    query->status = (int)status;
    return NULL;
}

static const char *limit_read(apr_pool_t *p, const char *value, aq_queue_query_t *query)
{
    size_t size = strspn(value, "0123456789");

    (void)p;
    query->limit = size > 0 && size <= 3 && !value[size] ? (int)apr_atoi64(value) : 0;
    return query->limit >= 1 && query->limit <= LIMIT_MAX ? NULL : "limit must be a whole number from 1 to 200.";
}

static const char *cursor_read(apr_pool_t *p, const char *value, aq_queue_query_t *query)
{
    query->before = apr_pstrcat(p, ID_PREFIX, value, NULL);
    return aq_batch_id_is_valid(query->before) ? NULL : "cursor must be the cursor of an earlier page.";
}

static const struct {
    const char *name;
    const char *(*read)(apr_pool_t *p, const char *value, aq_queue_query_t *query);
} parameters[] = {{"status", status_read}, {"limit", limit_read}, {"cursor", cursor_read}};
#define PARAMETER_COUNT (sizeof(parameters) / sizeof(parameters[0]))

/* One "name=value". Parameters of other names are passed over, as members of a batch are to be by clients. */
static const char *parameter_read(apr_pool_t *p, char *text, unsigned *given, aq_queue_query_t *query)
{
    char *value = strchr(text, '=');

    if (value) {
        *value++ = '\0';
    }
    for (unsigned i = 0; i < PARAMETER_COUNT; i++) {
        if (strcmp(parameters[i].name, text) != 0) {
            continue;
        }
        if (*given & (1U << i)) {
            return apr_pstrcat(p, text, " must be given once.", NULL);
        }
        *given |= 1U << i;
        return parameters[i].read(p, value && ap_unescape_urlencoded(value) == OK ? value : "", query);
    }
    return NULL;
}

/* Reads r->args into `query`. NULL, or what is wrong with them. */
static const char *query_read(request_rec *r, aq_queue_query_t *query)
{
    char *args = apr_pstrdup(r->pool, r->args ? r->args : ""), *state;
    const char *error = NULL;
    unsigned given = 0;

    for (char *text = apr_strtok(args, "&", &state); text && !error; text = apr_strtok(NULL, "&", &state)) {
        error = parameter_read(r->pool, text, &given, query);
    }
    return error;
}

static json_t *page_json(const aq_queue_page_t *page, const aq_queue_query_t *query, const char *base_url)
{
    json_t *data = json_array();
    const char *cursor = NULL;
    int failed = !data;

    for (int i = 0; !failed && i < page->batches->nelts; i++) {
        const aq_batch_t *batch = APR_ARRAY_IDX(page->batches, i, const aq_batch_t *);
        failed = json_array_append_new(data, aq_batch_json(batch, base_url)) != 0;
        cursor = page->has_more ? batch->id + sizeof(ID_PREFIX) - 1 : NULL;
    }
    if (failed) {
        json_decref(data);
        return NULL;
    }
    return json_pack("{s:o, s:{s:I, s:i, s:s?, s:b}}", "data", data, "pagination", "total", (json_int_t)page->total,
                     "limit", query->limit, "cursor", cursor, "hasMore", page->has_more);
}

int aq_batch_list(request_rec *r, const aq_principal_t *principal, const char *base_url)
{
    aq_queue_query_t query = {.tenant = principal->tenant, .status = -1, .limit = LIMIT_DEFAULT};
    const char *error = query_read(r, &query);
    aq_queue_page_t page;

    if (error) {
        return refuse_parameter(r, error);
    }
    if (aq_batch_runtime_open(r->server) != APR_SUCCESS) {
        return aq_batch_refuse_unavailable(r, "Batches cannot be looked up now.");
    }
    apr_status_t rv = aq_queue_list(aq_config_server(r->server)->runtime->queue, r->pool, &query, &page);
    if (rv != APR_SUCCESS) {
        AQ_PACED_LOG(AQ_LOG_ERROR, 1252, rv, "batches cannot be listed");
        return aq_batch_refuse_unavailable(r, "Batches cannot be looked up now.");
    }
    json_t *json = page_json(&page, &query, base_url);
    const char *text = json ? aq_json_text(r->pool, json) : NULL;
    json_decref(json);
    if (!text) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    apr_table_setn(r->headers_out, "Cache-Control", "private, no-cache");
    return aq_batch_text_send(r, text);
}
