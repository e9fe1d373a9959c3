/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The networks, as a table.
 */
#include "batch/webhook_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* IANA's registries of special-purpose addresses, RFC 6890 and its successors; multicast and reserved ones with them. */
static const aq_webhook_network_t not_public[] = {
    {AF_INET, {0}, 8},                        /* 0.0.0.0/8: this network */
    {AF_INET, {10}, 8},                       /* 10.0.0.0/8: private */
    {AF_INET, {100, 64}, 10},                 /* 100.64.0.0/10: shared */
    {AF_INET, {127}, 8},                      /* 127.0.0.0/8: loopback */
    {AF_INET, {169, 254}, 16},                /* 169.254.0.0/16: link-local; metadata of clouds */
    {AF_INET, {172, 16}, 12},                 /* 172.16.0.0/12: private */
    {AF_INET, {192, 0, 0}, 24},               /* 192.0.0.0/24: IETF protocol assignments */
    {AF_INET, {192, 0, 2}, 24},               /* 192.0.2.0/24: documentation */
    {AF_INET, {192, 88, 99}, 24},             /* 192.88.99.0/24: 6to4 relays, deprecated */
    {AF_INET, {192, 168}, 16},                /* 192.168.0.0/16: private */
    {AF_INET, {198, 18}, 15},                 /* 198.18.0.0/15: benchmarks */
    {AF_INET, {198, 51, 100}, 24},            /* 198.51.100.0/24: documentation */
    {AF_INET, {203, 0, 113}, 24},             /* 203.0.113.0/24: documentation */
    {AF_INET, {224}, 4},                      /* 224.0.0.0/4: multicast */
    {AF_INET, {240}, 4},                      /* 240.0.0.0/4: reserved; broadcast */
    {AF_INET6, {0x20, 0x01}, 23},             /* 2001::/23: IETF protocol assignments, 2001::/32 Teredo with them */
    {AF_INET6, {0x20, 0x01, 0x0d, 0xb8}, 32}, /* 2001:db8::/32: documentation */
    {AF_INET6, {0x20, 0x02}, 16},             /* 2002::/16: 6to4 */
    {AF_INET6, {0x3f, 0xff}, 20},             /* 3fff::/20: documentation */
};

/* All that is allocated to the public Internet; whatever lies outside has another use, or none yet. */
static const aq_webhook_network_t ipv6_global = {AF_INET6, {0x20}, 3};

static int is_within(int family, const unsigned char *bytes, const aq_webhook_network_t *network)
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;

    if (family != network->family || memcmp(bytes, network->bytes, whole) != 0) {
        return 0;
    }
    return rest == 0 || ((bytes[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0;
}

static int is_within_any(int family, const unsigned char *bytes, const aq_webhook_network_t *networks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_within(family, bytes, &networks[i])) {
            return 1;
        }
    }
    return 0;
}

/* The bytes of the address; NULL where it is of another family. */
static const unsigned char *bytes_of(const struct sockaddr *address)
{
    switch (address->sa_family) {
    case AF_INET:
        return (const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    case AF_INET6:
        return ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr;
    default:
        return NULL;
    }
}

aq_webhook_address_t aq_webhook_address_judge(const struct sockaddr *address, const apr_array_header_t *allowed)
{
    const unsigned char *bytes = bytes_of(address);
    int family = address->sa_family;

    if (bytes == NULL) {
        return AQ_ADDRESS_REFUSED;
    }
    if (allowed != NULL && is_within_any(family, bytes, (const aq_webhook_network_t *)(const void *)allowed->elts,
                                         (size_t)allowed->nelts)) {
        return AQ_ADDRESS_ALLOWED;
    }
    if (family == AF_INET6 && !is_within(family, bytes, &ipv6_global)) {
        return AQ_ADDRESS_REFUSED;
    }
    return is_within_any(family, bytes, not_public, sizeof not_public / sizeof not_public[0]) ? AQ_ADDRESS_REFUSED
                                                                                              : AQ_ADDRESS_PUBLIC;
}

/* The bits of a prefix: a number of one to three digits, or -1. */
static int prefix_parse(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits >= 1 && digits <= 3 && text[digits] == '\0' ? (int)strtol(text, NULL, 10) : -1;
}

static int has_bits_behind(const aq_webhook_network_t *network, unsigned most)
{
    for (unsigned i = network->bits; i < most; i++) {
        if ((network->bytes[i / 8] >> (7 - i % 8)) & 1) {
            return 1;
        }
    }
    return 0;
}

apr_status_t aq_webhook_network_parse(const char *text, aq_webhook_network_t *network)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);

    memset(network, 0, sizeof *network);
    if (size >= sizeof address) {
        return APR_EGENERAL;
    }
    memcpy(address, text, size);
    address[size] = '\0';
    network->family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    unsigned most = network->family == AF_INET6 ? 128 : 32;
    int bits = slash != NULL ? prefix_parse(slash + 1) : (int)most;
    if (bits < 0 || (unsigned)bits > most || inet_pton(network->family, address, network->bytes) != 1) {
        return APR_EGENERAL;
    }
    network->bits = (unsigned)bits;
    return has_bits_behind(network, most) ? APR_EGENERAL : APR_SUCCESS;
}
