/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl key import and export: keys and tenants in the form of a keys file, into and out of wherever keys live.
 */
#include "ctl/ctl.h"

#include "identity/keyedit.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

/* What the server would refuse is not taken over: nothing is then, so that nobody goes on with a half. */
static aq_ctl_exit_t document_check(aq_ctl_t *ctl, const char *path, json_t *document)
{
    static const aq_hash_secret_t no_secret = {{0}}; /* nothing is counted here */
    const char *error = "no memory";
    aq_keys_report_t report;
    aq_keys_t *keys;
    apr_hash_t *plans;

    if (aq_ctl_runtime_load(ctl, 1) != AQ_CTL_DONE) {
        return AQ_CTL_DONE; /* nobody knows the plans */
    }
    aq_ctl_exit_t code = aq_ctl_plans_load(ctl, &no_secret, &plans);
    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (aq_keys_create(ctl->p, path, plans, &no_secret, &keys) != APR_SUCCESS ||
        aq_keys_load_document(keys, document, ctl->p, ctl->now_ms, &report, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
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
    unsigned tenants, keys;
    const char *error;
    json_t *document;

    if (aq_json_file_load(ctl->p, ctl->argument, AQ_JSON_FILE_MAX_BYTES, &document, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    aq_ctl_exit_t code = aq_ctl_keys_find(ctl);
    if (code == AQ_CTL_DONE) {
        code = document_check(ctl, ctl->argument, document);
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

    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (json_dumpf(document, stdout, JSON_INDENT(2)) != 0 || fputc('\n', stdout) == EOF || fflush(stdout) != 0) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "the keys cannot be written to standard output");
    }
    return AQ_CTL_DONE;
}
