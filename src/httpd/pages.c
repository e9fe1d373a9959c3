/* SPDX-License-Identifier: Apache-2.0 */
/* What the operators' pages share: see pages.h. */
#include "httpd/pages.h"

#include "base/aq_log.h"
#include "httpd/health.h"
#include "httpd/home_fetch.h"

#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_status.h>
#include <string.h>

/* ---- configuration ----------------------------------------------------------------------------------------------- */

/* 1 where a Require, or a block of them, stands among these lines or below; one of some methods guards no page. */
static int requires_something(const ap_directive_t *line)
{
    for (; line; line = line->next) {
        const char *name = line->directive + (line->directive[0] == '<');
        const int is_of_methods = ap_cstr_casecmpn(line->directive, "<Limit", 6) == 0;

        if (ap_cstr_casecmpn(name, "Require", 7) == 0 || (!is_of_methods && requires_something(line->first_child))) {
            return 1;
        }
    }
    return 0;
}

/* The page that a SetHandler or AddHandler names, or NULL. */
static const char *page_named(const ap_directive_t *line)
{
    static const char *const pages[] = {AQ_HANDLER_METRICS, AQ_HANDLER_STATUS, AQ_HANDLER_HOME};

    if (ap_cstr_casecmp(line->directive, "SetHandler") != 0 && ap_cstr_casecmp(line->directive, "AddHandler") != 0) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strstr(line->args, pages[i])) {
            return pages[i];
        }
    }
    return NULL;
}

/* Open to all by mistake is what cannot be mended afterwards; `Require all granted` says that it is meant. */
static int section_check(const ap_directive_t *lines)
{
    for (const ap_directive_t *line = lines; line; line = line->next) {
        const char *page = page_named(line);

        if (page && !(line->parent && requires_something(line->parent->first_child))) {
            AQ_LOG(AQ_LOG_CRIT, 1652, APR_SUCCESS,
                   "%s:%d: %s %s without a Require in the same section: say who may see it, such as "
                   "\"Require local\"",
                   line->filename, line->line_num, line->directive, page);
            return 0;
        }
        if (!section_check(line->first_child)) {
            return 0;
        }
    }
    return 1;
}

int aq_pages_check(void)
{
    return section_check(ap_conftree) ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- mod_status -------------------------------------------------------------------------------------------------- */

static uint64_t decided(const aq_metrics_t *metrics, aq_decision_t decision)
{
    const unsigned used = aq_metrics_used(metrics);
    uint64_t sum = 0;

    for (unsigned row = 1; row < used; row++) {
        if (metrics->rows[row].metric == AQ_METRIC_REQUESTS && metrics->rows[row].value == (uint16_t)decision) {
            sum += aq_metrics_total(metrics, row);
        }
    }
    return sum;
}

typedef struct {
    const char *key, *words; /* of ?auto, and of the page */
    uint64_t value;
} line_t;

static void lines_print(request_rec *r, int flags, const line_t *lines, size_t count)
{
    const int is_short = (flags & AP_STATUS_SHORT) != 0;

    if (!is_short) {
        (void)ap_rputs("<hr />\n<h2>API quota (mod_apiquota)</h2>\n<dl>\n", r);
    }
    for (size_t i = 0; i < count; i++) {
        if (is_short) {
            (void)ap_rprintf(r, "%s: %" APR_UINT64_T_FMT "\n", lines[i].key, lines[i].value);
        } else {
            (void)ap_rprintf(r, "<dt>%s: %" APR_UINT64_T_FMT "</dt>\n", lines[i].words, lines[i].value);
        }
    }
    if (!is_short) {
        (void)ap_rputs("</dl>\n", r);
    }
}

static int status_section(request_rec *r, int flags)
{
    aq_health_t health;

    if (!aq_health_look(r, &health)) {
        return DECLINED;
    }
    const aq_metrics_t *metrics = health.tally->metrics;
    const line_t lines[] = {
        {"APIQuotaAllowed", "Requests allowed", decided(metrics, AQ_DECISION_ALLOWED)},
        {"APIQuotaLimited", "Requests limited", decided(metrics, AQ_DECISION_LIMITED)},
        {"APIQuotaFree", "Requests free", decided(metrics, AQ_DECISION_FREE)},
        {"APIQuotaExempt", "Requests exempt", decided(metrics, AQ_DECISION_EXEMPT)},
        {"APIQuotaStoreErrors", "Requests uncounted (store errors)", decided(metrics, AQ_DECISION_STORE_ERROR)},
        {"APIQuotaCounters", "Counters live", health.counters_live},
        {"APIQuotaKeys", "Keys in force", health.keys},
        {"APIQuotaKeyFileUp", "Keys file is good (1) or not (0)", !health.keys_are_failing},
        {"APIQuotaBatchesQueued", "Batches queued", (uint64_t)health.batches.by_status[AQ_BATCH_QUEUED]},
        {"APIQuotaBatchesRunning", "Batches running", (uint64_t)health.batches.by_status[AQ_BATCH_RUNNING]},
        {"APIQuotaWorkerUp", "Worker is up (1) or not (0)", (uint64_t)health.worker_is_up},
    };
    /* The last three mean something where there are batches. */
    lines_print(r, flags, lines, sizeof(lines) / sizeof(lines[0]) - (health.has_batches ? 0 : 3));
    return OK;
}

void aq_pages_register(void)
{
    APR_OPTIONAL_HOOK(ap, status_hook, status_section, NULL, NULL, APR_HOOK_MIDDLE);
}

/* ---- answering --------------------------------------------------------------------------------------------------- */

int aq_page_send(request_rec *r, const char *content_type, const char *text)
{
    ap_set_content_type_ex(r, content_type, 1);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    ap_set_content_length(r, (apr_off_t)strlen(text));
    return ap_rputs(text, r) < 0 ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

int aq_pages_handler(request_rec *r)
{
    static const struct {
        const char *name;
        int (*answer)(request_rec *r);
    } pages[] = {
        {AQ_HANDLER_METRICS, aq_metrics_answer},
        {AQ_HANDLER_STATUS, aq_status_answer},
        {AQ_HANDLER_HOME, aq_home_answer},
    };
    size_t i = 0;

    while (i < sizeof(pages) / sizeof(pages[0]) && strcmp(r->handler, pages[i].name) != 0) {
        i++;
    }
    if (i == sizeof(pages) / sizeof(pages[0])) {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    return pages[i].answer(r);
}
