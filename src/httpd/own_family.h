/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of a request that are not the caller's to send on to a backend: the family APIQuota-*, in which the worker tells of
 * a batch, and an offer of h2c.
 */
#ifndef AQ_OWN_FAMILY_H
#define AQ_OWN_FAMILY_H

#include <httpd.h>

#define AQ_OWN_FAMILY "APIQuota-"

/* Takes headers of that family off: a backend must be able to believe that they are the worker's. */
void aq_own_family_strip(apr_table_t *headers);

/*
 * Takes an offer of h2c off. httpd would make the request anew from its headers, as the first stream of HTTP/2: by now
 * without its key, and charged a second time. A server may pass an offer over, and clients then go on with HTTP/1.1.
 * WebSockets are kept.
 */
void aq_upgrade_decline(request_rec *r);

/* Both, of a request whose caller has no key, and of the one that it belongs to. */
void aq_own_family_take_off(request_rec *r);

#endif
