/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl store: info.
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
