# SPDX-License-Identifier: Apache-2.0
"""Refusals: what a 429 says, that its Retry-After is exact, and that no refused body is read."""

import re
import subprocess

import pytest

from harness import checks, confs, quota
from harness.waiting import eventually
from harness.wire import request_bytes

NOON = 1893499200  # 2030-01-01T12:00:00Z
MEGABYTE = 1 << 20


@pytest.fixture
def limited(server, keys):
    """limited(*limits, **fields): a server, and the key of a tenant whose plan has those limits."""
    def make(*limits, more="", **fields):
        keys.tenant("small", plan="small")
        key = keys.add("small")
        return server(confs.plan("small", *limits) + confs.location("/v1") + more, keys=keys, **fields), key
    return make


def spend(web, key, count, path="/v1/item.json"):
    answers = [web.get(path, key=key) for _ in range(count)]
    assert [a.status for a in answers] == [200] * count
    return answers


# ---- what is said ----------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_429_is_a_problem_with_the_members_that_are_promised(limited):
    web, key = limited("minute 2/minute headers=primary", "day 1000/day per=tenant", faketime="+0")
    web.clock.freeze(NOON)
    spend(web, key, 2)
    answer = web.get("/v1/item.json", key=key, headers={"X-Request-Id": "test-42"})
    problem = checks.assert_problem(answer, 429)
    assert answer.headers["Content-Type"] == "application/problem+json"
    wait = checks.retry_after(answer)
    assert problem == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded", "title": "Too Many Requests",
        "status": 429, "code": "quota-exceeded", "detail": problem["detail"], "violated-policies": ["minute"],
        "limit": 2, "window": "1m", "retry_after": wait, "reset": NOON + wait, "request_id": "test-42"}
    assert "minute" in problem["detail"] and str(wait) in problem["detail"]
    assert checks.trio(answer) == (2, 0, NOON + wait)


def test_429_of_head_has_the_headers_and_no_body(limited):
    web, key = limited("year 1/366d headers=primary")
    spend(web, key, 1)
    answer = web.head("/v1/item.json", key=key)
    assert answer.status == 429 and answer.body == b""
    assert checks.retry_after(answer) > 0 and checks.trio(answer).remaining == 0


def test_request_id_of_a_problem_is_the_clients_if_sane_else_our_own(limited):
    web, key = limited("year 1/366d headers=primary")
    spend(web, key, 1)
    def id_for(sent):
        return web.get("/v1/item.json", key=key, headers={"X-Request-Id": sent} if sent else {}).json()["request_id"]
    assert id_for("abc-1.2_3") == "abc-1.2_3"
    own = id_for(None)
    assert re.fullmatch(r"[\w@.-]{10,}", own) and id_for(None) != own
    for insane in ('a"b', "a b", "x" * 129, "<script>", "a{}"):
        assert id_for(insane) not in (insane, "")


def test_message_of_the_limit_is_the_detail(limited):
    web, key = limited('year 1/366d headers=primary message="Mehr gibt es \\"hier\\": https://example.test/ü"')
    spend(web, key, 1)
    problem = checks.assert_problem(web.get("/v1/item.json", key=key), 429)
    assert problem["detail"] == 'Mehr gibt es "hier": https://example.test/ü'


def test_several_refusing_limits_name_the_one_with_the_longest_wait(limited):
    web, key = limited("minute 1/minute headers=primary", "day 1/day headers=suffix:Daily", "year 5/366d",
                       faketime="+0")
    web.clock.freeze(NOON)
    spend(web, key, 1)
    answer = web.get("/v1/item.json", key=key)
    checks.assert_problem(answer, 429, window="1d", limit=1, **{"violated-policies": ["day"]})
    assert checks.retry_after(answer) == 12 * 3600
    assert checks.trio(answer) == checks.trio(answer, "-Daily") == (1, 0, NOON + 12 * 3600)


