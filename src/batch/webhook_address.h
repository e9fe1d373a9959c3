/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhook addresses: to which addresses a message may be sent.
 *
 * A webhook's URL is a tenant's. Sent wherever it points, a message would reach what only this machine can reach: its own
 * services, the neighbours', the cloud's metadata. So only addresses of the public Internet are sent to, and the networks
 * that the operator allows by name. The check is made on the very address that is about to be connected to, so that
 * neither the spelling of a host nor a name that resolves to something else the second time gets around it.
 *
 *   IPv4   public is what IANA's special-purpose registry does not list, and is no multicast and not reserved
 *   IPv6   public is 2000::/3, but for IETF protocol assignments (Teredo with them), 6to4 and documentation. So loopback,
 *          unique local, link-local and multicast addresses are none, nor an IPv4 address in another form: mapped
 *          (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96, 64:ff9b:1::/48)
 *
 * Pure, thread-safe.
 */
#ifndef AQ_WEBHOOK_ADDRESS_H
#define AQ_WEBHOOK_ADDRESS_H

#include <apr_errno.h>
#include <apr_tables.h>
#include <sys/socket.h>

/* A network: the first `bits` bits of an address. */
typedef struct {
    int family; /* AF_INET or AF_INET6 */
    unsigned char bytes[16];
    unsigned bits;
} aq_webhook_network_t;

typedef enum {
    AQ_ADDRESS_PUBLIC,
    AQ_ADDRESS_ALLOWED, /* in one of the operator's networks */
    AQ_ADDRESS_REFUSED
} aq_webhook_address_t;

/*
 * Parses "10.0.0.0/8", "fd00::/8" or an address alone. APR_EGENERAL for anything else, for a prefix that is too long, and
 * where a bit behind the prefix is set.
 */
apr_status_t aq_webhook_network_parse(const char *text, aq_webhook_network_t *network);

/* What aq_webhook_network_parse takes, for error messages. */
#define AQ_WEBHOOK_NETWORK_FORM                                                                                        \
    "a network as in 10.0.0.0/8 or fd00::/8, with no bit set behind its prefix, or an address alone"

/* Judges an address; `allowed` is an array of aq_webhook_network_t, NULL: none. What is neither IPv4 nor IPv6 is refused. */
aq_webhook_address_t aq_webhook_address_judge(const struct sockaddr *address, const apr_array_header_t *allowed);

#endif
