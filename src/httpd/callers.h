/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callers without a key: principals made of what httpd and its other modules know of a request (APIQuotaPrincipal,
 * APIQuotaAnonymousPlan).
 *
 * A caller is a user, an address, or what an expression says. His tenant is what APIQuotaTenantFrom says; where the keys
 * file has a tenant of that name it is the same one, with its plan, its overrides and its counters. Else his plan is
 * APIQuotaPlanFrom's or the default one, and he is a tenant of his own.
 */
#ifndef AQ_CALLERS_H
#define AQ_CALLERS_H

#include "httpd/request.h"
#include "httpd/rules.h"

#include <string.h>

/* One who is a tenant of his own is named by a kind, a space and his name: no tenant of a keys file has a space. */
#define AQ_OWN_TENANT_SIGN ' '

/* The tenant of a keys file, or of APIQuotaTenantFrom, that the principal belongs to; NULL for a tenant of his own. */
static inline const char *aq_caller_tenant(const aq_principal_t *principal)
{
    return strchr(principal->tenant, AQ_OWN_TENANT_SIGN) ? NULL : principal->tenant;
}

/*
 * The caller's name by this source, in the request's pool; NULL where it knows none. Not for AQ_CALLER_KEY.
 */
const char *aq_caller_name(request_rec *r, const aq_caller_source_t *source);

/*
 * Makes request->principal of a caller. OK, or the status of the refusal, for a caller who has no plan and no limit, or
 * a tenant that can be none.
 */
int aq_caller_principal(request_rec *r, aq_request_t *request, aq_caller_t caller, const char *name);

/* The same for a caller whom nothing identifies: by address, with the location's anonymous plan. */
int aq_caller_anonymous(request_rec *r, aq_request_t *request);

#endif
