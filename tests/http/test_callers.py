# SPDX-License-Identifier: Apache-2.0
"""Principals that are no keys of ours: users, addresses, expressions; their tenants and plans; anonymous callers."""

import base64

import pytest

from harness import checks, confs, quota

GOLD = confs.plan("gold", "year 5000/366d headers=primary")
PLANS = quota.ROOMY + GOLD
BASIC = ('AuthType Basic\n    AuthName "web"\n    AuthUserFile ${ROOT}/users\n    Require valid-user\n'
         "    AuthzSendForbiddenOnFailure On\n    APIQuota On\n    APIQuotaPrincipal user")
# As an authentication module would export claims; by the path, so that a test can choose.
CLAIMS = ("SetEnvIf Request_URI /as/([^/]+)/ tenant=$1\nSetEnvIf Request_URI /with/([^/]+)/ plan=$1\n"
          'SetEnvIf Request_URI /bad/ "tenant=two words"\n')


def section(path, *lines):
    return f"<Location {path}>\n" + "".join(f"    {line}\n" for line in lines) + "</Location>\n"


def as_user(name):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:secret".encode()).decode()}


@pytest.fixture(name="basic_auth")
def fixture_basic_auth(server, keys):
    """make(lines of the location, conf behind it) -> a server with users ann, bob and o'x {}:y, password secret."""
    def make(*lines, more=""):
        web = server(PLANS + CLAIMS + section("/v1", BASIC, *lines) + more, keys=keys, start=False,
                     modules=("auth_basic", "authn_file"))
        users = "".join(f"{name}:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" for name in ("ann", "bob"))
        (web.root.path / "users").write_text(users)
        (web.root.path / "users").chmod(0o644)
        for folder in ("as/acme", "as/new", "with/gold", "with/none", "bad"):
            for name in ("a.txt", "b.txt"):
                web.root.add_file(f"v1/{folder}/{name}", b"x\n")
        return web.start()
    return make


def remaining(web, path="/v1/item.json", **how):
    answer = web.get(path, **how)
    assert answer.status == 200, answer
    return checks.trio(answer).remaining


# ---- users -----------------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_users_of_basic_authentication_are_principals_with_the_default_plan(basic_auth):
    web = basic_auth("APIQuotaDefaultPlan basic")
    assert [remaining(web, headers=as_user(n)) for n in ("ann", "bob", "ann")] == [999999, 999999, 999998]
    web.expect_log("AH01617", must=True)
    answer = web.get("/v1/item.json")
    assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Basic ")
    checks.assert_no_trio(answer)
    assert web.get("/v1/item.json", headers={"Authorization": "Basic " + base64.b64encode(b"ann:no").decode()}).status == 401


def test_user_and_key_of_one_name_are_two(basic_auth, keys):
    key = keys.add("acme", id="ann")
    web = basic_auth("APIQuotaDefaultPlan basic", more=confs.location("/v1/listing"))
    assert remaining(web, headers=as_user("ann")) == 999999
    assert remaining(web, "/v1/listing/a.txt", key=key) == 999999


def test_plan_comes_from_an_expression_or_is_the_default(basic_auth):
    web = basic_auth("APIQuotaDefaultPlan basic", "APIQuotaPlanFrom expr=%{reqenv:plan}")
    assert remaining(web, "/v1/with/gold/a.txt", headers=as_user("ann")) == 4999
    assert checks.trio(web.get("/v1/item.json", headers=as_user("ann"))).limit == 1000000
    web.expect_log("AQ01505", must=True)
    assert checks.trio(web.get("/v1/with/none/a.txt", headers=as_user("ann"))).limit == 1000000


def test_caller_without_a_plan_is_refused(basic_auth):
    web = basic_auth("APIQuotaPlanFrom expr=%{reqenv:plan}")
    web.expect_log("AQ01505")
    for path in ("/v1/item.json", "/v1/with/none/a.txt"):
        answer = web.get(path, headers=as_user("ann"))
        checks.assert_problem(answer, 403, code="plan-missing")
        checks.assert_no_trio(answer)
    assert remaining(web, "/v1/with/gold/a.txt", headers=as_user("ann")) == 4999


