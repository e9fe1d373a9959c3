# SPDX-License-Identifier: Apache-2.0
"""The profile ontime: a test for each row of its page, docs/profiles/ontime.md."""

import calendar

import pytest

from harness import checks, profiles, webhooks
from harness.backend import Backend
from harness.waiting import eventually

FILE = "/v1/item.json"
DAY_S = 86400
LAST_OF_JANUARY = calendar.timegm((2026, 1, 31, 0, 0, 0))
FIRST_OF_FEBRUARY = LAST_OF_JANUARY + DAY_S
FIRST_OF_MARCH = calendar.timegm((2026, 3, 1, 0, 0, 0))
BIG_PLANS = ("grow", "scale", "enterprise", "enterprise-plus")
MONTHLY_PLANS = ("grow", "enterprise")


@pytest.fixture
def api(server, backend):
    """The profile at noon of January 31st."""
    web = profiles.serve(server, "ontime", backend, own_file=FILE, faketime="+0")
    web.clock.freeze(LAST_OF_JANUARY + DAY_S // 2)
    return web


def spend(web, key, count):
    """Sends `count` requests, all of which have to be allowed."""
    load = web.h2load(FILE, count, connections=min(count, 8), key=key, http1=True)
    assert (load.ok, load.total) == (count, count), load


def assert_refused(answer, retry_after_s):
    checks.assert_problem(answer, 429)
    assert checks.retry_after(answer) == retry_after_s


@pytest.mark.parametrize("plan", BIG_PLANS)
def test_row_N1_86400_a_day_until_midnight_utc(api, plan):
    key = api.keys[plan]
    spend(api, key, 86399)
    assert checks.trio(api.get(FILE, key=key), "-Daily") == (86400, 0, FIRST_OF_FEBRUARY)
    assert_refused(api.get(FILE, key=key), DAY_S // 2)
    api.clock.freeze(FIRST_OF_FEBRUARY - 1)
    assert_refused(api.get(FILE, key=key), 1)
    api.clock.freeze(FIRST_OF_FEBRUARY)
    assert checks.trio(api.get(FILE, key=key), "-Daily") == (86400, 86399, FIRST_OF_FEBRUARY + DAY_S)


@pytest.mark.parametrize("plan", MONTHLY_PLANS)
def test_row_N2_100000_a_calendar_month_until_the_first(api, plan):
    key = api.keys[plan]
    spend(api, key, 5)
    assert checks.trio(api.get(FILE, key=key), "-Monthly") == (100000, 99994, FIRST_OF_FEBRUARY)
    api.clock.freeze(FIRST_OF_FEBRUARY)
    assert checks.trio(api.get(FILE, key=key), "-Monthly") == (100000, 99999, FIRST_OF_MARCH)
    spend(api, key, 86399)
    api.clock.freeze(FIRST_OF_FEBRUARY + DAY_S)
    spend(api, key, 13600)
    answer = api.get(FILE, key=key)
    assert_refused(answer, FIRST_OF_MARCH - FIRST_OF_FEBRUARY - DAY_S)
    assert checks.trio(answer, "-Daily").remaining == 86400 - 13600
    assert checks.trio(answer, "-Monthly") == (100000, 0, FIRST_OF_MARCH)
    api.clock.freeze(FIRST_OF_MARCH)
    assert checks.trio(api.get(FILE, key=key), "-Monthly").remaining == 99999


@pytest.mark.parametrize("plan", ["scale", "enterprise-plus"])
def test_row_N2_scale_and_enterprise_plus_have_no_month(api, plan):
    key = api.keys[plan]
    spend(api, key, 86400)
    api.clock.freeze(FIRST_OF_FEBRUARY)
    spend(api, key, 13601)
    assert checks.trio(api.get(FILE, key=key), "-Daily").remaining == 86400 - 13602


def test_row_N3_trial_has_1000_a_day_and_5000_in_total(api):
    key = api.keys["trial"]
    for day in range(5):
        api.clock.freeze(LAST_OF_JANUARY + day * DAY_S)
        spend(api, key, 999)
        assert checks.trio(api.get(FILE, key=key), "-Daily").remaining == 0
        if day < 4:
            assert_refused(api.get(FILE, key=key), DAY_S)
    # A year later the day is a new one, and the trial is over all the same.
    api.clock.freeze(LAST_OF_JANUARY + 365 * DAY_S)
    answer = api.get(FILE, key=key)
    problem = checks.assert_problem(answer, 429)
    assert problem["detail"] == "The 5000 requests of the trial are used up."
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("plan", [*BIG_PLANS, "trial"])
def test_row_N4_headers_of_the_day_and_of_the_month_where_the_plan_has_one(api, plan):
    key = api.keys[plan]
    for answer in (api.get(FILE, key=key), api.get("/v1/status/404", key=key), api.head(FILE, key=key)):
        day = checks.trio(answer, "-Daily")
        assert (day.limit, day.reset) == (1000 if plan == "trial" else 86400, FIRST_OF_FEBRUARY)
        if plan in MONTHLY_PLANS:
            month = checks.trio(answer, "-Monthly")
            assert (month.limit, month.reset) == (100000, FIRST_OF_FEBRUARY)
        ours = {name for name in answer.headers.names() if name.startswith("x-ratelimit-")}
        assert len(ours) == (6 if plan in MONTHLY_PLANS else 3), ours
        assert "Retry-After" not in answer.headers
    assert (day.remaining, answer.status) == (day.limit - 3, 200)


def test_row_N4_refusal_has_retry_after_beside_the_same_headers(api):
    key = api.keys["trial"]
    spend(api, key, 1000)
    answer = api.get(FILE, key=key)
    assert_refused(answer, DAY_S // 2)
    assert checks.trio(answer, "-Daily") == (1000, 0, FIRST_OF_FEBRUARY)


def test_row_N5_the_end_of_a_batch_is_pushed(server, backend):
    receiver, secret = Backend(), webhooks.new_secret()
    try:
        web = profiles.serve(server, "ontime", backend, start=False)
        web.write_conf(web.spec.conf + webhooks.ALLOW)
        web.keys.tenant("grow-account", plan="grow", webhook=webhooks.webhook(receiver, secret))
        web.save_keys()
        web.start()
        answer = web.post("/v1/imports", body=b"one\ntwo\n", key=web.keys["grow"])
        assert answer.status == 202, answer
        (seen,) = webhooks.wait_seen(receiver)
        message = webhooks.verified(seen, secret)
        assert (message["type"], message["data"]["id"]) == ("batch.succeeded", answer.json()["id"])
        eventually(web.access_log, what="a line of the upload")
        assert not [line for line in web.access_log() if '"GET ' in line], "nobody had to poll"
        result = web.get(answer.headers["Location"] + "/result", key=web.keys["grow"])
        assert result.json() == {"received": 2, "imported": 2}
    finally:
        receiver.close()


def test_every_key_of_an_account_uses_its_budget(api):
    second = api.keys.add("trial-account")
    api.save_keys()
    api.restart()
    spend(api, api.keys["trial"], 999)
    assert api.get(FILE, key=second).status == 200
    assert api.get(FILE, key=api.keys["trial"]).status == 429
