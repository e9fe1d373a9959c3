/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects: see subject.h. */
#include "httpd/subject.h"

#include "base/aq_address.h"
#include "httpd/expr.h"
#include "httpd/rules.h"

#include <apr_strings.h>
#include <string.h>

struct aq_subjects_t {
    unsigned known; /* bits by aq_per_t */
    aq_hash128_t hash[AQ_PER_COUNT];
};

const char *aq_request_address(request_rec *r)
{
    const aq_server_config_t *server = aq_config_server(r->server);
    char subject[AQ_ADDRESS_SIZE];
    int is_network =
        aq_address_subject(r->useragent_ip, strlen(r->useragent_ip),
                           (unsigned)aq_config_value(server->ipv6_prefix, AQ_ADDRESS_IPV6_PREFIX), subject);

    return apr_pstrdup(aq_request_initial(r)->pool, is_network ? subject : r->useragent_ip);
}

/* The section, and the virtual host: two hosts may both have a <Location /v1>. */
static const char *endpoint_name(request_rec *r, const aq_location_config_t *location, const aq_limit_t *limit)
{
    const char *host = r->server->is_virtual && r->server->server_hostname ? r->server->server_hostname : "";
    const char *section = limit->section ? limit->section : location->section;

    return apr_pstrcat(r->pool, host, " ", section ? section : "", NULL);
}

static const char *user_name(const request_rec *r, const aq_request_t *request)
{
    return r->user && *r->user ? r->user : request->principal ? request->principal->key_id : "";
}

static const char *subject_name(request_rec *r, const aq_request_t *request, const aq_location_config_t *location,
                                const aq_limit_t *limit)
{
    const ap_expr_info_t *expr;

    switch (limit->per) {
    case AQ_PER_IP:
        return aq_request_address(r);
    case AQ_PER_USER:
        return user_name(r, request);
    case AQ_PER_ENDPOINT:
    case AQ_PER_TENANT_ENDPOINT:
        return endpoint_name(r, location, limit);
    case AQ_PER_EXPR:
        expr = apr_hash_get(aq_config_server(r->server)->expressions, limit->expression, APR_HASH_KEY_STRING);
        return expr ? aq_expr_text(r, expr) : "";
    default:
        return "";
    }
}

static int is_same_all_request(aq_per_t per)
{
    return per == AQ_PER_IP || per == AQ_PER_USER;
}

static aq_hash128_t subject_hash(const aq_hash_secret_t *secret, const aq_request_t *request, aq_per_t per,
                                 const char *name)
{
    aq_hash128_t endpoint;

    if (per != AQ_PER_TENANT_ENDPOINT) {
        return aq_subject_hash(secret, per, name);
    }
    endpoint = aq_subject_hash(secret, AQ_PER_ENDPOINT, name);
    return aq_subject_join(secret, per, &request->principal->subject[AQ_PER_TENANT], &endpoint);
}

const aq_hash128_t *aq_subject_find(request_rec *r, aq_request_t *request, const aq_location_config_t *location,
                                    const aq_limit_t *limit)
{
    const aq_hash_secret_t *secret = &aq_config_server(r->server)->runtime->store->secret;
    aq_subjects_t *subjects = request->subjects;
    aq_hash128_t *hash;

    if (!subjects) {
        subjects = request->subjects = apr_pcalloc(request->pool, sizeof(*subjects));
    }
    hash = &subjects->hash[limit->per];
    if (!(subjects->known & 1U << limit->per)) {
        *hash = subject_hash(secret, request, limit->per, subject_name(r, request, location, limit));
        subjects->known |= is_same_all_request(limit->per) ? 1U << limit->per : 0;
    }
    return hash;
}
