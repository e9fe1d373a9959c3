# SPDX-License-Identifier: Apache-2.0
"""Who shares a counter: per=ip, user, endpoint, tenant+endpoint and expr=."""

import base64

import pytest

from harness import checks, confs, quota

YEAR = "/366d"
# What a proxy in front says of the client's address is believed of loopback alone.
REMOTE_IP = "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n"
ADDRESSES = ("192.0.2.7", "::ffff:192.0.2.7")
NEIGHBOURS = ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff")


def at(address):
    return {"X-Client": address}


def left(web, key, path=quota.PROBE, **how):
    answer = web.get(path, key=key, **how)
    assert answer.status == 200, answer
    return checks.trio(answer).remaining


def plan_per(per, count=1000):
    return confs.plan("basic", f"some {count}{YEAR} per={per} headers=primary")


# ---- per=ip ----------------------------------------------------------------------------------------

def test_keys_behind_one_address_share_its_counter(server, keys):
    one, other = keys.add("acme"), keys.add("globex")
    web = server(plan_per("ip") + confs.location("/v1"), keys=keys)
    assert [left(web, one), left(web, other)] == [999, 998]


@pytest.mark.parametrize("first, second", [ADDRESSES, NEIGHBOURS, ("2001:DB8:1:2:0::9", "2001:db8:1:2::9")])
def test_f55_spellings_of_an_address_and_one_network_share_a_counter(server, keys, first, second):
    key = keys.add("acme")
    web = server(REMOTE_IP + plan_per("ip") + confs.location("/v1"), keys=keys, modules=("remoteip",))
    assert [left(web, key, headers=at(first)), left(web, key, headers=at(second))] == [999, 998]


def test_f55_other_networks_and_all_other_ipv4_addresses_have_their_own(server, keys):
    key = keys.add("acme")
    web = server(REMOTE_IP + plan_per("ip") + confs.location("/v1"), keys=keys, modules=("remoteip",))
    for address in ("192.0.2.7", "192.0.2.8", "::ffff:192.0.2.9", "::192.0.2.7", "2001:db8:1:2::1", "2001:db8:1:3::1"):
        assert left(web, key, headers=at(address)) == 999, address


def test_ipv6_prefix_says_how_many_bits_are_one_caller(server, keys):
    key = keys.add("acme")
    web = server("APIQuotaIPv6Prefix 56\n" + REMOTE_IP + plan_per("ip") + confs.location("/v1"), keys=keys,
                 modules=("remoteip",))
    assert left(web, key, headers=at("2001:db8:1:200::1")) == 999
    assert left(web, key, headers=at("2001:db8:1:2ff::1")) == 998
    assert left(web, key, headers=at("2001:db8:1:300::1")) == 999


