# SPDX-License-Identifier: Apache-2.0
"""The keys file under a running server: what a change does, and what a broken file does not."""

import concurrent.futures
import json

import pytest

from harness import checks, confs, keys as keys_of, quota
from harness.client import statuses
from harness.waiting import eventually

PLAN_OF_ALL = quota.ROOMY + confs.plan("tiny", "year 3/366d headers=primary")


@pytest.fixture(name="key")
def fixture_key(keys):
    return keys.add("acme", id="k_acme")


@pytest.fixture(name="web")
def fixture_web(server, keys, key):  # pylint: disable=unused-argument
    return server(PLAN_OF_ALL + confs.location("/v1"), keys=keys)


def status(web, key):
    return web.get("/v1/item.json", key=key).status


# ---- changes ---------------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_added_disabled_and_removed_keys_are_known(web, keys, key):
    fresh = keys.add("acme")
    web.load_keys()
    assert status(web, fresh) == 200
    keys.change(key, disabled=True)
    web.load_keys()
    assert status(web, key) == 401
    keys.remove(fresh)
    web.load_keys()
    assert status(web, fresh) == 401


def test_file_that_is_written_in_place_is_read_too(web, keys, key):
    keys.change(key, disabled=True)
    web.expect_log(r"AQ00202")  # if httpd looks at the file amid the writing
    with web.keys_loaded():
        web.root.keys_file.write_text(json.dumps(keys.document))
    assert status(web, key) == 401


def test_plan_and_overrides_change_what_is_charged_and_not_what_is_used(web, keys, key):
    assert [status(web, key) for _ in range(3)] == [200] * 3
    keys.tenant("acme", plan="tiny")
    web.load_keys()
    assert status(web, key) == 429
    keys.change(key, limits={"year": "1000/366d"})
    web.load_keys()
    assert status(web, key) == 200
    quota_now = checks.trio(web.get("/v1/item.json", key=key))
    assert quota_now.limit == 1000
    assert quota_now.remaining < 1000 - 4, "moving between plans refilled the counter"


def test_refused_entry_does_not_hold_up_a_revocation_beside_it(web, keys, key):
    web.expect_log(r"AQ00200: .*refused keys\[1\] \(k_odd\): the tenant \"nobody\" is unknown", must=True)
    keys.document["keys"].append({"id": "k_odd", "sha256": keys_of.sha256_of("x"), "tenant": "nobody"})
    keys.change(key, disabled=True)
    web.load_keys()
    assert status(web, key) == 401


# ---- files that are none -----------------------------------------------------------------------------

BROKEN = {
    "empty": b"",
    "half_written": b'{"tenants": {"acme": {"plan": "basic"}}, "keys": [{"id": "k_a',
    "deeply_nested": b"[" * 1000000,
    "members_twice": b'{"tenants": {}, "tenants": {}, "keys": []}',
    "invalid_utf8": b'{"tenants": {"\xff\xfe": {"plan": "basic"}}, "keys": []}',
    "another_type": b'{"keys": {}}',
    "hundred_megabytes": b" " * (100 << 20),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_f31_broken_file_leaves_the_last_good_one_in_force(web, keys, key, content):
    web.expect_log(r"AQ00202: .*keys\.json.*; the keys read before stay in force", must=True)
    web.save_keys(content)
    web.log.wait_for("AQ00202")
    assert status(web, key) == 200
    assert status(web, "aq_other") == 401
    fresh = keys.add("acme")
    web.load_keys()
    assert status(web, fresh) == 200


def test_f31_broken_file_stops_a_start_but_no_restart(web, server, keys, key):
    web.expect_log(r"AQ0(0202|1015|1016)")
    web.save_keys(b"{")
    web.log.wait_for("AQ00202")
    web.graceful()
    assert status(web, key) == 200
    fresh = keys.add("acme")
    web.load_keys()
    assert status(web, fresh) == 200

    other = server(PLAN_OF_ALL + confs.location("/v1"), keys=keys, start=False)
    other.save_keys(b"{")
    assert "line 1, column 1" in other.start_fails()


def test_f31_replaced_a_thousand_times_under_load(web, keys, key):
    web.expect_log(r"AQ00202")
    other = keys.add("acme")
    both = json.dumps(keys.document)
    keys.remove(other)
    one = json.dumps(keys.document)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = pool.submit(web.burst, 4000, "/v1/item.json", 8, key=key)
        asked_other = pool.submit(web.burst, 4000, "/v1/item.json", 4, key=other)
        for turn in range(1000):
            if turn % 10 == 9:
                web.root.keys_file.write_text(both[:turn % len(both)])
            else:
                web.save_keys(both if turn % 2 else one)
        assert set(statuses(asked.result())) == {200}
        assert set(statuses(asked_other.result())) <= {200, 401}
    web.save_keys(both)
    eventually(lambda: status(web, other) == 200)
