/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for CacheEnable above a location with quota. See cache.h.
 *
 * mod_cache keeps its settings to itself, so the tree of directives is read: httpd has put into it what Include brought,
 * and left out what IfModule and its like ruled out. A virtual host has the lines of the server's own level before its
 * own, CacheQuickHandler by the last of them (On where there is none). CacheEnable within a section has no effect while
 * the quick handler is on, so it is passed over.
 *
 * Sections whose paths are not known here (LocationMatch, Directory, If …) may hold any URL.
 */
#include "httpd/cache.h"

#include "base/aq_log.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <string.h>

/* One line: of CacheEnable, CacheDisable or APIQuota. */
typedef struct {
    const ap_directive_t *directive;
    const char *path; /* the URLs that it is about begin so; NULL: not known */
    int is_on;        /* APIQuota */
} line_t;

/* What one server's own lines say. */
typedef struct {
    const ap_directive_t *host;   /* NULL: the server's own level */
    apr_array_header_t *enables;  /* of line_t, as are the others */
    apr_array_header_t *disables; /* CacheDisable */
    apr_array_header_t *quotas;   /* APIQuota in sections */
    line_t quota;                 /* APIQuota outside of sections; without a directive: it is not set */
    int is_quick;                 /* AQ_UNSET */
} server_lines_t;

typedef struct {
    apr_pool_t *pool;
    int has_cache;               /* some CacheEnable stands anywhere */
    apr_array_header_t *servers; /* of server_lines_t *; the first is the server's own level */
} walk_t;

static server_lines_t *server_add(walk_t *walk, const ap_directive_t *host)
{
    server_lines_t *lines = apr_pcalloc(walk->pool, sizeof(*lines));

    lines->host = host;
    lines->enables = apr_array_make(walk->pool, 2, sizeof(line_t));
    lines->disables = apr_array_make(walk->pool, 2, sizeof(line_t));
    lines->quotas = apr_array_make(walk->pool, 8, sizeof(line_t));
    lines->is_quick = AQ_UNSET;
    APR_ARRAY_PUSH(walk->servers, server_lines_t *) = lines;
    return lines;
}

static int is_named(const ap_directive_t *directive, const char *name)
{
    return ap_cstr_casecmp(directive->directive, name) == 0;
}

/* The path of <Location PATH>; NULL where it is a pattern, or another section. */
static const char *section_path(apr_pool_t *p, const ap_directive_t *section)
{
    const char *arguments = section->args;
    char *path;

    if (!is_named(section, "<Location")) {
        return NULL;
    }
    path = ap_getword_conf(p, &arguments);
    if (!*arguments && *path && path[strlen(path) - 1] == '>') {
        path[strlen(path) - 1] = '\0';
    }
    return strpbrk(path, "*?[~") ? NULL : path;
}

/* Of "disk http://host/path" or "/path", the path; "/" where there is none. */
static const char *url_path(const char *url)
{
    const char *host = strstr(url, "://");
    const char *path = strchr(host ? host + 3 : url, '/');

    return path ? path : "/";
}

static const char *enabled_path(apr_pool_t *p, const char *arguments)
{
    (void)ap_getword_conf(p, &arguments);
    return url_path(ap_getword_conf(p, &arguments));
}

static void server_line_read(walk_t *walk, server_lines_t *server, const ap_directive_t *at)
{
    const char *arguments = at->args;

    if (is_named(at, "CacheEnable")) {
        walk->has_cache = 1;
        APR_ARRAY_PUSH(server->enables, line_t) = (line_t){.directive = at, .path = enabled_path(walk->pool, at->args)};
    } else if (is_named(at, "CacheDisable")) {
        APR_ARRAY_PUSH(server->disables, line_t) =
            (line_t){.directive = at, .path = url_path(ap_getword_conf(walk->pool, &arguments))};
    } else if (is_named(at, "CacheQuickHandler")) {
        server->is_quick = ap_cstr_casecmp(ap_getword_conf(walk->pool, &arguments), "off") != 0;
    } else if (is_named(at, "APIQuota")) {
        server->quota = (line_t){at, "/", ap_cstr_casecmp(ap_getword_conf(walk->pool, &arguments), "off") != 0};
    }
}

