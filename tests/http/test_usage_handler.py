# SPDX-License-Identifier: Apache-2.0
"""apiquota-usage: a caller reads its own limits and use, free of charge."""

import datetime

import pytest

from harness import checks, confs

PLAN = confs.plan("basic", "minute 2/minute", "day 100/day per=tenant headers=suffix:Daily", "sum 500/total",
                  "calls unlimited/month")
CONF = PLAN + confs.location("/v1") + "<Location /v1/usage>\n    SetHandler apiquota-usage\n</Location>\n"


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def web(server, keys, key):  # pylint: disable=unused-argument
    return server(CONF, keys=keys)


def usage(web, key, path="/v1/usage"):
    """The document, its limits by name; it must agree with the headers."""
    answer = web.get(path, key=key)
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json", answer
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.json()
    document["limits"] = {limit["name"]: limit for limit in document["limits"]}
    shown = checks.trio(answer)
    minute = document["limits"]["minute"]
    assert (minute["limit"], minute["remaining"]) == (shown.limit, shown.remaining)
    reset_at = datetime.datetime.fromisoformat(minute["reset_at"].replace("Z", "+00:00")).timestamp()
    assert 0 <= shown.reset - reset_at < 1
    return document


def test_caller_sees_who_it_is_and_what_it_used(web, keys, key):
    web.get("/v1/item.json", key=key)
    document = usage(web, key)
    assert [document[name] for name in ("key_id", "tenant", "plan")] == [key.id, "acme", "basic"]
    limits = document["limits"]
    assert list(limits) == ["minute", "day", "sum", "calls"]
    assert limits["minute"].items() >= {"limit": 2, "used": 1, "remaining": 1, "window": "1m", "per": "key"}.items()
    assert limits["day"].items() >= {"limit": 100, "used": 1, "remaining": 99, "window": "1d", "per": "tenant"}.items()
    assert limits["sum"].items() >= {"used": 1, "remaining": 499, "reset_at": None, "window": "total"}.items()
    assert limits["calls"].items() >= {"limit": None, "used": 1, "remaining": None, "per": "key"}.items()


def test_reading_it_costs_nothing(web, key):
    before = usage(web, key)["limits"]
    for _ in range(5):
        assert usage(web, key)["limits"]["minute"]["used"] == before["minute"]["used"] == 0
    assert checks.trio(web.get("/v1/item.json", key=key)).remaining == 1


def test_caller_with_nothing_left_can_read_it(web, key):
    for _ in range(2):
        web.get("/v1/item.json", key=key)
    refused = web.get("/v1/item.json", key=key)
    assert refused.status == 429
    minute = usage(web, key)["limits"]["minute"]
    assert (minute["used"], minute["remaining"]) == (2, 0)


def test_key_of_the_same_tenant_shares_what_is_the_tenants(web, keys, key):
    other = keys.add("acme")
    web.save_keys()
    web.graceful()
    web.get("/v1/item.json", key=key)
    limits = usage(web, other)["limits"]
    assert (limits["minute"]["used"], limits["day"]["used"]) == (0, 1)


def test_head_and_other_methods(web, key):
    head = web.head("/v1/usage", key=key)
    assert head.status == 200 and head.body == b"" and checks.trio(head).remaining == 2
    answer = web.post("/v1/usage", key=key)
    checks.assert_problem(answer, 405)
    assert "GET" in answer.headers["Allow"]
    assert usage(web, key)["limits"]["minute"]["used"] == 0


def test_nobody_else_can_read_it(web):
    checks.assert_problem(web.get("/v1/usage"), 401)
    checks.assert_problem(web.get("/v1/usage", key="aq_unknown"), 401)


def test_caller_whose_name_is_no_utf8_can_read_it(server, keys):
    web = server("SetEnvIf X-Device (.+) device=$1\n" + PLAN + "<Location /v1/usage>\n    APIQuota On\n"
                 "    APIQuotaPrincipal expr=%{reqenv:device}\n    APIQuotaDefaultPlan basic\n"
                 "    SetHandler apiquota-usage\n</Location>\n", keys=keys)
    document = web.get("/v1/usage", headers={"X-Device": b"caf\xe9"}).json()
    assert (document["key_id"], document["tenant"], document["plan"]) == ("caf\ufffd", None, "basic")


def test_own_limits_of_its_location_are_told_too(server, keys, key):
    web = server(CONF + "<Location /v1/usage>\n    APIQuotaLimit extra 7/hour\n</Location>\n", keys=keys)
    assert usage(web, key)["limits"]["extra"]["limit"] == 7
