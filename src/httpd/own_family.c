/* SPDX-License-Identifier: Apache-2.0 */
/* Headers that a caller may not send on. See own_family.h. */
#include "httpd/own_family.h"

#include "httpd/request.h"

#include <http_protocol.h>

/* The name of a header of that family, or NULL. */
static const char *own_family_find(const apr_table_t *headers)
{
    const apr_array_header_t *entries = apr_table_elts(headers);

    for (int i = 0; i < entries->nelts; i++) {
        const char *name = APR_ARRAY_IDX(entries, i, apr_table_entry_t).key;
        if ((name[0] | 0x20) == 'a' && (name[1] | 0x20) == 'p' &&
            ap_cstr_casecmpn(name, AQ_OWN_FAMILY, sizeof(AQ_OWN_FAMILY) - 1) == 0) {
            return name;
        }
    }
    return NULL;
}

void aq_own_family_strip(apr_table_t *headers)
{
    const char *name;

    while ((name = own_family_find(headers)) != NULL) {
        apr_table_unset(headers, name);
    }
}

void aq_upgrade_decline(request_rec *r)
{
    const char *offers = apr_table_get(r->headers_in, "Upgrade");

    if (offers && ap_find_token(r->pool, offers, "h2c")) {
        apr_table_unset(r->headers_in, "Upgrade");
    }
}

void aq_own_family_take_off(request_rec *r)
{
    aq_upgrade_decline(aq_request_initial(r));
    aq_own_family_strip(r->headers_in);
    /* A subrequest may hold a copy. */
    if (aq_request_initial(r)->headers_in != r->headers_in) {
        aq_own_family_strip(aq_request_initial(r)->headers_in);
    }
}
