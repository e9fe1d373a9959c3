# SPDX-License-Identifier: Apache-2.0
"""Counters in a Redis Cluster of six nodes: each home on its own, all or nothing over several, and what happens while
slots move and nodes die (catalogue line 38)."""

import json
import subprocess

import pytest

from harness import checks, confs, exposition, paths
from harness.client import statuses
from harness.cluster import Move
from harness.counted import DAY, ITEM, SAID, Load, calls, conf, remaining
from harness.waiting import eventually

LIMIT = 100000
FOLLOWED_S = 60
# Of the tenant, of the address, and of the endpoint: three homes.
HOMES = confs.plan("basic", "day 100000/day headers=primary", "place 100000/day per=ip headers=suffix:Place",
                   "end 100000/day per=endpoint headers=none")


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def machine(cluster, server, keys, key):  # pylint: disable=unused-argument
    def start(plan=DAY, **how):
        return server(conf(cluster.url, plan=plan + exposition.LOCATION, budget="10s"), keys=keys, allow=SAID, **how)
    return start


def ctl(web, *words):
    ran = subprocess.run([paths.CTL, *words, "--json", "--state-dir", web.root.path / "state"], capture_output=True,
                         text=True, check=True)
    return json.loads(ran.stdout)


def test_requests_of_many_tenants_are_counted_each_at_its_node(machine, cluster, keys, key):
    secrets = [key] + [keys.add(f"tenant{number}") for number in range(11)]
    web = machine()
    assert [remaining(web, secret) for secret in secrets for _ in range(3)] == [LIMIT - 1, LIMIT - 2, LIMIT - 3] * 12
    assert len(cluster.homes("t")) == 12
    assert sum(bool(node.say("KEYS", "aq:{t*")) for node in cluster.masters()) >= 2
    assert ctl(web, "store", "info")["live"] == 12
    ctl(web, "usage", "reset", "--tenant", "acme")
    assert remaining(web, key) == LIMIT - 1
    assert remaining(web, secrets[1]) == LIMIT - 4


def test_request_of_several_homes_is_charged_in_all_or_in_none(machine, cluster, keys, key):
    """The address is full for all tenants; what its refusals charged elsewhere is given back."""
    other = keys.add("other")
    web = machine(plan=HOMES.replace("place 100000/day", "place 5/day"))
    assert [web.get(ITEM, key=key).status for _ in range(8)] == [200] * 5 + [429] * 3
    refused = web.get(ITEM, key=key)
    assert refused.status == 429 and refused.headers["X-RateLimit-Remaining"] == "0"
    assert web.get(ITEM, key=other).status == 429
    rows = ctl(web, "usage", "show")["usage"]
    assert sorted(row["used"] for row in rows if row["limit"] == "day") == [0, 5]
    assert {home[4] for home in cluster.homes()} == {"t", "i", "e"}


def test_free_answer_gives_back_in_all_homes(machine, key):
    web = machine(plan=HOMES)
    tag = web.get(ITEM, key=key).headers["ETag"]
    for _ in range(3):
        answer = web.get(ITEM, key=key, headers={"If-None-Match": tag})
        assert answer.status == 304
        assert answer.headers["X-RateLimit-Remaining"] == answer.headers["X-RateLimit-Remaining-Place"] == "99999"
    answer = web.get(ITEM, key=key)
    assert checks.trio(answer).remaining == 99998 and answer.headers["X-RateLimit-Remaining-Place"] == "99998"


def test_f38_slot_moved_under_load_shows_to_nobody_and_every_charge_counts_once(machine, cluster, key):
    web = machine(plan=HOMES)
    assert remaining(web, key) == LIMIT - 1
    mark = web.log.mark()
    home = cluster.homes("t")[0]
    with Load(web, key) as load:
        for _ in range(3):
            move = Move(cluster, home)
            for step in (move.begin, move.keys, move.end):
                load.goes_on()
                step()
        load.goes_on()
    assert set(load.statuses) == {200}
    assert remaining(web, key) == LIMIT - 1 - len(load.statuses) - 1
    assert not web.log.matching(r"AQ00420", mark)


def test_f38_free_answers_while_a_slot_moves_are_free(machine, cluster, key):
    web = machine()
    tag = web.get(ITEM, key=key).headers["ETag"]
    move = Move(cluster, cluster.homes("t")[0])
    for step in (move.begin, move.keys, move.end):
        step()
        assert remaining(web, key)  # so that it is known where the slot is
        before = remaining(web, key)
        for _ in range(5):
            assert web.get(ITEM, key=key, headers={"If-None-Match": tag}).status == 304
        assert remaining(web, key) == before - 1


def test_f38_killed_node_is_replaced_under_load_and_the_others_count_on(machine, cluster, keys, key):
    """Its counters go on at its replica; meanwhile those of other nodes are counted there as ever."""
    web = machine()
    assert statuses(web.burst(20, ITEM, key=key)) == {200: 20}
    home = cluster.homes("t")[0]
    dying = cluster.owner(home)
    cluster.replicated(dying)
    with Load(web, key) as load:
        load.goes_on()
        heir = cluster.kill(dying)
        eventually(lambda: heir.info("replication")["role"] == "master" and calls(heir) > 0, FOLLOWED_S,
                   what="counting on the replica")
        load.goes_on()
    assert set(load.statuses) == {200}
    used = LIMIT - remaining(web, key)
    assert 20 < used <= 20 + len(load.statuses) + 1
    assert remaining(web, key) == LIMIT - used - 1
