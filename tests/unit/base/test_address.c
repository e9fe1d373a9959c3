/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses: which network stands for a client.
 */
#include "base/aq_address.h"
#include "unit/fixture.h"

#include <string.h>

static const struct {
    const char *text;
    unsigned prefix;
    const char *subject; /* NULL: stands for itself */
} CASES[] = {
    {"192.0.2.1", 64, NULL},
    {"client.example.com", 64, NULL},
    {"", 64, NULL},
    {"::ffff:192.0.2.1", 64, "192.0.2.1"},
    {"2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"},
    {"2001:DB8:1:2::1", 64, "2001:db8:1:2::/64"},
    {"2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6/128"},
    {"2001:db8:1:ffff::1", 56, "2001:db8:1:ff00::/56"},
    {"2001:db8:1:ffff::1", 59, "2001:db8:1:ffe0::/59"},
    {"2001:db8::1", 0, "::/0"},
    {"::1", 64, "::/64"},
    {"1:2:3", 64, NULL},
    {"fe80::1%eth0", 64, NULL},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", 64, NULL},
};

START_TEST(a_client_is_known_by_its_network)
{
    char out[AQ_ADDRESS_SIZE] = "";
    int is_other = aq_address_subject(CASES[_i].text, strlen(CASES[_i].text), CASES[_i].prefix, out);

    ck_assert_int_eq(is_other, CASES[_i].subject != NULL);
    if (CASES[_i].subject) {
        ck_assert_str_eq(out, CASES[_i].subject);
    }
}
END_TEST

START_TEST(a_nul_makes_it_no_address)
{
    char out[AQ_ADDRESS_SIZE];

    ck_assert_int_eq(aq_address_subject("::1\0:", 5, 64, out), 0);
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_loop_test(tests, a_client_is_known_by_its_network, 0, sizeof(CASES) / sizeof(CASES[0]));
    tcase_add_test(tests, a_nul_makes_it_no_address);
}

int main(void)
{
    return fixture_run("address", tests_add);
}
