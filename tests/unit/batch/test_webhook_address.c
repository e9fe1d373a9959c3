/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhook addresses: both ends of every range, and their neighbours.
 */
#include "batch/webhook_address.h"

#include "unit/fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static aq_webhook_address_t judge(const char *text, const apr_array_header_t *allowed)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&storage;

    if (strchr(text, ':') != NULL) {
        v6->sin6_family = AF_INET6;
        ck_assert_msg(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1, "%s", text);
    } else {
        v4->sin_family = AF_INET;
        ck_assert_msg(inet_pton(AF_INET, text, &v4->sin_addr) == 1, "%s", text);
    }
    return aq_webhook_address_judge((struct sockaddr *)(void *)&storage, allowed);
}

static const char *const PUBLIC[] = {
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2001:200::",
    "2001:4860:4860::8888",
    "2001:db7:ffff:ffff::",
    "2001:db9::",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00::1",
    "3fff:1000::",
};

START_TEST(an_address_of_the_public_internet_is_sent_to)
{
    ck_assert_msg(judge(PUBLIC[_i], NULL) == AQ_ADDRESS_PUBLIC, "%s", PUBLIC[_i]);
}
END_TEST

static const char *const NOT_PUBLIC[] = {
    /* this network, private, shared, loopback, link-local */
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    /* assignments, documentation, relays, benchmarks, multicast, reserved, broadcast */
    "192.0.0.0",
    "192.0.0.170",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.0",
    "192.88.99.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.254",
    "255.255.255.255",
    /* unspecified, loopback, compatible, mapped, translated */
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "100::1",
    /* Teredo and the other protocol assignments, documentation, 6to4 */
    "2001::",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::",
    "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002::",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff::",
    "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
    /* beyond what is allocated; segment routing, unique local, link-local, site-local, multicast */
    "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "4000::",
    "5f00::1",
    "fc00::",
    "fd00::1",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::1",
    "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fec0::1",
    "ff02::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
};

START_TEST(any_other_address_is_refused)
{
    ck_assert_msg(judge(NOT_PUBLIC[_i], NULL) == AQ_ADDRESS_REFUSED, "%s", NOT_PUBLIC[_i]);
}
END_TEST

static const apr_array_header_t *networks(const char *const *texts)
{
    apr_array_header_t *array = apr_array_make(fixture_pool, 4, sizeof(aq_webhook_network_t));

    for (; *texts != NULL; texts++) {
        ck_assert_msg(aq_webhook_network_parse(*texts, apr_array_push(array)) == APR_SUCCESS, "%s", *texts);
    }
    return array;
}

static const struct {
    const char *network, *address;
    aq_webhook_address_t judged;
} ALLOWED[] = {
    {"127.0.0.0/8", "127.1.2.3", AQ_ADDRESS_ALLOWED},
    {"127.0.0.0/8", "128.0.0.0", AQ_ADDRESS_PUBLIC},
    {"127.0.0.0/8", "10.0.0.1", AQ_ADDRESS_REFUSED},
    {"127.0.0.1", "127.0.0.1", AQ_ADDRESS_ALLOWED},
    {"127.0.0.1", "127.0.0.2", AQ_ADDRESS_REFUSED},
    {"10.32.0.0/11", "10.63.255.255", AQ_ADDRESS_ALLOWED},
    {"10.32.0.0/11", "10.64.0.0", AQ_ADDRESS_REFUSED},
    {"0.0.0.0/0", "169.254.169.254", AQ_ADDRESS_ALLOWED},
    {"8.8.8.8", "8.8.8.8", AQ_ADDRESS_ALLOWED},
    {"::1", "::1", AQ_ADDRESS_ALLOWED},
    {"::1", "::2", AQ_ADDRESS_REFUSED},
    {"fd00:1::/33", "fd00:1:7fff::1", AQ_ADDRESS_ALLOWED},
    {"fd00:1::/33", "fd00:1:8000::1", AQ_ADDRESS_REFUSED},
    {"64:ff9b::/96", "64:ff9b::8.8.8.8", AQ_ADDRESS_ALLOWED},
    /* one form of an address says nothing of another */
    {"127.0.0.0/8", "::ffff:127.0.0.1", AQ_ADDRESS_REFUSED},
    {"127.0.0.0/8", "::1", AQ_ADDRESS_REFUSED},
    {"::ffff:127.0.0.0/104", "127.0.0.1", AQ_ADDRESS_REFUSED},
    {"0.0.0.0/0", "::1", AQ_ADDRESS_REFUSED},
};

START_TEST(what_the_operator_allows_is_sent_to)
{
    const char *const texts[] = {ALLOWED[_i].network, NULL};

    ck_assert_msg(judge(ALLOWED[_i].address, networks(texts)) == ALLOWED[_i].judged, "%s in %s", ALLOWED[_i].address,
                  ALLOWED[_i].network);
}
END_TEST

START_TEST(each_of_the_operators_networks_counts)
{
    static const char *const texts[] = {"10.0.0.0/8", "fd00::/8", "127.0.0.1", NULL};

    ck_assert_int_eq(judge("127.0.0.1", networks(texts)), AQ_ADDRESS_ALLOWED);
    ck_assert_int_eq(judge("fd12::1", networks(texts)), AQ_ADDRESS_ALLOWED);
    ck_assert_int_eq(judge("192.168.0.1", networks(texts)), AQ_ADDRESS_REFUSED);
}
END_TEST

START_TEST(what_is_no_internet_address_is_refused)
{
    static const char *const all[] = {"0.0.0.0/0", "::/0", NULL};
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/tmp/x"};

    ck_assert_int_eq(aq_webhook_address_judge((struct sockaddr *)(void *)&path, networks(all)), AQ_ADDRESS_REFUSED);
}
END_TEST

static const char *const NO_NETWORK[] = {
    "",
    "/",
    "/8",
    "10",
    "10.0.0/8",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/8 ",
    " 10.0.0.0/8",
    "10.0.0.1/8",
    "10.0.0.0/+8",
    "10.0.0.0/0008",
    "10.0.0.0/8/8",
    "::/129",
    "::1/127",
    "fd00::g/8",
    "[::1]",
    "private",
    "0x7f000000/8",
    "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8",
};

START_TEST(what_is_no_network_is_no_network)
{
    aq_webhook_network_t network;

    ck_assert_msg(aq_webhook_network_parse(NO_NETWORK[_i], &network) == APR_EGENERAL, "%s", NO_NETWORK[_i]);
}
END_TEST

#define LOOP(tests, test, table) tcase_add_loop_test(tests, test, 0, sizeof(table) / sizeof((table)[0]))

static void add_tests(TCase *tests)
{
    LOOP(tests, an_address_of_the_public_internet_is_sent_to, PUBLIC);
    LOOP(tests, any_other_address_is_refused, NOT_PUBLIC);
    LOOP(tests, what_the_operator_allows_is_sent_to, ALLOWED);
    tcase_add_test(tests, each_of_the_operators_networks_counts);
    tcase_add_test(tests, what_is_no_internet_address_is_refused);
    LOOP(tests, what_is_no_network_is_no_network, NO_NETWORK);
}

int main(void)
{
    return fixture_run("webhook_address", add_tests);
}