/* Of a section, and of those within: they hold for URLs of the outermost <Location> at most. */
static void section_read(walk_t *walk, server_lines_t *server, const ap_directive_t *at, const char *path)
{
    for (; at; at = at->next) {
        const char *arguments = at->args;

        if (is_named(at, "APIQuota")) {
            const int is_on = ap_cstr_casecmp(ap_getword_conf(walk->pool, &arguments), "off") != 0;
            APR_ARRAY_PUSH(server->quotas, line_t) = (line_t){at, path, is_on};
        }
        walk->has_cache |= is_named(at, "CacheEnable");
        section_read(walk, server, at->first_child, path);
    }
}

static void server_read(walk_t *walk, server_lines_t *server, const ap_directive_t *at)
{
    for (; at; at = at->next) {
        if (is_named(at, "<VirtualHost")) {
            server_read(walk, server_add(walk, at), at->first_child);
        } else if (at->first_child) {
            section_read(walk, server, at->first_child, section_path(walk->pool, at));
        } else {
            server_line_read(walk, server, at);
        }
    }
}

static int is_prefix(const char *prefix, const char *path)
{
    return strncmp(prefix, path, strlen(prefix)) == 0;
}

/* 1 where <Location `location`> holds `path`. */
static int is_within(const char *location, const char *path)
{
    const size_t length = strlen(location);

    return is_prefix(location, path) &&
           (length == 0 || location[length - 1] == '/' || path[length] == '/' || path[length] == '\0');
}

static int is_disabled(const apr_array_header_t *disables, const char *path)
{
    for (int i = 0; i < disables->nelts; i++) {
        if (is_prefix(APR_ARRAY_IDX(disables, i, line_t).path, path)) {
            return 1;
        }
    }
    return 0;
}

/* The APIQuota that is on for something that `enable` has cached; NULL: none. As httpd's, the last section wins. */
static const ap_directive_t *quota_under(const line_t *enable, const line_t *whole, const apr_array_header_t *quotas,
                                         const apr_array_header_t *disables)
{
    line_t holds = *whole;

    for (int i = 0; i < quotas->nelts; i++) {
        const line_t *quota = &APR_ARRAY_IDX(quotas, i, line_t);

        if (quota->path && is_within(quota->path, enable->path)) {
            holds = *quota;
        } else if (quota->is_on && !is_disabled(disables, quota->path ? quota->path : enable->path) &&
                   (!quota->path || is_prefix(enable->path, quota->path))) {
            return quota->directive;
        }
    }
    return holds.is_on && !is_disabled(disables, enable->path) ? holds.directive : NULL;
}

/* OK, or the error, logged, for one server. */
static int server_check(apr_pool_t *ptemp, const server_lines_t *own_level, const server_lines_t *server)
{
    const int is_host = server != own_level;
    const apr_array_header_t *enables =
        is_host ? apr_array_append(ptemp, own_level->enables, server->enables) : server->enables;
    const apr_array_header_t *disables =
        is_host ? apr_array_append(ptemp, own_level->disables, server->disables) : server->disables;
    const apr_array_header_t *quotas =
        is_host ? apr_array_append(ptemp, own_level->quotas, server->quotas) : server->quotas;
    const line_t *whole = server->quota.directive ? &server->quota : &own_level->quota;
    const int is_quick = server->is_quick == AQ_UNSET ? own_level->is_quick : server->is_quick;

    for (int i = 0; i < enables->nelts && is_quick != 0; i++) {
        const line_t *enable = &APR_ARRAY_IDX(enables, i, line_t);
        const ap_directive_t *quota = quota_under(enable, whole, quotas, disables);

        if (quota) {
            AQ_LOG(
                AQ_LOG_CRIT, 1600, 0,
                "CacheEnable %s (%s:%d) would answer before anything is counted where APIQuota is %s (%s:%d)%s%s: set "
                "\"CacheQuickHandler off\"",
                enable->directive->args, enable->directive->filename, enable->directive->line_num, quota->args,
                quota->filename, quota->line_num, is_host ? ", in <VirtualHost " : "",
                is_host ? server->host->args : "");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

int aq_cache_check(aq_server_config_t *server, apr_pool_t *ptemp)
{
    walk_t walk = {.pool = ptemp, .servers = apr_array_make(ptemp, 4, sizeof(server_lines_t *))};
    const server_lines_t *own_level = server_add(&walk, NULL);
    int status = OK;

    server_read(&walk, APR_ARRAY_IDX(walk.servers, 0, server_lines_t *), ap_conftree);
    server->has_cache = walk.has_cache;
    for (int i = 0; i < walk.servers->nelts && status == OK; i++) {
        status = server_check(ptemp, own_level, APR_ARRAY_IDX(walk.servers, i, const server_lines_t *));
    }
    return status;
}
