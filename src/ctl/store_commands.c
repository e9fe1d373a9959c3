/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl store: info and verify.
 */
#include "ctl/ctl.h"

#include <apr_strings.h>
#include <inttypes.h>

aq_ctl_exit_t aq_ctl_store_info(aq_ctl_t *ctl)
{
    aq_counter_store_t *store;
    aq_counter_store_info_t info = {.path = ""};
    aq_ctl_exit_t code = aq_ctl_store_open(ctl, &store);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_counter_store_info(store, ctl->now_ms, &info);
    if (rv != APR_SUCCESS) {
        char reason[128];
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", info.path, apr_strerror(rv, reason, sizeof(reason)));
    }
    const char *text = apr_psprintf(ctl->p,
                                    "store      %s %s\nid         %s\nsize       %" PRIu64 " bytes\n"
                                    "counters   %" PRIu64 " live, %" PRIu64 " dead, of %" PRIu64 " places\n"
                                    "overflows  %" PRIu64,
                                    store->ops->name, info.path, info.id, info.size_bytes, info.live, info.dead,
                                    info.slots, info.overflows);
    return aq_ctl_answer_print(ctl,
                               json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "kind", store->ops->name, "path",
                                         info.path, "id", info.id, "size_bytes", (json_int_t)info.size_bytes, "slots",
                                         (json_int_t)info.slots, "live", (json_int_t)info.live, "dead",
                                         (json_int_t)info.dead, "overflows", (json_int_t)info.overflows),
                               text);
}

static aq_ctl_exit_t findings_print(const aq_ctl_t *ctl, const apr_array_header_t *findings)
{
    static const aq_ctl_column_t columns[] = {{"FINDING", "finding"}, {.heading = NULL}};
    json_t *rows = json_array();

    for (int i = 0; i < findings->nelts; i++) {
        (void)json_array_append_new(rows, json_pack("{s:s}", "finding", APR_ARRAY_IDX(findings, i, const char *)));
    }
    json_t *answer = json_pack("{s:o}", "findings", rows);
    aq_ctl_exit_t code = findings->nelts > 0 ? aq_ctl_rows_print(ctl, answer, "findings", columns)
                                             : aq_ctl_answer_print(ctl, answer, "Nothing found.");
    return findings->nelts > 0 ? AQ_CTL_REFUSED : code;
}

aq_ctl_exit_t aq_ctl_store_verify(aq_ctl_t *ctl)
{
    apr_array_header_t *findings = apr_array_make(ctl->p, 4, sizeof(const char *));
    aq_counter_store_t *store;
    aq_ctl_exit_t code = aq_ctl_store_open(ctl, &store);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    apr_status_t rv = aq_counter_store_verify(store, ctl->now_ms, findings);
    if (rv != APR_SUCCESS) {
        char reason[128];
        return aq_ctl_fail(AQ_CTL_REFUSED, "the counter store: %s", apr_strerror(rv, reason, sizeof(reason)));
    }
    return findings_print(ctl, findings);
}
