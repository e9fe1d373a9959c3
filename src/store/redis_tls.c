/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS to Redis: rediss://. The server must show a certificate of `ca` (or of the system's) for its host name, or for the
 * name that sni= says. Compiled in where hiredis knows TLS (1.0 and later); elsewhere the address is refused before.
 */
#include "store/redis_private.h"

#ifdef AQ_HAVE_REDIS_TLS

#    include <apr_strings.h>
#    include <arpa/inet.h>
#    include <hiredis/hiredis_ssl.h>
#    include <openssl/ssl.h>
#    include <openssl/x509v3.h>

static apr_status_t context_free(void *tls)
{
    SSL_CTX_free(tls);
    return APR_SUCCESS;
}

const char *aq_redis_tls_prepare(apr_pool_t *p, const aq_redis_address_t *address, void **tls)
{
    SSL_CTX *context;
    int is_trusting;

    *tls = NULL;
    if (!address->is_tls) {
        return NULL;
    }
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        return "TLS cannot be begun";
    }
    apr_pool_cleanup_register(p, context, context_free, apr_pool_cleanup_null);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    is_trusting = address->ca != NULL ? SSL_CTX_load_verify_locations(context, address->ca, NULL)
                                      : SSL_CTX_set_default_verify_paths(context);
    if (is_trusting != 1) {
        return apr_psprintf(p, "ca=%s holds no certificates that can be read", address->ca != NULL ? address->ca : "");
    }
    if (address->cert != NULL && (SSL_CTX_use_certificate_chain_file(context, address->cert) != 1 ||
                                  SSL_CTX_use_PrivateKey_file(context, address->key, SSL_FILETYPE_PEM) != 1 ||
                                  SSL_CTX_check_private_key(context) != 1)) {
        return apr_psprintf(p, "cert=%s and key=%s are no certificate and its key", address->cert, address->key);
    }
    *tls = context;
    return NULL;
}

/* The name that the certificate must have: told to the server too, unless it is an address (RFC 6066). */
static int name_set(SSL *ssl, const char *name)
{
    unsigned char binary[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

aq_redis_failure_t aq_redis_tls_begin(const aq_redis_link_t *link, const char *host, redisContext *context)
{
    const aq_redis_address_t *to = link->address;
    SSL *ssl;

    if (link->tls == NULL) {
        return AQ_REDIS_DONE;
    }
    ssl = SSL_new(link->tls);
    if (ssl == NULL) {
        return AQ_REDIS_REFUSED;
    }
    if (!name_set(ssl, to->sni != NULL ? to->sni : host)) {
        SSL_free(ssl);
        return AQ_REDIS_REFUSED;
    }
    /* hiredis frees it, whatever comes of it. */
    return redisInitiateSSL(context, ssl) == REDIS_OK ? AQ_REDIS_DONE : AQ_REDIS_CLOSED;
}

#else

const char *aq_redis_tls_prepare(apr_pool_t *p, const aq_redis_address_t *address, void **tls)
{
    (void)p;
    *tls = NULL;
    return address->is_tls ? "this build has no TLS to Redis" : NULL;
}

aq_redis_failure_t aq_redis_tls_begin(const aq_redis_link_t *link, const char *host, redisContext *context)
{
    (void)link;
    (void)host;
    (void)context;
    return AQ_REDIS_DONE;
}

#endif