def test_limits_of_a_location_do_without_a_plan(basic_auth):
    web = basic_auth("APIQuotaLimit own 3/366d per=user headers=primary")
    assert [remaining(web, headers=as_user(n)) for n in ("ann", "ann", "bob")] == [2, 1, 2]


def test_neither_plan_nor_limit_lets_nobody_in(basic_auth):
    web = basic_auth()
    checks.assert_problem(web.get("/v1/item.json", headers=as_user("ann")), 403, code="plan-missing")


# ---- tenants ---------------------------------------------------------------------------------------

def test_row_s1_keys_and_sessions_of_a_tenant_share_one_budget(basic_auth, keys):
    one, two = keys.add("acme"), keys.add("acme")
    keys.tenant("acme", plan="shared")
    web = basic_auth("APIQuotaTenantFrom expr=%{reqenv:tenant}", "APIQuotaDefaultPlan basic",
                     more=confs.plan("shared", "minute 100/1m algorithm=fixed per=tenant headers=primary")
                     + confs.location("/v1/listing"))
    seen = [remaining(web, "/v1/listing/a.txt", key=one), remaining(web, "/v1/listing/a.txt", key=two),
            remaining(web, "/v1/as/acme/a.txt", headers=as_user("ann")),
            remaining(web, "/v1/as/acme/a.txt", headers=as_user("bob")), remaining(web, "/v1/listing/a.txt", key=one)]
    # A minute may end in between.
    assert seen == [99, 98, 97, 96, 95] or 99 in seen[1:], seen


def test_tenant_of_the_keys_file_brings_its_plan_and_overrides(basic_auth, keys):
    keys.tenant("acme", plan="gold", limits={"year": "70/366d"})
    web = basic_auth("APIQuotaTenantFrom expr=%{reqenv:tenant}", "APIQuotaDefaultPlan basic")
    assert remaining(web, "/v1/as/acme/a.txt", headers=as_user("ann")) == 69
    assert remaining(web, "/v1/as/new/a.txt", headers=as_user("ann")) == 999998, "per key: one counter a user"


def test_tenant_by_expression_satisfies_require(basic_auth, keys):
    keys.tenant("acme")
    web = basic_auth("APIQuotaTenantFrom expr=%{reqenv:tenant}", "APIQuotaDefaultPlan basic",
                     more="<Location /v1/as>\n    Require api-tenant acme\n</Location>\n")
    web.expect_log("AH01631", must=True)
    assert web.get("/v1/as/acme/a.txt", headers=as_user("ann")).status == 200
    assert web.get("/v1/as/new/a.txt", headers=as_user("ann")).status == 403


def test_f57_what_can_be_no_tenant_is_refused(basic_auth):
    web = basic_auth("APIQuotaTenantFrom expr=%{reqenv:tenant}", "APIQuotaDefaultPlan basic")
    web.expect_log("AQ01504", must=True)
    checks.assert_problem(web.get("/v1/bad/a.txt", headers=as_user("ann")), 403, code="tenant-unknown")


def test_f57_names_with_colons_and_braces_are_names_like_others(server, keys):
    names = ("a:b", "a:", ":b", "{a}", "{t:a}", "a}b", "a%0d%0ab")
    made = {name: keys.add(name) for name in names}
    web = server(confs.plan("basic", "year 1000/366d per=tenant headers=primary") + confs.location("/v1"), keys=keys)
    for name in names:
        answer = web.get("/v1/item.json", key=made[name])
        assert checks.trio(answer).remaining == 999, name
    assert not [line for line in web.log.text().splitlines() if not line.startswith("[")]


# ---- keys first, then others -----------------------------------------------------------------------

def test_key_counts_before_the_user_and_a_wrong_key_is_wrong(server, keys):
    key = keys.add("acme")
    web = server(PLANS + section("/v1", "APIQuota On", "APIQuotaPrincipal key expr=%{reqenv:session}",
                                 "APIQuotaDefaultPlan gold", "SetEnvIf Request_URI a.txt session=s1"), keys=keys)
    assert remaining(web, key=key) == 999999
    assert checks.trio(web.get("/v1/listing/a.txt")).limit == 5000
    assert checks.trio(web.get("/v1/listing/a.txt", key=key)).limit == 1000000
    checks.assert_problem(web.get("/v1/listing/a.txt", key="aq_nobody"), 401, code="key-unknown")
    checks.assert_problem(web.get("/v1/listing/b.txt"), 401, code="key-missing")


