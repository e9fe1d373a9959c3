# SPDX-License-Identifier: Apache-2.0
"""Which limits show in which headers: primary, suffixes, none, unlimited, overrides, and those of a location."""

import pytest

from harness import checks, confs


@pytest.fixture
def serve(server, keys):
    """serve(limits, lines of the location) -> a server and a key of a tenant with that plan."""
    def make(*limits, lines=(), tenant=None, **key_fields):
        keys.tenant("one", plan="one", **(tenant or {}))
        key = keys.add("one", **key_fields)
        return server(confs.plan("one", *limits) + confs.location("/v1", *lines), keys=keys), key
    return make


def names(answer):
    return sorted(name for name in answer.headers.names() if name.startswith("x-ratelimit"))


TRIO = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]


def test_first_limit_of_a_plan_is_primary_unless_another_is_marked(serve):
    web, key = serve("a 10/366d", "b 20/366d")
    answer = web.get("/v1/item.json", key=key)
    assert checks.trio(answer).limit == 10 and names(answer) == TRIO


def test_marked_limit_is_primary_wherever_it_stands(serve):
    web, key = serve("a 10/366d", "b 20/366d headers=primary")
    answer = web.get("/v1/item.json", key=key)
    assert checks.trio(answer).limit == 20 and names(answer) == TRIO


def test_suffixes_show_beside_the_primary_limit(serve):
    web, key = serve("a 10/minute", "d 20/366d headers=suffix:Daily", "m 30/366d per=tenant headers=suffix:Monthly",
                     "n 40/366d headers=none")
    answer = web.get("/v1/item.json", key=key)
    assert checks.trio(answer)[:2] == (10, 9)
    assert checks.trio(answer, "-Daily")[:2] == (20, 19) and checks.trio(answer, "-Monthly")[:2] == (30, 29)
    assert len(names(answer)) == 9


def test_unlimited_is_counted_and_shows_nothing_and_never_refuses(serve, server, keys):
    web, key = serve("d unlimited/day", "year 5/366d headers=suffix:Yearly")
    answer = web.get("/v1/item.json", key=key)
    assert answer.status == 200 and names(answer) == [f"{name}-yearly" for name in TRIO]
    keys.tenant("free", plan="free")
    free = keys.add("free")
    other = server(confs.plan("free", "d unlimited/day headers=primary") + confs.location("/v1"), keys=keys,
                   allow=("AQ00200",))
    answers = [other.get("/v1/item.json", key=free) for _ in range(20)]
    assert {a.status for a in answers} == {200} and names(answers[0]) == []


def test_plan_without_limits_serves_without_headers(serve):
    web, key = serve()
    answer = web.get("/v1/item.json", key=key)
    assert answer.status == 200 and names(answer) == []


def test_no_limit_of_a_plan_shown_shows_none_on_a_429_but_retry_after(serve):
    web, key = serve("a 1/366d headers=none")
    first, second = (web.get("/v1/item.json", key=key) for _ in range(2))
    assert (first.status, second.status) == (200, 429)
    assert names(first) == names(second) == [] and checks.retry_after(second) > 0


def test_override_of_the_key_is_before_that_of_the_tenant_before_the_plan(serve):
    web, key = serve("a 10/366d", "b 20/366d headers=suffix:B", "c 30/366d headers=suffix:C",
                     tenant={"limits": {"a": "100/366d", "b": "200/366d"}}, limits={"a": "1000/366d"})
    answer = web.get("/v1/item.json", key=key)
    assert [checks.trio(answer, suffix).limit for suffix in ("", "-B", "-C")] == [1000, 200, 30]


def test_override_that_names_no_limit_of_the_plan_adds_one_that_does_not_show(serve):
    web, key = serve("a 10/366d", limits={"extra": "2/366d"})
    answers = [web.get("/v1/item.json", key=key) for _ in range(3)]
    assert [a.status for a in answers] == [200, 200, 429]
    assert names(answers[0]) == TRIO and checks.trio(answers[2]).limit == 2
    checks.assert_problem(answers[2], 429, **{"violated-policies": ["extra"]})


