/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of mod_proxy for a fetch from home. See home_proxy.h. */
#include "httpd/home_proxy.h"

#include "httpd/config.h"

#include <apr_hash.h>
#include <http_config.h>
#include <mod_proxy.h>
#include <stdint.h>

#define SILENCE_MAX apr_time_from_sec(10)
/* For members that a later httpd may add to the end of server_rec. */
#define SERVER_ROOM 512

/* Of this process: the address of a server_rec -> its copy. Written before there are threads. */
static apr_hash_t *servers;

static module *proxy_find(void)
{
    return ap_find_linked_module("mod_proxy.c");
}

static void settings_bound(proxy_server_conf *conf, const server_rec *s)
{
    const apr_interval_time_t silence = conf->timeout_set ? conf->timeout : s->timeout;

    conf->timeout = silence > 0 && silence < SILENCE_MAX ? silence : SILENCE_MAX;
    conf->timeout_set = 1;
}

static server_rec *server_copy(apr_pool_t *p, server_rec *s, module *proxy)
{
    server_rec *copy = apr_pcalloc(p, sizeof(*copy) + SERVER_ROOM);
    proxy_server_conf *conf =
        proxy->merge_server_config(p, ap_get_module_config(s->module_config, proxy), proxy->create_server_config(p, s));

    settings_bound(conf, s);
    *copy = *s;
    copy->module_config = ap_create_conn_config(p);
    for (module *one = ap_top_module; one; one = one->next) {
        ap_set_module_config(copy->module_config, one, ap_get_module_config(s->module_config, one));
    }
    ap_set_module_config(copy->module_config, proxy, conf);
    return copy;
}

void aq_home_proxy_child_init(apr_pool_t *pchild, server_rec *s)
{
    module *proxy = proxy_find();

    servers = NULL;
    if (!proxy || !aq_config_server(s)->queue_redis) {
        return;
    }
    servers = apr_hash_make(pchild);
    for (; s; s = s->next) {
        const uintptr_t of = (uintptr_t)s;

        apr_hash_set(servers, apr_pmemdup(pchild, &of, sizeof(of)), sizeof(of), server_copy(pchild, s, proxy));
    }
}

/* The section that is merged last. */
static ap_conf_vector_t *section_make(apr_pool_t *p, module *proxy)
{
    proxy_dir_conf *dir = proxy->create_dir_config(p, NULL);
    ap_conf_vector_t *section = ap_create_request_config(p);

    dir->error_override = 0;
    dir->error_override_set = 1;
    dir->preserve_host = 0;
    dir->preserve_host_set = 1;
    dir->add_forwarded_headers = 0;
    dir->add_forwarded_headers_set = 1;
    ap_set_module_config(section, proxy, dir);
    return section;
}

aq_home_proxy_t aq_home_proxy_begin(request_rec *r)
{
    const aq_home_proxy_t before = {.server = r->server, .per_dir = r->per_dir_config};
    const uintptr_t of = (uintptr_t)r->server;
    server_rec *copy = servers ? apr_hash_get(servers, &of, sizeof(of)) : NULL;
    module *proxy = proxy_find();

    if (proxy) {
        r->per_dir_config = ap_merge_per_dir_configs(r->pool, r->per_dir_config, section_make(r->pool, proxy));
    }
    if (copy) {
        r->server = copy;
    }
    return before;
}

void aq_home_proxy_end(request_rec *r, const aq_home_proxy_t *before)
{
    r->server = before->server;
    r->per_dir_config = before->per_dir;
}
