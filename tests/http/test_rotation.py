# SPDX-License-Identifier: Apache-2.0
"""apiquotactl key rotate beside a real httpd: the new key at once, the old one for a while, one set of counters."""

import datetime
import json
import subprocess

import pytest

from harness import checks, confs, paths, quota
from harness.waiting import eventually


def ctl(web, *words, code=0):
    """What apiquotactl prints with --json; on failure what it says on standard error."""
    done = subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), "--json", *words],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else json.loads(done.stdout)


def entries(web):
    return {e["id"]: e for e in json.loads(web.root.keys_file.read_text())["keys"]}


def status(web, key):
    return web.get(quota.PROBE, key=key).status


@pytest.fixture(name="web")
def fixture_web(server, keys):
    keys.tenant("acme", max_keys=2)
    return server(quota.ROOMY + confs.location("/v1"), keys=keys, start=False, mpm_conf=confs.ONE_CHILD)


def test_both_keys_hold_for_the_overlap_and_count_as_one(web, keys):
    old = keys.add("acme", id="k_old", scopes=["a"], limits={"year": "1000/366d"})
    web.save_keys()
    web.start()
    assert checks.trio(web.get(quota.PROBE, key=old)).remaining == 999
    before = datetime.datetime.now(datetime.timezone.utc)
    made = ctl(web, "key", "rotate", "k_old", "--overlap", "1h")
    assert made["replaces"] == "k_old" and made["id"] != "k_old"
    eventually(lambda: status(web, made["key"]) == 200)
    file = entries(web)
    assert file[made["id"]]["scopes"] == ["a"] and file[made["id"]]["tenant"] == "acme"
    assert "expires_at" not in file[made["id"]]
    ends = datetime.datetime.fromisoformat(file["k_old"]["expires_at"].replace("Z", "+00:00"))
    assert datetime.timedelta(minutes=59) < ends - before < datetime.timedelta(minutes=61)
    left = checks.trio(web.get(quota.PROBE, key=old)).remaining
    assert left < 999 and checks.trio(web.get(quota.PROBE, key=made["key"])).remaining == left - 1
    again = ctl(web, "key", "rotate", made["id"], "--overlap", "0")
    assert entries(web)[again["id"]]["counts_as"] == "k_old"


def test_old_key_ends_with_the_overlap(server, keys):
    old = keys.add("acme", id="k_old")
    at = 1893456000  # 2030-01-01T00:00:00Z
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys, faketime="+0", mpm_conf=confs.ONE_CHILD)
    ctl(web, "key", "rotate", "k_old")
    document = json.loads(web.root.keys_file.read_text())
    document["keys"][0]["expires_at"] = "2030-01-01T00:00:00Z"
    web.save_keys(json.dumps(document))
    web.clock.freeze(at - 1)
    eventually(lambda: status(web, old) == 200)
    web.clock.freeze(at)
    eventually(lambda: status(web, old) == 401)


def test_no_overlap_ends_the_old_key_at_once_also_where_there_is_no_room_for_two(web, keys):
    old, _ = keys.add("acme", id="k_old"), keys.add("acme")
    web.save_keys()
    web.start()
    assert "as many as it may" in ctl(web, "key", "rotate", "k_old", code=1)
    made = ctl(web, "key", "rotate", "k_old", "--overlap", "0")
    assert "k_old" not in entries(web) and "retires_at" not in made
    eventually(lambda: status(web, made["key"]) == 200)
    assert status(web, old) == 401


def test_key_that_ends_sooner_by_itself_does_so(web, keys):
    keys.add("acme", id="k_old", expires_at="2026-11-22T00:00:00Z")
    web.save_keys()
    web.start()
    made = ctl(web, "key", "rotate", "k_old")
    assert {entries(web)[name]["expires_at"] for name in ("k_old", made["id"])} == {"2026-11-22T00:00:00Z"}


@pytest.mark.parametrize("words, code, said", [
    (("k_none",), 1, "there is no key"), (("k_off",), 1, "is disabled"), (("k_on", "--overlap", "soon"), 2, "--overlap soon")])
def test_what_cannot_be_rotated_is_refused_and_nothing_changes(web, keys, words, code, said):
    keys.add("acme", id="k_off", disabled=True)
    keys.add("globex", id="k_on")
    web.save_keys()
    web.start()
    before = web.root.keys_file.read_text()
    assert said in ctl(web, "key", "rotate", *words, code=code)
    assert web.root.keys_file.read_text() == before
