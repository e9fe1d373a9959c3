# SPDX-License-Identifier: Apache-2.0
"""The profile waqti: a test for each row of its page, docs/profiles/waqti.md."""

import calendar
import json
import re

import pytest

from harness import checks, confs, profiles
from harness.waiting import eventually

FILE = "/v1/item.json"
# The moments of the page's example.
MIDNIGHT = calendar.timegm((2025, 1, 15, 0, 0, 0))
NOON = MIDNIGHT + 43200
NEXT_DAY = MIDNIGHT + 86400
NUMBER = re.compile(r"\d+")


@pytest.fixture
def api(server, backend):
    """The profile at noon, at the first second of a minute."""
    web = profiles.serve(server, "waqti", backend, own_file=FILE, faketime="+0")
    web.clock.freeze(NOON)
    return web


def spend(web, key, count):
    """Sends `count` requests, all of which have to be allowed."""
    load = web.h2load(FILE, count, connections=min(count, 8), key=key, http1=True)
    assert (load.ok, load.total) == (count, count), load


def spend_day(web, key, count, a_minute):
    """Sends `count` requests, so many every second minute."""
    while count:
        spend(web, key, min(count, a_minute))
        web.clock.advance(120)
        count -= min(count, a_minute)


def assert_refused(answer):
    """A 429 in the shape of the page; returns its error and its meta."""
    assert answer.status == 429, answer
    body = answer.json()
    assert list(body) == ["error", "meta"]
    return body["error"], body["meta"]


@pytest.mark.parametrize("plan, a_minute, a_day", [("basic", 60, 1000), ("professional", 300, 10000)])
def test_row_W1_so_many_a_minute_and_so_many_a_day(api, plan, a_minute, a_day):
    key = api.keys[plan]
    spend(api, key, a_minute - 1)
    assert checks.trio(api.get(FILE, key=key))[:2] == (a_minute, 0)
    assert "retry after" in assert_refused(api.get(FILE, key=key))[0]["message"]
    api.clock.advance(120)
    spend_day(api, key, a_day - a_minute, a_minute)
    assert str(a_day) in assert_refused(api.get(FILE, key=key))[0]["message"]


def test_row_W1_enterprise_has_1000_a_minute_and_no_daily_cap(api):
    key = api.keys["enterprise"]
    spend(api, key, 1000)
    assert checks.trio(api.get(FILE, key=key))[:2] == (1000, 0)
    api.clock.advance(120)
    spend_day(api, key, 10000, 1000)
    assert checks.trio(api.get(FILE, key=key)).remaining == 999


def test_row_W2_minute_slides(api):
    key = api.keys["basic"]
    api.clock.freeze(NOON + 30)
    spend(api, key, 60)
    # A fixed minute would be over now.
    api.clock.freeze(NOON + 61)
    assert api.get(FILE, key=key).status == 429
    # What was sent within ten seconds comes back within ten seconds, a minute later.
    api.clock.freeze(NOON + 95)
    left = checks.trio(api.get(FILE, key=key)).remaining
    assert 20 < left < 40
    api.clock.freeze(NOON + 100)
    assert checks.trio(api.get(FILE, key=key)).remaining == 58


def test_row_W2_day_is_a_calendar_day_in_utc(api):
    key = api.keys["basic"]
    spend_day(api, key, 1000, 60)
    answer = api.get(FILE, key=key)
    assert checks.retry_after(answer) == NEXT_DAY - int(api.clock.now())
    api.clock.freeze(NEXT_DAY - 1)
    answer = api.get(FILE, key=key)
    assert (answer.status, checks.retry_after(answer)) == (429, 1)
    api.clock.freeze(NEXT_DAY)
    assert checks.trio(api.get(FILE, key=key)).remaining == 59