def test_who_was_known_otherwise_before_a_redirect_is_not_authenticated_by_that(server, keys):
    key = keys.add("acme")
    web = server(PLANS + section("/open", "APIQuota On", "APIQuotaPrincipal ip", "APIQuotaDefaultPlan gold")
                 + confs.location("/v1", "AcceptPathInfo On")
                 + "Action go /v1/item.json virtual\n<Location /open/go>\n    SetHandler go\n</Location>\n", keys=keys,
                 modules=("actions",))
    assert web.get("/open/go").status == 401
    assert web.get("/open/go", key=key).status == 200


# ---- addresses and nobody --------------------------------------------------------------------------

REMOTE_IP = "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n"


def test_addresses_are_principals(server, keys):
    web = server(REMOTE_IP + PLANS + section("/v1", "APIQuota On", "APIQuotaPrincipal ip", "APIQuotaDefaultPlan gold"),
                 keys=keys, modules=("remoteip",))
    seen = [remaining(web, headers={"X-Client": a}) for a in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1",
                                                              "2001:db8::2")]
    assert seen == [4999, 4998, 4999, 4999, 4998]


def test_no_keys_file_is_needed_where_nobody_presents_keys(server):
    web = server("APIQuotaStateDir ${ROOT}/state\n" + PLANS
                 + section("/v1", "APIQuota On", "APIQuotaPrincipal ip", "APIQuotaDefaultPlan gold"), preset=False)
    assert remaining(web) == 4999


@pytest.mark.parametrize("auth", [(), ("AuthType APIKey", 'AuthName "API"')])
def test_anonymous_plan_counts_by_address_who_presents_no_key(server, keys, auth):
    key = keys.add("acme")
    web = server(PLANS + section("/v1", "APIQuota On", "APIQuotaAnonymousPlan gold", *auth), keys=keys)
    assert [remaining(web), remaining(web), remaining(web, key=key)] == [4999, 4998, 999999]
    assert web.get("/v1/item.json", key="aq_nobody").status == 401


def test_anonymous_is_denied_unless_said_and_where_an_inner_section_says_so(server, keys):
    web = server(PLANS + section("/v1", "APIQuota On", "APIQuotaAnonymousPlan gold")
                 + section("/v1/listing", "APIQuotaAnonymousPlan deny") + section("/other", "APIQuota On"), keys=keys)
    assert web.get("/v1/item.json").status == 200
    assert web.get("/v1/listing/a.txt").status == 401
    assert web.get("/other/").status == 401


def test_nobody_without_a_way_to_log_in_is_a_403(server, keys):
    web = server(PLANS + section("/v1", "APIQuota On", "APIQuotaPrincipal user", "APIQuotaDefaultPlan gold"), keys=keys)
    checks.assert_problem(web.get("/v1/item.json"), 403, code="caller-unknown")


@pytest.mark.parametrize("line, said", [
    ("APIQuotaDefaultPlan silver", "silver"), ("APIQuotaAnonymousPlan silver", "silver"),
    ("APIQuotaPrincipal moon", "moon"), ("APIQuotaPrincipal key user ip key user", "up to four"),
    ("APIQuotaPlanFrom gold", "gold"), ("APIQuotaPlanFrom expr=%{HTTP:X-Plan}", "X-Plan"),
    ("APIQuotaTenantFrom expr=%{req:X-Tenant}", "X-Tenant"), ("APIQuotaPrincipal expr=%{HTTP:X-User}", "X-User"),
    ("APIQuotaTenantFrom", "expr="),
])
def test_what_cannot_be_is_a_configuration_error(server, keys, line, said):
    status, text = server(start=False, keys=keys).configtest(PLANS + section("/v1", line))
    assert status != 0 and said in text and line.split()[0] in text, text
