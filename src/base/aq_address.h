/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of clients as subjects: one text for each network that counts as one. An IPv6 client has a whole /64 to choose
 * its address from, so that an address alone would bound nothing.
 */
#ifndef AQ_ADDRESS_H
#define AQ_ADDRESS_H

#include <stddef.h>

/* "xxxx:xxxx:xxxx:xxxx:xxxx:xxxx:255.255.255.255/128" and the ending zero. */
#define AQ_ADDRESS_SIZE 51
#define AQ_ADDRESS_IPV6_PREFIX 64

/*
 * Writes to `out` what stands for the client at the address `text` of `size` bytes: an IPv4 address as it is, also where
 * it is written as IPv6 (::ffff:192.0.2.1); an IPv6 address as its network of `prefix` bits (0 to 128), "2001:db8::/64".
 * 1; or 0 where the text is no IPv6 address, and `text` stands for itself. Pure, thread-safe.
 */
int aq_address_subject(const char *text, size_t size, unsigned prefix, char out[AQ_ADDRESS_SIZE]);

#endif
