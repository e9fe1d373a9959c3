/* SPDX-License-Identifier: Apache-2.0 */
/* See httpd_log.h. LogLevel decides what is written ("LogLevel apiquota:debug"). */
#include "httpd/httpd_log.h"

#include "base/aq_clock.h"
#include "httpd/config.h"

#include <http_log.h>
#include <http_main.h>

APLOG_USE_MODULE(apiquota);

/* Our levels have the values of syslog, as httpd's have. While the configuration is read there is no server yet. */
static void sink(void *unused, aq_log_level_t level, unsigned number, apr_status_t status, const char *text)
{
    (void)unused;
    /* It has no words but "internal error", and what is wrong stands in ours. */
    status = status == APR_EGENERAL ? APR_SUCCESS : status;
    ap_log_error(APLOG_MARK, (int)level, status, ap_server_conf, "AQ%05u: %s", number, text);
}

int aq_httpd_log_is_due(aq_log_pace_t *pace)
{
    const int64_t now_ms = aq_clock_boot_ms();
    int64_t last_ms = atomic_load(pace);

    return (last_ms == 0 || now_ms - last_ms >= AQ_MS_PER_S) && atomic_compare_exchange_strong(pace, &last_ms, now_ms);
}

void aq_httpd_log_install(void)
{
    aq_log_level_set(AQ_LOG_DEBUG);
    aq_log_sink_set(sink, NULL);
}
