# SPDX-License-Identifier: Apache-2.0
"""Attacks by callers who make up subjects: floods, spellings, names."""

import pytest

from harness import checks, confs, quota

REMOTE_IP = "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n"


def test_f59_flood_of_new_addresses_pushes_out_no_key_and_gets_nothing_free(server, keys):
    victim, flooder = keys.add("acme"), keys.add("globex")
    web = server("APIQuotaStore shm size=64k\n" + REMOTE_IP + quota.ROOMY
                 + confs.location("/v1", "APIQuotaLimit address 50/366d per=ip headers=none"), keys=keys,
                 modules=("remoteip",), allow=("AQ00[34]",))
    for _ in range(5):
        assert web.get(quota.PROBE, key=victim).status == 200
    statuses = []
    with web.session() as session:
        for i in range(3000):
            address = {"X-Client": f"10.{i // 65536}.{i // 256 % 256}.{i % 256}"}
            statuses.append(session.get(quota.PROBE, key=flooder, headers=address).status)
    assert set(statuses) == {200, 429}, "new addresses share counters once the table's part for them is full"
    assert checks.trio(web.get(quota.PROBE, key=victim)).remaining == 1000000 - 6


@pytest.mark.parametrize("value", ["a" * 5000, "é".encode(), b"\x80\xff", "{t:acme}:x", "a\tb", "''; --", "%00"])
def test_f57_whatever_an_expression_gives_is_one_counter_and_breaks_no_line_of_the_log(server, keys, value):
    key = keys.add("acme")
    web = server(confs.plan("basic", 'some 1000/366d "per=expr=%{HTTP:X-Device}" headers=primary')
                 + confs.location("/v1", "APIQuotaEnv On", "APIQuota DryRun") + confs.location("/v1/listing"), keys=keys)
    headers = {"X-Device": value}
    assert web.get(quota.PROBE, key=key, headers=headers).status == 200
    answer = web.get("/v1/listing/a.txt", key=key, headers=headers)
    assert checks.trio(answer).remaining == 998
    assert checks.trio(web.get("/v1/listing/a.txt", key=key)).remaining == 999
