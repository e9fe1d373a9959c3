/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_apiquota: plans, limits and batches for the API behind httpd.
 *
 * The module record and the table of hooks: a reader starts here. One request of a client passes
 *
 *     guard      too many from there?             early_phase.c
 *     identify   who asks?                        identify.c, authz.c
 *     charge     may they? all limits or none     charge_phase.c
 *     (handler)  httpd's, or a batch              batch_handler.c
 *     settle     keep the charge or give it back, and write the headers     settle_phase.c
 *
 * No single hook sees every request, and several see one request up to five times; so each phase is idempotent, and its
 * state lies on the client's initial request (request.h). What the directives set is in config.h, the directives are in
 * directives.c and batch_directives.h, opening and closing is in lifecycle.c. Everything that decides is below, in
 * src/limit, src/identity, src/batch and src/store, and does not know httpd.
 */
#include "httpd/body_limit.h"
#include "httpd/cache.h"
#include "httpd/deadline.h"
#include "httpd/home_fetch.h"
#include "httpd/pages.h"
#include "httpd/phases.h"
#include "httpd/store_setup.h"
#include "httpd/usage_handler.h"

#include <http_config.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_auth.h>
#include <mpm_common.h>

/* Letter by letter: the name of most handlers is a media type, and many of those begin with "application". */
static int is_ours(const char *handler)
{
    return handler && handler[0] == 'a' && handler[1] == 'p' && handler[2] == 'i';
}

/* What we answer by ourselves. One hook, since every request pays for each. */
static int content_handler(request_rec *r)
{
    int status = aq_batch_handler(r);

    if (status == DECLINED && is_ours(r->handler)) {
        status = aq_usage_handler(r);
        status = status == DECLINED ? aq_pages_handler(r) : status;
    }
    return status;
}

static void hooks_register(apr_pool_t *p)
{
    /* Lifecycle. */
    ap_hook_pre_config(aq_lifecycle_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(aq_lifecycle_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(aq_lifecycle_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(aq_lifecycle_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(aq_store_child_stopping, NULL, NULL, APR_HOOK_MIDDLE);

    /* Identify: AuthType APIKey, and the look-up where no AuthType asks for one. */
    ap_hook_check_authn(aq_identify_check_authn, NULL, NULL, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_force_authn(aq_identify_force_authn, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_note_auth_failure(aq_identify_note_auth_failure, NULL, NULL, APR_HOOK_MIDDLE);
    aq_authz_register(p);

    /* Charge: wherever httpd offers a chance first. A refused scope is charged, so before authorisation. */
    ap_hook_check_authz(aq_charge_phase_check_authz, NULL, NULL, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_fixups(aq_charge_phase_fixups, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(aq_charge_phase_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);

    /* Our content: behind the charge, and ahead of mod_proxy, whose locations may take batches too. */
    ap_hook_handler(content_handler, NULL, NULL, APR_HOOK_REALLY_FIRST + 1);
    ap_hook_monitor(aq_worker_process_monitor, NULL, NULL, APR_HOOK_MIDDLE);

    /* Settle: on every way to a response, also httpd's own errors. The problem document comes before the filter. */
    aq_settle_phase_register();
    aq_body_limit_register();
    aq_deadline_register();
    aq_cache_register();
    aq_home_fetch_register();
    aq_pages_register();
    ap_hook_insert_filter(aq_filters_insert, NULL, NULL, APR_HOOK_LAST);
    ap_hook_insert_error_filter(aq_problem_insert, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_error_filter(aq_settle_phase_insert, NULL, NULL, APR_HOOK_LAST);
}

/* httpd declares the record; AP_MODULE_DECLARE_DATA exports it. */
AP_DECLARE_MODULE(apiquota) = {
    STANDARD20_MODULE_STUFF,
    .create_dir_config = aq_config_location_create,
    .merge_dir_config = aq_config_location_merge,
    .create_server_config = aq_config_server_create,
    .cmds = aq_directives,
    .register_hooks = hooks_register,
};
