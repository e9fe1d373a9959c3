# SPDX-License-Identifier: Apache-2.0
"""What is not counted: APIQuotaExempt, CORS preflights; and APIQuota DryRun, which refuses nothing."""

import pytest

from harness import checks, confs, quota

PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
GUARD = "APIQuotaLimit guard 3/366d per=ip phase=early"
TINY = confs.plan("basic", "year 2/366d headers=primary")


def assert_silent(answer):
    checks.assert_no_trio(answer)
    for name in ("X-Request-Id", "Retry-After", "Access-Control-Expose-Headers", "WWW-Authenticate"):
        assert name not in answer.headers, answer


def requiring(lines):
    """A location with nothing but these to let anybody in."""
    body = ["AuthType APIKey", 'AuthName "API"', "AuthzSendForbiddenOnFailure On", "APIQuota On", *lines]
    return "<Location /v1>\n" + "".join(f"    {line}\n" for line in body) + "</Location>\n"


# ---- preflights ------------------------------------------------------------------------------------

@pytest.mark.mpm_all
@pytest.mark.parametrize("lines", [
    ["Require valid-user"], ["Require api-scope some"], ["Require api-plan basic"],
    ["<RequireAll>", "Require valid-user", "Require api-tenant acme", "Require local", "</RequireAll>"]])
def test_preflight_passes_where_a_key_is_required_and_costs_nothing(server, keys, lines):
    key = keys.add("acme", scopes=["some"])
    web = server(quota.ROOMY + requiring(lines), keys=keys)
    with quota.costs(web, key, 0):
        answer = web.request("OPTIONS", "/v1/item.json", headers=PREFLIGHT)
        assert answer.status == 200 and "GET" in answer.headers["Allow"], answer
    assert_silent(answer)


def test_preflight_without_authtype_passes_and_costs_nothing(server, keys):
    web = server(quota.ROOMY + "<Location /v1>\n    APIQuota On\n</Location>\n", keys=keys)
    assert_silent(web.request("OPTIONS", "/v1/item.json", headers=PREFLIGHT))


BATCH = "/v1/batches/batch_" + "0" * 26


@pytest.mark.parametrize("path, allowed", [
    ("/v1/batches", {"GET"}), ("/v1/batches/", {"GET"}), (BATCH, {"GET", "DELETE"}), (BATCH + "/result", {"GET"}),
    (BATCH + "/cancel", {"POST"}), ("/v1/usage", {"GET"})])
def test_preflight_of_our_own_endpoints_passes_too(server, keys, dead_backend, path, allowed):
    key = keys.add("acme")
    web = server(confs.BASIC_PLAN + confs.batch("/v1/imports", dead_backend.url)
                 + confs.location("/v1/usage", "SetHandler apiquota-usage"), keys=keys)
    for answer in (web.request("OPTIONS", path, headers=PREFLIGHT), web.request("OPTIONS", path, key=key)):
        assert answer.status == 200 and answer.body == b"", answer
        methods = {word.strip() for word in answer.headers["Allow"].split(",")} - {"HEAD", "TRACE", "OPTIONS"}
        assert methods == allowed
    assert_silent(web.request("OPTIONS", path, headers=PREFLIGHT))
    assert web.request("OPTIONS", path).status == 401


def test_preflight_of_a_path_that_is_none_is_a_404(server, keys, dead_backend):
    keys.add("acme")
    web = server(confs.BASIC_PLAN + confs.batch("/v1/imports", dead_backend.url), keys=keys)
    checks.assert_problem(web.request("OPTIONS", BATCH + "/other", headers=PREFLIGHT), 404, code="batch-unknown")


@pytest.mark.parametrize("method, headers", [
    ("OPTIONS", {}), ("OPTIONS", {"Origin": "https://a.example"}), ("OPTIONS", {"Access-Control-Request-Method": "GET"}),
    ("GET", PREFLIGHT), ("POST", PREFLIGHT), ("HEAD", PREFLIGHT)])
def test_what_only_looks_like_a_preflight_needs_a_key(server, keys, method, headers):
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys)
    assert web.request(method, "/v1/item.json", headers=headers).status == 401


def test_preflight_does_not_pass_what_else_is_required(server, keys):
    web = server(quota.ROOMY + requiring(["<RequireAll>", "Require valid-user", "Require not local", "</RequireAll>"]),
                 keys=keys, allow=("AH01631", "AH01630"))
    assert web.request("OPTIONS", "/v1/item.json", headers=PREFLIGHT).status == 403


def test_preflight_is_nobody_for_the_backend_and_brings_no_header_of_ours(server, keys, backend):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.proxy("/v1", backend, 'RequestHeader set X-User "expr=[%{REMOTE_USER}]"'), keys=keys,
                 modules=("proxy_http",))
    assert web.request("OPTIONS", "/v1/echo", headers={**PREFLIGHT, "APIQuota-Batch-Id": "b_1"}).status == 200
    assert web.get("/v1/echo", key=key).status == 200
    nobody, somebody = backend.seen()[-2:]
    assert nobody.headers.get("X-User") == "[]" and somebody.headers.get("X-User") == f"[{key.id}]"
    assert "APIQuota-Batch-Id" not in nobody.headers