def test_total_that_is_used_up_has_no_retry_after(limited):
    web, key = limited("all 2/total headers=primary")
    first = spend(web, key, 2)[0]
    assert first.headers["X-RateLimit-Remaining"] == "1" and "X-RateLimit-Reset" not in first.headers
    answer = web.get("/v1/item.json", key=key)
    problem = checks.assert_problem(answer, 429, limit=2, window="total")
    assert "Retry-After" not in answer.headers and "X-RateLimit-Reset" not in answer.headers
    assert "retry_after" not in problem and "reset" not in problem
    assert answer.headers["X-RateLimit-Remaining"] == "0"


def test_reset_of_a_refused_day_is_midnight_whatever_part_of_a_second_it_is(server, keys):
    key = keys.add("acme")
    web = server(confs.plan("basic", "day 1/day headers=primary") + confs.location("/v1"), keys=keys, faketime="+0")
    web.clock.set_to(NOON + 0.5)  # and on from there, so that hardly any of these comes at a whole second
    resets = [checks.trio(web.get("/v1/item.json", key=key)).reset for _ in range(10)]
    assert set(resets) == {NOON - NOON % 86400 + 86400}
    refused = web.get("/v1/item.json", key=key)
    assert refused.status == 429 and refused.json()["reset"] == resets[0]


# ---- Retry-After is exact --------------------------------------------------------------------------

@pytest.mark.parametrize("rate, spacing_s", [("5/minute", 0), ("5/minute", 7), ("7/10s", 1), ("3/second", 0),
                                             ("4/5s", 1), ("100/hour", 0), ("3/day", 0), ("3/month", 0)])
@pytest.mark.parametrize("start", [NOON, NOON + 37])
def test_retry_after_is_enough_and_one_second_less_is_not(limited, rate, spacing_s, start):
    web, key = limited(f"only {rate} headers=primary", faketime="+0")
    now = start
    for _ in range(3):
        web.clock.freeze(now)
        for _ in range(200):
            answer = web.get("/v1/item.json", key=key)
            if answer.status != 200:
                break
            now += spacing_s
            web.clock.freeze(now)
        assert answer.status == 429
        wait = checks.retry_after(answer)
        assert answer.json()["reset"] == checks.trio(answer).reset == now + wait
        if wait > 1:
            web.clock.freeze(now + wait - 1)
            early = web.get("/v1/item.json", key=key)
            assert early.status == 429 and checks.retry_after(early) == 1
        now += wait
        web.clock.freeze(now)
        assert web.get("/v1/item.json", key=key).status == 200
        now += 1


