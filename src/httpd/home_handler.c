/* SPDX-License-Identifier: Apache-2.0 */
/* Giving another machine a result that lies here. See home_fetch.h. */
#include "httpd/home_fetch.h"

#include "base/aq_log.h"
#include "batch/home_signature.h"
#include "httpd/batch_handler.h"
#include "httpd/httpd_log.h"

#include <http_protocol.h>
#include <string.h>

/* OK, or what is answered to whoever is none of our machines: before a batch is looked up. */
static int signature_check(request_rec *r, const char *id)
{
    const aq_server_config_t *server = aq_config_server(r->server);
    const char *signature = apr_table_get(r->headers_in, AQ_HOME_HEADER);
    aq_queue_home_t home;

    if (!signature || !aq_batch_id_is_valid(id) || aq_batch_runtime_open(r->server) != APR_SUCCESS ||
        !server->batch->machine) {
        return HTTP_FORBIDDEN;
    }
    if (aq_queue_home(server->runtime->queue, r->pool, server->batch->machine, &home) != APR_SUCCESS) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return aq_home_signature_is_good(r->pool, signature, &home.secret, server->batch->machine, id, aq_clock_now_ms())
               ? OK
               : HTTP_FORBIDDEN;
}

int aq_home_answer(request_rec *r)
{
    const char *id = strrchr(r->uri, '/');
    const int status = signature_check(r, id ? ++id : "");
    aq_batch_t *batch;
    apr_status_t rv;

    if (status != OK) {
        AQ_PACED_LOG(
            AQ_LOG_WARNING, 1279, APR_SUCCESS,
            "%s asked for a result as only our own machines may, and got %d: no signature, a wrong one, one of "
            "another time or for another machine, or a queue that does not answer",
            r->useragent_ip, status);
        return status;
    }
    rv = aq_queue_find(aq_config_server(r->server)->runtime->queue, r->pool, id, &batch);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? HTTP_GONE : HTTP_SERVICE_UNAVAILABLE;
    }
    return batch->is_elsewhere ? HTTP_NOT_FOUND : aq_batch_result(r, batch);
}