def test_early_limits_count_preflights(server, keys):
    web = server(quota.ROOMY + confs.location("/v1", GUARD), keys=keys)
    statuses = [web.request("OPTIONS", "/v1/item.json", headers=PREFLIGHT).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


# ---- APIQuotaExempt --------------------------------------------------------------------------------

EXEMPT = "APIQuotaExempt expr=%{REQUEST_URI} =~ m#^/v1/listing/#"


def test_exempt_requests_cost_nothing_and_are_told_nothing(server, keys):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.location("/v1", EXEMPT), keys=keys)
    with quota.costs(web, key, 0):
        answer = web.get("/v1/listing/a.txt", key=key)
        assert answer.status == 200
        assert_silent(answer)
        assert_silent(web.get("/v1/listing/nothing", key=key))
    with quota.costs(web, key, 1):
        assert web.get("/v1/part1.txt", key=key).status == 200


def test_exempt_is_not_authenticated_less(server, keys):
    web = server(quota.ROOMY + confs.location("/v1", EXEMPT)
                 + "<Location /open>\n    APIQuota On\n    APIQuotaExempt \"expr=%{REQUEST_URI} == '/open/a.txt'\"\n"
                 "</Location>\n", keys=keys)
    web.root.add_file("open/a.txt", b"a\n")
    assert web.get("/v1/listing/a.txt").status == 401
    assert web.get("/open/a.txt").status == 200, "the quota alone would have asked for a key"
    assert web.get("/open/b.txt").status == 401


def test_exempt_address_that_leads_inside_to_another_is_counted(server, keys):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.location("/v1", EXEMPT)
                 + "<Directory ${DOCROOT}/v1/listing>\n    RewriteEngine On\n    RewriteRule ^go$ /v1/item.json\n"
                 "</Directory>\n", keys=keys, modules=("rewrite",))
    with quota.costs(web, key, 1):
        answer = web.get("/v1/listing/go", key=key)
        assert answer.status == 200 and checks.trio(answer)


def test_early_limits_count_exempt_requests(server, keys):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.location("/v1", EXEMPT, GUARD), keys=keys)
    assert [web.get("/v1/listing/a.txt", key=key).status for _ in range(4)] == [200, 200, 200, 429]


def test_inner_none_takes_the_exemption_back(server, keys):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.location("/v1", EXEMPT)
                 + "<Location /v1/listing/b.txt>\n    APIQuotaExempt none\n</Location>\n", keys=keys)
    assert "X-RateLimit-Limit" not in web.get("/v1/listing/a.txt", key=key).headers
    assert "X-RateLimit-Limit" in web.get("/v1/listing/b.txt", key=key).headers


@pytest.mark.parametrize("argument", [
    "", "all", "expr=", "expr=%{HTTP:X-Free} == 'yes'", "expr=%{HTTP_USER_AGENT} =~ /probe/", "expr=req('X-Free') == 'yes'",
    "expr=%{req_novary:X-Free} == 'yes'", "expr=%{REQUEST_URI} =="])
def test_exemptions_that_a_client_could_claim_are_configuration_errors(server, keys, argument):
    status, text = server(start=False, keys=keys).configtest(
        f"<Location /v1>\n    APIQuotaExempt {argument}\n</Location>\n")
    assert status != 0 and "APIQuotaExempt" in text, text


# ---- APIQuota DryRun -------------------------------------------------------------------------------

DRY = "APIQuota DryRun"


def test_dry_run_refuses_nothing_tells_nothing_and_says_it_in_the_log(server, keys):
    key = keys.add("acme")
    web = server(TINY + confs.location("/v1", DRY), keys=keys)
    for _ in range(4):
        answer = web.get("/v1/item.json", key=key)
        assert answer.status == 200
        assert_silent(answer)
    lines = web.log.matching("AQ01511")
    assert len(lines) == 2 and 'limit "year"' in lines[0] and key.id in lines[0]


def test_dry_run_counts_and_gives_free_answers_back(server, keys):
    key = keys.add("acme")
    web = server(TINY + confs.location("/v1", DRY) + confs.location("/v1/part1.txt", "APIQuota On"), keys=keys)
    tag = {"If-None-Match": web.get("/v1/item.json", key=key).headers["ETag"]}
    assert [web.get("/v1/item.json", key=key, headers=tag).status for _ in range(3)] == [304] * 3
    assert checks.trio(web.get("/v1/part1.txt", key=key)).remaining == 0
    assert web.get("/v1/part1.txt", key=key).status == 429


def test_dry_run_lets_in_whom_the_quota_alone_would_refuse_but_not_whom_require_does(server, keys):
    web = server(TINY + f"<Location /open>\n    {DRY}\n    {GUARD.replace('3', '1')}\n</Location>\n" + confs.location("/v1", DRY),
                 keys=keys)
    web.root.add_file("open/a.txt", b"a\n")
    for _ in range(3):
        answer = web.get("/open/a.txt")
        assert answer.status == 200
        assert_silent(answer)
    assert web.log.matching("AQ01510: dry run: /open/a.txt would be refused with 401, key-missing")
    assert web.log.matching('AQ01511: dry run: /open/a.txt would be refused by the limit "guard"')
    assert web.get("/v1/item.json").status == 401
    assert web.get("/v1/item.json", key="aq_nobody").status == 401


def test_dry_run_lets_large_bodies_and_slow_answers_pass_and_notes_the_bodies(server, keys, backend):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.proxy("/v1", backend, DRY, "APIQuotaMaxBody 1k", "APIQuotaRequestTimeout 200ms"),
                 keys=keys, modules=("proxy_http",))
    for body in (b"x" * 5000, iter([b"x" * 3000] * 3)):
        answer = web.request("POST", "/v1/echo", key=key, body=body)
        assert answer.status == 200 and answer.json()["body_length"] in (5000, 9000)
        assert_silent(answer)
    assert len(web.log.matching("AQ01510: dry run: /v1/echo would be refused with 413, body-too-large")) == 2
    assert web.get("/v1/slow/1", key=key).status == 200
