# SPDX-License-Identifier: Apache-2.0
"""APIQuotaEnv On: what was decided, for LogFormat, expressions and backends."""

import pytest

from harness import confs, quota
from harness.waiting import eventually

LOG = ('LogFormat "%U %>s %{APIQUOTA_KEY_ID}e %{APIQUOTA_TENANT}e %{APIQUOTA_PLAN}e %{APIQUOTA_DECISION}e '
       '%{APIQUOTA_LIMIT}e %{APIQUOTA_REMAINING}e" quota\nCustomLog "${ROOT}/logs/quota.log" quota\n')
TINY = confs.plan("basic", "year 3/366d headers=primary")


def told(web, method, path, **how):
    """What the log says of a request, which is written after its answer was sent."""
    log = web.root.path / "logs" / "quota.log"
    before = len(log.read_text().splitlines())
    web.request(method, path, **how)
    eventually(lambda: len(log.read_text().splitlines()) > before)
    line, = log.read_text().splitlines()[before:]
    return line


@pytest.mark.mpm_all
def test_log_tells_who_and_what_was_decided(server, keys):
    key = keys.add("acme", id="k_1")
    web = server(LOG + TINY + confs.location("/v1", "APIQuotaEnv On"), keys=keys)
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    who = "k_1 acme basic"
    assert told(web, "GET", "/v1/item.json", key=key) == f"/v1/item.json 200 {who} allowed 3 2"
    fresh = {"If-None-Match": "*"}
    assert told(web, "GET", "/v1/item.json", key=key, headers=fresh) == f"/v1/item.json 304 {who} free 3 2"
    assert told(web, "GET", "/v1/nothing", key=key) == f"/v1/nothing 404 {who} allowed 3 1"
    assert told(web, "GET", "/v1/withindex/", key=key) == f"/v1/withindex/index.html 200 {who} allowed 3 0"
    assert told(web, "GET", "/v1/item.json", key=key) == f"/v1/item.json 429 {who} limited 3 0"
    assert told(web, "OPTIONS", "/v1/item.json", headers=preflight) == "/v1/item.json 200 - - - exempt - -"
    assert told(web, "GET", "/v1/item.json") == "/v1/item.json 401 - - - - - -"


def test_dry_run_and_early_limits_are_told(server, keys):
    key = keys.add("acme", id="k_1")
    web = server(LOG + TINY + confs.location("/v1", "APIQuotaEnv On", "APIQuota DryRun", "APIQuotaCost 2")
                 + confs.location("/v1/listing", "APIQuota On", "APIQuotaLimit guard 1/366d per=ip phase=early"),
                 keys=keys)
    paths = ("/v1/item.json", "/v1/item.json", "/v1/listing/a.txt", "/v1/listing/a.txt")
    assert [told(web, "GET", path, key=key) for path in paths] == [
        "/v1/item.json 200 k_1 acme basic allowed 3 1", "/v1/item.json 200 k_1 acme basic dryrun-limited 3 1",
        "/v1/listing/a.txt 429 k_1 acme basic limited 3 1", "/v1/listing/a.txt 429 - - - limited 1 0"]


def test_callers_of_their_own_have_no_tenant(server, keys):
    web = server(LOG + TINY + "<Location /v1>\n    APIQuota On\n    APIQuotaPrincipal ip\n    APIQuotaDefaultPlan basic\n"
                 "    APIQuotaEnv On\n</Location>\n", keys=keys)
    assert told(web, "GET", "/v1/item.json") == "/v1/item.json 200 127.0.0.1 - basic allowed 3 2"


def test_backends_and_expressions_read_it_and_off_is_the_default(server, keys, backend):
    key = keys.add("acme", id="k_1")
    telling = "RequestHeader set X-Of %{APIQUOTA_TENANT}e/%{APIQUOTA_PLAN}e/%{APIQUOTA_REMAINING}e"
    web = server(quota.ROOMY + confs.proxy("/v1", backend, telling, "APIQuotaEnv On")
                 + confs.location("/v1/quiet", "APIQuotaEnv Off"), keys=keys, modules=("proxy_http",))
    web.get("/v1/echo", key=key)
    web.get("/v1/quiet", key=key)
    assert [r.headers["X-Of"] for r in backend.seen()] == ["acme/basic/999999", "(null)/(null)/(null)"]


def test_client_cannot_set_it(server, keys):
    key = keys.add("acme", id="k_1")
    web = server(LOG + TINY + confs.location("/v1"), keys=keys)
    claims = {"APIQUOTA_PLAN": "gold", "APIQUOTA-PLAN": "gold"}
    line = told(web, "GET", "/v1/item.json?APIQUOTA_PLAN=gold", key=key, headers=claims)
    assert line == "/v1/item.json 200 - - - - - -"