def test_limit_of_a_location_stands_beside_the_plans_and_replaces_by_name(serve):
    web, key = serve("a 10/366d", "b 20/366d headers=suffix:B",
                     lines=("APIQuotaLimit own 5/366d headers=suffix:Own", "APIQuotaLimit a 7/366d"))
    answer = web.get("/v1/item.json", key=key)
    assert checks.trio(answer)[:2] == (7, 6)
    assert checks.trio(answer, "-B").limit == 20 and checks.trio(answer, "-Own")[:2] == (5, 4)
    assert len(names(answer)) == 9


def test_location_alone_can_have_the_primary_limit(serve):
    web, key = serve("a 10/366d headers=none", lines=("APIQuotaLimit own 5/366d headers=primary",))
    assert checks.trio(web.get("/v1/item.json", key=key))[:2] == (5, 4)


def test_suffix_of_two_limits_shows_the_one_of_the_inner_section(server, keys):
    key = keys.add("acme")
    web = server(confs.plan("basic", "a 10/366d", "day 20/366d headers=suffix:Daily")
                 + confs.location("/v1", "APIQuotaLimit wide 30/366d headers=suffix:daily")
                 + "<Location /v1/listing>\n    APIQuotaLimit narrow 40/366d headers=suffix:Daily\n</Location>\n", keys=keys)
    outer, inner = web.get("/v1/item.json", key=key), web.get("/v1/listing/a.txt", key=key)
    assert len(names(outer)) == len(names(inner)) == 6, "no header stands twice"
    assert (checks.trio(outer, "-Daily").limit, checks.trio(inner, "-Daily").limit) == (30, 40)


def test_primary_limit_of_the_inner_section_is_before_that_of_the_outer(server, keys):
    key = keys.add("acme")
    web = server(confs.plan("basic", "a 10/366d") + confs.location("/v1", "APIQuotaLimit wide 30/366d headers=primary")
                 + "<Location /v1/listing>\n    APIQuotaLimit narrow 40/366d headers=primary\n</Location>\n", keys=keys)
    assert checks.trio(web.get("/v1/item.json", key=key)).limit == 30
    assert checks.trio(web.get("/v1/listing/a.txt", key=key)).limit == 40


def test_refused_request_is_counted_by_no_limit(serve):
    web, key = serve("a 2/366d", "b 20/366d headers=suffix:B")
    answers = [web.get("/v1/item.json", key=key) for _ in range(6)]
    assert [a.status for a in answers] == [200, 200, 429, 429, 429, 429]
    assert checks.trio(answers[-1], "-B").remaining == 18


def test_token_bucket_tells_its_burst_and_the_time_to_fill_it_everywhere(server, keys):
    """30 at once, then 10 a second: 30 requests per 3s in headers, bodies, a caller's own use and variables."""
    keys.tenant("one", plan="one")
    key = keys.add("one")
    usage = "<Location /v1/usage>\n    SetHandler apiquota-usage\n</Location>\n"
    web = server(confs.plan("one", "rate 10/second burst=30") + usage + confs.location(
        "/v1", "APIQuotaHeaders both", "APIQuotaEnv On", "Header always set X-Said %{APIQUOTA_LIMIT}e"),
                 keys=keys, modules=("headers",), faketime="+0")
    web.clock.freeze(1_767_225_630)
    answers = [web.get("/v1/item.json", key=key) for _ in range(31)]
    refused = answers[-1]
    assert {answer.status for answer in answers[:-1]} == {200}
    problem = checks.assert_problem(refused, 429, limit=30, window="3s", retry_after=1)
    assert problem["detail"] == 'The limit "rate" of 30 requests per 3s is used up. Try again after 1 second.'
    assert checks.trio(refused)[:2] == (30, 0) and refused.headers["X-Said"] == "30"
    assert refused.headers["RateLimit-Policy"] == '"rate";q=30;w=3'
    (own,) = web.get("/v1/usage", key=key).json()["limits"]
    assert (own["limit"], own["window"], own["remaining"]) == (30, "3s", 0)
