/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of clients as subjects. See aq_address.h. */
#include "base/aq_address.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void host_bits_clear(struct in6_addr *address, unsigned prefix)
{
    for (unsigned i = 0; i < sizeof(address->s6_addr); i++) {
        unsigned kept = prefix > i * 8 ? prefix - i * 8 : 0;
        address->s6_addr[i] &= (unsigned char)(kept >= 8 ? 0xff : 0xff00 >> kept);
    }
}

int aq_address_subject(const char *text, size_t size, unsigned prefix, char out[AQ_ADDRESS_SIZE])
{
    char network[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (size >= sizeof(network) || !memchr(text, ':', size)) {
        return 0;
    }
    memcpy(network, text, size);
    network[size] = '\0';
    if (strlen(network) != size || inet_pton(AF_INET6, network, &address) != 1) {
        return 0;
    }
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
        return inet_ntop(AF_INET, &address.s6_addr[12], out, AQ_ADDRESS_SIZE) != NULL;
    }
    host_bits_clear(&address, prefix);
    if (!inet_ntop(AF_INET6, &address, network, sizeof(network))) {
        return 0;
    }
    (void)apr_snprintf(out, AQ_ADDRESS_SIZE, "%s/%u", network, prefix);
    return 1;
}
