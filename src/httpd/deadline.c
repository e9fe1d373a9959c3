/* SPDX-License-Identifier: Apache-2.0 */
/* Running a handler under a deadline. See deadline.h. */
#include "httpd/deadline.h"

#include "base/aq_log.h"
#include "httpd/deadline_watch.h"
#include "httpd/options.h"
#include "httpd/phases.h"

#include <apr_portable.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <unistd.h>
#include <util_filter.h>

#define ANSWER_FILTER "APIQUOTA_DEADLINE"
#define BACKEND_IN_FILTER "APIQUOTA_BACKEND_IN"
#define BACKEND_OUT_FILTER "APIQUOTA_BACKEND_OUT"

static ap_filter_rec_t *answer_filter_rec;
static ap_filter_rec_t *backend_in_rec;
static ap_filter_rec_t *backend_out_rec;

/* Connections to backends do not know for whom they are used; a handler runs in one thread. */
static _Thread_local aq_deadline_t *current;

/* ---- connections to backends: whoever reads or writes there waits for that socket ---------------------------------- */

static void backend_note(const int *fd)
{
    if (current) {
        aq_deadline_backend_set(current, fd, *fd);
    }
}

static apr_status_t backend_in(ap_filter_t *filter, apr_bucket_brigade *brigade, ap_input_mode_t mode,
                               apr_read_type_e block, apr_off_t bytes)
{
    backend_note(filter->ctx);
    return ap_get_brigade(filter->next, brigade, mode, block, bytes);
}

static apr_status_t backend_out(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    backend_note(filter->ctx);
    return ap_pass_brigade(filter->next, brigade);
}

static int socket_number(apr_socket_t *socket)
{
    apr_os_sock_t fd;

    return socket && apr_os_sock_get(&fd, socket) == APR_SUCCESS ? fd : -1;
}

static int backend_connected(conn_rec *c, void *socket)
{
    int *fd;

    if (!c->outgoing || !aq_config_server(c->base_server)->has_deadlines) {
        return DECLINED;
    }
    fd = apr_palloc(c->pool, sizeof(*fd));
    *fd = socket_number(socket);
    ap_add_input_filter_handle(backend_in_rec, fd, NULL, c);
    ap_add_output_filter_handle(backend_out_rec, fd, NULL, c);
    return OK;
}

/* ---- the answer ---------------------------------------------------------------------------------------------------- */

/* Streams of HTTP/2 share a connection, which their fellows still need. */
static void connection_end(request_rec *r)
{
    if (!r->connection->master) {
        r->connection->keepalive = AP_CONN_CLOSE;
    }
}

static int refuse(request_rec *r, aq_deadline_t *deadline)
{
    deadline->is_refused = 1;
    AQ_LOG(AQ_LOG_NOTICE, 1400, 0, "a request had no answer within its time: 504 (request %s)", aq_request_id(r));
    connection_end(r);
    return aq_problem_refuse(r, &(aq_problem_t){.status = HTTP_GATEWAY_TIME_OUT,
                                                .code = "request-timeout",
                                                .detail = "The request took longer than it may."});
}

/* An error in the place of the response: httpd answers with `status`, or breaks off what has begun. */
static apr_status_t error_pass(ap_filter_t *filter, apr_bucket_brigade *brigade, int status)
{
    apr_bucket_alloc_t *alloc = filter->c->bucket_alloc;

    apr_brigade_cleanup(brigade);
    APR_BRIGADE_INSERT_TAIL(brigade, ap_bucket_error_create(status, NULL, filter->r->pool, alloc));
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(alloc));
    ap_remove_output_filter(filter);
    return ap_pass_brigade(filter->next, brigade);
}

static apr_status_t answer_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    request_rec *r = filter->r;
    aq_deadline_t *deadline = ((const aq_request_t *)filter->ctx)->deadline;

    if (!deadline || deadline->is_refused) {
        return ap_pass_brigade(filter->next, brigade);
    }
    /* On a kept-alive connection mod_proxy would end it without an answer: an error of its own is replaced, too. */
    if (!atomic_load(&deadline->is_over)) {
        if (aq_settle_phase_is_error(brigade)) {
            return ap_pass_brigade(filter->next, brigade);
        }
        atomic_store(&deadline->has_begun, 1);
        if (!APR_BRIGADE_EMPTY(brigade) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(brigade))) {
            aq_deadline_backend_set(deadline, NULL, -1);
        }
        return ap_pass_brigade(filter->next, brigade);
    }
    if (!atomic_load(&deadline->has_begun)) {
        return error_pass(filter, brigade, refuse(r, deadline));
    }
    AQ_LOG(AQ_LOG_NOTICE, 1401, 0, "an answer was not over within its time: closed (request %s)", aq_request_id(r));
    connection_end(r);
    /* The status after which httpd leaves the last chunk away. */
    return error_pass(filter, brigade, HTTP_BAD_GATEWAY);
}