def test_f54_forwarded_headers_of_a_client_are_ignored(server, keys):
    key = keys.add("acme")
    web = server(plan_per("ip") + confs.location("/v1"), keys=keys)
    for expected, name in zip((999, 998, 997, 996), ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client")):
        assert left(web, key, headers={name: "198.51.100.1"}) == expected, name


def test_f54_forwarded_headers_of_a_peer_that_is_not_trusted_are_ignored(server, keys):
    key = keys.add("acme")
    web = server("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 10.0.0.0/8\n" + plan_per("ip")
                 + confs.location("/v1"), keys=keys, modules=("remoteip",))
    assert left(web, key, headers={"X-Forwarded-For": "198.51.100.1"}) == 999
    assert left(web, key, headers={"X-Forwarded-For": "198.51.100.2"}) == 998


# ---- per=endpoint ----------------------------------------------------------------------------------

ENDPOINTS = (confs.plan("basic", f"some 1000{YEAR} per=endpoint headers=primary") + confs.location("/v1")
             + confs.location("/v1/listing") + confs.location("/v1/withindex"))


def test_all_callers_of_a_section_share_the_counter_of_a_plan(server, keys):
    one, other = keys.add("acme"), keys.add("globex")
    web = server(ENDPOINTS, keys=keys)
    assert [left(web, one), left(web, other)] == [999, 998]
    assert left(web, one, "/v1/listing/a.txt") == 999
    assert left(web, one, "/v1/listing/b.txt") == 998
    assert left(web, one) == 997


SPELLINGS = ("/v1/listing/a.txt", "/v1//listing/a.txt", "/v1/%6cisting/a.txt", "/v1/./listing/a.txt",
             "/v1/listing//a.txt", "/v1/x/../listing/a.txt", "/v1/listing/a.txt?x=1", "/v1/listing/a.txt/")


def test_f60_spellings_of_a_path_are_one_endpoint(server, keys):
    key = keys.add("acme")
    web = server(ENDPOINTS, keys=keys)
    web.expect_log("AH00128|AH01114|AH01264")
    remaining = []
    for path in SPELLINGS:
        answer = web.get(path, key=key)
        assert answer.status in (200, 404), (path, answer)
        remaining.append(checks.trio(answer).remaining)
    assert remaining == list(range(999, 999 - len(SPELLINGS), -1))


def test_limit_of_a_section_counts_for_that_section_wherever_it_holds(server, keys):
    key = keys.add("acme")
    web = server(confs.plan("basic", f"wide 1000000{YEAR} headers=none")
                 + confs.location("/v1", f"APIQuotaLimit all 1000{YEAR} per=endpoint headers=primary")
                 + "<Location /v1/listing>\n    APIQuotaFree 304 404\n</Location>\n", keys=keys)
    assert [left(web, key), left(web, key, "/v1/listing/a.txt"), left(web, key)] == [999, 998, 997]


def test_endpoints_of_two_virtual_hosts_are_two(server, keys):
    key = keys.add("acme")
    hosts = "".join(
        f"<VirtualHost *:${{PORT}}>\n    ServerName {name}\n    DocumentRoot ${{DOCROOT}}\n{confs.location('/v1')}"
        "</VirtualHost>\n" for name in ("a.example", "b.example"))
    web = server(plan_per("endpoint") + hosts, keys=keys)
    assert left(web, key, headers={"Host": "a.example"}) == 999
    assert left(web, key, headers={"Host": "b.example"}) == 999
    assert left(web, key, headers={"Host": "a.example"}) == 998


def test_sections_within_different_sections_are_two_though_their_conditions_are_one(server, keys):
    key = keys.add("acme")
    inner = ('<If "true">', f"APIQuotaLimit some 1000{YEAR} per=endpoint headers=primary", "</If>")
    web = server(confs.plan("basic", f"wide 1000000{YEAR} headers=none") + confs.location("/v1", *inner)
                 + confs.location("/withindex", *inner), keys=keys)
    assert [left(web, key), left(web, key), left(web, key, "/withindex/index.html")] == [999, 998, 999]


def test_tenant_and_endpoint_together_have_a_counter(server, keys):
    one, two, other = keys.add("acme"), keys.add("acme"), keys.add("globex")
    web = server(plan_per("tenant+endpoint") + confs.location("/v1") + confs.location("/v1/listing"), keys=keys)
    assert [left(web, one), left(web, two), left(web, other)] == [999, 998, 999]
    assert left(web, one, "/v1/listing/a.txt") == 999


# ---- per=user and per=expr -------------------------------------------------------------------------

def test_per_user_with_keys_is_the_key(server, keys):
    one, other = keys.add("acme"), keys.add("acme")
    web = server(plan_per("user") + confs.location("/v1") + "<Location /open>\n    APIQuota On\n</Location>\n", keys=keys)
    web.root.add_file("open/a.txt", b"a\n")
    assert [left(web, one), left(web, other), left(web, one)] == [999, 999, 998]
    assert left(web, one, "/open/a.txt") == 997, "the same, where no AuthType made it httpd's user"


def test_per_expr_is_what_the_expression_says(server, keys):
    one, other = keys.add("acme"), keys.add("globex")
    web = server(plan_per('"expr=%{tolower:%{HTTP:X-Device}}"') + confs.location("/v1"), keys=keys)
    assert left(web, one, headers={"X-Device": "a"}) == 999
    assert left(web, other, headers={"X-Device": "A"}) == 998
    assert left(web, one, headers={"X-Device": "b"}) == 999
    assert [left(web, one), left(web, other)] == [999, 998], "no value is one, too"


@pytest.mark.parametrize("limit, said", [
    ("a 1/minute per=expr=%{nothing", "no expression"),
    ("a 1/minute per=moon", "per=: \"moon\""),
])
def test_subjects_that_are_none_are_configuration_errors(server, keys, limit, said):
    web = server(start=False, keys=keys)
    status, text = web.configtest(confs.plan("basic", limit))
    assert status != 0 and said in text and "APIQuotaLimit" in text, text


@pytest.mark.parametrize("bits", ["0", "129", "64x", "-1", "x"])
def test_ipv6_prefix_that_is_none_is_a_configuration_error(server, keys, bits):
    status, text = server(start=False, keys=keys).configtest(f"APIQuotaIPv6Prefix {bits}\n")
    assert status != 0 and f'"{bits}" is not allowed here' in text, text
