# SPDX-License-Identifier: Apache-2.0
"""X-Request-Id, and what Access-Control-Expose-Headers tells a browser."""

import pytest

from harness import checks, confs

CONF = (confs.plan("basic", "minute 2/minute", "day 100/day headers=suffix:Daily")
        + confs.location("/v1")
        + confs.location("/own", 'Header set Access-Control-Expose-Headers "ETag, X-RATELIMIT-LIMIT"')
        + confs.location("/always", 'Header always set Access-Control-Expose-Headers "ETag"')
        + confs.location("/star", 'Header set Access-Control-Expose-Headers "*"')
        + "<Location /plain>\n    Require all granted\n</Location>\n")
ORIGIN = {"Origin": "https://app.example"}
EXPOSE = "Access-Control-Expose-Headers"
TRIOS = {f"X-RateLimit-{name}{suffix}" for name in ("Limit", "Remaining", "Reset") for suffix in ("", "-Daily")}


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def web(server, keys, key):  # pylint: disable=unused-argument
    made = server(CONF, keys=keys)
    for name in ("own", "always", "star", "plain"):
        made.root.add_file(f"{name}/item.txt", b"item\n")
    return made


def exposed(answer):
    """The names exposed; each once, whatever its case."""
    names = [name.strip() for name in answer.headers[EXPOSE].split(",")]
    assert len({name.lower() for name in names}) == len(names), answer
    return set(names)


def test_our_headers_are_exposed_to_a_browser(web, key):
    answer = web.get("/v1/item.json", key=key, headers=ORIGIN)
    assert exposed(answer) == TRIOS | {"X-Request-Id"}
    assert EXPOSE not in web.get("/v1/item.json", key=key).headers


def test_refusal_exposes_retry_after_and_ietf_fields_too(server, keys, key):
    web = server(confs.plan("basic", "minute 1/minute") + confs.location("/v1", "APIQuotaHeaders ietf"), keys=keys)
    web.get("/v1/item.json", key=key)
    answer = web.get("/v1/item.json", key=key, headers=ORIGIN)
    assert answer.status == 429
    assert exposed(answer) == {"RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"}


def test_what_is_exposed_already_stays_and_is_not_repeated(web, key):
    own = web.get("/own/item.txt", key=key, headers=ORIGIN)
    assert exposed(own) == (TRIOS - {"X-RateLimit-Limit"}) | {"ETag", "X-RATELIMIT-LIMIT", "X-Request-Id"}
    always = web.get("/always/item.txt", key=key, headers=ORIGIN)
    assert exposed(always) == TRIOS | {"ETag", "X-Request-Id"}


def test_star_is_left_alone(web, key):
    assert web.get("/star/item.txt", key=key, headers=ORIGIN).headers[EXPOSE] == "*"


def test_sane_id_of_the_client_comes_back_on_every_response(web, key):
    tag = web.get("/v1/item.json", key=key).headers["ETag"]
    for headers, status in (({"If-None-Match": tag}, 304), ({}, 200), ({}, 429)):
        answer = web.get("/v1/item.json", key=key, headers={"X-Request-Id": "req_9f3a-2b.1c", **headers})
        assert (answer.status, answer.headers["X-Request-Id"]) == (status, "req_9f3a-2b.1c")
    checks.assert_problem(answer, 429, request_id="req_9f3a-2b.1c")
    answer = web.get("/v1/item.json", headers={"X-Request-Id": "r1"})
    checks.assert_problem(answer, 401, request_id="r1")
    assert answer.headers["X-Request-Id"] == "r1"


@pytest.mark.parametrize("bad", ["", "x" * 129, "two words", 'quote"', "back\\slash", "{{limit}}", "<b>", "\xe9", "a,b"])
def test_other_ids_are_replaced_by_the_servers(web, bad):
    answer = web.get("/v1/item.json", headers={"X-Request-Id": bad})
    ours = answer.headers["X-Request-Id"]
    assert ours and ours != bad
    checks.assert_problem(answer, 401, request_id=ours)


def test_each_request_has_an_id_of_its_own_and_one_in_all_its_parts(server, keys, key):
    web = server(CONF + "ErrorDocument 404 /v1/item.json\n", keys=keys)
    ids = {web.get("/v1/nothing", key=key).headers["X-Request-Id"] for _ in range(2)}
    assert len(ids) == 2 and all(ids)


def test_id_of_a_backend_is_replaced(server, keys, key, backend):
    web = server(confs.BASIC_PLAN + confs.proxy("/api", backend), keys=keys, modules=("proxy_http",))
    backend.script("/item", headers={"X-Request-Id": "theirs"})
    answer = web.get("/api/item", key=key, headers={"X-Request-Id": "mine"})
    assert (answer.body, answer.headers["X-Request-Id"]) == (b"scripted\n", "mine")


def test_elsewhere_nothing_is_added(web):
    answer = web.get("/plain/item.txt", headers={"X-Request-Id": "mine", **ORIGIN})
    assert "X-Request-Id" not in answer.headers and EXPOSE not in answer.headers
