# SPDX-License-Identifier: Apache-2.0
"""APIQuotaHeaders: RateLimit and RateLimit-Policy of the IETF's draft 10, and what becomes of X-RateLimit-*."""

import pytest

from harness import checks, confs, structured

PLAN = confs.plan("basic", "minute 3/minute", "day 1000/day", "month 5000/month headers=suffix:Monthly",
                  "sum 90/total", "hidden 70/hour headers=none", "free unlimited/day")
NOW = 1_767_225_630  # 2026-01-01 00:00:30 UTC


def conf(headers):
    return PLAN + confs.location("/v1", f"APIQuotaHeaders {headers}")


def lists(answer):
    """RateLimit-Policy and RateLimit as {name: parameters}, in order, each name once."""
    fields = []
    for name in ("RateLimit-Policy", "RateLimit"):
        members = structured.parse_list(answer.headers[name])
        assert len({item for item, _ in members}) == len(members), answer
        fields.append(dict(members))
    assert list(fields[0]) == list(fields[1])
    return fields


@pytest.fixture
def frozen(server, keys):
    """A server at NOW, made of an APIQuotaHeaders value; and its key."""
    key = keys.add("acme")

    def make(headers):
        web = server(conf(headers), keys=keys, faketime="+0")
        web.clock.freeze(NOW)
        return web, key
    return make


def test_lists_hold_every_limit_that_has_a_number_and_is_not_hidden(frozen):
    web, key = frozen("ietf")
    answer = web.get("/v1/item.json", key=key)
    policy, state = lists(answer)
    assert policy == {"minute": {"q": 3, "w": 60}, "day": {"q": 1000, "w": 86400},
                      "month": {"q": 5000, "w": 31 * 86400}, "sum": {"q": 90}}
    assert state["sum"] == {"r": 89}
    assert state["day"] == {"r": 999, "t": 86400 - 30}
    assert state["month"] == {"r": 4999, "t": 31 * 86400 - 30}
    assert state["minute"]["r"] == 2
    assert not [name for name in answer.headers.names() if name.startswith("x-ratelimit")]


def test_t_is_when_more_becomes_available(frozen):
    web, key = frozen("ietf")
    state = lists(web.get("/v1/item.json", key=key))[1]["minute"]
    assert state["r"] == 2
    # A second less is not enough for a third free place, t is. The look itself takes one.
    web.clock.freeze(NOW + state["t"] - 1)
    assert lists(web.get("/v1/item.json", key=key))[1]["minute"]["r"] == 1
    web.clock.freeze(NOW + state["t"])
    assert lists(web.get("/v1/item.json", key=key))[1]["minute"]["r"] == 1


def test_refusal_tells_the_same_wait_as_retry_after(frozen):
    web, key = frozen("both")
    for _ in range(3):
        assert web.get("/v1/item.json", key=key).status == 200
    answer = web.get("/v1/item.json", key=key)
    checks.assert_problem(answer, 429)
    state = lists(answer)[1]["minute"]
    assert state == {"r": 0, "t": checks.retry_after(answer)}
    assert checks.trio(answer).reset == NOW + checks.retry_after(answer)


def test_free_response_shows_what_is_left_after_it_was_given_back(frozen):
    web, key = frozen("ietf")
    tag = web.get("/v1/item.json", key=key).headers["ETag"]
    answer = web.get("/v1/item.json", key=key, headers={"If-None-Match": tag})
    assert answer.status == 304
    assert lists(answer)[1]["minute"]["r"] == 2


@pytest.mark.parametrize("headers, families", [("x-ratelimit", "x"), ("ietf", "i"), ("both", "xi"), ("none", "")])
def test_families_are_as_told(frozen, headers, families):
    web, key = frozen(headers)
    names = web.get("/v1/item.json", key=key).headers.names()
    assert ("x-ratelimit-limit" in names) == ("x" in families)
    assert ("x-ratelimit-limit-monthly" in names) == ("x" in families)
    assert ("ratelimit" in names) == ("ratelimit-policy" in names) == ("i" in families)


def test_refusal_without_headers_still_has_retry_after(frozen):
    web, key = frozen("none")
    for _ in range(4):
        answer = web.get("/v1/item.json", key=key)
    checks.assert_problem(answer, 429)
    checks.assert_no_trio(answer)
    assert checks.retry_after(answer) > 0


def test_delta_counts_resets_from_now(frozen):
    web, key = frozen("x-ratelimit reset=delta")
    answer = web.get("/v1/item.json", key=key)
    assert checks.trio(answer).reset == 30
    assert checks.trio(answer, "-Monthly").reset == 31 * 86400 - 30
    for _ in range(3):
        answer = web.get("/v1/item.json", key=key)
    assert answer.status == 429
    assert checks.trio(answer).reset == checks.retry_after(answer)


def test_headers_of_a_backend_are_replaced(server, keys, backend):
    key = keys.add("acme")
    web = server(PLAN + confs.proxy("/api", backend, "APIQuotaHeaders both"), keys=keys,
                 modules=("proxy_http",))
    backend.script("/item", headers={"RateLimit": '"theirs";r=6;t=5', "RateLimit-Policy": '"theirs";q=7;w=9',
                                                 "X-RateLimit-Limit": "7"})
    answer = web.get("/api/item", key=key)
    assert answer.body == b"scripted\n"
    assert "theirs" not in lists(answer)[0]
    assert checks.trio(answer).limit == 3


def test_inner_section_wins_and_the_rest_is_inherited(server, keys):
    key = keys.add("acme")
    web = server(conf("both reset=delta") + "<Location /v1/withindex>\n    APIQuotaHeaders x-ratelimit\n</Location>\n",
                 keys=keys)
    answer = web.get("/v1/withindex/", key=key)
    assert "RateLimit" not in answer.headers
    assert checks.trio(answer).reset <= 60


@pytest.mark.parametrize("wrong", ["x-rate", "ietf reset=later", "both epoch", "ietf both none"])
def test_what_is_no_such_word_is_a_configuration_error(server, wrong):
    said = server(conf(wrong), start=False).start_fails()
    assert "APIQuotaHeaders" in said


@pytest.mark.parametrize("text", ['"a";q=1,', '"a";q', '"a" "b"', '"a";Q=1', "'a'", '"a\\b"', '"a";q=1;q=2', '"a";q=1.5'])
def test_parser_of_the_tests_is_strict(text):
    with pytest.raises(ValueError):
        structured.parse_list(text)
