# SPDX-License-Identifier: Apache-2.0
"""Counters on a master that three sentinels watch: found, followed, and what a failover can lose (catalogue line 37)."""

import contextlib
import json
import subprocess

import pytest

from harness import exposition, paths
from harness.client import statuses
from harness.counted import DAY, ITEM, SAID, Load, calls, conf, remaining
from harness.sentinel import MASTER_NAME, PASSWORD, SENTINEL_PASSWORD, Sentinels
from harness.waiting import eventually

FOLLOWED_S = 180  # a sentinel that stood still for two seconds keeps quiet for thirty
LIMIT = 100000
BEFORE = 20


@pytest.fixture
def sentinels():
    running = Sentinels()
    yield running
    running.close()


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def passwords(tmp_path):
    """The words that name the files with both."""
    (tmp_path / "master").write_text(PASSWORD + "\n")
    (tmp_path / "sentinel").write_text(SENTINEL_PASSWORD + "\n")
    return f"password-file={tmp_path}/master sentinel-password-file={tmp_path}/sentinel"


@pytest.fixture
def machine(sentinels, passwords, server, keys, key):  # pylint: disable=unused-argument
    def start(**how):
        return server(conf(f"{sentinels.url} {passwords}", plan=DAY + exposition.LOCATION, budget="5s"), keys=keys,
                      allow=SAID + (r"AQ00450",), **how)
    return start


def replicated(sentinels):
    """Waits until the replica has all that the master has now."""
    wanted = int(sentinels.master.info("replication")["master_repl_offset"])
    eventually(lambda: int(sentinels.replica().info("replication")["slave_repl_offset"]) >= wanted, 30,
               what="replication")


def counts_on(heir):
    """Waits until it is the master and counts. It ends all connections when it is promoted, those of this test too."""
    def is_it():
        with contextlib.suppress(OSError):
            return heir.info("replication")["role"] == "master" and calls(heir) > 0
    eventually(is_it, FOLLOWED_S, what="counting on the new master")


def test_requests_are_counted_on_the_master_that_the_sentinels_name(machine, sentinels, key):
    web = machine()
    assert [remaining(web, key) for _ in range(3)] == [LIMIT - 1, LIMIT - 2, LIMIT - 3]
    assert sentinels.master.counters() >= 1
    said = (web.root.path / "state" / "runtime.json").read_text() + web.log.text()
    assert PASSWORD not in said and SENTINEL_PASSWORD not in said
    ran = subprocess.run([paths.CTL, "store", "info", "--json", "--state-dir", web.root.path / "state"],
                         capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["live"] == sentinels.master.counters()


def test_f37_killed_master_is_followed_under_load_and_what_was_replicated_is_kept(machine, sentinels, key):
    web = machine()
    assert statuses(web.burst(BEFORE, ITEM, key=key)) == {200: BEFORE}
    replicated(sentinels)
    with Load(web, key) as load:
        load.goes_on()
        heir = sentinels.kill_master()
        counts_on(heir)
        load.goes_on()
    assert set(load.statuses) == {200}
    used = LIMIT - remaining(web, key)
    # Nothing that the replica had is lost, and nothing is counted there that was not asked.
    assert BEFORE < used <= BEFORE + len(load.statuses) + 1
    assert remaining(web, key) == LIMIT - used - 1


def test_f37_master_that_becomes_a_replica_is_left(machine, sentinels, key):
    """A failover that an operator asks for: the old one lives on, and its connections end or answer READONLY."""
    web = machine()
    assert remaining(web, key) == LIMIT - 1
    replicated(sentinels)
    heir = sentinels.replica()
    with Load(web, key) as load:
        load.goes_on()
        sentinels.fail_over()
        counts_on(heir)
        load.goes_on()
    assert set(load.statuses) == {200}


def test_f37_replica_is_never_counted_on(sentinels, passwords, server, keys, key):  # pylint: disable=unused-argument
    """A sentinel that names a replica, as one that is late does."""
    late = sentinels.sentinels[0]
    late.say("SENTINEL", "MONITOR", "late", "127.0.0.1", sentinels.replica().port, 3)
    where = f"redis+sentinel://127.0.0.1:{late.port}/late {passwords}"
    output = server(conf(where, budget="5s"), keys=keys, start=False).start_fails()
    assert "does not answer (readonly)" in output


def test_name_that_no_sentinel_knows_is_said(sentinels, passwords, server, keys, key):  # pylint: disable=unused-argument
    wrong = sentinels.url.replace(f"/{MASTER_NAME}", "/nobody")
    output = server(conf(f"{wrong} {passwords}"), keys=keys, start=False).start_fails()
    assert "AQ00450" in output and "knows no master of that name" in output
    assert "does not answer (down)" in output
