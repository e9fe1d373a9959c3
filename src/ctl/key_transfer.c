/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl key import and export: keys and tenants in the form of a keys file, into and out of wherever keys live.
 */
#include "ctl/ctl.h"

#include "identity/keyedit.h"

#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

/* What the server would refuse is not taken over: nothing is then, so that nobody goes on with a half. */
static aq_ctl_exit_t document_check(aq_ctl_t *ctl, const char *path, json_t *document)
{
    aq_keys_report_t report;
    const aq_key_set_t *set;
    aq_ctl_exit_t code = aq_ctl_keys_judge(ctl, path, document, &set, &report);

    if (code != AQ_CTL_DONE || !set) {
        return code;
    }
    for (int i = 0; i < report.refusals->nelts; i++) {
        (void)aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", path, APR_ARRAY_IDX(report.refusals, i, const char *));
    }
    return report.refused == 0 ? AQ_CTL_DONE
                               : aq_ctl_fail(AQ_CTL_REFUSED, "%s: %u entries would be refused; nothing was imported",
                                             path, report.refused);
}

aq_ctl_exit_t aq_ctl_key_import(aq_ctl_t *ctl)
{
    const int is_input = strcmp(ctl->argument, "-") == 0;
    const char *name = is_input ? "standard input" : ctl->argument, *error;
    unsigned tenants, keys;
    json_t *document;

    const apr_status_t rv =
        is_input ? aq_json_input_load(ctl->p, name, STDIN_FILENO, AQ_JSON_FILE_MAX_BYTES, &document, &error)
                 : aq_json_file_load(ctl->p, name, AQ_JSON_FILE_MAX_BYTES, &document, &error);
    if (rv != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    aq_ctl_exit_t code = aq_ctl_keys_find(ctl);
    if (code == AQ_CTL_DONE) {
        code = document_check(ctl, name, document);
    }
    if (code == AQ_CTL_DONE &&
        aq_keyedit_import(ctl->p, ctl->keys_place, document, &tenants, &keys, &error) != APR_SUCCESS) {
        code = aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    json_decref(document);
    return code != AQ_CTL_DONE
               ? code
               : aq_ctl_answer_print(ctl, json_pack("{s:i, s:i}", "tenants", (int)tenants, "keys", (int)keys),
                                     apr_psprintf(ctl->p, "Imported %u tenants and %u keys.", tenants, keys));
}

aq_ctl_exit_t aq_ctl_key_export(aq_ctl_t *ctl)
{
    json_t *document;
    aq_ctl_exit_t code = aq_ctl_keys_read(ctl, &document);

    return code == AQ_CTL_DONE ? aq_ctl_json_print(json_incref(document)) : code;
}