def test_row_W2_each_token_and_so_each_tenant_has_its_own(api):
    other = api.keys.tenant("other-tenant", "basic").add("other-tenant", "5|another-example")
    api.save_keys()
    api.restart()
    spend(api, api.keys["basic"], 60)
    assert api.get(FILE, key=api.keys["basic"]).status == 429
    assert checks.trio(api.get(FILE, key=other)).remaining == 59


def test_row_W3_plan_change_next_request(server, backend):
    web = profiles.serve(server, "waqti", backend, own_file=FILE)
    key, children = web.keys["basic"], sorted(web.child_pids())
    spend(web, key, 60)
    assert web.get(FILE, key=key).status == 429
    web.keys.tenant("basic-tenant", "professional")
    web.load_keys()
    assert web.get(FILE, key=key).status == 200
    # Nothing was refilled, and nobody restarted.
    shown = checks.trio(web.get(FILE, key=key))
    assert shown.limit == 300 and 235 < shown.remaining < 240
    web.keys.tenant("basic-tenant", "basic")
    web.load_keys()
    assert web.get(FILE, key=key).status == 429
    assert sorted(web.child_pids()) == children


def test_row_W4_headers_show_the_minute(api):
    example, _ = profiles.examples("waqti", "http")
    names = [line.split(":")[0] for line in example.splitlines()[1:4]]
    key = api.keys["professional"]
    for remaining in (299, 298, 297):
        answer = api.get(FILE, key=key)
        assert checks.trio(answer) == (300, remaining, NOON + 60)
    assert [name for name, _ in answer.headers.pairs if name.startswith("X-RateLimit-")] == names
    assert answer.headers["Content-Type"] == "application/json"


def test_row_W4_refusal_is_as_on_the_page(api):
    _, example = profiles.examples("waqti", "http")
    shown = json.loads(profiles.examples("waqti", "json")[0])
    key = api.keys["professional"]
    spend(api, key, 300)
    api.clock.freeze(NOON + 9)
    answer = api.get(FILE, key=key, headers={"X-Request-Id": "req_rl_9f3a2b1c"})
    error, meta = assert_refused(answer)
    names = [line.split(":")[0] for line in example.splitlines()[1:]]
    assert all(name in answer.headers for name in names)
    assert answer.headers["Content-Type"] == "application/json"
    wait_s = checks.retry_after(answer)
    assert checks.trio(answer) == (300, 0, NOON + 9 + wait_s)
    assert error == {"code": "RATE_LIMIT_EXCEEDED", "message": shown["error"]["message"].replace("45", str(wait_s))}
    assert meta == {"timestamp": "2025-01-15T12:00:09Z", "request_id": shown["meta"]["request_id"]}
    assert NUMBER.sub("0", meta["timestamp"]) == NUMBER.sub("0", shown["meta"]["timestamp"])
    # The wait is enough, and a second less is not.
    api.clock.freeze(NOON + 9 + wait_s - 1)
    assert api.get(FILE, key=key).status == 429
    api.clock.freeze(NOON + 9 + wait_s)
    assert api.get(FILE, key=key).status == 200


def test_row_W4_daily_refusal_names_the_daily_cap_and_the_next_day(api):
    key = api.keys["basic"]
    spend_day(api, key, 1000, 60)
    answer = api.get(FILE, key=key)
    error, meta = assert_refused(answer)
    wait_s = checks.retry_after(answer)
    assert error["message"] == f"Daily limit of 1000 requests reached. Please retry after {wait_s} seconds."
    assert checks.trio(answer) == (1000, 0, NEXT_DAY)
    assert meta["request_id"] == answer.headers["X-Request-Id"]


def test_row_W5_reads_and_writes_count_alike(api):
    key = api.keys["basic"]
    sent = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    for number, method in enumerate(sent, 1):
        answer = api.request(method, "/v1/echo", key=key, body=None if method in ("GET", "HEAD") else b"{}")
        assert (answer.status, checks.trio(answer).remaining) == (200, 60 - number), method