void aq_deadline_insert(request_rec *r)
{
    if (!r->main && aq_config_location(r)->options->timeout_ms > AQ_TIMEOUT_NONE) {
        ap_add_output_filter_handle(answer_filter_rec, aq_request_state(r), r, r->connection);
    }
}

/* ---- the handler --------------------------------------------------------------------------------------------------- */

static apr_status_t deadline_drop(void *deadline)
{
    aq_deadline_forget(deadline);
    return APR_SUCCESS;
}

/* A script is found by a variable of its environment that no other request has. */
static void script_tag_set(request_rec *r, aq_deadline_t *deadline)
{
    static atomic_ulong number;
    const char *value;

    if (!r->handler || !strstr(r->handler, "cgi")) {
        return;
    }
    value = apr_psprintf(r->pool, "%" APR_PID_T_FMT ".%lu.%" APR_TIME_T_FMT, getpid(), atomic_fetch_add(&number, 1),
                         r->request_time);
    (void)apr_snprintf(deadline->script_tag, sizeof(deadline->script_tag), "%s=%s", AQ_DEADLINE_TAG, value);
    apr_table_setn(r->subprocess_env, AQ_DEADLINE_TAG, value);
}

static aq_deadline_t *deadline_begin(request_rec *r, aq_request_t *request, int64_t timeout_ms)
{
    aq_deadline_t *deadline = apr_pcalloc(request->pool, sizeof(*deadline));
    const int64_t gone_ms = apr_time_as_msec(apr_time_now() - r->request_time);
    /* A stream of HTTP/2 has no socket of its own. */
    const int client_fd = r->connection->master ? -1 : socket_number(ap_get_conn_socket(r->connection));

    deadline->due_ms = aq_clock_boot_ms() + timeout_ms - (gone_ms > 0 ? gone_ms : 0);
    script_tag_set(r, deadline);
    aq_deadline_watch(deadline, client_fd);
    apr_pool_cleanup_register(request->pool, deadline, deadline_drop, apr_pool_cleanup_null);
    return deadline;
}

int aq_deadline_handler(request_rec *r, int64_t timeout_ms)
{
    aq_request_t *request = aq_request_state(r);
    aq_deadline_t *const outer = current;
    int status;

    if (request->deadline || r->main) {
        return DECLINED;
    }
    request->deadline = current = deadline_begin(r, request, timeout_ms);
    status = ap_run_handler(r);
    current = outer;
    aq_deadline_backend_set(request->deadline, NULL, -1);
    if (status == SUSPENDED || !atomic_load(&request->deadline->is_over)) {
        return status;
    }
    if (!atomic_load(&request->deadline->has_begun) && !request->deadline->is_refused) {
        status = refuse(r, request->deadline);
    }
    /* What is left to be sent is ours, and short. */
    aq_deadline_forget(request->deadline);
    return status;
}

void aq_deadline_register(void)
{
    const ap_filter_type before_header = (ap_filter_type)(AP_FTYPE_PROTOCOL - 1);

    answer_filter_rec = ap_register_output_filter(ANSWER_FILTER, answer_filter, NULL, before_header);
    backend_in_rec = ap_register_input_filter(BACKEND_IN_FILTER, backend_in, NULL, AP_FTYPE_CONNECTION);
    backend_out_rec = ap_register_output_filter(BACKEND_OUT_FILTER, backend_out, NULL, AP_FTYPE_CONNECTION);
    ap_hook_pre_connection(backend_connected, NULL, NULL, APR_HOOK_MIDDLE);
}

void aq_deadline_post_config(apr_pool_t *pconf, server_rec *s)
{
    apr_status_t rv;

    if (!aq_config_server(s)->has_deadlines) {
        return;
    }
    rv = aq_deadline_watch_prepare(pconf);
    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_ERROR, 1402, rv, "mod_watchdog cannot be used: APIQuotaRequestTimeout has no effect");
    }
}
