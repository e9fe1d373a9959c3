/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mod_proxy is told for a fetch from home, whatever is configured for proxies of this server: a home that is silent is
 * waited for no longer than ten seconds (or as long as ProxyTimeout says, where that is less), its stored errors are passed on and not
 * replaced (ProxyErrorOverride), and it is told nothing of the client (X-Forwarded-For, the Host).
 *
 * The settings are put over the request's own for as long as the fetch lasts: those of a location by a section of ours that is
 * merged last, those of the server by a copy of it. mod_proxy makes and merges its configurations itself, so that one of
 * another version of httpd than that of our headers is whole, too.
 */
#ifndef AQ_HOME_PROXY_H
#define AQ_HOME_PROXY_H

#include <httpd.h>

/* What a fetch puts aside. */
typedef struct {
    server_rec *server;
    struct ap_conf_vector_t *per_dir;
} aq_home_proxy_t;

/* Prepares this child, after mod_proxy has prepared it. Nothing without mod_proxy or a queue in Redis. */
void aq_home_proxy_child_init(apr_pool_t *pchild, server_rec *s);

/* Has mod_proxy find our settings in this request, until the end. */
aq_home_proxy_t aq_home_proxy_begin(request_rec *r);
void aq_home_proxy_end(request_rec *r, const aq_home_proxy_t *before);

#endif