def test_curl_that_retries_succeeds_by_obeying_retry_after(limited, tmp_path):
    web, key = limited("few 2/8s headers=primary")
    spend(web, key, 2)
    ran = subprocess.run(
        ["curl", "-sS", "--retry", "2", "-o", str(tmp_path / "body"), "-w", "%{http_code}", "-H",
         f"Authorization: Bearer {key}", f"http://127.0.0.1:{web.port}/v1/item.json"],
        capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0 and ran.stdout == "200", ran
    eventually(lambda: len(web.access_log()) == 4, what="the log of each")
    # Two processes may write their lines in another order than they answered in.
    assert sorted(line.split()[4] for line in web.access_log()) == ["200", "200", "200", "429"]


# ---- X-RateLimit-Reset -----------------------------------------------------------------------------

def test_reset_is_epoch_seconds_of_the_end_of_the_window(limited):
    web, key = limited("day 10/day headers=primary", "month 100/month headers=suffix:Monthly",
                       "hour 50/hour headers=suffix:Hourly", faketime="+0")
    web.clock.freeze(NOON + 90)
    answer = spend(web, key, 1)[0]
    assert checks.trio(answer) == (10, 9, NOON + 12 * 3600)
    assert checks.trio(answer, "-Hourly") == (50, 49, NOON + 3600)
    assert checks.trio(answer, "-Monthly") == (100, 99, NOON - 12 * 3600 + 31 * 86400)
    web.clock.freeze(NOON + 12 * 3600)
    assert checks.trio(spend(web, key, 1)[0]).remaining == 9
    web.clock.freeze(1898553599)  # 2030-02-28T23:59:59Z
    assert checks.trio(spend(web, key, 1)[0], "-Monthly") == (100, 99, 1898553600)


def test_reset_with_nothing_remaining_is_when_one_more_fits(limited):
    web, key = limited("minute 3/minute headers=primary", faketime="+0")
    web.clock.freeze(NOON)
    last = checks.trio(spend(web, key, 3)[2])
    assert last.remaining == 0
    web.clock.freeze(last.reset - 1)
    assert web.get("/v1/item.json", key=key).status == 429
    web.clock.freeze(last.reset)
    assert web.get("/v1/item.json", key=key).status == 200


# ---- bodies of refused uploads ---------------------------------------------------------------------

def refusals(key, spent):
    """(what is refused, path, key, status): 401 without and with a wrong key, 429, 403, 413 of LimitRequestBody."""
    return [("no key", "/v1/item.json", None, 401), ("wrong key", "/v1/item.json", "aq_x", 401),
            ("over quota", "/v1/item.json", spent, 429), ("no scope", "/v1/scoped/item.json", key, 403),
            ("too large", "/v1/small/item.json", key, 413)]


@pytest.fixture
def refusing(server, keys):
    """A server, and what it refuses."""
    keys.tenant("small", plan="small")
    key, spent = keys.add("acme"), keys.add("small")
    web = server(quota.ROOMY + confs.plan("small", "year 1/366d headers=primary") + confs.location("/v1")
                 + "<Location /v1/small>\n    LimitRequestBody 1000\n</Location>\n"
                 + confs.location("/v1/scoped", require="api-scope none"), keys=keys)
    web.root.add_file("v1/small/item.json", b"{}")
    spend(web, spent, 1)
    web.expect_log("AH01587|AH01588|AH01631|AH0")
    return web, refusals(key, spent)


def test_f73_refused_upload_is_answered_before_its_body_is_read_and_closed(refusing):
    web, cases = refusing
    for what, path, key, status in cases:
        fields = [("Content-Length", 200 * MEGABYTE)] + ([("Authorization", f"Bearer {key}")] if key else [])
        with web.raw() as connection:
            connection.send(request_bytes("POST", path, fields, b"beginning"))
            answer = connection.read_response("POST")
            checks.assert_problem(answer, status)
            assert answer.headers["Connection"] == "close", what
            assert connection.closed_by_peer(), f"{what}: the server goes on reading"


def test_f73_refused_chunked_upload_is_answered_before_its_body_is_read(refusing):
    web, cases = refusing
    for what, path, key, status in cases[:4]:
        fields = [("Transfer-Encoding", "chunked")] + ([("Authorization", f"Bearer {key}")] if key else [])
        with web.raw() as connection:
            connection.send(request_bytes("POST", path, fields, b"5\r\nhello\r\n"))
            checks.assert_problem(connection.read_response("POST"), status)
            assert connection.closed_by_peer(), what


def test_f73_refused_upload_that_expects_a_100_gets_none(refusing):
    web, cases = refusing
    for what, path, key, status in cases:
        got_100, answer = web.expect_continue(path, b"x" * 2000, key=key)
        assert not got_100, what
        checks.assert_problem(answer, status)


def test_f73_accepted_upload_keeps_the_connection(server, keys, backend):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.proxy("/v1", backend), keys=keys, modules=("proxy_http",))
    with web.session() as session:
        for _ in range(3):
            answer = session.request("POST", "/v1/echo/x", key=key, body=b"x" * 5000)
            assert answer.status == 200 and answer.json()["body_length"] == 5000
        assert session.connects == 1
    got_100, answer = web.expect_continue("/v1/echo/x", b"x" * 2000, key=key)
    assert got_100 and answer.status == 200


def test_f73_refusal_without_a_body_keeps_the_connection(refusing):
    web, cases = refusing
    for what, path, key, status in cases[:4]:
        with web.session() as session:
            assert [session.get(path, key=key).status for _ in range(3)] == [status] * 3
            assert session.connects == 1, what
