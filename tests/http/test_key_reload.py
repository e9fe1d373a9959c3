# SPDX-License-Identifier: Apache-2.0
"""The keys file while the server runs: changes within a second, and the last good one whatever becomes of the file."""

import json
import threading
import time

import pytest

from harness import checks, confs, quota
from harness.client import statuses
from harness.waiting import eventually

CONF = quota.ROOMY + confs.plan("rich", "year 2000000/366d headers=primary") + confs.location("/v1")
BROKEN = {"half written": '{"tenants": {"acme": {"plan": "ba', "empty": "", "no object": "[]",
          "deep": "[" * 100000, "utf-8": b'{"tenants": {"\xff\xfe": {}}, "keys": []}',
          "a member twice": '{"tenants": {}, "tenants": {}, "keys": []}', "garbage behind": '{"tenants":{},"keys":[]} x',
          "no tenants": '{"keys": [{"id": 5}]}x'}


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def web(server, keys, key):  # pylint: disable=unused-argument
    return server(CONF, keys=keys)


def status(web, key):
    return web.get("/v1/item.json", key=key).status


def assert_used(web, key, limit):
    """Every 200 of the access log counts, under whichever plan it was given."""
    remaining = checks.trio(web.get("/v1/item.json", key=key)).remaining
    eventually(lambda: sum(line.split()[4] == "200" for line in web.access_log()) == limit - remaining)


@pytest.mark.mpm_all
def test_new_key_and_revoked_key_are_in_force_within_a_second(server, keys, key):
    web, times_s = server(CONF, keys=keys), []
    # A busy machine may take longer, but not each time.
    while sum(time_s <= 1 for time_s in times_s) < 4 and len(times_s) < 30:
        fresh = keys.add("acme")
        assert status(web, fresh) == 401
        keys.change(key, disabled=True)
        began = time.monotonic()
        web.load_keys()
        times_s.append(time.monotonic() - began)
        assert {(status(web, fresh), status(web, key)) for _ in range(8)} == {(200, 401)}
        key = fresh
    assert sorted(times_s)[3] <= 1, times_s


def test_change_of_plan_takes_effect_and_keeps_what_was_used(web, keys, key):
    assert checks.trio(web.get("/v1/item.json", key=key))[:2] == (1000000, 999999)
    keys.tenant("acme", plan="rich")
    web.load_keys()
    assert checks.trio(web.get("/v1/item.json", key=key)).limit == 2000000
    assert_used(web, key, 2000000)


@pytest.mark.parametrize("what", BROKEN)
def test_f31_broken_file_leaves_the_last_good_one_in_force(web, keys, key, what):
    web.expect_log("AQ00202", must=True)
    web.save_keys(BROKEN[what])
    web.log.wait_for("AQ00202.*stay in force")
    assert status(web, key) == 200
    fresh = keys.add("acme")
    web.load_keys()
    assert status(web, fresh) == 200


def test_f31_missing_file_and_folder_leave_the_last_good_one_in_force(web, key):
    web.expect_log("AQ00202")
    web.root.keys_file.unlink()
    web.log.wait_for("AQ00202")
    assert status(web, key) == 200
    mark = web.log.mark()
    web.root.keys_file.mkdir()
    web.log.wait_for("AQ00202", mark)
    assert status(web, key) == 200
    web.root.keys_file.rmdir()


def test_f31_entry_that_breaks_a_rule_is_refused_alone(web, keys, key):
    web.expect_log("AQ00200", must=True)
    fresh = keys.add("acme")
    poor = keys.tenant("poor", plan="no-such-plan").add("poor")
    keys.change(key, disabled=True)
    web.load_keys()
    assert status(web, fresh) == 200 and status(web, key) == 401
    assert status(web, poor) == 401
    assert "no-such-plan" in web.log.wait_for("AQ00200")


@pytest.mark.mpm_all
def test_f31_file_replaced_a_thousand_times_under_load_is_never_a_500(server, keys, key):
    web = server(CONF, keys=keys)
    good, over = json.dumps(keys.document), threading.Event()
    seen, failed = [], []

    def ask():
        try:
            while not over.is_set():
                seen.extend(web.burst(20, "/v1/item.json", concurrency=2, key=key))
        except Exception as failure:  # pylint: disable=broad-except
            failed.append(failure)

    web.expect_log("AQ00202|AQ00200")
    asking = threading.Thread(target=ask)
    asking.start()
    for count in range(1000):
        web.save_keys(good if count % 3 else good[:count % len(good)])
        if count % 20 == 0:
            over.wait(0.05)
    web.save_keys()
    over.set()
    asking.join()
    assert not failed and len(seen) > 100
    assert statuses(seen) == {200: len(seen)}
    fresh = keys.add("acme")
    web.save_keys()
    eventually(lambda: status(web, fresh) == 200)


@pytest.mark.mpm_all
def test_f31_graceful_restart_over_a_broken_file_goes_on_with_the_last_good_keys(web, keys, key):
    web.expect_log("AQ0101[56]|AQ00202")
    web.save_keys('{"tenants": ')
    web.graceful()
    assert status(web, key) == 200
    web.log.wait_for("AQ01016.*stay in force")
    web.graceful()
    assert status(web, key) == 200
    fresh = keys.add("acme")
    web.load_keys()
    assert status(web, fresh) == 200 and status(web, key) == 200


def test_start_over_a_broken_file_is_refused_and_says_why(server, keys, key):
    web = server(CONF, keys=keys, start=False)
    for text, said in (('{"tenants": ', "keys.json"), (None, "keys.json")):
        if text is None:
            web.root.keys_file.unlink()
        else:
            web.save_keys(text)
        output = web.start_fails()
        assert "AQ01015" in output and "APIQuotaKeyFile" in output and said in output
    code, output = web.configtest()
    assert code != 0 and "APIQuotaKeyFile" in output
    web.save_keys()
    assert web.configtest()[0] == 0
    web.start()
    assert status(web, key) == 200


def test_override_that_lowers_a_limit_below_its_use_leaves_no_negative_remaining(web, keys, key):
    for _ in range(5):
        assert status(web, key) == 200
    keys.change(key, limits={"year": "3/366d"})
    web.load_keys()
    assert status(web, key) == 429
    answer = web.get("/v1/item.json", key=key)
    checks.assert_problem(answer, 429, limit=3)
    assert checks.trio(answer)[:2] == (3, 0)
    keys.change(key, limits={"year": "1000/366d"})
    web.load_keys()
    assert status(web, key) == 200
    assert_used(web, key, 1000)
