# SPDX-License-Identifier: Apache-2.0
"""APIQuotaCost: what a request takes of its limits, also where httpd redirects it inside."""

import pytest

from harness import checks, confs, quota

REWRITES = "RewriteEngine On\nRewriteRule ^/v1/through$ /v1/dear.txt [PT]\n"
HERE = ("<Directory ${DOCROOT}/v1>\n    RewriteEngine On\n    RewriteRule ^cheap$ dear.txt\n"
        "    RewriteRule ^dear-first$ item.json\n</Directory>\n")
TARIFF = (confs.location("/v1") + confs.location("/v1/dear", "APIQuotaCost 5")
          + confs.location("/v1/dear.txt", "APIQuotaCost 10") + confs.location("/v1/dear-first", "APIQuotaCost 7"))


@pytest.fixture(name="key")
def fixture_key(keys):
    return keys.add("acme")


@pytest.fixture(name="web")
def fixture_web(server, keys, key):  # pylint: disable=unused-argument
    made = server(quota.ROOMY + REWRITES + TARIFF + HERE, keys=keys, modules=("rewrite", "include"))
    made.root.add_file("v1/dear.txt", b"dear\n")
    made.root.add_file("v1/including.shtml", b'<!--#include file="dear.txt" -->\n')
    return made


@pytest.mark.mpm_all
@pytest.mark.parametrize("path, cost", [
    ("/v1/item.json", 1), ("/v1/dear.txt", 10), ("/v1/through", 10), ("/v1/cheap", 10), ("/v1/dear-first", 7),
    ("/v1/including.shtml", 1)])
def test_f63_the_most_expensive_location_of_a_redirect_is_the_cost(web, key, path, cost):
    with quota.costs(web, key, cost):
        answer = web.get(path, key=key)
        assert answer.status == 200, answer


def test_what_is_free_is_given_back_in_full(web, key):
    tag = {"If-None-Match": web.get("/v1/dear.txt", key=key).headers["ETag"]}
    for path in ("/v1/dear.txt", "/v1/cheap"):
        with quota.costs(web, key, 0):
            assert web.get(path, key=key, headers=tag).status == 304


def test_f63_what_does_not_fit_in_full_is_refused_and_costs_nothing(server, keys, key):
    web = server(confs.plan("basic", "year 12/366d headers=primary") + TARIFF + HERE, keys=keys, modules=("rewrite",))
    web.root.add_file("v1/dear.txt", b"dear\n")
    assert checks.trio(web.get("/v1/cheap", key=key)).remaining == 2
    assert web.get("/v1/cheap", key=key).status == 429
    assert checks.trio(web.get("/v1/item.json", key=key)).remaining == 1


def test_cost_above_the_limit_can_never_be_paid(server, keys, key):
    web = server(confs.plan("basic", "year 5/366d headers=primary") + confs.location("/v1", "APIQuotaCost 6"), keys=keys)
    answer = web.get("/v1/item.json", key=key)
    assert answer.status == 429 and "Retry-After" not in answer.headers
    assert answer.json()["detail"] == ('The request counts as 6, and the limit "year" of 5 never has room for that; '
                                       "waiting does not help.")


# ---- by expression ---------------------------------------------------------------------------------

BY_EXPRESSION = (confs.location("/v1") + confs.location("/v1/listing", "APIQuotaCost expr=%{reqenv:cost}")
                 + "SetEnvIf Request_URI a\\.txt$ cost=3\nSetEnvIf Request_URI b\\.txt$ cost=-3\n"
                 "SetEnvIf Request_URI c\\.txt$ cost=many\n")


def test_cost_by_expression_and_f64_what_is_no_cost_is_refused(server, keys, key):
    web = server(quota.ROOMY + BY_EXPRESSION, keys=keys)
    with quota.costs(web, key, 3):
        assert web.get("/v1/listing/a.txt", key=key).status == 200
    web.expect_log("AQ01503", must=True)
    with quota.costs(web, key, 0):
        for path in ("/v1/listing/b.txt", "/v1/listing/c.txt", "/v1/listing/d.txt"):
            checks.assert_problem(web.get(path, key=key), 500, code="cost-unknown")


def test_f64_cost_plan_and_tenant_of_a_client_are_ignored_and_kept_from_the_backend(server, keys, key, backend):
    claims = {"X-RateLimit-Cost": "-100", "X-Cost": "0", "X-Plan": "gold", "X-Tenant": "globex", "APIQuota-Cost": "0",
              "apiquota-plan": "gold", "APIQUOTA-Tenant": "globex", "APIQUOTA_PLAN": "gold"}
    web = server(quota.ROOMY + confs.plan("gold", "year 5000000/366d") + confs.proxy("/v1", backend), keys=keys,
                 modules=("proxy_http",))
    with quota.costs(web, key, 1, "/v1/echo"):
        answer = web.get("/v1/echo", key=key, headers=claims)
    assert answer.status == 200 and checks.trio(answer).limit == 1000000
    told = backend.seen()[1].headers.names()
    assert "x-plan" in told and not [name for name in told if name.startswith("apiquota-")], told


@pytest.mark.parametrize("argument", [
    "", "0", "-1", "1.5", "4000000001", "99999999999", "two", "expr=", "expr=%{HTTP:X-Cost}", "expr=%{req:X-Cost}",
    "expr=%{HTTP_REFERER}", "expr=%{tolower:%{http:X-Cost}}", "1 2"])
def test_f64_costs_that_are_none_or_the_clients_are_configuration_errors(server, keys, argument):
    status, text = server(start=False, keys=keys).configtest(
        f"<Location /v1>\n    APIQuotaCost {argument}\n</Location>\n")
    assert status != 0 and "APIQuotaCost" in text, text
